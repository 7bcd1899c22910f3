//! Links under a policy of one's own, for tests.

use skans_policy::source::ClusterLinks;
use skans_policy::{Entities, File, Mode, Source, Version};

use super::*;
use crate::events::{Events, EventsConfig, Party};
use crate::names::Names;
use crate::proof::testing::proof;
use crate::registry::{NewLink, Registered, Registry};

/// Everything that no permit has to name.
pub const OPEN: &str = r#"@id("open") permit(principal, action, resource);"#;

/// A set of these policies alone.
pub fn source(cedar: &str) -> Source {
    Source {
        version: Version { epoch: 1, n: 1 },
        name: "test".into(),
        mode: Mode::Enforce,
        policies: vec![File {
            name: "test.cedar".into(),
            text: cedar.into(),
        }],
        entities: Entities::default(),
        roles: Vec::new(),
        links: ClusterLinks::default(),
    }
}

/// A link from `a@here` to a node of this host, `b@here`.
pub fn link() -> Registered {
    link_between("b@here", "a@here")
}

/// A link of a node of this host.
pub fn link_between(local: &str, peer: &str) -> Registered {
    let new = NewLink {
        local: local.parse().unwrap(),
        peer: peer.parse().unwrap(),
        direction: Direction::Inbound,
        proof: proof("c", "a", Some("here")),
        across: None,
        service: None,
    };
    Arc::new(Registry::default()).register(new, 1).unwrap()
}

/// What both ends of a link have agreed on: all that is known.
pub const FLAGS: Flags = Flags::KNOWN;

/// One direction of a link from a node `a` to a node `b`.
pub struct Setting {
    /// Which end we are.
    pub direction: Direction,
    /// The set.
    pub policies: Arc<Policies>,
    /// What both have agreed on.
    pub flags: Flags,
    /// Of the receiving node.
    pub names: Arc<Names>,
    /// Of the node here.
    pub handles: Arc<Handles>,
    /// Limits.
    pub limits: LimitsConfig,
    /// Where answers go.
    pub answers: Arc<Answers>,
    /// Where denials are told.
    pub events: Events,
}

impl Setting {
    /// Under these policies; events go to a file.
    pub fn new(direction: Direction, cedar: &str, events: &std::path::Path) -> Self {
        let config = EventsConfig {
            file: Some(events.to_owned()),
            ..EventsConfig::default()
        };
        Self {
            direction,
            policies: Arc::new(Policies::testing(&source(cedar))),
            flags: FLAGS,
            names: Arc::new(Names::new(1)),
            handles: Arc::new(Handles::new()),
            limits: LimitsConfig::default(),
            answers: Arc::default(),
            events: Events::open(&config, None).unwrap(),
        }
    }

    /// The flow.
    pub fn flow(&self, link: &Arc<Link>) -> Flow {
        let node = |node: &str| Subject {
            trust_domain: "test".into(),
            cluster: "c".into(),
            namespace: "n".into(),
            workload: "w".into(),
            node: node.into(),
            host: "here".into(),
        };
        let party = |node: &Subject| Party {
            id: node.id().into(),
            node: node.name().into(),
        };
        let (from, to) = (node("a"), node("b"));
        let inbound = self.direction == Direction::Inbound;
        let (local, peer) = if inbound {
            (party(&to), party(&from))
        } else {
            (party(&from), party(&to))
        };
        let made = flow::Made {
            direction: self.direction,
            policies: Arc::clone(&self.policies),
            names: inbound.then(|| Arc::clone(&self.names)),
            handles: Arc::clone(&self.handles),
            atoms: inbound.then(|| Arc::new(Atoms::new(self.limits.new_atoms))),
            limits: self.limits.clone(),
            answers: Arc::clone(&self.answers),
            share: self.events.share(&local, &peer),
            link: Arc::clone(link),
            flags: self.flags,
        };
        Flow::new(made, &from, &to)
    }
}

impl Flows {
    /// Of a link on which everything is permitted that no permit has to name.
    pub fn open(link: &Arc<Link>) -> Self {
        let setting = |direction| Setting::new(direction, OPEN, std::path::Path::new("/dev/null"));
        let (sent, received) = (setting(Direction::Outbound), setting(Direction::Inbound));
        Self {
            renamers: None,
            sent: sent.flow(link),
            received: received.flow(link),
            to_node: sent.answers,
            to_peer: received.answers,
        }
    }
}
