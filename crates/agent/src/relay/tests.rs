//! Two relays over real TLS on loopback, with streams of frames in the place of nodes.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use skans_identity::authority::{Authority, Lifetimes};
use skans_identity::bundle::Bundles;
use skans_identity::credential::Credential;
use skans_identity::host::Host;
use skans_identity::id::{NodeId, TrustDomain};
use skans_identity::sni::{self, Credentials};
use skans_identity::tls;
use skans_identity::trust::{DenySet, SharedTrust, Trust};
use skans_identity::verify::Verifier;
use skans_link::{Close, Reason, Session, VERSION_MAX, VERSION_TAKEOVER};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

mod replaced;
mod services;
mod traffic;

use super::*;
use crate::buffered::Buffered;
use crate::live::testing::{ID, hello, session, welcome};
use crate::metrics::Counters;
use crate::proof::testing::proof;
use crate::registry::{Direction, Link, NewLink, Registry};
use traffic::{Traffic, message, sink, source};

/// Every wait of this file is bounded by this.
const PATIENCE: Duration = Duration::from_secs(60);

async fn bounded<T>(what: &str, step: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, step).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// Both ends of a TCP connection.
async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (dialled, (accepted, _)) = (dialled.unwrap(), accepted.unwrap());
    for socket in [&dialled, &accepted] {
        socket.set_nodelay(true).unwrap();
    }
    (dialled, accepted)
}

/// What two agents need for TLS.
struct Network {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
    domain: TrustDomain,
}

impl Network {
    fn new() -> Self {
        let domain = TrustDomain::parse("test").unwrap();
        let now = UnixTime::now();
        let authority = Authority::generate(&domain, "c", now, Lifetimes::default()).unwrap();
        let issue = |node: &str, host: &str| -> Credential {
            let id = NodeId::new(&domain, "c", "n", "w", node).unwrap();
            let host = Host::parse(host).unwrap();
            let hour = Duration::from_secs(3600);
            authority.issue(id.id(), &host, hour, now).unwrap()
        };
        let mut bundles = Bundles::default();
        bundles.insert(authority.bundle().unwrap()).unwrap();
        let verifier = Verifier::new(SharedTrust::new(Trust {
            bundles,
            deny: DenySet::default(),
        }));
        let served = Credentials::default();
        served
            .insert(&domain, "b@there", &issue("b", "there"))
            .unwrap();
        let server = tls::server_config(Arc::new(served), Arc::clone(&verifier)).unwrap();
        let client = tls::client_config(&issue("a", "here"), verifier).unwrap();
        Self {
            connector: TlsConnector::from(client),
            acceptor: TlsAcceptor::from(server),
            domain,
        }
    }

    /// A connection, greeted: the dialler's end first.
    async fn connect(&self, sessions: (Session, Session)) -> (LinkStream, LinkStream) {
        let (dialler, dialled) = tcp().await;
        let address = dialler.peer_addr().unwrap();
        let name = sni::server_name_for(&self.domain, "b@there").unwrap();
        let buffered = Buffered::new;
        let (client, server) = tokio::join!(
            self.connector.connect(name, buffered(dialler)),
            self.acceptor.accept(buffered(dialled))
        );
        let (client, server) = (client.unwrap().into(), server.unwrap().into());
        let stream = |tls: TlsStream<_>, session| LinkStream::new(tls, session, address);
        (stream(client, sessions.0), stream(server, sessions.1))
    }
}

/// One agent: a relay that runs, and the node's end of its loopback connection.
struct End {
    link: Arc<Link>,
    registry: Arc<Registry>,
    relay: JoinHandle<Error>,
    brake: Arc<Brake>,
    /// What the relay finds when it looks for another connection.
    found: tokio::sync::mpsc::UnboundedSender<(Box<LinkStream>, u64)>,
}

/// Little, so that it is often full.
const WINDOW: usize = 1 << 20;

/// Both agents, and their nodes.
struct Pair {
    network: Network,
    ends: [End; 2],
}

impl Pair {
    async fn start() -> (Self, [TcpStream; 2]) {
        Self::of(VERSION_MAX).await
    }

    async fn of(version: u8) -> (Self, [TcpStream; 2]) {
        let sessions = (
            session(Direction::Outbound, version),
            session(Direction::Inbound, version),
        );
        Self::between(sessions, [tcp().await, tcp().await]).await
    }

