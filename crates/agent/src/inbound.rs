//! A node of another host calls: from the first byte on the link port to the relayed connection.
//!
//! Towards the local node the agent plays the calling node, with that node's flags and creation but
//! with a challenge of its own, and answers with the local node's cookie.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use skans_dist::NodeName;
use skans_dist::handshake::{self, Challenge, ChallengeAck, ChallengeReply, SendName, Status};
use skans_host::strangers::Waiting;
use skans_identity::verify::{Evidence, Usage};
use skans_link::{Frame, Hello, Session, SessionId, Welcome, negotiate};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::agent::Agent;
use crate::buffered::Buffered;
use crate::control::Sighting;
use crate::identities::InUse;
use crate::locals::Local;
use crate::node_io::{NodeSocket, malformed};
use crate::proof::{self, Proof, TlsFacts};
use crate::registry::{Direction, Link, NewLink, Registered};
use crate::settings::Settings;
use crate::setup::{self, within};
use crate::traces::{self, Refused, Step};
use crate::wire::{self, LinkStream};
use crate::{Error, enforce, outbound, random, resume, services, takeover};

/// Serves one connection to the link port.
pub async fn serve(agent: Arc<Agent>, socket: TcpStream, address: SocketAddr, waiting: Waiting) {
    let under_way = agent.set_ups.token();
    let settings = agent.settings();
    let limit = settings.config.links.setup_timeout;
    let began = traces::now();
    let evicted = waiting.evicted.clone();
    let proven = tokio::select! {
        biased;
        // Who called tries again.
        () = agent.brake.pulled() => return,
        proven = Box::pin(prove(&agent, &settings, socket, address)) => proven,
        () = evicted.cancelled() => Err(too_many(&settings)),
    };
    let (mut wire, caller, seen) = match proven {
        Ok(proven) => proven,
        Err(error) => {
            agent.outcomes.failed(Direction::Inbound, &error);
            if let Some(left_out) = agent.restraint.admit(error.label(), Instant::now()) {
                let left_out = (left_out > 0).then_some(left_out);
                tracing::warn!(%address, reason = error.label(), blame = ?error.blame(), left_out, "link refused, inbound: {error}");
            }
            return;
        }
    };
    let identity = caller.evidence.peer.id.clone();
    let mut call = Call {
        agent: &agent,
        settings: &settings,
        caller: &caller,
        from: None,
        to: None,
        began,
        session: None,
        takeover: 0,
        resume: false,
        service: None,
    };
    let set_up = Box::pin(call.set_up(&mut wire, waiting, seen));
    let set_up = within(limit, "the set-up of a link", set_up);
    let made = tokio::select! {
        biased;
        () = agent.brake.pulled() => Err(outbound::replaced()),
        made = set_up => made,
    };
    match made {
        Ok(Outcome::Up(registered, node)) => {
            call.count("ok");
            let (local, peer) = registered.names();
            agent.alive(peer);
            let service = registered.service.as_deref();
            tracing::info!(link = registered.id, %local, %peer, %identity, %address, service, visible = registered.visible.load(Relaxed), "link up, inbound");
            outbound::carry(&agent, node.0, wire, registered, ());
        }
        Ok(Outcome::Resumed(link, offset)) => {
            if let Some(live) = link.live() {
                live.rescue(call.takeover, offset, Box::new(wire));
            }
        }
        Ok(Outcome::TakenOver(link)) => {
            if let Some(live) = link.live() {
                live.offer(call.takeover, Box::new(wire));
            }
            agent.registry.takeovers.established(Direction::Inbound);
            let (local, peer) = link.names();
            tracing::debug!(link = link.id, %local, %peer, %address, "link re-authenticated, inbound");
        }
        Err(error) => {
            drop(under_way);
            if let (Some(from), Error::WrongName(_) | Error::UnknownSession(_)) =
                (&call.from, &error)
                && setup::spoofs(&settings, &caller.evidence.peer, from)
            {
                agent.spoofed(&caller.evidence.peer, from.as_str());
            }
            Box::pin(wire.close(&error.to_close())).await;
            let takeover = call.takeover > 0;
            if call.resume {
                agent
                    .registry
                    .resumptions
                    .failed(Direction::Inbound, &error);
            } else if takeover {
                agent.registry.takeovers.failed(Direction::Inbound, &error);
            } else {
                call.count(error.label());
                call.tell(&error);
            }
            let name =
                |name: &Option<NodeName>| name.as_ref().map_or("?".to_owned(), ToString::to_string);
            let (from, to) = (name(&call.from), name(&call.to));
            let service = call.service.as_deref();
            if error.is_ordinary() {
                tracing::debug!(%from, %to, service, reason = error.label(), "link not made, inbound: {error}");
            } else {
                tracing::warn!(%from, %to, service, %identity, %address, takeover, reason = error.label(), blame = ?error.blame(), retry = error.may_retry(), "link refused, inbound: {error}");
            }
        }
    }
}

