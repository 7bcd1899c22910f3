//! Connections between two real nodes, captured and read to the last byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use skans_dist::atom_cache::AtomCache;
use skans_dist::control::{Message, Op, Signal, Target};
use skans_dist::fragment::{Assembler, MAX_OPEN};
use skans_dist::frame::{self, Frame};
use skans_dist::handshake::{Status, digest, digest_matches};
use skans_dist::stream::{FrameKind, MAX_FRAME, Observer, Seen};
use skans_dist::term::{Limits, Reader, Term};
use skans_dist::{Control, Flags};
use support::epmd::Epmd;
use support::relay::{self, Capture};
use support::{Node, PATIENCE};

/// What one direction of a connection held.
#[derive(Default)]
struct Contents {
    ops: BTreeMap<Op, usize>,
    seen: Vec<Seen>,
    atoms: usize,
    most_interleaved: usize,
    registered_names: Vec<String>,
    largest_frame: usize,
    /// The numbers in the atoms `atom_1` and so on, in the order in which they came.
    numbered: Vec<u32>,
    /// Payloads of messages to the name `sink`, as far as they are tuples.
    to_sink: Vec<(FrameKind, usize)>,
}

/// Reads a stream frame by frame, and everything in it: header, control message, payload.
fn read(stream: &[u8]) -> Contents {
    let mut contents = Contents::default();
    let (mut cache, mut atoms) = (AtomCache::new(), Vec::new());
    let mut assembler = Assembler::new(MAX_OPEN, 64 << 20);
    let mut under_way: HashMap<u64, (Op, Vec<Arc<str>>)> = HashMap::new();
    let mut rest = stream;
    while let Some((bytes, used)) = frame::split(rest, MAX_FRAME).unwrap() {
        rest = &rest[used..];
        contents.largest_frame = contents.largest_frame.max(bytes.len());
        let length = u32::try_from(bytes.len()).unwrap();
        let frame = Frame::decode(bytes).unwrap();
        let kind = match &frame {
            Frame::Tick => {
                contents.seen.push(Seen::Tick);
                continue;
            }
            Frame::NextFragment {
                sequence,
                fragment,
                bytes,
            } => {
                contents.seen.push(Seen::Continuation { length });
                if let Some(payload) = assembler.next(*sequence, *fragment, bytes).unwrap() {
                    let (op, atoms) = under_way.remove(sequence).unwrap();
                    contents.numbered.extend(read_payload(op, &payload, &atoms));
                }
                continue;
            }
            Frame::PassThrough { .. } => {
                atoms.clear();
                FrameKind::PassThrough
            }
            Frame::Message { header, .. } | Frame::FirstFragment { header, .. } => {
                cache.apply(header, &mut atoms).unwrap();
                contents.atoms += header.new_atoms();
                if matches!(frame, Frame::Message { .. }) {
                    FrameKind::Header
                } else {
                    FrameKind::FirstFragment
                }
            }
        };
        let message = Message::of(&frame, &atoms).unwrap().unwrap();
        let op = message.control.op;
        contents.seen.push(Seen::Message {
            op,
            frame: kind,
            length,
        });
        *contents.ops.entry(op).or_default() += 1;
        if let Signal::Send {
            to: Target::Name(name),
            ..
        } = &message.control.signal
        {
            contents
                .registered_names
                .push(name.text().unwrap().to_owned());
            if *name == "sink" {
                contents.to_sink.push((kind, message.payload.len()));
            }
        }
        check_control(&message.control);
        if let Frame::FirstFragment {
            sequence, fragment, ..
        } = frame
        {
            match assembler
                .first(sequence, fragment, message.payload)
                .unwrap()
            {
                Some(payload) => contents.numbered.extend(read_payload(op, &payload, &atoms)),
                None => {
                    under_way.insert(sequence, (op, atoms.clone()));
                    contents.most_interleaved = contents.most_interleaved.max(under_way.len());
                }
            }
        } else {
            contents
                .numbered
                .extend(read_payload(op, message.payload, &atoms));
        }
    }
    assert_eq!(rest, b"", "left over");
    assert!(
        assembler.is_empty() && under_way.is_empty(),
        "a message has not ended"
    );
    contents
}

