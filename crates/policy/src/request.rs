//! What is asked of a policy: who (`Subject`), what (`Request`) and of what (`Resource`). How it looks in Cedar is in
//! `model`.

use crate::action::Action;

/// A node at one end of a link, as its certificate says. The parts are taken as they are: whoever makes one has
/// verified them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Without a scheme: `prod.example`.
    pub trust_domain: String,
    /// The cluster.
    pub cluster: String,
    /// The namespace.
    pub namespace: String,
    /// The workload.
    pub workload: String,
    /// The part of the node name before `@`, or `cli` for the short-lived nodes of a host.
    pub node: String,
    /// The part after `@`. It is in the certificate (DNS SAN), not in the SPIFFE ID.
    pub host: String,
}

/// The node segment of the identity that the short-lived nodes of a host share.
pub const CLI: &str = "cli";

impl Subject {
    /// `spiffe://<trust domain>/cluster/<c>/ns/<n>/sa/<w>/node/<node>`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/node/{}", self.workload_id(), self.node)
    }

    /// The ID with the host behind it, which is what one node is in Cedar: two nodes on two hosts may share an ID.
    #[must_use]
    pub fn id_at_host(&self) -> String {
        format!("{}@{}", self.id(), self.host)
    }

    /// The ID down to the workload.
    #[must_use]
    pub fn workload_id(&self) -> String {
        format!("{}/sa/{}", self.namespace_id(), self.workload)
    }

    /// The ID down to the namespace.
    #[must_use]
    pub fn namespace_id(&self) -> String {
        format!("{}/ns/{}", self.cluster_id(), self.namespace)
    }

    /// The ID down to the cluster.
    #[must_use]
    pub fn cluster_id(&self) -> String {
        format!("{}/cluster/{}", self.trust_domain_id(), self.cluster)
    }

    /// The trust domain as an ID: `spiffe://<trust domain>`.
    #[must_use]
    pub fn trust_domain_id(&self) -> String {
        format!("spiffe://{}", self.trust_domain)
    }

    /// The node name, `cli@host` for the short-lived nodes of a host.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}@{}", self.node, self.host)
    }

    /// Whether these are the short-lived nodes of a host: `rabbitmqcli-*`, `rem-*` and the like.
    #[must_use]
    pub fn is_cli(&self) -> bool {
        self.node == CLI
    }
}

/// Of what something is asked. The names are the peer's choice: any text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource<'a> {
    /// The receiving node: of processes without a name, and of the link itself.
    Node,
    /// A registered process.
    Process(&'a str),
    /// `module:function/arity`.
    Function {
        /// The module.
        module: &'a str,
        /// The function.
        function: &'a str,
        /// How many arguments.
        arity: u32,
    },
    /// A TCP service that the node offers, by its name there.
    Service(&'a str),
}

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request<'a> {
    /// What is asked for.
    pub action: Action,
    /// Of what.
    pub resource: Resource<'a>,
    /// The payload has a fun or `fun M:F/A` in it, or was not seen to its end.
    pub carries_function: bool,
    /// The message went to a raw pid, for which a name was found.
    pub via_pid: bool,
    /// Seconds since 1970. For `connect`, which must have it; ignored for all others.
    pub now: Option<u64>,
}

impl<'a> Request<'a> {
    /// A question without any of the circumstances.
    #[must_use]
    pub const fn new(action: Action, resource: Resource<'a>) -> Self {
        Self {
            action,
            resource,
            carries_function: false,
            via_pid: false,
            now: None,
        }
    }
}
