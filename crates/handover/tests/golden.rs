//! A handover of each format, as the release that made it wrote it, read by this one. `fixtures/format-N` never changes: a new format gets
//! a new file. What is frozen inside is thawed, and frozen again to the same bytes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;

use skans_dist::gate::{Gate, Judge, Shown, Verdict};
use skans_dist::stream::MAX_FRAME;
use skans_handover::{
    Ask, Counts, Done, Door, Doors, Evidence, FORMAT_MAX, FORMAT_MIN, FORMAT_SERVICES, HEADER,
    Header, Link, LinkParts, Message, Node, NodeParts, Proof, Refused, StandIn, Table, TableParts,
    Traffic, Use,
};
use skans_link::{Frame, Session, VERSION_RESUME, Welcome, Window};

struct Open;

impl Judge for Open {
    type Error = skans_dist::Error;

    fn judge(&mut self, _: &Shown<'_>) -> Result<Verdict, Self::Error> {
        Ok(Verdict::Forward)
    }
}

fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

/// An atom that goes into the cache, the first of two fragments, and the beginning of the second.
fn gate() -> Gate {
    // {REG_SEND, Pid, a@here, a@here}, with a@here from the cache.
    let control = b"\x68\x04\x61\x06\x58\x52\x00\0\0\0\x64\0\0\0\0\0\0\0\x04\x52\x00\x52\x00";
    let bytes = [
        framed(&[b"\x83\x44\x01\x08\x03\x06a@here", control, b"\x6a"]),
        framed(&[
            b"\x83\x45\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x02\x01\x00\x03",
            control,
            b"\x6d\0\0\0\x0a12345",
        ]),
        framed(&[b"\x83\x46\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x01", b"67890"]),
    ]
    .concat();
    let mut gate = Gate::new(MAX_FRAME);
    let most = bytes.len() - 3;
    let decided = gate
        .feed(&bytes[..most], &mut Open, &mut Vec::new())
        .unwrap();
    assert_eq!(decided, most);
    gate
}

fn session() -> Session {
    let mut session = Session::initiator([5; 16]);
    let welcome = Welcome {
        version: VERSION_RESUME,
        session: [5; 16],
        offset: 0,
        tick_seconds: 60,
        clique: None,
    };
    session.on_frame(&Frame::Welcome(welcome)).unwrap();
    session.start_streaming();
    session.send(90);
    session.on_frame(&Frame::Ack(40)).unwrap();
    session.on_bytes(1000);
    assert!(session.lost());
    session
}

fn window() -> Window {
    let mut window = Window::new(1 << 20);
    window.room()[..100].copy_from_slice(&std::array::from_fn::<u8, 100, _>(|n| {
        n.try_into().unwrap()
    }));
    window.read(100);
    window.decide(95);
    window.send(90);
    window.release(40);
    window
}

fn evidence(node: &str) -> Evidence {
    Evidence {
        id: format!("spiffe://test.example/cluster/main/ns/default/sa/w/node/{node}"),
        host: Some("host".to_owned()),
        not_before: 1_795_215_600,
        not_after: 1_795_219_200,
        serial: "01ab".to_owned(),
        issuer: "CN=main".to_owned(),
        key: [7; 32],
        signers: vec![[8; 32], [9; 32]],
        cluster: Some("main".to_owned()),
        ends: 1_795_219_200,
    }
}

fn link() -> (Link, LinkParts) {
    let told = Link {
        id: 12,
        since: 1_795_215_700,
        local: "a@host".to_owned(),
        peer: "?@there".to_owned(),
        given: Some("x@there".to_owned()),
        outbound: true,
        visible: true,
        peer_creation: 77,
        flags: 0xd_1234_5678,
        takeovers: 3,
        resumed: 2,
        tick_seconds: 60,
        adrift_ms: 4000,
        proof: Proof {
            peer: evidence("x"),
            own: evidence("a"),
            address: "[2001:db8::1]:4370".parse().unwrap(),
            suite: "TLS13_AES_256_GCM_SHA384".to_owned(),
            group: "X25519MLKEM768".to_owned(),
        },
        traffic: Traffic {
            sent_bytes: 90,
            sent_ticks: 1,
            received_bytes: 1000,
            received_ticks: 2,
        },
    };
    let gate = gate().freeze().unwrap();
    let parts = LinkParts {
        session: session().freeze(),
        window: window().freeze(),
        sent: gate.clone(),
        received: gate,
        held: b"held".to_vec(),
        backlog: b"backlog".to_vec(),
        to_node: vec![0; 4],
        to_peer: vec![0; 8],
    };
    (told, parts)
}