fn too_many(settings: &Settings) -> Error {
    Error::TooMany {
        what: "inbound connections that have not said who they are and whom they want".to_owned(),
        limit: settings.config.links.max_pending,
    }
}

/// Who calls, and by which name it asked for us.
struct Caller {
    evidence: Evidence,
    tls_name: String,
    tls: TlsFacts,
    /// What could be shown to it.
    in_use: InUse,
}

/// TLS.
async fn prove(
    agent: &Arc<Agent>,
    settings: &Settings,
    socket: TcpStream,
    address: SocketAddr,
) -> Result<(LinkStream, Caller, Sighting), Error> {
    socket
        .set_nodelay(true)
        .map_err(|error| Error::Internal(format!("cannot set TCP_NODELAY: {error}")))?;
    // Before the handshake: the certificate that is shown in it is this one or a newer one, so that a link never
    // lives longer than what it was opened with.
    let in_use = agent.identities.in_use();
    let handshake = async {
        agent
            .identities
            .acceptor()
            .accept(Buffered::new(socket))
            .await
            .map_err(|error| wire::lost(address, error))
    };
    let limit = settings.config.links.handshake_timeout;
    let tls = within(limit, "TLS of an inbound link", handshake).await?;
    let (_, state) = tls.get_ref();
    // If it says nothing more, or may not, it is reported without a link.
    let seen = agent.saw(state);
    let caller = Caller {
        evidence: proof::evidence(state, &agent.identities.verifier(), Usage::Client, address)?,
        tls_name: state.server_name().unwrap_or_default().to_owned(),
        tls: wire::facts(state),
        in_use,
    };
    let wire = LinkStream::new(TlsStream::Server(tls), Session::responder(), address);
    Ok((wire, caller, seen))
}

/// What became of an inbound connection.
enum Outcome {
    /// Both nodes are proven, or the service has taken the connection.
    Up(Registered, NodeSocket),
    /// It is to take the place of this link's.
    TakenOver(Arc<Link>),
    /// This link goes on with it, from that offset.
    Resumed(Arc<Link>, u64),
}

/// One attempt of a remote node to reach a local one.
struct Call<'a> {
    agent: &'a Arc<Agent>,
    settings: &'a Settings,
    caller: &'a Caller,
    from: Option<NodeName>,
    to: Option<NodeName>,
    /// When it came, in nanoseconds since 1970.
    began: u64,
    /// The session in HELLO.
    session: Option<SessionId>,
    /// The number in HELLO: not 0 if it names a session that is up.
    takeover: u32,
    /// That session has lost its connection.
    resume: bool,
    /// The service that is wanted, if it is not the node itself.
    service: Option<Arc<str>>,
}

