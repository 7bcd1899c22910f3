//! The same while another process takes an agent's place: what one process knows of a link goes over as bytes, and what goes on with them
//! misses nothing.

use std::os::fd::OwnedFd;

use skans_handover::{HEADER, Header, LinkParts};

use super::*;

impl End {
    /// Its agent is replaced: everything goes over in the form in which it does between two processes. What that was.
    async fn replace(self) -> (Self, LinkParts) {
        let mut pieces = self.brake.pull();
        self.link.live().unwrap().give_up();
        let piece = bounded("what is known", pieces.recv()).await.unwrap();
        let (head, bytes) = piece.message.encode(1).unwrap();
        self.brake.finish();
        let end = bounded("the end of the old one", self.relay).await.unwrap();
        assert!(matches!(end, Error::Internal(_)), "{end}");
        let (head, text) = head.split_at(HEADER);
        let header = Header::decode(head.try_into().unwrap()).unwrap();
        let Message::Link(told, parts) = Message::decode(&header, text, &bytes).unwrap() else {
            panic!("wanted a link");
        };
        let socket: OwnedFd = piece.sockets.into_iter().next().unwrap();
        let node = std::net::TcpStream::from(socket);
        let node = TcpStream::from_std(node).unwrap();
        let registry = Arc::new(Registry::default());
        let link = crate::handover::link::register(&registry, &told).unwrap();
        let flows = Flows::open(link.link());
        let (state, session) = State::thaw(parts.clone(), flows, &Self::patience()).unwrap();
        link.start(session, true, Handle::current());
        let again = Self::run(registry, link, Course::thawed(node, state));
        (again, parts)
    }
}

/// As many messages as it takes, one behind the other.
fn stream(least: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for n in 0.. {
        if stream.len() >= least {
            break;
        }
        stream.extend(message(n));
    }
    stream
}

/// As an agent sends it, from this offset on.
fn framed(stream: &[u8], mut offset: u64) -> Vec<u8> {
    let mut frames = Vec::new();
    for piece in stream.chunks(16 * 1024) {
        frames.extend_from_slice(&skans_link::data_header(offset, piece.len()));
        frames.extend_from_slice(piece);
        offset += piece.len() as u64;
    }
    frames
}

/// One agent, its node, and the test in the place of the other agent.
struct Alone {
    network: Network,
    end: End,
    node: TcpStream,
    /// The other agent's connection and session.
    peer: LinkStream,
}

