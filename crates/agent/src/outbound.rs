//! A node of this host calls: from its first byte on a stand-in port to the relayed connection.
//!
//! Towards the local node the agent plays the called node, with that node's flags and creation but
//! with a challenge of its own, answered with the local node's cookie. The cookies of two nodes
//! never meet.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use skans_dist::handshake::{self, Challenge, ChallengeAck, ChallengeReply, SendName, Status};
use skans_dist::{Flags, NodeName};
use skans_host::strangers::Waiting;
use skans_link::{Close, Frame, Hello, Reason, Session, SessionId, VERSION_MAX, VERSION_MIN};
use tokio::net::TcpStream;

use crate::agent::{Agent, MAX_SETUPS, MAX_UNKNOWN};
use crate::breaker::Trial;
use crate::enforce::Flows;
use crate::node_io::{NodeSocket, malformed};
use crate::pulse::Patience;
use crate::registry::{Direction, NewLink, Registered};
use crate::relay::{Around, Course};
use crate::settings::{Place, Settings};
use crate::setup::{self, within};
use crate::told::Told;
use crate::traces::{self, Refused, Step};
use crate::wire::LinkStream;
use crate::{Error, dial, enforce, random, resume};

/// Serves one connection to the stand-in port of `target`.
pub async fn serve(
    agent: Arc<Agent>,
    socket: TcpStream,
    theirs: SocketAddr,
    target: NodeName,
    waiting: Waiting,
) {
    let under_way = agent.set_ups.token();
    let settings = agent.settings();
    let mut call = Call {
        agent: &agent,
        settings: &settings,
        target: &target,
        caller: None,
        status_sent: false,
        began: traces::now(),
        session: None,
        peer: None,
    };
    let mut node = NodeSocket::new(socket);
    let mut link = None;
    let limit = settings.config.links.setup_timeout;
    let set_up = Box::pin(call.set_up(&mut node, theirs, waiting, &mut link));
    let set_up = within(limit, "the set-up of a link", set_up);
    let made = tokio::select! {
        biased;
        // The node tries again.
        () = agent.brake.pulled() => Err(replaced()),
        made = set_up => made,
    };
    let end = match made {
        Ok((registered, stream)) => {
            agent.outcomes.established(Direction::Outbound);
            let (local, peer) = registered.names();
            tracing::info!(link = registered.id, %local, %peer, identity = %registered.proof().identity().id, address = %registered.proof().address, visible = registered.visible.load(Relaxed), "link up, outbound");
            carry(&agent, node.0, stream, registered, ());
            return;
        }
        Err(error) => error,
    };
    drop(under_way);
    Box::pin(call.hang_up(&mut node, &end)).await;
    if let Some(mut stream) = link {
        Box::pin(stream.close(&end.to_close())).await;
    }
    agent.outcomes.failed(Direction::Outbound, &end);
    call.tell(&end);
    let caller = call
        .caller
        .map_or_else(|| "a local process".to_owned(), |name| name.to_string());
    if end.is_ordinary() {
        tracing::debug!(from = %caller, to = %target, reason = end.label(), "link not made, outbound: {end}");
    } else {
        tracing::warn!(from = %caller, to = %target, reason = end.label(), blame = ?end.blame(), retry = end.may_retry(), "link refused, outbound: {end}");
    }
}

/// Why a set-up ends when another process takes over.
pub fn replaced() -> Error {
    let text = "the agent is being replaced by another process";
    Error::Ended(Close::new(Reason::Draining, text))
}

/// Carries an established link to its end, and tells of both. It gets a task of its own, on this thread: that of its set-up, which
/// strangers get as well, has more to remember and ends here. `kept` is dropped with the link.
pub fn carry(
    agent: &Arc<Agent>,
    node: TcpStream,
    stream: LinkStream,
    link: Registered,
    kept: impl Send + 'static,
) {
    let told = Told::begin(agent, &link);
    let patience = Patience::of(&link, &agent.settings().config.links);
    let flags = Flags(link.flags.load(Relaxed));
    let flows = match link.service {
        None => Flows::of(agent, link.link(), flags).map(Some),
        Some(_) => Ok(None),
    };
    match flows {
        Ok(flows) => {
            let course = Course::begin(node, stream, &link, flows, &patience);
            let going = go_on(Arc::clone(agent), link, course, patience, told);
            agent.tasks.spawn(async move {
                going.await;
                drop(kept);
            });
        }
        Err(error) => told.end(agent, &link, &error),
    }
}

