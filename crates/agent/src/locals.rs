//! The nodes that are registered on this host right now, as their sockets say.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use skans_dist::NodeName;

use crate::names::Names;

/// One registered node.
#[derive(Clone, Debug)]
pub struct Local {
    /// Its whole name.
    pub name: NodeName,
    /// Where it listens: a loopback address.
    pub address: SocketAddr,
    /// What it registered with; changes at every start.
    pub creation: u32,
    /// Its `net_ticktime` in seconds; 0 if it did not say.
    pub tick_seconds: u16,
    /// The user that runs it.
    pub uid: u32,
    /// One of the short-lived ones.
    pub cli: bool,
    /// Which of its processes bear a name.
    pub names: Arc<Names>,
}

/// All registered nodes, by the part of the name before `@`.
#[derive(Debug, Default)]
pub struct Locals {
    registered: Mutex<BTreeMap<String, Local>>,
    /// Of every node that is registered, or has links still.
    names: Mutex<BTreeMap<String, Weak<Names>>>,
}

/// Keeps a node registered; dropped when its socket closes.
#[derive(Debug)]
pub struct Registration {
    locals: Arc<Locals>,
    alive: String,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.locals.lock().remove(&self.alive);
    }
}

impl Locals {
    /// Registers a node, or says that the name is taken.
    pub fn register(self: &Arc<Self>, local: Local, limit: usize) -> Result<Registration, String> {
        let alive = local.name.alive().to_owned();
        let mut map = self.lock();
        if map.contains_key(&alive) {
            return Err(format!(
                "{alive} is registered already, and its node is alive"
            ));
        }
        if map.len() >= limit {
            return Err(format!("{limit} nodes are registered, which is the limit"));
        }
        map.insert(alive.clone(), local);
        drop(map);
        Ok(Registration {
            locals: Arc::clone(self),
            alive,
        })
    }

    /// The names of a node in its present life. One that registers again, since its agent was not heard for a moment, goes
    /// on with those that its links look at.
    #[must_use]
    pub fn names(&self, alive: &str, creation: u32) -> Arc<Names> {
        let mut all = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, names| names.strong_count() > 0);
        if let Some(names) = all.get(alive).and_then(Weak::upgrade)
            && names.creation() == creation
        {
            return names;
        }
        let names = Arc::new(Names::new(creation));
        all.insert(alive.to_owned(), Arc::downgrade(&names));
        names
    }

    /// The node registered under the part of a name before `@`.
    #[must_use]
    pub fn by_alive(&self, alive: &str) -> Option<Local> {
        self.lock().get(alive).cloned()
    }

    /// The node registered under a whole name.
    #[must_use]
    pub fn by_name(&self, name: &NodeName) -> Option<Local> {
        self.by_alive(name.alive())
            .filter(|local| local.name == *name)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Local> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Local>> {
        self.registered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loopback address on which a node of user `uid` listens, or why it may not be served.
///
/// A listener that other hosts can reach makes every promise of the agent void: whoever has the
/// cookie would walk past it.
pub fn loopback_listener(port: u16, uid: u32) -> Result<SocketAddr, String> {
    let found = crate::loopback::listeners(port, uid);
    if let Some(open) = found.iter().find(|ip| !ip.is_loopback()) {
        return Err(format!(
            "its listener on {open}:{port} can be reached from other hosts, wanted a loopback address (-kernel inet_dist_use_interface)"
        ));
    }
    let best = found
        .iter()
        .find(|ip| ip.is_ipv4())
        .or(found.first())
        .copied()
        .ok_or_else(|| format!("no process of user {uid} listens on port {port}"))?;
    Ok(SocketAddr::new(best, port))
}

/// The wildcard-free loopback addresses that this host's own name stands for, besides 127.0.0.1 and
/// ::1: C programs such as `erl_call` ask for a node there.
#[must_use]
pub fn own_loopbacks() -> Vec<IpAddr> {
    use std::net::ToSocketAddrs;
    let mut found = vec![
        IpAddr::from([127, 0, 0, 1]),
        IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
    ];
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy().into_owned();
    if let Ok(addresses) = (host.as_str(), 0).to_socket_addrs() {
        for address in addresses.map(|a| a.ip().to_canonical()) {
            if address.is_loopback() && !found.contains(&address) {
                found.push(address);
            }
        }
    }
    found
}