    /// Each node's end of its connection to its agent, and the agent's.
    async fn between(
        sessions: (Session, Session),
        [(node_a, agent_a), (node_b, agent_b)]: [(TcpStream, TcpStream); 2],
    ) -> (Self, [TcpStream; 2]) {
        let network = Network::new();
        let (one, other) = network.connect(sessions).await;
        let ends = [
            End::start(Direction::Outbound, one, agent_a),
            End::start(Direction::Inbound, other, agent_b),
        ];
        for end in &ends {
            bounded("to be up", async {
                while end.link.live().is_none() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        (Self { network, ends }, [node_a, node_b])
    }

    /// What `takeover` does on both ends, as soon as the one before is over. Gives the connections up to WELCOME.
    async fn agree(&self) -> (u32, LinkStream, LinkStream) {
        let [a, b] = &self.ends;
        let (one, other) = (a.link.live().unwrap(), b.link.live().unwrap());
        let (number, offset) = bounded("the takeover before", async {
            loop {
                assert!(!one.is_adrift(), "the connection was lost");
                let begun = one.session().begin_takeover();
                if let Ok(begun) = begun {
                    return begun;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let sessions = (Session::initiator(ID), Session::responder());
        let (dialler, dialled) = self.network.connect(sessions).await;
        for end in &self.ends {
            let fresh = Arc::new(proof("c", "x", Some("x")));
            end.registry.propose(&end.link, number, fresh);
        }
        let version = one.session().version();
        let hello = hello(version, number, offset);
        let offset = other.session().on_takeover_hello(&hello).unwrap();
        let welcome = welcome(version, offset);
        one.session().on_takeover_welcome(&welcome).unwrap();
        (number, dialler, dialled)
    }

    async fn take_over(&self) {
        let (number, dialler, dialled) = self.agree().await;
        let [a, b] = &self.ends;
        let (_, writer, reading) = dialler.part();
        a.link.live().unwrap().go_over(writer, reading);
        b.link.live().unwrap().offer(number, Box::new(dialled));
    }
}

impl Pair {
    /// What `resume` does on both ends, once the initiator has lost its connection. The attempts before came to nothing.
    async fn resume(&self, failed: u32) {
        let [a, b] = &self.ends;
        let (one, other) = (a.link.live().unwrap(), b.link.live().unwrap());
        bounded("the loss", async {
            while !one.is_adrift() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        for last in (0..=failed).rev() {
            let (number, offset) = one.session().begin_resume().unwrap();
            let sessions = (Session::initiator(ID), Session::responder());
            let (dialler, dialled) = self.network.connect(sessions).await;
            for end in &self.ends {
                let fresh = Arc::new(proof("c", "x", Some("x")));
                end.registry.propose(&end.link, number, fresh);
            }
            bounded("to let go", other.stop()).await;
            let hello = skans_link::Hello {
                resume: true,
                ..hello(VERSION_MAX, number, offset)
            };
            let reached = other.session().on_resume_hello(&hello).unwrap();
            other.rescue(number, offset, Box::new(dialled));
            if last > 0 {
                // WELCOME is lost.
                continue;
            }
            let welcome = welcome(VERSION_MAX, reached);
            one.session().on_resume_welcome(&welcome).unwrap();
            a.found.send((Box::new(dialler), reached)).unwrap();
        }
    }
}

impl End {
    fn start(direction: Direction, stream: LinkStream, node: TcpStream) -> Self {
        let registry = Arc::new(Registry::default());
        let new = NewLink {
            local: "a@here".parse().unwrap(),
            peer: "b@there".parse().unwrap(),
            direction,
            proof: proof("c", "b", Some("there")),
            across: None,
            service: stream.session.is_of_service().then(|| "postgres".into()),
        };
        let registered = registry.register(new, 1).unwrap();
        let flows = (!stream.session.is_of_service()).then(|| Flows::open(registered.link()));
        let course = Course::begin(node, stream, &registered, flows, &Self::patience());
        Self::run(registry, registered, course)
    }

    const fn patience() -> Patience {
        Patience {
            silence: PATIENCE,
            resume: PATIENCE,
            window: WINDOW,
        }
    }

    fn run(registry: Arc<Registry>, registered: Registered, course: Course) -> Self {
        let link = Arc::clone(registered.link());
        let (found, lost) = tokio::sync::mpsc::unbounded_channel();
        let brake = Arc::new(Brake::default());
        let held = Arc::clone(&brake);
        let relay = tokio::spawn(async move {
            let lost = Arc::new(tokio::sync::Mutex::new(lost));
            let redial = || -> Redialled<'_> {
                let lost = Arc::clone(&lost);
                Box::pin(async move {
                    let found = lost.lock().await.recv().await;
                    found.ok_or(Error::TimedOut("the test"))
                })
            };
            let gossip = Gossip::default();
            let around = Around {
                gossip: &gossip,
                patience: &Self::patience(),
                brake: &held,
                redial: &redial,
            };
            let end = course.run(&registered, &around).await;
            end.unwrap_or_else(|| Error::Internal("replaced".to_owned()))
        });
        Self {
            link,
            registry,
            relay,
            brake,
            found,
        }
    }
}

/// Both nodes send as fast as they can while `trouble` lasts; then each must have got all that the other has sent.
async fn saturated(pair: &Pair, nodes: [TcpStream; 2], trouble: impl AsyncFn()) {
    let traffic = Traffic::begin(nodes);
    trouble().await;
    let _nodes = traffic.finish().await;
    for end in &pair.ends {
        assert!(!end.relay.is_finished());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saturated_session_moves_often_and_nothing_is_lost_doubled_or_turned_round() {
    let (pair, nodes) = Pair::start().await;
    saturated(&pair, nodes, async || {
        for _ in 0..40 {
            pair.take_over().await;
        }
    })
    .await;
    for end in &pair.ends {
        bounded("the last takeover", async {
            while end.link.takeovers.load(Relaxed) < 40 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

/// Whoever notices first, amid takeovers, and however often the welcome is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saturated_session_loses_its_connection_often_and_nothing_is_lost_doubled_or_turned_round()
 {
    let (pair, nodes) = Pair::start().await;
    saturated(&pair, nodes, async || {
        for n in 0..40_u32 {
            if n % 5 == 3 {
                // A takeover is under way, and comes to nothing.
                let (number, dialler, dialled) = pair.agree().await;
                let (_, writer, reading) = dialler.part();
                pair.ends[0].link.live().unwrap().go_over(writer, reading);
                pair.ends[1]
                    .link
                    .live()
                    .unwrap()
                    .offer(number, Box::new(dialled));
            }
            let loser = &pair.ends[(n % 2) as usize];
            loser.link.live().unwrap().give_up();
            pair.resume(n % 3).await;
            let before = pair.ends[0].link.traffic.received.bytes.load(Relaxed);
            bounded("bytes to flow again", async {
                while pair.ends[0].link.traffic.received.bytes.load(Relaxed) == before {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
        }
    })
    .await;
    assert_eq!(pair.ends[0].link.resumed.load(Relaxed), 40);
    assert_eq!(pair.ends[0].link.adrift_since.load(Relaxed), 0);
}

/// A node that reads nothing does not keep its agent from letting go, and what had come is its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_slow_node_has_not_taken_yet_outlives_the_loss() {
    let (pair, [node_a, node_b]) = Pair::start().await;
    let stop = CancellationToken::new();
    let (_reads_a, writes_a) = node_a.into_split();
    let (reads_b, _writes_b) = node_b.into_split();
    let sending = source(writes_a, stop.clone());
    let sent = &pair.ends[0].link.traffic.sent.bytes;
    // Until the window is full: nothing more is read from the node.
    bounded("everything to be full", async {
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = sent.load(Relaxed);
            if now > 1_000_000 && now == before {
                return;
            }
            before = now;
        }
    })
    .await;
    for n in 0..3 {
        pair.ends[0].link.live().unwrap().give_up();
        pair.resume(n).await;
    }
    stop.cancel();
    let (told, enough) = tokio::sync::watch::channel(u32::MAX);
    let sunk = sink(reads_b, enough);
    let (count, mut writes) = bounded("the last message to go", sending).await.unwrap();
    told.send(count).unwrap();
    writes.write_all(&message(count)).await.unwrap();
    let (seen, _) = bounded("the last message to come", sunk).await.unwrap();
    assert!(seen == count || seen == count + 1, "{seen} of {count}");
}

#[tokio::test]
async fn a_link_that_finds_no_other_connection_ends_and_says_so_to_its_node() {
    let (pair, [mut node_a, _node_b]) = Pair::start().await;
    let [a, b] = pair.ends;
    a.link.live().unwrap().give_up();
    drop(a.found);
    let end = bounded("the end", a.relay).await.unwrap();
    assert!(matches!(end, Error::TimedOut(_)), "{end}");
    let mut byte = [0];
    let read = bounded("the node to hear of it", node_a.read(&mut byte)).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    // The other side hears nothing, and waits for what does not come.
    assert!(!b.relay.is_finished());
    let close = Close::new(Reason::Denied, "why");
    b.link.mute(close, Duration::ZERO);
    let end = bounded("the other end", b.relay).await.unwrap();
    assert!(
        matches!(end, Error::Ended(_)),
        "{end}: what is revoked does not resume"
    );
}

#[tokio::test]
async fn a_node_that_leaves_while_there_is_no_connection_ends_the_link() {
    let (pair, [_node_a, node_b]) = Pair::start().await;
    let [a, b] = pair.ends;
    a.link.live().unwrap().give_up();
    bounded("the loss", async {
        while !b.link.live().unwrap().is_adrift() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    drop(node_b);
    let end = bounded("the end", b.relay).await.unwrap();
    assert!(matches!(end, Error::NodeLeft), "{end}");
    a.relay.abort();
}

/// What a revocation is acknowledged by. With nodes that do not read everything is full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mute_link_that_is_quiet_forwards_nothing_more_in_either_direction() {
    // Often, since a link that is told to be mute mostly is so a moment later.
    for slow in [true, false, false, false, false, false, false, false] {
        let (pair, [node_a, node_b]) = Pair::start().await;
        let [a, b] = pair.ends;
        let stop = CancellationToken::new();
        let (reads_a, writes_a) = node_a.into_split();
        let (reads_b, writes_b) = node_b.into_split();
        let (_told, enough) = tokio::sync::watch::channel(u32::MAX);
        let sources = [
            source(writes_a, stop.clone()),
            source(writes_b, stop.clone()),
        ];
        let counts = |link: &Link| {
            let of = |counters: &Counters| counters.bytes.load(Relaxed);
            (of(&link.traffic.sent), of(&link.traffic.received))
        };
        let mut sinks = None;
        if !slow {
            sinks = Some([sink(reads_a, enough.clone()), sink(reads_b, enough)]);
        }
        bounded("a megabyte each way", async {
            while counts(&a.link).0 < 1_000_000 || counts(&a.link).1 < 1_000_000 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let close = Close::new(Reason::Denied, "why");
        a.link.mute(close, Duration::from_millis(500));
        bounded("to be quiet", a.link.quiet()).await;
        let at_rest = counts(&a.link);
        assert!(!a.relay.is_finished(), "open, and silent");
        let end = bounded("the end of the silence", a.relay).await.unwrap();
        assert!(matches!(end, Error::Ended(close) if close.reason == Reason::Denied));
        assert_eq!(counts(&a.link), at_rest, "slow nodes: {slow}");
        if let Some([of_a, _]) = sinks {
            let (_, bytes) = bounded("what had come before", of_a).await.unwrap();
            assert!(bytes <= at_rest.1, "{bytes} of {}", at_rest.1);
        }
        stop.cancel();
        drop(sources);
        b.relay.abort();
    }
}

#[tokio::test]
async fn an_idle_link_that_is_cut_says_why() {
    let (pair, _nodes) = Pair::start().await;
    let [a, b] = pair.ends;
    a.link
        .mute(Close::new(Reason::Expired, "it ran out"), Duration::ZERO);
    let end = bounded("the other end", b.relay).await.unwrap();
    assert!(
        matches!(&end, Error::Closed(close) if close.reason == Reason::Expired),
        "{end}"
    );
}

/// In version 2: from WELCOME on both connections are needed. If the fresh one is lost before it is used, both sides end.
#[tokio::test]
async fn a_fresh_connection_that_is_lost_ends_the_link_on_both_sides() {
    let (pair, _nodes) = Pair::of(VERSION_TAKEOVER).await;
    let (number, dialler, dialled) = pair.agree().await;
    let [a, b] = pair.ends;
    // The responder has it, the initiator moves, and its end of it is gone.
    b.link.live().unwrap().offer(number, Box::new(dialled));
    let (_, mut writer, reading) = dialler.part();
    writer.shutdown().await.unwrap();
    a.link.live().unwrap().go_over(writer, reading);
    for end in [a, b] {
        let error = bounded("the end", end.relay).await.unwrap();
        assert!(
            matches!(error, Error::LinkLost(_) | Error::Closed(_)),
            "{error}"
        );
    }
}

/// In version 2: the connection that MOVED speaks of never comes.
#[tokio::test]
async fn a_moved_without_a_connection_ends_the_link() {
    let (pair, _nodes) = Pair::of(VERSION_TAKEOVER).await;
    let (_, dialler, dialled) = pair.agree().await;
    drop(dialled);
    let [a, b] = pair.ends;
    let (_, writer, reading) = dialler.part();
    a.link.live().unwrap().go_over(writer, reading);
    let error = bounded("the end", b.relay).await.unwrap();
    assert!(matches!(error, Error::TimedOut(_)), "{error}");
    bounded("the other end", a.relay).await.unwrap();
}

/// What is handed over too late is closed, and does not hang about.
#[tokio::test]
async fn a_connection_for_a_link_that_is_over_is_dropped() {
    let (pair, _nodes) = Pair::start().await;
    let (number, mut dialler, dialled) = pair.agree().await;
    let [a, b] = pair.ends;
    b.link.end(Close::new(Reason::Draining, ""));
    bounded("the end", b.relay).await.unwrap();
    b.link.live().unwrap().offer(number, Box::new(dialled));
    assert!(
        bounded("the end of the connection", dialler.recv())
            .await
            .is_err()
    );
    a.relay.abort();
}