/// All there is to say in a format, with the number of sockets beside each.
fn all(format: u16) -> Vec<(Message, usize)> {
    let door = |what, configured: &str| Door {
        what,
        configured: configured.to_owned(),
    };
    let mut doors = vec![
        door(Use::Links, "[::]:4370"),
        door(Use::Epmd, "127.0.0.1:4369"),
        door(Use::Health, "127.0.0.1:4372"),
        door(Use::Admin, "/run/skans/agent.sock"),
        door(Use::Workload, "/run/skans/workload.sock"),
        door(Use::Handover, "/run/skans/handover.sock"),
        door(Use::State, "/var/lib/skans/agent"),
    ];
    if format >= FORMAT_SERVICES {
        doors.push(door(Use::Service, "127.0.0.1:15432"));
    }
    let sockets = doors.len();
    let (told, parts) = link();
    vec![
        (
            Message::Ask(Ask {
                min: 1,
                max: format,
                release: "0.1.0".to_owned(),
            }),
            0,
        ),
        (
            Message::Doors(Doors {
                format,
                release: "0.1.0".to_owned(),
                doors,
            }),
            sockets,
        ),
        (Message::Ready, 0),
        (
            Message::Node(
                Node {
                    name: "a@host".to_owned(),
                    address: "127.0.0.1:40000".parse().unwrap(),
                    creation: 99,
                    tick_seconds: 60,
                    uid: 1000,
                    cli: false,
                    tells_names: true,
                },
                NodeParts {
                    names: b"N\0\0\0\x63\0\0\0\x64\0\0\0\0\0\x04shop".to_vec(),
                    partial: vec![0, 0, 1],
                },
            ),
            1,
        ),
        (
            Message::StandIn(StandIn {
                target: "b@there".to_owned(),
                port: 40001,
            }),
            2,
        ),
        (
            Message::Table(
                Table::Handles {
                    node: "a@host".to_owned(),
                },
                TableParts {
                    key: [1; 16],
                    young: vec![1, 2],
                    old: vec![3],
                },
            ),
            0,
        ),
        (
            Message::Table(
                Table::Atoms {
                    node: "a@host".to_owned(),
                    creation: 99,
                    peer: evidence("x").id,
                },
                TableParts {
                    key: [2; 16],
                    young: vec![u64::MAX],
                    old: Vec::new(),
                },
            ),
            0,
        ),
        (Message::Link(Box::new(told), parts), 1),
        (
            Message::Done(Done {
                nodes: 1,
                stand_ins: 1,
                tables: 2,
                links: 1,
                settled: true,
                counts: Counts {
                    handovers: 4,
                    links: 12,
                    creations: 100,
                },
            }),
            0,
        ),
        (Message::Taken, 0),
        (Message::Go, 0),
        (
            Message::Refused(Refused {
                why: "no".to_owned(),
            }),
            0,
        ),
    ]
}

fn written() -> Vec<u8> {
    let each = all(FORMAT_MAX).into_iter().map(|(message, sockets)| {
        let (head, bytes) = message.encode(sockets).unwrap();
        [head, bytes].concat()
    });
    each.collect::<Vec<_>>().concat()
}

fn read(mut file: &[u8]) -> Vec<(Message, usize)> {
    let mut messages = Vec::new();
    while let Some((head, rest)) = file.split_first_chunk::<HEADER>() {
        let header = Header::decode(*head).unwrap();
        let (text, rest) = rest.split_at(header.text);
        let (bytes, rest) = rest.split_at(header.bytes);
        messages.push((Message::decode(&header, text, bytes).unwrap(), header.fds));
        file = rest;
    }
    assert!(file.is_empty());
    messages
}

#[test]
fn a_handover_of_each_format_is_read_and_written() {
    let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"));
    let newest = fixtures.join(format!("format-{FORMAT_MAX}"));
    if !newest.exists() && std::env::var_os("SKANS_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&newest, written()).unwrap();
    }
    assert!(
        newest.exists(),
        "SKANS_UPDATE_SNAPSHOTS=1 makes {}",
        newest.display()
    );
    assert!(
        std::fs::read(&newest).unwrap() == written(),
        "what this release writes is another format than {FORMAT_MAX}"
    );
    for format in FORMAT_MIN..=FORMAT_MAX {
        let file = std::fs::read(fixtures.join(format!("format-{format}"))).unwrap();
        let messages = read(&file);
        assert_eq!(messages, all(format), "format {format}");
        let parts = messages.iter().find_map(|(message, _)| match message {
            Message::Link(_, parts) => Some(parts),
            _ => None,
        });
        let parts = parts.unwrap();
        let session = Session::thaw(&parts.session).unwrap();
        let window = Window::thaw(&parts.window, 1 << 20).unwrap();
        let mut gate = Gate::thaw(&parts.received, MAX_FRAME).unwrap();
        assert!(window.fits(&session));
        assert_eq!(session.freeze(), parts.session);
        assert_eq!(window.freeze(), parts.window);
        assert_eq!(gate.freeze().unwrap(), parts.received);
        // The frame that was under way ends, and the atom that was cached is known.
        let cached = framed(&[
            b"\x83\x44\x01\x00\x03",
            b"\x68\x04\x61\x06\x58\x52\x00\0\0\0\x64\0\0\0\0\0\0\0\x04\x52\x00\x52\x00\x6a",
        ]);
        let rest = [b"890".as_slice(), &cached].concat();
        let decided = gate.feed(&rest, &mut Open, &mut Vec::new()).unwrap();
        assert_eq!(decided, rest.len());
        assert!(gate.is_between_frames());
    }
}