fn read_payload(op: Op, payload: &[u8], atoms: &[Arc<str>]) -> Vec<u32> {
    if op.has_payload() {
        let limits = Limits {
            count: u32::MAX,
            ..Limits::DEFAULT
        };
        let mut reader = Reader::with_limits(payload, limits)
            .unwrap()
            .with_atoms(atoms);
        let term = reader.term().unwrap();
        assert!(reader.is_empty(), "left over behind {term:?}");
        if matches!(op, Op::SpawnRequest | Op::SpawnRequestTt) {
            assert!(
                matches!(term, Term::List { tail: None, .. } | Term::String(_)),
                "arguments are a list: {term:?}"
            );
        }
        let Term::List { elements, .. } = term else {
            return Vec::new();
        };
        let number = |element: &Term<'_>| match element {
            Term::Atom(atom) => atom.text()?.strip_prefix("atom_")?.parse().ok(),
            _ => None,
        };
        elements.iter().filter_map(number).collect()
    } else {
        assert_eq!(payload, b"");
        Vec::new()
    }
}

/// What is read is written as something that reads the same.
fn check_control(control: &Control<'_>) {
    // Terms within are taken as they are, and may refer to atoms of the header.
    let bytes = control.encode().unwrap();
    let mut reader = Reader::new(&bytes).unwrap();
    assert_eq!(Control::read(&mut reader).unwrap(), *control);
    assert!(reader.is_empty());
}

