//! What the types of a configuration cannot refuse by themselves. Each text names the key, what was
//! found, and what was wanted.

use std::time::Duration;

use skans_identity::pattern::NamePattern;

use super::{API_VERSION, Config, ControlSource, IdentitySource};
use crate::node_pattern::NodePattern;

/// Replicas of a control plane, at most. Ours: a join token has room for no more than a few.
const MAX_ADDRESSES: usize = 16;

/// Bounds of what events may take of the disk, in bytes: with less, one that floods would leave no room; more nobody could tell in a day.
const SPOOL: (u64, u64) = (1024 * 1024, 4 * 1024 * 1024 * 1024);

const fn one_day() -> Duration {
    Duration::from_secs(24 * 3600)
}

impl Config {
    /// What the types alone cannot refuse. The text of the error names the key.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.api_version != API_VERSION {
            return Err(format!(
                "apiVersion: found {:?}, wanted {API_VERSION:?}",
                self.api_version
            ));
        }
        if !self.runtime_directory.is_absolute() {
            return Err(format!(
                "runtimeDirectory: found {:?}, wanted an absolute path",
                self.runtime_directory
            ));
        }
        if self.nodes.is_empty() && self.gateway.is_none() {
            return Err("nodes: found none, wanted at least one".to_owned());
        }
        if self.policy.directory.is_some() && matches!(self.identity, IdentitySource::Control(_)) {
            return Err(
                "policy.directory: found one beside identity.control, wanted none: the control plane's sets count (skans policy push)"
                    .to_owned(),
            );
        }
        let mut seen = std::collections::HashSet::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let name = node
                .node_name()
                .map_err(|why| format!("nodes[{index}].name: {why}"))?;
            if name.alive() == "cli" {
                return Err(format!(
                    "nodes[{index}].name: found {name}, wanted another name: \"cli\" stands for short-lived nodes"
                ));
            }
            // Other hosts would hold it for a tool, ask for the certificate of tools and never reach it.
            let tool = self.cli_patterns().into_iter();
            if let Some(pattern) = tool
                .chain(NamePattern::cli_defaults())
                .find(|pattern| pattern.matches(name.alive()))
            {
                return Err(format!(
                    "nodes[{index}].name: found {name}, wanted another name: {pattern} stands for short-lived nodes"
                ));
            }
            // epmd knows nodes by the part before the @ alone.
            if !seen.insert(name.alive().to_owned()) {
                return Err(format!(
                    "nodes[{index}].name: found {:?} twice before the @, wanted each name once per host",
                    name.alive()
                ));
            }
            self.check_certificate(
                node.certificate.is_some(),
                &format!("nodes[{index}].certificate"),
            )?;
        }
        for (index, pattern) in self.refuse.iter().enumerate() {
            NodePattern::parse(pattern).map_err(|why| format!("refuse[{index}]: {why}"))?;
        }
        for (index, pattern) in self.clique.members.iter().enumerate() {
            NodePattern::parse(pattern).map_err(|why| format!("clique.members[{index}]: {why}"))?;
        }
        for (index, peer) in self.peers.fixed.iter().enumerate() {
            NodePattern::parse(&peer.nodes)
                .map_err(|why| format!("peers.static[{index}].nodes: {why}"))?;
            check_address(&peer.address)
                .map_err(|why| format!("peers.static[{index}].address: {why}"))?;
        }
        if let Some(dns) = &self.peers.dns
            && (dns.hosts.is_empty() || dns.hosts.len() > 255)
        {
            return Err(format!(
                "peers.dns.hosts: found {:?}, wanted a pattern such as *.svc.cluster.local",
                dns.hosts
            ));
        }
        for (index, pattern) in self.cli.patterns.iter().enumerate() {
            NamePattern::parse(pattern).map_err(|why| format!("cli.patterns[{index}]: {why}"))?;
        }
        for address in self.epmd.addresses.iter().flatten() {
            if !address.is_loopback() {
                return Err(format!(
                    "epmd.addresses: found {address}, wanted a loopback address: nobody outside this host may reach it"
                ));
            }
        }
        self.check_services()?;
        self.check_gateways()?;
        self.traces.check()?;
        self.check_bounds()
    }

    fn check_bounds(&self) -> Result<(), String> {
        let within = |key: &str, value: Duration, least: Duration, most: Duration| {
            if value < least || value > most {
                return Err(format!(
                    "{key}: found {value:?}, wanted {least:?} to {most:?}"
                ));
            }
            Ok(())
        };
        let (tenth, second, minute) = (
            Duration::from_millis(100),
            Duration::from_secs(1),
            Duration::from_secs(60),
        );
        within(
            "links.handshakeTimeout",
            self.links.handshake_timeout,
            tenth,
            minute,
        )?;
        within(
            "links.silence",
            self.links.silence,
            Duration::ZERO,
            minute / 2,
        )?;
        within(
            "links.resumeTimeout",
            self.links.resume_timeout,
            Duration::ZERO,
            Duration::from_secs(600),
        )?;
        if !(1 << 20..=1 << 30).contains(&self.links.window) {
            return Err(format!(
                "links.window: found {}, wanted 1048576 to 1073741824 bytes",
                self.links.window
            ));
        }
        // Above 7 s the node gives up before its agent can say why.
        within(
            "links.setupTimeout",
            self.links.setup_timeout,
            second,
            Duration::from_millis(6900),
        )?;
        within(
            "drain.timeout",
            self.drain.timeout,
            Duration::ZERO,
            Duration::from_secs(24 * 3600),
        )?;
        within(
            "events.window",
            self.events.window,
            tenth,
            Duration::from_secs(600),
        )?;
        if !(SPOOL.0..=SPOOL.1).contains(&self.events.spool) {
            return Err(format!(
                "events.spool: found {}, wanted {} to {} bytes",
                self.events.spool, SPOOL.0, SPOOL.1
            ));
        }
        if self.events.required && !matches!(self.identity, IdentitySource::Control(_)) {
            return Err(
                "events.required: found true without identity.control, wanted false: events are kept for a control plane alone"
                    .to_owned(),
            );
        }
        if let Some(file) = self.events.file.as_ref().filter(|file| !file.is_absolute()) {
            return Err(format!(
                "events.file: found {file:?}, wanted an absolute path"
            ));
        }
        if let IdentitySource::Authority(source) = &self.identity {
            within(
                "identity.authority.leafLifetime",
                source.leaf_lifetime,
                // Shorter than any cluster wants it: for labs, that watch certificates rotate.
                15 * second,
                one_day(),
            )?;
        }
        if let IdentitySource::Control(source) = &self.identity {
            if let Some(life) = source.leaf_lifetime {
                within(
                    "identity.control.leafLifetime",
                    life,
                    15 * second,
                    one_day(),
                )?;
            }
            source.check()?;
        }
        if !(16..=65_536).contains(&self.links.max_pending) {
            return Err(format!(
                "links.maxPending: found {}, wanted 16 to 65536",
                self.links.max_pending
            ));
        }
        if !(2..=10_000).contains(&self.links.max_per_peer) {
            return Err(format!(
                "links.maxPerPeer: found {}, wanted 2 to 10000",
                self.links.max_per_peer
            ));
        }
        Ok(())
    }

    pub(super) fn check_certificate(&self, given: bool, key: &str) -> Result<(), String> {
        match (&self.identity, given) {
            (IdentitySource::Files(_), false) => Err(format!(
                "{key}: found none, wanted chain and key, since identity is files"
            )),
            (
                IdentitySource::Authority(_)
                | IdentitySource::Control(_)
                | IdentitySource::WorkloadApi(_),
                true,
            ) => Err(format!(
                "{key}: found one, wanted none, since identity is not files"
            )),
            _ => Ok(()),
        }
    }
}