impl Alone {
    /// These bytes have come from the peer, all at once.
    async fn start(came: &[u8]) -> Self {
        let (node, agent) = tcp().await;
        // A node that reads nothing soon takes nothing.
        rustix::net::sockopt::set_socket_recv_buffer_size(&node, 4096).unwrap();
        rustix::net::sockopt::set_socket_send_buffer_size(&agent, 4096).unwrap();
        let network = Network::new();
        let sessions = (
            session(Direction::Outbound, VERSION_MAX),
            session(Direction::Inbound, VERSION_MAX),
        );
        let (mut peer, mut dialled) = network.connect(sessions).await;
        peer.session.send(came.len());
        // As if it had come with the greeting: it is looked at in one go.
        dialled.pending = framed(came, 0);
        let end = End::start(Direction::Inbound, dialled, agent);
        let received = &end.link.traffic.received.bytes;
        bounded("all that was sent", async {
            while received.load(Relaxed) < came.len() as u64 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        Self {
            network,
            end,
            node,
            peer,
        }
    }

    /// Its agent is replaced, and the peer finds the new one; what it wants to have sent is behind `came`.
    async fn replace(self, came: &[u8]) -> (Self, LinkParts) {
        let Self {
            network,
            end,
            node,
            mut peer,
        } = self;
        let (end, parts) = end.replace().await;
        assert!(peer.session.lost());
        let (number, offset) = peer.session.begin_resume().unwrap();
        let sessions = (Session::initiator(ID), Session::responder());
        let (dialler, dialled) = network.connect(sessions).await;
        end.registry
            .propose(&end.link, number, Arc::new(proof("c", "x", Some("x"))));
        let live = end.link.live().unwrap();
        let hello = skans_link::Hello {
            resume: true,
            ..hello(VERSION_MAX, number, offset)
        };
        let reached = live.session().on_resume_hello(&hello).unwrap();
        assert_eq!(reached, came.len() as u64, "all that had come is there");
        live.rescue(number, offset, Box::new(dialled));
        let welcome = welcome(VERSION_MAX, reached);
        peer.session.on_resume_welcome(&welcome).unwrap();
        let peer = LinkStream {
            session: peer.session,
            ..dialler
        };
        let again = Self {
            network,
            end,
            node,
            peer,
        };
        (again, parts)
    }

    /// The peer says the rest, and the node gets all of it.
    async fn told(mut self, all: &[u8], came: usize) {
        let rest = framed(&all[came..], came as u64);
        let mut found = vec![0; all.len()];
        let (sent, read) = tokio::join!(
            bounded("the rest to go", self.peer.send(&rest)),
            bounded("the node", self.node.read_exact(&mut found))
        );
        sent.unwrap();
        read.unwrap();
        let differs = found.iter().zip(all).position(|(one, other)| one != other);
        assert_eq!(differs, None, "the first byte that is another");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_that_reads_nothing_has_not_taken_goes_over() {
    let all = stream(2_000_000);
    let came = &all[..1_000_000];
    let alone = Alone::start(came).await;
    let (alone, parts) = alone.replace(came).await;
    // The kernel has a little of it.
    assert!(parts.backlog.len() > 500_000, "{}", parts.backlog.len());
    // Once more, before the node has read any of it.
    let (alone, again) = alone.replace(came).await;
    assert!(again.backlog.len() > 500_000, "{}", again.backlog.len());
    alone.told(&all, came.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_which_only_the_beginning_has_come_goes_over_undecided() {
    let all = stream(220_000);
    let second = message(0).len();
    let mut held = Vec::new();
    // Up to the middle of its control message, and beyond.
    for more in [0, 3, 5, 20, 45, 200] {
        let came = &all[..second + more];
        let alone = Alone::start(came).await;
        let (alone, parts) = alone.replace(came).await;
        held.push(parts.held.len());
        alone.told(&all, came.len()).await;
    }
    assert_eq!(held[0], 0);
    assert!(held[3] >= 16, "{held:?}: it cannot be decided yet");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_has_said_and_the_peer_has_not_acknowledged_goes_over() {
    let mut alone = Alone::start(&[]).await;
    let said = stream(300_000);
    // Up to the middle of a message: whole ones go out, and of the last one what can be decided.
    let cut = said.len() - 10_000;
    alone.node.write_all(&said[..cut]).await.unwrap();
    let sent = &alone.end.link.traffic.sent.bytes;
    bounded("the agent to have it", async {
        while sent.load(Relaxed) < cut as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    // The peer has got none of it.
    let (mut alone, parts) = alone.replace(&[]).await;
    assert!(parts.window.len() >= cut, "{}", parts.window.len());
    alone.node.write_all(&said[cut..]).await.unwrap();
    let mut found = Vec::new();
    let (_, _, mut reading) = alone.peer.part();
    let heard = async {
        let mut buffer = vec![0; 64 * 1024];
        while found.len() < said.len() {
            let count = reading.half.read(&mut buffer).await.unwrap();
            let mut input = &buffer[..count];
            while let Some(piece) = reading.decoder.next(&mut input).unwrap() {
                match piece {
                    skans_link::Piece::DataStart { offset, .. } => {
                        assert_eq!(offset, found.len() as u64);
                    }
                    skans_link::Piece::Data(bytes) => found.extend_from_slice(bytes),
                    skans_link::Piece::Frame(_) => {}
                }
            }
        }
    };
    bounded("the peer", heard).await;
    assert!(found == said);
}

/// One end, the other, and again; nodes that say as much as they can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agents_of_a_saturated_session_are_replaced_often_and_nothing_is_lost_doubled_or_turned_round()
 {
    let (mut pair, nodes) = Pair::start().await;
    let traffic = Traffic::begin(nodes);
    for n in 0..16_u32 {
        let Pair {
            network,
            ends: [a, b],
        } = pair;
        let ends = if n % 2 == 0 {
            [a.replace().await.0, b]
        } else {
            [a, b.replace().await.0]
        };
        pair = Pair { network, ends };
        pair.resume(n % 3).await;
        let received = &pair.ends[0].link.traffic.received.bytes;
        let before = received.load(Relaxed);
        bounded("bytes to flow again", async {
            while received.load(Relaxed) == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
    let _nodes = traffic.finish().await;
    for end in &pair.ends {
        assert!(!end.relay.is_finished());
    }
}
