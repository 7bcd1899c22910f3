//! What a message asks for meets what the policy says: who may connect, and what becomes of each message of a link. Here is
//! what is shared by the links of an agent; one direction of a link is judged in `flow`.
//!
//! What a message means is read in `skans_dist::operation`, who may do it is decided in `skans_policy`; neither knows of the
//! other.

mod answers;
mod asked;
mod flow;
mod handles;
mod key;
mod limits;
mod memory;
mod monitors;
mod reason;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use skans_dist::rename::Renamer;
use skans_dist::{Flags, NodeName};
use skans_handover::{Table, TableParts};
use skans_identity::id::Role;
use skans_identity::peer::PeerIdentity;
use skans_policy::{Action, Decision, Request, Resource, Subject};

use crate::Error;
use crate::agent::Agent;
use crate::events::{Denial, Subject as Wanted};
use crate::policies::{Beside, InForce, Policies, Standing};
use crate::proof::Proof;
use crate::registry::{Direction, Link};
use crate::told::parties;

pub use answers::Answers;
pub use flow::Flow;
use handles::Handles;
use limits::Atoms;
pub use limits::LimitsConfig;
pub use reason::{Decisions, Reason};

/// What the links of an agent share.
#[derive(Debug, Default)]
pub struct Enforcement {
    /// What each node has handed out, over all of its links.
    handles: Mutex<HashMap<NodeName, Weak<Handles>>>,
    /// Which atoms each peer has made in each node, in its present life.
    atoms: Mutex<HashMap<(NodeName, u32, String), Arc<Atoms>>>,
}

/// Both directions of a link, each with where the answers to what is refused in it go.
pub struct Flows {
    /// What the node of this host sends.
    pub sent: Flow,
    /// What the peer sends.
    pub received: Flow,
    /// For the node of this host.
    pub to_node: Arc<Answers>,
    /// For the peer.
    pub to_peer: Arc<Answers>,
    /// What changes the names in what the node of this host sends, and in what comes back; where the two nodes are of two clusters, and
    /// this is the one that dialled.
    pub renamers: Option<(Renamer, Renamer)>,
}

impl Flows {
    /// Of a link that both nodes have agreed on, with these flags in common.
    ///
    /// # Errors
    /// [`Error::WrongName`] for an identity that is not a node's, and for names that cannot be told apart.
    pub fn of(agent: &Agent, link: &Arc<Link>, flags: Flags) -> Result<Self, Error> {
        let proof = link.proof();
        let (local, peer) = (subject(&proof.own.peer)?, subject(proof.identity())?);
        let (own, other) = parties(link);
        let share = agent.events.share(&own, &other);
        let settings = agent.settings();
        let limits = &settings.config.limits;
        let (name, _) = link.names();
        let registered = agent.locals.by_name(name);
        let creation = registered.as_ref().map_or(0, |local| local.creation);
        let names = registered.map(|local| local.names);
        let enforcement = &agent.enforcement;
        let handles = enforcement.handles(name);
        let atoms = enforcement.atoms(name, creation, &other.id, limits.new_atoms);
        let (to_node, to_peer) = (Arc::<Answers>::default(), Arc::<Answers>::default());
        let flow = |direction| {
            let (from, to, answers) = match direction {
                Direction::Outbound => (&local, &peer, &to_node),
                Direction::Inbound => (&peer, &local, &to_peer),
            };
            let inbound = direction == Direction::Inbound;
            let made = flow::Made {
                direction,
                policies: Arc::clone(&agent.policies),
                names: names.clone().filter(|_| inbound),
                handles: Arc::clone(&handles),
                atoms: inbound.then(|| Arc::clone(&atoms)),
                limits: limits.clone(),
                answers: Arc::clone(answers),
                share: Arc::clone(&share),
                link: Arc::clone(link),
                flags,
            };
            Flow::new(made, from, to)
        };
        let across = link.across.as_ref();
        let (local, peer) = link.names();
        let renamers = across.map(|across| across.renamers(local, peer, limits.message_bytes));
        Ok(Self {
            renamers: renamers.transpose()?,
            sent: flow(Direction::Outbound),
            received: flow(Direction::Inbound),
            to_node,
            to_peer,
        })
    }
}

