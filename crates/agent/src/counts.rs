//! What a message costs, in instructions: sections with names, each run so often, which `script/counts` counts under
//! callgrind. Counts do not depend on how busy a machine is. As an ordinary test it says only that every section does
//! what its name says; times are measured elsewhere (`bench`).

mod messages;

use std::hint::black_box;
use std::sync::Arc;

use skans_dist::control::Control;
use skans_dist::frame::Frame;
use skans_dist::stream::{MAX_FRAME, Observer};
use skans_dist::term::Reader;
use skans_link::{Decoder, Piece};
use skans_policy::{Action, Cache, Request, Resource};

use crate::enforce::testing::{OPEN, Setting, link_between, source};
use crate::passage::Passage;
use crate::policies::Policies;
use crate::registry::Direction;
use messages::Said;

/// How often each section runs what it counts; the same number stands in `script/counts`.
const TIMES: usize = 200;

/// Everything but messages to processes without a name, which have to have been handed out.
const HANDED: &str = r#"@id("handed") permit(principal, action, resource)
    unless { action == Skans::Action::"send_pid" };"#;

/// What callgrind looks at: it is told to collect from here on, and to write down what it has when this returns.
#[inline(never)]
fn counted_section(run: &mut dyn FnMut()) {
    for _ in 0..TIMES {
        run();
    }
}

/// Says which section comes next, and runs it; twice before, so that what is made once is there.
fn section(name: &str, mut run: impl FnMut()) {
    run();
    run();
    println!("section {name}");
    counted_section(&mut run);
}

/// One direction of a link under a policy. What a gate says of it: everything passes, unchanged.
struct Way {
    _events: tempfile::TempDir,
    passage: Passage,
}

impl Way {
    fn new(direction: Direction, cedar: &str, before: &[&[u8]]) -> Self {
        let events = tempfile::tempdir().unwrap();
        let mut setting = Setting::new(direction, cedar, &events.path().join("events"));
        setting.policies = Arc::new(Policies::testing(&source(cedar)));
        setting.names.replace(&messages::names()).unwrap();
        // All is said by `a`.
        let link = match direction {
            Direction::Outbound => link_between("a@here", "b@here"),
            Direction::Inbound => link_between("b@here", "a@here"),
        };
        let mut way = Self {
            passage: Passage::new(setting.flow(link.link()), "the peer"),
            _events: events,
        };
        way.pass(&messages::introduction());
        before.iter().for_each(|message| way.pass(message));
        way
    }

    /// As the relay does with what a node sends.
    fn pass(&mut self, message: &[u8]) {
        self.passage.flow().came(message.len());
        let decided = self.passage.feed(message).unwrap();
        assert_eq!(decided, message.len());
        let edited = self.passage.edited(message);
        assert!(
            edited.is_none(),
            "{:?}",
            edited.map(|e| String::from_utf8_lossy(&e).into_owned())
        );
        assert!(self.passage.is_between_frames());
    }
}

/// The codec: what is read without any judge.
fn codec(said: &[Said]) {
    let atoms: Vec<Arc<str>> = messages::ATOMS.iter().map(|&atom| atom.into()).collect();
    for message in said {
        let frame = message.bytes.get(4..).unwrap();
        section(&format!("codec: frame of a {}", message.name), || {
            black_box(Frame::decode(black_box(frame)).unwrap());
        });
        let (Frame::Message { terms, .. } | Frame::FirstFragment { terms, .. }) =
            Frame::decode(frame).unwrap()
        else {
            panic!("all have headers");
        };
        section(&format!("codec: control of a {}", message.name), || {
            let mut reader = Reader::new(black_box(terms.get(..terms.len().min(256)).unwrap()))
                .unwrap()
                .with_atoms(&atoms);
            black_box(Control::read(&mut reader).unwrap());
        });
    }
    let (introduction, mut observer) = (messages::introduction(), Observer::new(MAX_FRAME));
    observer.feed(&introduction, &mut |_| {}).unwrap();
    for message in said {
        section(&format!("observer: {}", message.name), || {
            observer
                .feed(black_box(&message.bytes), &mut |seen| {
                    black_box(seen);
                })
                .unwrap();
        });
    }
}

/// Frames between two agents.
fn frames() {
    let bytes = [7; 64];
    let header = skans_link::data_header(0, bytes.len());
    section("link: header of a DATA frame", || {
        black_box(skans_link::data_header(black_box(77), black_box(64)));
    });
    let frame = [&header[..], &bytes].concat();
    let mut decoder = Decoder::default();
    section("link: DATA frame read", || {
        let mut input = black_box(frame.as_slice());
        while let Some(piece) = decoder.next(&mut input).unwrap() {
            assert!(matches!(piece, Piece::DataStart { .. } | Piece::Data(_)));
            black_box(piece);
        }
    });
}

/// A verdict that is remembered.
fn remembered() {
    let in_force = Policies::testing(&source(OPEN)).current();
    let node = |node: &str| skans_policy::Subject {
        trust_domain: "test".into(),
        cluster: "c".into(),
        namespace: "n".into(),
        workload: "w".into(),
        node: node.into(),
        host: "here".into(),
    };
    let pair = in_force.engine.pair(&node("a"), &node("b"), 0);
    let mut cache = Cache::new();
    let function = Resource::Function {
        module: "shop_stock",
        function: "level",
        arity: 1,
    };
    for (name, action, resource) in [
        (
            "send to a name",
            Action::Send,
            Resource::Process("shop_stock"),
        ),
        ("send to a pid", Action::SendPid, Resource::Node),
        ("call", Action::Call, function),
    ] {
        let request = Request::new(action, resource);
        section(&format!("decision, remembered: {name}"), || {
            assert!(cache.decide(&pair, black_box(&request)).passes());
        });
    }
}

#[test]
fn a_message_is_decided_in_so_many_instructions() {
    let said = messages::all();
    codec(&said);
    frames();
    remembered();
    for (what, direction) in [
        ("received", Direction::Inbound),
        ("sent", Direction::Outbound),
    ] {
        let mut way = Way::new(direction, OPEN, &[]);
        for message in &said {
            section(&format!("{what}: {}", message.name), || {
                way.pass(black_box(&message.bytes));
            });
        }
    }
    // What has to be handed out is noted in the one direction, and found in the other.
    let request = &messages::request().bytes;
    let mut way = Way::new(Direction::Outbound, HANDED, &[]);
    section("sent, under the need to be handed out: request", || {
        way.pass(black_box(request));
    });
    let reply = messages::reply_to_itself();
    let mut way = Way::new(Direction::Outbound, HANDED, &[request]);
    section("sent, under the need to be handed out: reply", || {
        way.pass(black_box(&reply.bytes));
    });
}
