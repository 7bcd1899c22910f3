//! What agents say themselves, said to a real node by a test that plays the other node.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use skans_dist::atom_cache::AtomCache;
use skans_dist::control::{Control, Message, Signal};
use skans_dist::epmd::{NODE_HIDDEN, PROTOCOL_TCP, Registration, VERSION};
use skans_dist::frame::{self, Frame, Header};
use skans_dist::handshake::{
    Challenge, ChallengeAck, ChallengeReply, SendName, Status, digest, digest_matches,
};
use skans_dist::stream::MAX_FRAME;
use skans_dist::term::{Atom, Pid};
use skans_dist::{Flags, NodeName};
use support::epmd::Epmd;
use support::relay::Side;
use support::{Node, PATIENCE};

const NAME: &str = "t@127.0.0.1";

/// The payload of every answer: the atom `eacces`.
const EACCES: &[u8] = b"w\x06eacces";

/// Accepts one connection as a node that refuses everything, until it ends.
fn refuse_everything(listener: &TcpListener, without: Flags) {
    let (stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut side = Side::new(stream);

    let hello = SendName::decode(&side.message()).unwrap();
    side.say(&Status::Ok.encode());
    let flags = hello.flags.known().without(Flags::PUBLISHED.with(without));
    let challenge = Challenge {
        flags,
        challenge: 4711,
        creation: 7,
        name: NAME.parse::<NodeName>().unwrap(),
    };
    side.say(&challenge.encode());
    let reply = ChallengeReply::decode(&side.message()).unwrap();
    assert!(digest_matches(b"probe", challenge.challenge, &reply.digest));
    side.say(
        &ChallengeAck {
            digest: digest(b"probe", reply.challenge),
        }
        .encode(),
    );

    let (mut cache, mut atoms) = (AtomCache::new(), Vec::new());
    let Side {
        mut stream,
        rest: mut buffer,
    } = side;
    loop {
        while let Some((bytes, used)) = frame::split(&buffer, MAX_FRAME).unwrap() {
            let frame = Frame::decode(bytes).unwrap();
            match &frame {
                Frame::Message { header, .. } | Frame::FirstFragment { header, .. } => {
                    cache.apply(header, &mut atoms).unwrap();
                }
                _ => atoms.clear(),
            }
            if let Some(message) = Message::of(&frame, &atoms).unwrap() {
                answer(&mut stream, &message.control.signal, without);
            }
            buffer.drain(..used);
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(count @ 1..) => buffer.extend_from_slice(&chunk[..count]),
            _ => return,
        }
    }
}

fn answer(stream: &mut TcpStream, signal: &Signal<'_>, without: Flags) {
    let pass_through = without.contains(Flags::DIST_HDR_ATOM_CACHE);
    let mut say = |control: &Control<'_>| {
        let terms = control.encode().unwrap();
        let payload = control.op.has_payload().then_some(EACCES);
        let bytes = if pass_through {
            frame::pass_through(&terms, payload)
        } else {
            frame::message(
                &Header::EMPTY,
                &[&terms, payload.unwrap_or_default()].concat(),
            )
        };
        stream.write_all(&bytes).unwrap();
    };
    // In place of everything refused something stands that no one receives.
    say(&Control::to_nobody(Pid {
        node: Atom::new(NAME),
        id: 1,
        serial: 0,
        creation: 7,
    }));
    match signal.clone() {
        Signal::Monitor {
            from,
            to,
            reference,
        } => say(&Control::monitor_exit(to, from, reference)),
        Signal::SpawnRequest { id, from, .. } => say(&Control::spawn_failed(id, from, "eacces")),
        Signal::Link { from, to } => say(&Control::link_exit(to, from)),
        _ => {}
    }
}

fn callers_get_an_answer(without: Flags) {
    let epmd = Epmd::start();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    epmd.register(Registration {
        port: listener.local_addr().unwrap().port(),
        node_type: NODE_HIDDEN,
        protocol: PROTOCOL_TCP,
        highest: VERSION,
        lowest: VERSION,
        name: "t".to_owned(),
        extra: Vec::new(),
    });
    let peer = thread::spawn(move || refuse_everything(&listener, without));
    let mut a = Node::start(&["-name", "a@127.0.0.1"], &epmd.environment());
    assert_eq!(a.text("net_kernel:connect_node('t@127.0.0.1')."), "true");
    for _ in 0..3 {
        assert_eq!(
            a.text(
                "{'EXIT',{Why,_}} = (catch erpc:call('t@127.0.0.1', erlang, node, [], 20000)), Why."
            ),
            "{erpc,eacces}"
        );
        assert_eq!(
            a.text("rpc:call('t@127.0.0.1', erlang, node, [], 20000)."),
            "{badrpc,{'EXIT',eacces}}"
        );
        assert_eq!(
            a.text("{'EXIT',{Why,_}} = (catch gen_server:call({any,'t@127.0.0.1'}, hello, 20000)), Why."),
            "eacces"
        );
        assert_eq!(
            a.text(
                "process_flag(trap_exit, true),
                 P = binary_to_term(<<131, 88, 119, 11, \"t@127.0.0.1\", 99:32, 0:32, 7:32>>),
                 link(P), receive {'EXIT', P, Why} -> Why after 20000 -> silence end."
            ),
            "eacces"
        );
    }
    assert_eq!(
        a.text("nodes(hidden)."),
        "['t@127.0.0.1']",
        "the connection has borne it all"
    );
    a.text("erlang:disconnect_node('t@127.0.0.1').");
    peer.join().unwrap();
}

#[test]
fn callers_get_an_answer_behind_a_header() {
    callers_get_an_answer(Flags::EMPTY);
}

#[test]
fn callers_get_an_answer_without_header() {
    callers_get_an_answer(Flags::DIST_HDR_ATOM_CACHE.with(Flags::FRAGMENTS));
}