impl Enforcement {
    fn handles(&self, node: &NodeName) -> Arc<Handles> {
        let mut all = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, handles| handles.strong_count() > 0);
        if let Some(handles) = all.get(node).and_then(Weak::upgrade) {
            return handles;
        }
        let handles = Arc::new(Handles::new());
        all.insert(node.clone(), Arc::downgrade(&handles));
        handles
    }

    /// All tables, for another process.
    #[must_use]
    pub fn freeze(&self) -> Vec<(Table, TableParts)> {
        let all = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let handles = all.iter().filter_map(|(node, handles)| {
            let node = node.to_string();
            Some((Table::Handles { node }, handles.upgrade()?.freeze()))
        });
        let mut tables: Vec<_> = handles.collect();
        drop(all);
        let all = self.atoms.lock().unwrap_or_else(PoisonError::into_inner);
        tables.extend(all.iter().map(|((node, creation, peer), atoms)| {
            let table = Table::Atoms {
                node: node.to_string(),
                creation: *creation,
                peer: peer.clone(),
            };
            (table, atoms.freeze())
        }));
        tables
    }

    /// Takes a table of another process. What is handed out goes when nobody holds it: what is returned is to be kept until
    /// the links are there.
    ///
    /// # Errors
    /// [`Error::Internal`] for what is no node name.
    pub fn thaw(
        &self,
        table: Table,
        parts: &TableParts,
        most: usize,
    ) -> Result<Option<Arc<Handles>>, Error> {
        let name = |text: String| -> Result<NodeName, Error> {
            let parsed = text.parse();
            parsed.map_err(|error: skans_dist::Error| Error::Internal(error.to_string()))
        };
        match table {
            Table::Handles { node } => {
                let handles = Arc::new(Handles::thaw(parts));
                let mut all = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
                all.insert(name(node)?, Arc::downgrade(&handles));
                Ok(Some(handles))
            }
            Table::Atoms {
                node,
                creation,
                peer,
            } => {
                let key = (name(node)?, creation, peer);
                let mut all = self.atoms.lock().unwrap_or_else(PoisonError::into_inner);
                all.insert(key, Arc::new(Atoms::thaw(most, parts)));
                Ok(None)
            }
        }
    }

    /// A peer that connects anew goes on where it was: only a new life of the node, whose table is empty, begins anew.
    fn atoms(&self, node: &NodeName, creation: u32, peer: &str, most: usize) -> Arc<Atoms> {
        let mut all = self.atoms.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(other, life, _), atoms| {
            other != node || *life == creation || Arc::strong_count(atoms) > 1
        });
        let key = (node.clone(), creation, peer.to_owned());
        let atoms = all.entry(key).or_insert_with(|| Arc::new(Atoms::new(most)));
        Arc::clone(atoms)
    }
}

/// Decides whether a link may be, by the set that is in force now: the node that called wants to.
///
/// # Errors
/// [`Error::NotPermitted`].
pub fn connect(agent: &Agent, link: &Link, proof: &Proof) -> Result<(), Error> {
    let in_force = agent.policies.current();
    let now = crate::keeper::now().as_secs();
    let (local, peer) = (subject(&proof.own.peer)?, subject(proof.identity())?);
    let (from, to) = match link.direction {
        Direction::Outbound => (&local, &peer),
        Direction::Inbound => (&peer, &local),
    };
    let pair = in_force.engine.pair(from, to, now);
    let (resource, wanted) = match link.service.as_deref() {
        None => (Resource::Node, Wanted::Node),
        Some(name) => (Resource::Service(name), Wanted::Service(name)),
    };
    let request = Request {
        now: Some(now),
        ..Request::new(Action::Connect, resource)
    };
    let decision = pair.decide(&request);
    if let Some(beside) = agent.policies.beside() {
        compare(&beside, from, to, &request, &decision, now);
    }
    let reason = reason_of(&in_force);
    let counters = match link.direction {
        Direction::Outbound => &link.traffic.sent,
        Direction::Inbound => &link.traffic.received,
    };
    let counted = (decision.verdict, Action::Connect, reason);
    counters.decisions.count(counted.0, counted.1, counted.2);
    let (own, other) = parties(link);
    let version = version_of(&in_force);
    let share = agent.events.share(&own, &other);
    let dry = in_force.dry_until().is_some_and(|until| now < until);
    if decision.verdict.passes() && (dry || share.observed().always()) {
        let told = (link.direction, version);
        let seen = flow::observation(told, Action::Connect.as_str(), &decision, &request);
        share.observed().note(&seen);
    }
    if decision.verdict == skans_policy::Verdict::Permit {
        return Ok(());
    }
    share.denied(&Denial {
        direction: link.direction,
        action: Action::Connect.as_str(),
        reason: reason.label(),
        dry_run: decision.verdict.passes(),
        resource: wanted,
        carries_function: false,
        via_pid: false,
        version,
        session: link.correlation(),
    });
    if decision.verdict.passes() {
        return Ok(());
    }
    let (here, there) = link.names();
    let (from, to) = match link.direction {
        Direction::Outbound => (here, there),
        Direction::Inbound => (there, here),
    };
    Err(Error::NotPermitted {
        from: from.to_string(),
        to: match &link.service {
            None => to.to_string(),
            Some(service) => format!("{service} of {to}"),
        },
        why: match reason {
            Reason::Policy => format!("policy {} does not permit it", in_force.version()),
            other => format!("policy {}: {}", in_force.version(), other.label()),
        },
    })
}

