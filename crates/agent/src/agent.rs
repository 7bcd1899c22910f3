//! The agent: everything that its tasks share. Tasks are started in `run`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use arc_swap::ArcSwap;
use rustls::CommonState;
use skans_api::v1::suspicion::Kind;
use skans_dist::NodeName;
use skans_host::strangers::Pending;
use skans_identity::deny::Target;
use skans_identity::id::SpiffeId;
use skans_identity::peer::PeerIdentity;
use skans_identity::verify::Evidence;
use skans_link::SessionId;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;
use crate::brake::Brake;
use crate::breaker::Breakers;
use crate::control::{Control, Sighting};
use crate::cookies::Cookies;
use crate::enforce::Enforcement;
use crate::environment::Layout;
use crate::events::{Burst, Events};
use crate::foreign::Believed;
use crate::gossip::Gossip;
use crate::handover::Handovers;
use crate::identities::Identities;
use crate::lifecycle::Lifecycle;
use crate::locals::Locals;
use crate::outcomes::Outcomes;
use crate::policies::Policies;
use crate::registry::Registry;
use crate::settings::{Place, Settings};
use crate::setup::UNNAMED;
use crate::standing::Class;
use crate::standins::StandIns;
use crate::traces::Traces;
use crate::workers::Workers;

/// Set-ups that local nodes may have under way at once. A node of a large cluster starts with one per
/// peer.
pub const MAX_SETUPS: usize = 4096;
/// Connections to stand-in ports that have not said who they are. A node does within a millisecond;
/// beyond the bound the oldest goes, so that a process that only connects keeps no node out.
pub const MAX_UNKNOWN: usize = 1024;

/// One agent. Cheap to share; every task holds an [`Arc`] of it.
#[derive(Debug)]
pub struct Agent {
    /// What decisions are made from; replaced whole on reload.
    pub settings: ArcSwap<Settings>,
    /// Credentials and trust.
    pub identities: Identities,
    /// The control plane, if this agent has one.
    pub control: Option<Arc<Control>>,
    /// Which policy set decides.
    pub policies: Arc<Policies>,
    /// Changes whenever something that was permitted may not be any more: what is not a link looks again.
    pub judged: tokio::sync::watch::Sender<()>,
    /// What is believed of other trust domains.
    pub believed: Believed,
    /// How they are kept fresh.
    pub lifecycle: Lifecycle,
    /// The cookies of this host's nodes.
    pub cookies: Cookies,
    /// The nodes that are registered now.
    pub locals: Arc<Locals>,
    /// The live links.
    pub registry: Arc<Registry>,
    /// What is handed on over them.
    pub gossip: Gossip,
    /// The loopback ports that stand for nodes.
    pub standins: StandIns,
    /// Keeps strangers from filling the log.
    pub restraint: crate::restraint::Restraint,
    /// Where clients of this host find services of others.
    pub doors: crate::services::Doors,
    /// How set-ups ended.
    pub outcomes: Outcomes,
    /// Ways of other clusters' links through this process, if it is a gateway.
    pub ways: crate::gateway::Ways,
    /// Peers that could not be reached.
    pub breakers: Breakers,
    /// The same of services of this host that take no connection, by where they listen.
    pub targets: Breakers,
    /// Where it is told who was denied what, and who connected.
    pub events: Arc<Events>,
    /// The same as traces.
    pub traces: Traces,
    /// What the links share by which messages are judged.
    pub enforcement: Enforcement,
    /// Where other agents dial.
    pub link_address: SocketAddr,
    /// The loopback addresses that are in use here.
    pub loopbacks: Vec<IpAddr>,
    /// The port of the epmd.
    pub epmd_port: u16,
    /// Who may act for which local name.
    pub users: crate::users::Users,
    /// Where things are in the runtime directory.
    pub layout: Layout,
    /// Set when the agent is to stop: no new links from here on.
    pub draining: CancellationToken,
    /// Set when live links are to end.
    pub stopping: CancellationToken,
    /// Every task that serves a link.
    pub tasks: TaskTracker,
    /// The threads that those tasks run on.
    pub workers: Workers,
    /// Set-ups of local nodes that are under way, [`MAX_SETUPS`] at most.
    pub setups: Semaphore,
    /// Connections to stand-in ports that have not said who they are, [`MAX_UNKNOWN`] at most.
    pub unknown: Arc<Pending>,
    /// All that is neither a link yet nor a registration, and may become one.
    pub set_ups: TaskTracker,
    /// Holds everything when another process takes over.
    pub brake: Brake,
    /// How that went.
    pub handovers: Handovers,
    /// For creations; see [`Agent::creation`].
    pub creations: AtomicU64,
}