/// Carries a link from where it is to its end, and tells of that.
pub async fn go_on(
    agent: Arc<Agent>,
    link: Registered,
    course: Course,
    patience: Patience,
    told: Told,
) {
    let redial = || -> Pin<Box<dyn Future<Output = _> + Send + '_>> {
        Box::pin(resume::redial(&agent, link.link()))
    };
    let around = Around {
        gossip: &agent.gossip,
        patience: &patience,
        brake: &agent.brake,
        redial: &redial,
    };
    match course.run(&link, &around).await {
        Some(end) => told.end(&agent, &link, &end),
        None => told.hand_over(&agent),
    }
}

/// One attempt of a local node to reach another.
struct Call<'a> {
    agent: &'a Arc<Agent>,
    settings: &'a Settings,
    target: &'a NodeName,
    caller: Option<NodeName>,
    /// Whether the local node has got its status, so that a refusal can no longer be one.
    status_sent: bool,
    /// When the local node came, in nanoseconds since 1970.
    began: u64,
    /// The session, from when it is dialled on.
    session: Option<SessionId>,
    /// Who has answered.
    peer: Option<String>,
}

impl Call<'_> {
    /// Everything up to the moment at which both nodes are proven. On an error, `link` holds the
    /// connection to the other agent if there is one, for the last word.
    async fn set_up(
        &mut self,
        node: &mut NodeSocket,
        theirs: SocketAddr,
        waiting: Waiting,
        link: &mut Option<LinkStream>,
    ) -> Result<(Registered, LinkStream), Error> {
        let (hello, caller) = tokio::select! {
            identified = self.identify(node, theirs) => identified?,
            () = waiting.evicted.cancelled() => return Err(Error::TooMany {
                what: "local processes that have not said who they are".to_owned(),
                limit: MAX_UNKNOWN,
            }),
        };
        let _permit = self
            .agent
            .setups
            .try_acquire()
            .map_err(|_| Error::TooMany {
                what: "set-ups under way on this host".to_owned(),
                limit: MAX_SETUPS,
            })?;
        drop(waiting);
        setup::check_pair(self.settings, &caller, self.target)?;

        self.agent.may_open()?;
        let credential = self.agent.identities.for_caller(&caller, self.settings)?;
        let mut trial = admit(self.agent, self.settings, self.target)?;
        let mut tried = |error: Option<&Error>| {
            if let Some(trial) = &mut trial {
                trial.ended(error);
            }
        };
        let session = random()?;
        self.session = Some(session);
        let names = (&caller, self.target);
        let stream = dial::connect(self.agent, self.settings, &credential, names, session)
            .await
            .inspect_err(|error| tried(Some(error)))?;
        let (address, across) = (stream.proof.address, stream.across);
        let dialled = traces::now();
        self.peer = Some(stream.proof.identity().id.to_string());
        let registered = self.agent.registry.register(
            NewLink {
                local: caller.clone(),
                peer: self.target.clone(),
                direction: Direction::Outbound,
                proof: stream.proof,
                service: None,
                across,
            },
            self.settings.config.links.max_per_peer,
        );
        let mut wire = LinkStream::new(stream.tls, Session::initiator(session), address);
        // From here on the other agent gets to know why an attempt ends.
        let result = async {
            let registered = registered?;
            registered.begin(session);
            registered.steps.pass_at(Step::Began, self.began);
            registered.steps.pass_at(Step::Dialled, dialled);
            // Registered first: a change from here on finds this link and decides it again.
            setup::decide(self.agent, &registered, &registered.proof())?;
            registered.steps.pass(Step::Decided);
            let link = Arc::clone(registered.link());
            let made = async {
                self.greet(&mut wire, session, hello, &registered).await?;
                let proof = registered.proof();
                stream.seen.on(session, proof.identity(), address);
                // What follows depends on two nodes.
                tried(None);
                self.shake_hands(node, &mut wire, &registered).await
            };
            tokio::select! {
                made = made => made?,
                close = link.ended() => return Err(Error::Ended(close)),
            }
            Ok(registered)
        }
        .await;
        match result {
            Ok(registered) => Ok((registered, wire)),
            Err(error) => {
                tried(Some(&error));
                *link = Some(wire);
                Err(error)
            }
        }
    }

    /// Who calls. Up to here it is any process of this host.
    async fn identify(
        &mut self,
        node: &mut NodeSocket,
        theirs: SocketAddr,
    ) -> Result<(SendName, NodeName), Error> {
        let limit = self.settings.config.links.handshake_timeout;
        let hello = within(limit, "send_name of the local node", node.read("send_name")).await?;
        let hello = SendName::decode(&hello).map_err(malformed)?;
        let caller = self.caller_of(&hello)?;
        self.caller = Some(caller.clone());
        self.check_process(node, theirs, &caller)?;
        Ok((hello, caller))
    }

    /// The name that the local node claims, if it is one of this host.
    fn caller_of(&self, hello: &SendName) -> Result<NodeName, Error> {
        let Some(name) = hello.node().map_err(malformed)? else {
            let own = self.settings.config.cli_host();
            if !self.settings.config.cli.enabled || own.as_deref() != Some(hello.name.as_str()) {
                return Err(Error::LocalStranger(format!(
                    "a node that wants to be given a name at {:?}, wanted cli.enabled and the host {own:?}",
                    hello.name
                )));
            }
            return setup::unnamed(&hello.name);
        };
        match self.agent.may_register(name.alive()) {
            Some((known, cli)) if known == name => {
                // Short-lived nodes need not listen, and then do not register.
                if cli || self.agent.locals.by_name(&name).is_some() {
                    Ok(name)
                } else {
                    Err(Error::LocalStranger(format!(
                        "a process that calls itself {name}, which is not registered"
                    )))
                }
            }
            _ => Err(Error::LocalStranger(format!(
                "a process that calls itself {name}, which is neither under nodes nor fits a pattern of short-lived names at {:?}",
                self.settings.config.cli_host()
            ))),
        }
    }

    /// Only the user that runs a node may dial in its name. Checked before anything leaves this
    /// host, since the cookie is only proven after the other node has been disturbed.
    fn check_process(
        &self,
        node: &NodeSocket,
        theirs: SocketAddr,
        caller: &NodeName,
    ) -> Result<(), Error> {
        let ours = node
            .0
            .local_addr()
            .map_err(|error| Error::Internal(error.to_string()))?;
        let uid = crate::loopback::owner(theirs, ours);
        self.agent
            .users
            .check(caller.alive(), uid)
            .map_err(Error::LocalStranger)
    }

    /// HELLO, and the node's `send_name` right behind it: a round trip less. It says nothing that HELLO does not say
    /// already, and both wait for the same decision of the other agent.
    async fn greet(
        &self,
        wire: &mut LinkStream,
        session: [u8; 16],
        mut send_name: SendName,
        link: &Registered,
    ) -> Result<(), Error> {
        let (own, there) = link.said();
        let from = if own.alive() == setup::UNNAMED {
            format!("@{}", own.host())
        } else {
            own.to_string()
        };
        let clique = setup::clique(
            self.agent,
            self.settings,
            (&link.local, self.target),
            &link.proof(),
        );
        let tick_seconds = self
            .agent
            .locals
            .by_name(&link.local)
            .map_or(0, |local| local.tick_seconds);
        let hello = Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            session,
            offset: 0,
            tick_seconds,
            clique,
            from,
            to: there.to_string(),
            takeover: 0,
            resume: false,
            service: String::new(),
        };
        // Whether it is visible depends on the answer as well; the other agent takes PUBLISHED away if it is not.
        if let Some(across) = &link.across {
            across.own.as_str().clone_into(&mut send_name.name);
        }
        send_name.flags = setup::flags(send_name.flags, clique.is_some());
        link.flags.store(send_name.flags.0, Relaxed);
        let mut frames = hello.encode();
        frames.extend(skans_link::handshake(&send_name.encode()));
        wire.send(&frames).await?;
        match wire.recv().await? {
            Frame::Welcome(welcome) => {
                link.steps.pass(Step::Greeted);
                let visible = clique.is_some() && welcome.clique == clique;
                link.visible.store(visible, Relaxed);
                link.ticks(tick_seconds, welcome.tick_seconds);
                Ok(())
            }
            other => Err(Error::Internal(format!(
                "unexpected {:?} frame",
                other.kind()
            ))),
        }
    }

    /// The handshake of the two nodes, both agents in between.
    async fn shake_hands(
        &mut self,
        node: &mut NodeSocket,
        wire: &mut LinkStream,
        link: &Registered,
    ) -> Result<(), Error> {
        let visible = link.visible.load(Relaxed);
        self.pass_status(node, wire, link).await?;

        let challenge = Challenge::decode(&wire.recv_handshake().await?).map_err(of_peer)?;
        let (_, there) = link.said();
        if challenge.name != *there {
            return Err(Error::WrongName(format!(
                "dialled {there}, and {} answered",
                challenge.name
            )));
        }
        link.peer_creation.store(challenge.creation, Relaxed);
        let number = u32::from_be_bytes(random()?);
        let flags = setup::flags(challenge.flags, visible);
        link.flags.fetch_and(flags.0, Relaxed);
        let may_spawn = enforce::may_spawn(self.agent, &link.proof())?;
        let own = Challenge {
            flags: setup::told(flags, may_spawn),
            challenge: number,
            name: self.target.clone(),
            ..challenge
        };
        node.write(&own.encode()).await?;

        let reply =
            ChallengeReply::decode(&node.read("challenge_reply").await?).map_err(malformed)?;
        let cookie = self.agent.cookies.of(link.local.alive());
        if !handshake::digest_matches(cookie, number, &reply.digest) {
            return Err(Error::Cookie {
                node: link.local.to_string(),
                file: self.agent.cookies.file(link.local.alive()),
            });
        }
        // What crosses the link says "proven"; neither challenge nor digest leaves its host.
        wire.send(&skans_link::handshake(
            &ChallengeReply {
                challenge: 0,
                digest: [0; 16],
            }
            .encode(),
        ))
        .await?;
        ChallengeAck::decode(&wire.recv_handshake().await?).map_err(of_peer)?;
        link.still_holds()?;
        // Before the node hears: its first bytes come at once.
        wire.session.start_streaming();
        link.up.store(true, Relaxed);
        self.agent.registry.supersede(link);
        let ack = ChallengeAck {
            digest: handshake::digest(cookie, reply.challenge),
        };
        node.write(&ack.encode()).await
    }

    /// Hands the called node's status to the local one, and its answer back where it has one.
    async fn pass_status(
        &mut self,
        node: &mut NodeSocket,
        wire: &mut LinkStream,
        link: &Registered,
    ) -> Result<(), Error> {
        let status = Status::decode(&wire.recv_handshake().await?).map_err(of_peer)?;
        if let Status::Named { name, .. } = &status {
            self.check_given_name(name, &link.local)?;
            self.caller = Some(name.clone());
            link.give(name);
            setup::decide(self.agent, link, &link.proof())?;
        }
        self.status_sent = true;
        node.write(&status.encode()).await?;
        match status {
            Status::Ok | Status::OkSimultaneous | Status::Named { .. } => Ok(()),
            Status::Alive => {
                let answer =
                    Status::decode(&node.read("an answer to alive").await?).map_err(malformed)?;
                wire.send(&skans_link::handshake(&answer.encode())).await?;
                match answer {
                    Status::True => Ok(()),
                    _ => Err(Error::NodeLeft),
                }
            }
            other => Err(Error::NodeRefused(format!("{other:?}"))),
        }
    }

    fn check_given_name(&self, name: &NodeName, unnamed: &NodeName) -> Result<(), Error> {
        let fits = unnamed.alive() == setup::UNNAMED
            && name.host() == unnamed.host()
            && self.settings.is_cli(name);
        if fits {
            Ok(())
        } else {
            Err(Error::WrongName(format!(
                "{} gave the name {name}, wanted a dynamic name at {}",
                self.target,
                unnamed.host()
            )))
        }
    }

    /// Tells of an attempt that came to nothing, once there was something that the other side may have told of as well.
    fn tell(&self, error: &Error) {
        let Some(session) = self.session else {
            return;
        };
        let caller = self.caller.as_ref().map_or("?", NodeName::as_str);
        let refused = Refused {
            session,
            direction: Direction::Outbound,
            began: self.began,
            names: [caller, self.target.as_str()],
            peer: self.peer.clone(),
            service: None,
        };
        let version = enforce::version(&self.agent.policies);
        self.agent.traces.refused(&refused, version, error);
    }

    /// Ends the attempt so that the local node understands: a status if it still waits for one.
    async fn hang_up(&self, node: &mut NodeSocket, error: &Error) {
        let limit = self.settings.config.links.handshake_timeout;
        let refused = match error {
            Error::NotPermitted { .. } | Error::WrongName(_) => true,
            // The other agent decides as well.
            Error::Closed(close) => close.reason == Reason::NotPermitted,
            _ => false,
        };
        if !self.status_sent && refused {
            let _ = within(limit, "status", node.write(&Status::NotAllowed.encode())).await;
        }
        if matches!(error, Error::NodeRefused(_)) {
            // After `nok` the node waits until its own attempt is decided, and hangs up by itself.
            let _ = tokio::time::timeout(limit, node.drain()).await;
        }
    }
}

/// Whether the agent of `target` may be dialled. This one may always.
pub fn admit<'a>(
    agent: &'a Agent,
    settings: &Settings,
    target: &NodeName,
) -> Result<Option<Trial<'a>>, Error> {
    match settings.place(target) {
        Some(Place::There(peer)) => agent.breakers.admit(&peer).map(Some),
        _ => Ok(None),
    }
}

/// A message that came over the link, relayed from the called node.
fn of_peer(error: skans_dist::Error) -> Error {
    Error::Stream {
        from: "the peer's handshake",
        problem: error,
    }
}