/// Takes note of it if another set decides otherwise.
fn compare(
    beside: &Beside,
    from: &Subject,
    to: &Subject,
    request: &Request<'_>,
    decided: &Decision,
    now: u64,
) {
    let other = beside.engine().pair(from, to, now).decide(request);
    if other.verdict != decided.verdict {
        beside.differs(from, to, request, || (decided.clone(), other));
    }
}

/// What another set would say of the links that are up: nobody asks for them again, and they would end.
fn compare_links(agent: &Agent, beside: &Beside) {
    let in_force = agent.policies.current();
    let now = crate::keeper::now().as_secs();
    for link in agent.registry.snapshot() {
        let proof = link.proof();
        let (Ok(local), Ok(peer)) = (subject(&proof.own.peer), subject(proof.identity())) else {
            continue;
        };
        let (from, to) = match link.direction {
            Direction::Outbound => (&local, &peer),
            Direction::Inbound => (&peer, &local),
        };
        let service = link.service.as_deref();
        let request = Request {
            now: Some(now),
            ..Request::new(
                Action::Connect,
                service.map_or(Resource::Node, Resource::Service),
            )
        };
        let decided = in_force.engine.pair(from, to, now).decide(&request);
        compare(beside, from, to, &request, &decided, now);
    }
}

/// Whether the policy lets a node show itself to others. What cannot be decided is hidden.
pub fn publishes(in_force: &InForce, identity: &PeerIdentity) -> bool {
    subject(identity).is_ok_and(|node| {
        let pair = in_force
            .engine
            .pair(&node, &node, crate::keeper::now().as_secs());
        let request = Request::new(Action::Publish, Resource::Node);
        pair.decide(&request).verdict.passes()
    })
}

/// Whether the node of this host may agree with the peer on spawn requests to it.
///
/// # Errors
/// [`Error::WrongName`] for an identity that is not a node's.
pub fn may_spawn(agent: &Agent, proof: &Proof) -> Result<bool, Error> {
    let (local, peer) = (subject(&proof.own.peer)?, subject(proof.identity())?);
    let in_force = agent.policies.current();
    let pair = in_force
        .engine
        .pair(&local, &peer, crate::keeper::now().as_secs());
    Ok(pair.reach().spawn.passes())
}

/// Decides the live links again whenever the set in force is another, and ends those that it no longer permits. Messages
/// follow by themselves: each flow looks.
pub async fn follow(agent: Arc<Agent>) {
    let mut changes = agent.policies.changes();
    let mut before = agent.policies.current();
    let mut compared = None;
    while changes.changed().await.is_ok() {
        let now = agent.policies.current();
        let beside = agent.policies.beside();
        let known = compared.as_ref().map(Arc::as_ptr);
        if let Some(beside) = beside
            .as_ref()
            .filter(|one| known != Some(Arc::as_ptr(one)))
        {
            compare_links(&agent, beside);
        }
        compared = beside;
        // One that may be used for longer decides nothing otherwise.
        if !Arc::ptr_eq(&before.engine, &now.engine) || now.dry_until().is_some() {
            crate::run::decide_again(&agent);
        }
        before = now;
    }
}

/// Whose links these are, in the words of the policy.
///
/// # Errors
/// [`Error::WrongName`] for an identity that is not a node's.
pub fn subject(identity: &PeerIdentity) -> Result<Subject, Error> {
    let Some(Role::Node {
        cluster,
        namespace,
        workload,
        node,
    }) = identity.id.role()
    else {
        return Err(Error::WrongName(format!(
            "{} is not the identity of a node",
            identity.id
        )));
    };
    Ok(Subject {
        trust_domain: identity.id.trust_domain().as_str().to_owned(),
        cluster: cluster.to_owned(),
        namespace: namespace.to_owned(),
        workload: workload.to_owned(),
        node: node.to_owned(),
        host: identity
            .host
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    })
}

/// Why this set refuses.
fn reason_of(in_force: &InForce) -> Reason {
    match in_force.standing {
        Standing::Expired => Reason::Expired,
        Standing::Missing => Reason::Missing,
        Standing::BuiltIn | Standing::Directory | Standing::Signed => Reason::Policy,
    }
}

fn version_of(in_force: &InForce) -> (u64, u64) {
    (in_force.version().epoch, in_force.version().n)
}

/// The version of the set in force, for events.
pub fn version(policies: &Policies) -> (u64, u64) {
    version_of(&policies.current())
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