impl Agent {
    /// The settings as they are now.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Whether new links may be opened.
    ///
    /// # Errors
    /// [`Error::Stale`] in class `strict`, when heads of the control plane stay away; [`Error::NoRoomForEvents`] in that class, or if the
    /// configuration says so, while events cannot be kept.
    pub fn may_open(&self) -> Result<(), Error> {
        let Some(control) = &self.control else {
            return Ok(());
        };
        let (opens, ..) = control.revocation.verdict();
        if !opens {
            return Err(Error::Stale(control.revocation.age().0.as_secs()));
        }
        let required =
            control.revocation.class() == Class::Strict || self.settings().config.events.required;
        if required && self.events.kept().is_some_and(|kept| kept.is_blocked()) {
            return Err(Error::NoRoomForEvents);
        }
        Ok(())
    }

    /// The agent of `node` has given a sign of life: it need not be waited for.
    pub fn alive(&self, node: &NodeName) {
        if let Some(Place::There(peer)) = self.settings().place(node) {
            self.breakers.alive(&peer);
        }
    }

    /// A peer has shown its certificate: the control plane compares what was seen with what was issued, and where it was seen.
    pub fn saw(&self, connection: &CommonState) -> Sighting {
        let leaf = connection.peer_certificates().and_then(<[_]>::first);
        Sighting::new(self.control.as_ref(), leaf.map(|leaf| &**leaf))
    }

    /// A peer claimed a name that is not its own. That it was refused is not said here.
    pub fn spoofed(&self, peer: &PeerIdentity, claimed: &str) {
        if let Some(control) = &self.control {
            let key = &peer.spki_sha256;
            let suspects = &control.suspects;
            suspects.did(key, Kind::NameSpoofed, 1, claimed, Instant::now());
        }
    }

    /// Very much of what a peer asked a node of this host for was refused.
    pub fn denied(&self, burst: &Burst) {
        let (Some(control), Ok(id)) = (&self.control, SpiffeId::parse(&burst.peer.id)) else {
            return;
        };
        if id.trust_domain() != self.identities.trust_domain() {
            return;
        }
        let links = self.registry.touched_by(&Target::Id(id.clone()));
        let proofs = links.iter().map(|link| link.proof());
        let mut keys: BTreeSet<_> = proofs
            .filter(|proof| proof.identity().id == id)
            .map(|proof| proof.identity().spki_sha256)
            .collect();
        if keys.is_empty() {
            keys.extend(control.suspects.newest(id.as_str()));
        }
        let count = u32::try_from(burst.count).unwrap_or(u32::MAX);
        let detail = format!("refused by {}", burst.local.node);
        for key in keys {
            let (kind, now) = (Kind::DenialBurst, Instant::now());
            control.suspects.did(&key, kind, count, &detail, now);
        }
    }

    /// This certificate of ours is shown on a connection of this session, or about to be.
    pub fn shows(&self, session: &SessionId, own: &Evidence) {
        if let Some(control) = &self.control {
            control.own_links.note(session, &own.peer, Instant::now());
        }
    }

    /// Serves an accepted connection on a worker's thread.
    pub fn serve<F: Future<Output = ()> + Send>(
        &self,
        socket: TcpStream,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) {
        if let Err(error) = self.workers.serve(&self.tasks, socket, serve) {
            tracing::error!("cannot serve a connection: {error}");
        }
    }

    /// A creation for a node that starts: never the one of its former life, since it counts up from
    /// a random start. OTP wants 32 bits above 3; the small ones belonged to old releases.
    pub fn creation(&self) -> u32 {
        loop {
            let next = self.creations.fetch_add(1, Relaxed) & u64::from(u32::MAX);
            if let Ok(creation) = u32::try_from(next)
                && creation > 3
            {
                return creation;
            }
        }
    }

    /// The whole name of the node that would register under the part before `@`, and whether it is
    /// a short-lived one; `None` if nobody may.
    #[must_use]
    pub fn may_register(&self, alive: &str) -> Option<(NodeName, bool)> {
        let settings = self.settings();
        let configured = settings
            .config
            .guarded()
            .filter_map(|node| node.node_name().ok())
            .find(|name| name.alive() == alive);
        if let Some(name) = configured {
            return Some((name, false));
        }
        let name = NodeName::from_parts(alive, &settings.config.cli_host()?).ok()?;
        let cli = name.alive() != UNNAMED && settings.is_cli(&name);
        cli.then_some((name, true))
    }
}