impl ControlSource {
    fn check(&self) -> Result<(), String> {
        let key = "identity.control";
        if self.join_token.is_some() && self.kubernetes.is_some() {
            return Err(format!(
                "{key}: found joinToken and kubernetes, wanted one of them"
            ));
        }
        if self.kubernetes.is_some() && self.addresses.is_empty() {
            return Err(format!(
                "{key}.addresses: found none, wanted host:port of the control plane"
            ));
        }
        if self.addresses.len() > MAX_ADDRESSES {
            return Err(format!(
                "{key}.addresses: found {}, wanted at most {MAX_ADDRESSES}",
                self.addresses.len()
            ));
        }
        for (index, address) in self.addresses.iter().enumerate() {
            check_address(address).map_err(|why| format!("{key}.addresses[{index}]: {why}"))?;
        }
        if !self.state_directory.is_absolute() {
            return Err(format!(
                "{key}.stateDirectory: found {:?}, wanted an absolute path",
                self.state_directory
            ));
        }
        Ok(())
    }
}

pub(super) fn check_address(text: &str) -> Result<(), String> {
    let wanted = || format!("found {text:?}, wanted host:port, such as 10.0.0.2:4370");
    let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
    if host.is_empty() || port.parse::<u16>().map_or(true, |port| port == 0) {
        return Err(wanted());
    }
    Ok(())
}
