//! Which user of this host may act for which local name.
//!
//! Loopback ports are open to every process of the host. The kernel tells whose a connection is, so
//! a process of another user gets nowhere, cookie or not.

use std::collections::HashMap;

use crate::Error;
use crate::config::Config;

/// The users of this host's nodes.
#[derive(Debug)]
pub struct Users {
    nodes: HashMap<String, u32>,
    cli: Vec<u32>,
}

impl Users {
    /// Resolves the configured users.
    ///
    /// # Errors
    /// [`Error::Config`] for a user that does not exist.
    pub fn resolve(config: &Config) -> Result<Self, Error> {
        let own = rustix::process::geteuid().as_raw();
        let mut nodes = HashMap::new();
        let mut owners = Vec::new();
        for (index, node) in config.nodes.iter().enumerate() {
            let name = node
                .node_name()
                .map_err(|why| Error::config("nodes", why))?;
            let uid = match &node.user {
                Some(user) => uid(user, &format!("nodes[{index}].user"))?,
                None => own,
            };
            nodes.insert(name.alive().to_owned(), uid);
            owners.push(uid);
        }
        let cli = match &config.cli.user {
            Some(user) => vec![uid(user, "cli.user")?],
            // Tools are run beside the node, as its user.
            // In the order of the file, for the cookie belongs to the first.
            None => owners,
        };
        Ok(Self { nodes, cli })
    }

    /// Whose the cookie of a node is.
    #[must_use]
    pub fn of_node(&self, alive: &str) -> Option<u32> {
        self.nodes.get(alive).copied()
    }

    /// Whose the cookie of short-lived nodes is; `None` leaves it to the agent's own user.
    #[must_use]
    pub fn of_cli(&self) -> Option<u32> {
        self.cli.first().copied()
    }

    /// Whether a process of user `uid` may act for any name at all.
    #[must_use]
    pub fn is_known(&self, uid: Option<u32>) -> bool {
        uid.is_some_and(|uid| {
            uid == 0 || self.cli.contains(&uid) || self.nodes.values().any(|&node| node == uid)
        })
    }

    /// Whether a process of user `uid` may act for the name with `alive` before the `@`. Root may
    /// always: it could read every cookie anyway.
    pub fn check(&self, alive: &str, uid: Option<u32>) -> Result<(), String> {
        let Some(uid) = uid else {
            return Err(format!(
                "a process that claims {alive} was gone before it could be identified"
            ));
        };
        let allowed = match self.nodes.get(alive) {
            Some(owner) => std::slice::from_ref(owner),
            None => &self.cli,
        };
        if uid == 0 || allowed.contains(&uid) {
            return Ok(());
        }
        Err(format!(
            "a process of user {uid} claims {alive}, wanted user {allowed:?} (nodes[].user, cli.user)"
        ))
    }
}

/// A user by name or number, as `/etc/passwd` knows it. Directories behind NSS are not asked: the
/// binary is static, and a node's user stands in the file of its host or image.
pub fn uid(user: &str, key: &str) -> Result<u32, Error> {
    if let Ok(uid) = user.parse() {
        return Ok(uid);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    passwd
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(user)).then(|| fields.nth(1)?.parse().ok())?
        })
        .next()
        .ok_or_else(|| {
            Error::config(
                key,
                format!("found {user:?}, wanted a user of /etc/passwd or a numeric id"),
            )
        })
}
