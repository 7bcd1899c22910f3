//! What a cluster is to consist of: hosts, nodes, and what differs from the ordinary.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::{Cluster, Error, control, erl};

/// A cluster to be started.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) skans: PathBuf,
    pub(crate) erl: PathBuf,
    pub(crate) hosts: Vec<HostPlan>,
    pub(crate) control: Option<control::Options>,
    pub(crate) policy: Option<Policy>,
    pub(crate) progress: Option<UnboundedSender<String>>,
}

/// The files of a policy set.
#[derive(Clone, Debug)]
pub struct Policy(pub(crate) Vec<(String, String)>);

impl Policy {
    /// For what is about something else than policy: everything passes, and what no permit can cover is told.
    #[must_use]
    pub fn open() -> Self {
        let set = "apiVersion: skans.io/v1alpha1\nname: open\nmode: dry-run\nuntil: 2100-01-01\n";
        Self(Vec::new()).file("set.yaml", set).file(
            "open.cedar",
            "@id(\"open\") permit(principal, action, resource);\n",
        )
    }

    /// These policies, enforced, and `more` lines of `set.yaml`, such as its roles.
    #[must_use]
    pub fn enforced(cedar: &str, more: &str) -> Self {
        let set = format!("apiVersion: skans.io/v1alpha1\nname: test\nmode: enforce\n{more}");
        Self(Vec::new())
            .file("set.yaml", &set)
            .file("test.cedar", cedar)
    }

    /// Adds a file.
    #[must_use]
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.0.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Writes it anew.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn write(&self, directory: &Path) -> Result<(), Error> {
        let failed = || Error::system(directory.display().to_string());
        if directory.exists() {
            std::fs::remove_dir_all(directory).map_err(failed())?;
        }
        std::fs::create_dir_all(directory).map_err(failed())?;
        for (name, text) in &self.0 {
            std::fs::write(directory.join(name), text).map_err(failed())?;
        }
        Ok(())
    }
}

/// One agent and the nodes beside it.
#[derive(Clone, Debug)]
pub struct HostPlan {
    pub(crate) label: String,
    pub(crate) nodes: Vec<NodePlan>,
    pub(crate) ipv6: bool,
    pub(crate) config: Value,
}

/// One node.
#[derive(Clone, Debug)]
pub struct NodePlan {
    pub(crate) name: String,
    pub(crate) start: bool,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) erl: Option<PathBuf>,
    pub(crate) config: Value,
}

impl Plan {
    /// An empty plan, with the agents to be started from the binary `skans`.
    ///
    /// # Errors
    /// [`Error::NoErl`].
    pub fn new(skans: impl Into<PathBuf>) -> Result<Self, Error> {
        Ok(Self {
            skans: skans.into(),
            erl: erl::find()?,
            hosts: Vec::new(),
            control: None,
            policy: None,
            progress: None,
        })
    }

    /// Adds `count` hosts with one node each: `n1@n1.lab`, `n2@n2.lab`, …
    #[must_use]
    pub fn nodes(mut self, count: usize) -> Self {
        let first = self.hosts.len() + 1;
        self.hosts
            .extend((first..first + count).map(HostPlan::numbered));
        self
    }

    /// Adds a host.
    #[must_use]
    pub fn host(mut self, host: HostPlan) -> Self {
        self.hosts.push(host);
        self
    }

    /// Lays a configuration over that of each host added so far, see [`HostPlan::config`].
    #[must_use]
    pub fn config(mut self, config: &Value) -> Self {
        for host in &mut self.hosts {
            merge(&mut host.config, config);
        }
        self
    }

    /// Has a control plane issue the certificates, instead of an authority that all agents share.
    #[must_use]
    pub const fn control(mut self, options: control::Options) -> Self {
        self.control = Some(options);
        self
    }

    /// Has all agents decide by this set, instead of the one that is built in. Without effect where a control plane signs
    /// sets.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Where each step of the start is told.
    #[must_use]
    pub fn progress(mut self, told: UnboundedSender<String>) -> Self {
        self.progress = Some(told);
        self
    }

    /// Starts everything, connects all nodes, and waits until they see each other.
    ///
    /// # Errors
    /// Whatever kept it from coming up; nothing is left running then.
    pub async fn start(self) -> Result<Cluster, Error> {
        Cluster::start(self).await
    }
}

impl HostPlan {
    /// A host without nodes. `label` names its directory and stands in messages.
    #[must_use]
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            nodes: Vec::new(),
            ipv6: false,
            config: json!({}),
        }
    }

    /// The host `n<number>.lab` with the node `n<number>`.
    #[must_use]
    pub fn numbered(number: usize) -> Self {
        Self::new(format!("n{number}")).node(NodePlan::new(format!("n{number}@n{number}.lab")))
    }

    /// Adds a node.
    #[must_use]
    pub fn node(mut self, node: NodePlan) -> Self {
        self.nodes.push(node);
        self
    }

    /// Everything of this host over IPv6: its nodes, its epmd and its link port.
    #[must_use]
    pub const fn ipv6(mut self) -> Self {
        self.ipv6 = true;
        self
    }

    /// Lays a piece of configuration over that of the agent, such as
    /// `json!({"refuse": ["n3@*"], "links": {"maxPending": 16}})`: objects are merged, anything else
    /// takes the place of what was there, and `null` takes it out.
    #[must_use]
    pub fn config(mut self, config: &Value) -> Self {
        lay(&mut self.config, config);
        self
    }
}

impl NodePlan {
    /// A node. Names whose host part has a dot are long ones (`-name`), others short (`-sname`),
    /// unless the arguments say otherwise.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            start: true,
            args: Vec::new(),
            env: Vec::new(),
            erl: None,
            config: json!({}),
        }
    }

    /// The agent knows it, and nobody starts it yet; see [`Cluster::start_node`].
    #[must_use]
    pub const fn not_started(mut self) -> Self {
        self.start = false;
        self
    }

    /// Adds arguments of `erl`.
    #[must_use]
    pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable; one that the agent wrote is replaced.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts it with another program than the `erl` in `PATH`.
    #[must_use]
    pub fn erl(mut self, program: impl Into<PathBuf>) -> Self {
        self.erl = Some(program.into());
        self
    }

    /// Lays a piece of configuration over its entry under `nodes`, such as `json!({"workload": "api"})`.
    #[must_use]
    pub fn config(mut self, config: &Value) -> Self {
        merge(&mut self.config, config);
        self
    }
}

/// The `skans` to start agents from where the running program is another: `SKANS_BINARY`, or the one
/// that Cargo built beside it.
///
/// # Errors
/// [`Error::NoSkans`].
pub fn find_skans() -> Result<PathBuf, Error> {
    if let Some(named) = std::env::var_os("SKANS_BINARY") {
        return Ok(named.into());
    }
    let own =
        std::env::current_exe().map_err(Error::system("cannot tell where this program is"))?;
    // Test programs lie in `deps`, one below.
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|directory: &Path| directory.join("skans"))
        .find(|file| file.is_file())
        .ok_or_else(|| Error::NoSkans(own.display().to_string()))
}

/// Lays `over` over `base`; `null` takes a key out.
pub(crate) fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                if value.is_null() {
                    base.remove(key);
                } else {
                    merge(base.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (base, over) => *base = over.clone(),
    }
}

/// Puts one piece over another, both to be laid over something later: a `null` stays one.
fn lay(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                lay(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

#[cfg(test)]
mod tests;