/// The observer sees the same, however the stream is cut.
fn observe(stream: &[u8], wanted: &[Seen]) {
    let mut runner = TestRunner::new(Config {
        cases: 30,
        failure_persistence: None,
        ..Config::default()
    });
    let sizes = proptest::collection::vec(
        prop_oneof![1..20_usize, 1..2000_usize, 1..100_000_usize],
        1..50,
    );
    let result = runner.run(&sizes, |sizes| {
        let (mut observer, mut seen, mut rest) = (Observer::new(MAX_FRAME), Vec::new(), stream);
        for size in sizes.iter().cycle() {
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            observer.feed(chunk, &mut |event| seen.push(event)).unwrap();
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(observer.is_between_frames());
        prop_assert!(
            seen == wanted,
            "{} events instead of {}",
            seen.len(),
            wanted.len()
        );
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// A node that others can talk to. Its buffer is small, so that it suspends the sender of a large message, and
/// interleaves it with others.
fn start(epmd: &Epmd, name: &str, more: &[&str]) -> Node {
    let mut node = Node::start(
        &[&["+zdbbl", "64", "-name", name], more].concat(),
        &epmd.environment(),
    );
    node.text(
        "probe:sink(), {ok, _} = gen_server:start({local, probe_server}, probe, [], []), ok.",
    );
    node
}

/// Two nodes do everything with each other through a relay that takes capabilities away from both.
fn everything_between_two_nodes(without: Flags) -> (Capture, Contents, Contents) {
    let epmd = Epmd::start();
    let mut b = start(&epmd, "b@127.0.0.1", &[]);
    let captures = relay::before(&epmd, "b", without);
    let mut a = start(&epmd, "a@127.0.0.1", &[]);
    let received = a.text("probe:drive('b@127.0.0.1').");
    assert!(received.parse::<u32>().unwrap() > 800, "{received}");
    // The other direction has had little to say: let it do the same over the same connection.
    b.text("probe:drive('a@127.0.0.1').");
    assert_eq!(a.text("nodes()."), "['b@127.0.0.1']");
    a.text("erlang:disconnect_node('b@127.0.0.1').");
    let capture = captures
        .recv_timeout(PATIENCE)
        .expect("the connection has ended");
    let there = read(&capture.a_to_b);
    let back = read(&capture.b_to_a);
    observe(&capture.a_to_b, &there.seen);
    observe(&capture.b_to_a, &back.seen);

    assert!(digest_matches(
        b"probe",
        capture.challenge.challenge,
        &capture.reply.digest
    ));
    assert!(digest_matches(
        b"probe",
        capture.reply.challenge,
        &capture.ack.digest
    ));
    assert_ne!(
        digest(b"other", capture.challenge.challenge),
        capture.reply.digest
    );
    assert_eq!(
        capture.hello.node().unwrap().unwrap().as_str(),
        "a@127.0.0.1"
    );
    assert_eq!(capture.challenge.name.as_str(), "b@127.0.0.1");
    assert!(matches!(
        capture.status,
        Status::Ok | Status::OkSimultaneous
    ));
    assert!(
        there
            .registered_names
            .iter()
            .any(|name| name == "global_name_server")
    );
    (capture, there, back)
}

fn assert_ops(contents: &Contents, wanted: &[Op], unwanted: &[Op]) {
    for op in wanted {
        assert!(
            contents.ops.contains_key(op),
            "no {op} among {:?}",
            contents.ops
        );
    }
    for op in unwanted {
        assert!(
            !contents.ops.contains_key(op),
            "{op} among {:?}",
            contents.ops
        );
    }
}

#[test]
fn as_the_nodes_would_have_it() {
    let (capture, there, back) = everything_between_two_nodes(Flags::EMPTY);
    assert!(!capture.hello.flags.is_hidden());
    assert!(capture.hello.flags.contains(Flags::MANDATORY_25));
    for contents in [&there, &back] {
        assert_ops(
            contents,
            &[
                Op::Link,
                Op::RegSend,
                Op::RegSendTt,
                Op::GroupLeader,
                Op::MonitorP,
                Op::DemonitorP,
                Op::SendSender,
                Op::SendSenderTt,
                Op::PayloadExit,
                Op::PayloadExit2,
                Op::PayloadMonitorPExit,
                Op::SpawnRequest,
                Op::SpawnRequestTt,
                Op::SpawnReply,
                Op::UnlinkId,
                Op::UnlinkIdAck,
            ],
            &[Op::Unlink, Op::Exit, Op::Exit2, Op::MonitorPExit],
        );
        assert!(contents.atoms > 4000, "{} atoms", contents.atoms);
        assert!(
            contents.most_interleaved > 1,
            "fragments of several messages were under way at once"
        );
    }
    assert!(there.ops.contains_key(&Op::AliasSend) || there.ops.contains_key(&Op::AltactSigSend));
}

#[test]
fn without_atom_cache_and_fragments() {
    let (_, there, back) =
        everything_between_two_nodes(Flags::DIST_HDR_ATOM_CACHE.with(Flags::FRAGMENTS));
    for contents in [&there, &back] {
        let pass_through = |seen: &Seen| {
            matches!(
                seen,
                Seen::Tick
                    | Seen::Message {
                        frame: FrameKind::PassThrough,
                        ..
                    }
            )
        };
        assert!(contents.seen.iter().all(pass_through));
        assert!(contents.largest_frame > 300_000);
    }
}

#[test]
fn with_the_operations_of_old() {
    // Not ALIAS: without it no `gen_server:call` between the two is ever answered.
    let new = [
        Flags::SEND_SENDER,
        Flags::EXIT_PAYLOAD,
        Flags::SPAWN,
        Flags::UNLINK_ID,
        Flags::ALTACT_SIG,
    ];
    let mandatory_now = support::otp_release() >= 26;
    let without = new
        .into_iter()
        .filter(|flag| !(mandatory_now && *flag == Flags::UNLINK_ID))
        .fold(Flags::EMPTY, Flags::with);
    let (_, there, back) = everything_between_two_nodes(without);
    for contents in [&there, &back] {
        assert_ops(
            contents,
            &[
                Op::Send,
                Op::SendTt,
                Op::RegSend,
                Op::RegSendTt,
                Op::Exit,
                Op::Exit2,
                Op::MonitorPExit,
            ],
            &[
                Op::SendSender,
                Op::PayloadExit,
                Op::PayloadExit2,
                Op::PayloadMonitorPExit,
                Op::SpawnRequest,
            ],
        );
        assert_eq!(contents.ops.contains_key(&Op::Unlink), !mandatory_now);
    }
}

/// A node that asks for a name is given one by the node that it connects to.
#[test]
fn a_node_without_a_name_is_given_one() {
    let epmd = Epmd::start();
    let mut b = start(&epmd, "b@127.0.0.1", &[]);
    let captures = relay::before(&epmd, "b", Flags::EMPTY);
    let mut a = Node::start(&["-name", "undefined@127.0.0.1"], &epmd.environment());
    assert_eq!(a.text("net_kernel:connect_node('b@127.0.0.1')."), "true");
    let name = a.text("atom_to_list(node()).");
    assert_eq!(
        a.text("erpc:call('b@127.0.0.1', erlang, node, [])."),
        "'b@127.0.0.1'"
    );
    let given_creation = a.text("erlang:system_info(creation).");
    b.text("erlang:disconnect_node(hd(nodes(connected))).");
    let capture = captures
        .recv_timeout(PATIENCE)
        .expect("the connection has ended");
    assert!(capture.hello.wants_name());
    assert_eq!(capture.hello.name, "127.0.0.1");
    assert_eq!(capture.hello.node(), Ok(None));
    let Status::Named {
        name: given,
        creation,
    } = &capture.status
    else {
        panic!("{:?}", capture.status)
    };
    assert_eq!(format!("{:?}", given.as_str()), name);
    assert_eq!(given_creation, creation.to_string());
    read(&capture.a_to_b);
    read(&capture.b_to_a);
}

/// A hidden node says so in its hello, and says nothing to `global`.
#[test]
fn a_hidden_node_is_seen_to_be_one() {
    let epmd = Epmd::start();
    let mut b = start(&epmd, "b@127.0.0.1", &[]);
    let captures = relay::before(&epmd, "b", Flags::EMPTY);
    let mut a = start(&epmd, "a@127.0.0.1", &["-hidden"]);
    // At epmd it does not say so, whatever the protocol provides for.
    assert_eq!(
        epmd.registered("a").node_type,
        skans_dist::epmd::NODE_NORMAL
    );
    assert_eq!(
        a.text("erpc:call('b@127.0.0.1', erlang, node, [])."),
        "'b@127.0.0.1'"
    );
    assert_eq!(b.text("{nodes(), nodes(hidden)}."), "{[],['a@127.0.0.1']}");
    a.text("erlang:disconnect_node('b@127.0.0.1').");
    let capture = captures
        .recv_timeout(PATIENCE)
        .expect("the connection has ended");
    assert!(capture.hello.flags.is_hidden());
    let there = read(&capture.a_to_b);
    read(&capture.b_to_a);
    assert!(
        !there
            .registered_names
            .iter()
            .any(|name| name == "global_name_server")
    );
}

/// What a node queues before a connection is up comes in the plainest form: in one frame, however large.
#[test]
fn messages_from_before_the_connection_are_not_cut() {
    let epmd = Epmd::start();
    let b = start(&epmd, "b@127.0.0.1", &[]);
    let captures = relay::before(&epmd, "b", Flags::EMPTY);
    let mut a = start(&epmd, "a@127.0.0.1", &[]);
    a.text("{sink, 'b@127.0.0.1'} ! {large, binary:copy(<<7>>, 300000)}, pong = net_adm:ping('b@127.0.0.1').");
    a.text("{sink, 'b@127.0.0.1'} ! {large, binary:copy(<<7>>, 300000)}, pong = net_adm:ping('b@127.0.0.1').");
    drop(b);
    let capture = captures
        .recv_timeout(PATIENCE)
        .expect("the connection has ended");
    let there = read(&capture.a_to_b);
    let kinds = there
        .to_sink
        .iter()
        .map(|(kind, _)| *kind)
        .collect::<Vec<_>>();
    assert_eq!(kinds, [FrameKind::Header, FrameKind::FirstFragment]);
    assert!(there.largest_frame > 300_000);
}