impl Call<'_> {
    /// Everything up to the moment at which both nodes are proven, or a running session is welcome on this connection.
    async fn set_up(
        &mut self,
        wire: &mut LinkStream,
        waiting: Waiting,
        seen: Sighting,
    ) -> Result<Outcome, Error> {
        let limit = self.settings.config.links.handshake_timeout;
        let hello = tokio::select! {
            hello = within(limit, "HELLO", wire.recv()) => hello?,
            () = waiting.evicted.cancelled() => return Err(too_many(self.settings)),
        };
        let Frame::Hello(hello) = hello else {
            // The session lets nothing else through in this phase.
            return Err(Error::Internal(format!(
                "unexpected {:?} frame",
                hello.kind()
            )));
        };
        let greeted = traces::now();
        self.session = Some(hello.session);
        let peer = &self.caller.evidence.peer;
        seen.on(hello.session, peer, wire.address);
        self.takeover = hello.takeover;
        self.resume = hello.resume;
        let from = caller(&hello)?;
        let to: NodeName = hello
            .to
            .parse()
            .map_err(|error: skans_dist::Error| Error::WrongName(error.to_string()))?;
        self.from = Some(from.clone());
        self.to = Some(to.clone());
        self.service = services::asked(&hello)?.map(Arc::from);
        let proof = self.proof(wire, &to)?;
        // Before the caller gets an answer, and tells what it saw.
        self.agent.shows(&hello.session, &proof.own);
        if hello.resume {
            let names = (&to, &from);
            let admitted = resume::admit(self.agent, wire, proof, &hello, names);
            let link = Box::pin(admitted).await?;
            return Ok(Outcome::Resumed(link, hello.offset));
        }
        if hello.takeover != 0 {
            let names = (&to, &from);
            let admitted = takeover::admit(self.agent, wire, proof, &hello, names);
            let link = Box::pin(admitted).await?;
            return Ok(Outcome::TakenOver(link));
        }
        let limit = match &self.service {
            None => self.settings.config.links.max_per_peer,
            Some(service) => self
                .settings
                .offer(&to, service)
                .map_or(1, |offer| offer.max_per_peer),
        };
        // Registered first: a change from here on finds this link and decides it again.
        let registered = self.agent.registry.register(
            NewLink {
                local: to,
                peer: from,
                direction: Direction::Inbound,
                proof,
                across: None,
                service: self.service.clone(),
            },
            limit,
        )?;
        registered.begin(hello.session);
        registered.steps.pass_at(Step::Began, self.began);
        registered.steps.pass_at(Step::Greeted, greeted);
        // Counted among the links of its peer from here on; it waits no longer.
        drop(waiting);
        let link = Arc::clone(registered.link());
        let node = tokio::select! {
            made = self.make(wire, &hello, &registered) => made?,
            close = link.ended() => return Err(Error::Ended(close)),
        };
        Ok(Outcome::Up(registered, node))
    }

    /// What this connection has proven. The certificate that was shown must be that of the node that is called: the
    /// caller checked one, and must not end up at another.
    fn proof(&self, wire: &LinkStream, to: &NodeName) -> Result<Proof, Error> {
        let expected = self.agent.identities.server_name(to, self.settings);
        if expected.to_str() != self.caller.tls_name {
            return Err(Error::WrongName(format!(
                "the caller asked for another certificate than that of {to}"
            )));
        }
        let own = self.caller.in_use.shown_for(to, self.settings);
        Ok(Proof {
            peer: self.caller.evidence.clone(),
            own: own.ok_or_else(|| Error::NotRegistered(to.to_string()))?,
            address: wire.address,
            tls: self.caller.tls.clone(),
        })
    }

    /// A new link, once it is registered.
    async fn make(
        &self,
        wire: &mut LinkStream,
        hello: &Hello,
        registered: &Registered,
    ) -> Result<NodeSocket, Error> {
        let (to, from) = (&registered.local, &registered.peer);
        if let Some(service) = &registered.service {
            let served = self.serve(wire, hello, registered, service).await;
            return served.inspect_err(|error| services::told(self.agent, registered, error));
        }
        self.agent.may_open()?;
        setup::decide(self.agent, registered, &registered.proof())?;
        registered.steps.pass(Step::Decided);
        if hello.offset != 0 {
            return Err(Error::UnknownSession(
                "a new session begins at offset 0".to_owned(),
            ));
        }
        registered.ticks(
            hello.tick_seconds,
            self.agent
                .locals
                .by_name(to)
                .map_or(0, |local| local.tick_seconds),
        );
        let local = self
            .agent
            .locals
            .by_name(to)
            .ok_or_else(|| Error::NotRegistered(to.to_string()))?;
        let visible = self.welcome(wire, hello, registered, &local).await?;
        registered.visible.store(visible, Relaxed);
        self.shake_hands(wire, registered, from, &local).await
    }

    /// A service of this host is asked for, by a peer that may use it.
    async fn serve(
        &self,
        wire: &mut LinkStream,
        hello: &Hello,
        link: &Registered,
        service: &str,
    ) -> Result<NodeSocket, Error> {
        if link.peer.alive() == setup::UNNAMED {
            return Err(Error::WrongName(format!(
                "{} asked for a service, wanted a node with a name",
                link.peer
            )));
        }
        self.agent.may_open()?;
        setup::decide(self.agent, link, &link.proof())?;
        link.steps.pass(Step::Decided);
        if hello.offset != 0 {
            return Err(Error::UnknownSession(
                "a new session begins at offset 0".to_owned(),
            ));
        }
        let socket = services::reach(self.agent, link, service).await?;
        link.still_holds()?;
        let welcome = Welcome {
            version: negotiate(hello.version_min, hello.version_max)?,
            session: hello.session,
            offset: 0,
            tick_seconds: 0,
            clique: None,
        };
        wire.send(&welcome.encode()).await?;
        wire.session.start_streaming();
        link.up.store(true, Relaxed);
        Ok(NodeSocket::new(socket))
    }

    /// Tells of a set-up that came to nothing.
    fn tell(&self, error: &Error) {
        let (Some(session), Some(from), Some(to)) = (self.session, &self.from, &self.to) else {
            return;
        };
        let refused = Refused {
            session,
            direction: Direction::Inbound,
            began: self.began,
            names: [to.as_str(), from.as_str()],
            peer: Some(self.caller.evidence.peer.id.to_string()),
            service: self.service.as_deref(),
        };
        let version = enforce::version(&self.agent.policies);
        self.agent.traces.refused(&refused, version, error);
    }

    /// Counts how a set-up ended: among those of nodes, or of the service.
    fn count(&self, result: &'static str) {
        let Some(service) = &self.service else {
            return self.agent.outcomes.count(Direction::Inbound, result);
        };
        let offers = self.settings.offers();
        let known = offers.iter().any(|offer| *offer.name == **service);
        let name = if known { service } else { services::UNKNOWN };
        let tally = &self.agent.registry.services;
        tally.set_up(Direction::Inbound, name, result);
    }

    async fn welcome(
        &self,
        wire: &mut LinkStream,
        hello: &Hello,
        link: &Registered,
        local: &Local,
    ) -> Result<bool, Error> {
        let from = &link.peer;
        let own = setup::clique(
            self.agent,
            self.settings,
            (from, &local.name),
            &link.proof(),
        );
        let visible = own.is_some() && own == hello.clique;
        if own.is_some() && hello.clique.is_some() && !visible {
            tracing::warn!(%from, to = %local.name, "hidden: the two agents differ in clique.members, in refuse, in cli.patterns, or in which nodes the policy forbids to publish themselves");
        }
        let welcome = Welcome {
            version: negotiate(hello.version_min, hello.version_max)?,
            session: hello.session,
            offset: 0,
            tick_seconds: local.tick_seconds,
            clique: own.filter(|_| visible),
        };
        wire.send(&welcome.encode()).await?;
        Ok(visible)
    }

    /// The handshake of the two nodes, both agents in between.
    async fn shake_hands(
        &self,
        wire: &mut LinkStream,
        link: &Registered,
        from: &NodeName,
        local: &Local,
    ) -> Result<NodeSocket, Error> {
        let visible = link.visible.load(Relaxed);
        let mut hello = SendName::decode(&wire.recv_handshake().await?).map_err(of_peer)?;
        let claimed = hello.node().map_err(of_peer)?;
        let same = match &claimed {
            Some(name) => name == from,
            None => from.alive() == setup::UNNAMED && hello.name == from.host(),
        };
        if !same {
            self.agent.spoofed(&self.caller.evidence.peer, &hello.name);
            return Err(Error::WrongName(format!(
                "greeted as {from}, and then claims {:?}",
                hello.name
            )));
        }
        link.peer_creation.store(hello.creation, Relaxed);
        hello.flags = setup::flags(hello.flags, visible);
        let offered = hello.flags;
        let may_spawn = enforce::may_spawn(self.agent, &link.proof())?;
        hello.flags = setup::told(hello.flags, may_spawn);
        let mut node = NodeSocket::connect(local.address).await?;
        node.write(&hello.encode()).await?;

        self.pass_status(wire, &mut node, link, local).await?;

        let challenge = Challenge::decode(&node.read("challenge").await?).map_err(malformed)?;
        if challenge.name != local.name {
            return Err(Error::LocalHandshake(format!(
                "port {} is registered for {}, and {} answered",
                local.address.port(),
                local.name,
                challenge.name
            )));
        }
        let theirs = challenge.challenge;
        // The number stays on this host: the other agent asks its own node with one of its own.
        let passed = Challenge {
            flags: setup::flags(challenge.flags, visible),
            challenge: 0,
            ..challenge
        };
        link.flags.store(offered.common(passed.flags).0, Relaxed);
        wire.send(&skans_link::handshake(&passed.encode())).await?;
        ChallengeReply::decode(&wire.recv_handshake().await?).map_err(of_peer)?;

        let cookie = self.agent.cookies.of(local.name.alive());
        let number = u32::from_be_bytes(random()?);
        let reply = ChallengeReply {
            challenge: number,
            digest: handshake::digest(cookie, theirs),
        };
        node.write(&reply.encode()).await?;
        let disagree = || Error::Cookie {
            node: local.name.to_string(),
            file: self.agent.cookies.file(local.name.alive()),
        };
        // A node that finds another digest than its own hangs up without a word.
        let ack = node.read("challenge_ack").await.map_err(|_| disagree())?;
        let ack = ChallengeAck::decode(&ack).map_err(malformed)?;
        if !handshake::digest_matches(cookie, number, &ack.digest) {
            return Err(disagree());
        }
        link.still_holds()?;
        wire.send(&skans_link::handshake(
            &ChallengeAck { digest: [0; 16] }.encode(),
        ))
        .await?;
        wire.session.start_streaming();
        link.up.store(true, Relaxed);
        self.agent.registry.supersede(link);
        Ok(node)
    }

    /// Hands the local node's status to the caller, and its answer back where it has one.
    async fn pass_status(
        &self,
        wire: &mut LinkStream,
        node: &mut NodeSocket,
        link: &Registered,
        local: &Local,
    ) -> Result<(), Error> {
        let from = &link.peer;
        let status = Status::decode(&node.read("status").await?).map_err(malformed)?;
        if let Status::Named { name, creation } = &status {
            let fits = from.alive() == setup::UNNAMED && name.host() == from.host();
            if !fits {
                return Err(Error::LocalHandshake(format!(
                    "{} gave the name {name} to {from}",
                    local.name
                )));
            }
            link.give(name);
            link.peer_creation.store(*creation, Relaxed);
            setup::decide(self.agent, link, &link.proof())?;
        }
        wire.send(&skans_link::handshake(&status.encode())).await?;
        match status {
            Status::Ok | Status::OkSimultaneous | Status::Named { .. } => Ok(()),
            Status::Alive => {
                let answer = Status::decode(&wire.recv_handshake().await?).map_err(of_peer)?;
                node.write(&answer.encode()).await?;
                match answer {
                    Status::True => Ok(()),
                    other => Err(Error::NodeRefused(format!("{other:?}"))),
                }
            }
            other => Err(Error::NodeRefused(format!("{other:?}"))),
        }
    }
}

/// The name in a hello; `@host` asks to be given one.
fn caller(hello: &Hello) -> Result<NodeName, Error> {
    match hello.from.strip_prefix('@') {
        Some(host) => setup::unnamed(host),
        None => hello
            .from
            .parse()
            .map_err(|error: skans_dist::Error| Error::WrongName(error.to_string()))
            .and_then(setup::named),
    }
}

fn of_peer(error: skans_dist::Error) -> Error {
    Error::Stream {
        from: "the peer's handshake",
        problem: error,
    }
}
