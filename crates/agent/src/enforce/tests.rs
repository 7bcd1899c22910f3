//! What becomes of messages, one direction at a time: what passes, what does not, who is answered, and what is told.

mod allow_list;
mod beside;
mod bounds;
mod memory;
mod methods;

use proptest::prelude::*;
use skans_dist::control::{Control, Signal, Target};
use skans_dist::operation::Function;
use skans_dist::term::{Atom, Pid, Reference, Writer};
use skans_dist::{Op, frame};

use super::testing::{OPEN, Setting, link, source};
use super::*;
use crate::passage::Passage;
use crate::registry::Registered;

/// One function, and nothing else.
const ONE_FUNCTION: &str = r#"@id("one") permit(principal, action == Skans::Action::"call", resource == Skans::Function::"shop:stock/1");"#;

/// A direction, and what goes through it.
struct Bench {
    _directory: tempfile::TempDir,
    setting: Setting,
    passage: Passage,
    link: Registered,
}

impl Bench {
    fn new(cedar: &str, change: impl FnOnce(&mut Setting)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let events = directory.path().join("events");
        let mut setting = Setting::new(Direction::Inbound, cedar, &events);
        change(&mut setting);
        let link = link();
        Self {
            passage: Passage::new(setting.flow(link.link()), "the peer"),
            _directory: directory,
            setting,
            link,
        }
    }

    fn pass(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        self.passage.pass(bytes, &mut out)?;
        Ok(out.concat())
    }

    /// Whether a message goes on as it is.
    fn passes(&mut self, message: &[u8]) -> bool {
        self.pass(message).unwrap() == message
    }

    fn denied(&self) -> Vec<(&'static str, &'static str, &'static str, u64)> {
        let all = self.link.traffic.received.decisions.all();
        all.filter(|(verdict, ..)| *verdict == "deny").collect()
    }
}

fn pid(node: &str, id: u32) -> Pid<'_> {
    Pid {
        node: Atom::new(node),
        id,
        serial: 0,
        creation: 1,
    }
}

fn reference(n: u32) -> Reference<'static> {
    Reference::new(Atom::new("a@here"), 1, &[n, 2, 3]).unwrap()
}

/// A message without distribution header.
fn message(op: Op, signal: Signal<'_>, payload: Option<&Writer>) -> Vec<u8> {
    let control = Control {
        op,
        token: None,
        signal,
    };
    let payload = payload.map(|payload| payload.clone().finish().unwrap());
    frame::pass_through(&control.encode().unwrap(), payload.as_deref())
}

fn send(to: Target<'static>, payload: &Writer) -> Vec<u8> {
    let op = match to {
        Target::Name(_) => Op::RegSend,
        _ => Op::SendSender,
    };
    let from = Some(pid("a@here", 90));
    let signal = Signal::Send {
        from,
        to,
        priority: false,
    };
    message(op, signal, Some(payload))
}

fn atom(text: &str) -> Writer {
    let mut writer = Writer::new();
    writer.atom(text);
    writer
}

/// `erpc:call(…, M, F, Args)`.
fn call(module: &str, function: &str, arity: usize) -> Vec<u8> {
    let mut payload = Writer::new();
    payload.list(4).reference(&reference(9));
    payload.atom(module).atom(function);
    if arity > 0 {
        payload.list(arity);
        for n in 0..arity {
            payload.integer(i64::try_from(n).unwrap());
        }
    }
    payload.nil().nil();
    let control = {
        let mut writer = Writer::new();
        writer.tuple(6).integer(29).reference(&reference(7));
        writer.pid(&pid("a@here", 90)).pid(&pid("a@here", 91));
        writer.tuple(3).atom("erpc").atom("execute_call").integer(4);
        writer.list(1).atom("monitor").nil();
        writer.finish().unwrap()
    };
    frame::pass_through(&control, Some(&payload.finish().unwrap()))
}

#[test]
fn a_permit_for_one_function_is_one_for_that_function_and_nothing_else() {
    let mut bench = Bench::new(ONE_FUNCTION, |_| {});
    assert!(bench.passes(&call("shop", "stock", 1)));
    for (module, function, arity) in [
        ("shop", "stock", 0),
        ("shop", "stock", 2),
        ("shop", "stocks", 1),
        ("os", "cmd", 1),
    ] {
        assert!(!bench.passes(&call(module, function, arity)), "{module}");
    }
    assert!(!bench.passes(&send(Target::Name(Atom::new("shop")), &atom("stock"))));
    assert!(!bench.passes(&send(Target::Pid(pid("b@here", 80)), &atom("stock"))));
    let refused: u64 = bench.denied().iter().map(|(.., count)| count).sum();
    assert_eq!(refused, 6);
    // Each call was answered: {31, ReqId, From, 0, eacces}.
    let answers = bench.setting.answers.take().unwrap();
    let count = answers
        .windows(6)
        .filter(|bytes| bytes == b"eacces")
        .count();
    assert_eq!(count, 4);
    assert!(bench.setting.answers.take().is_none());
}

#[test]
fn a_refused_request_that_does_not_name_its_monitor_is_answered_by_the_one_that_was_set() {
    let watch = r#"@id("watch") permit(principal, action == Skans::Action::"monitor", resource == Skans::Process::"app");"#;
    let monitor = |from: u32, name: &'static str, n: u32| {
        let signal = Signal::Monitor {
            from: pid("a@here", from),
            to: Target::Name(Atom::new(name)),
            reference: reference(n),
        };
        message(Op::MonitorP, signal, None)
    };
    // As `gen_server:multi_call` of OTP 25 asks, and by hand.
    let mut many = Writer::new();
    many.tuple(3).atom("$gen_call").tuple(2);
    many.pid(&pid("a@here", 90)).tuple(2);
    many.reference(&reference(50)).atom("b@here").atom("hello");
    let mut bare = Writer::new();
    bare.tuple(2).pid(&pid("a@here", 90)).atom("hello");
    let to_app = |payload| send(Target::Name(Atom::new("app")), payload);
    let fires = |n| {
        let watched = Target::Name(Atom::new("app"));
        let exit = Control::monitor_exit(watched, pid("a@here", 90), reference(n));
        exit.encode().unwrap()
    };
    let taken_back = |n| {
        let watched = Target::Name(Atom::new("app"));
        Control::demonitor(pid("a@here", 90), watched, reference(n))
            .encode()
            .unwrap()
    };
    let holds = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|some| some == part);
    for payload in [&many, &bare] {
        let mut bench = Bench::new(watch, |_| {});
        // Nobody watches.
        assert!(!bench.passes(&to_app(payload)));
        assert_eq!(bench.setting.answers.take(), None);
        // Others do, and the one that asks: others, one that was refused, and twice.
        assert!(bench.passes(&monitor(91, "app", 1)));
        assert!(!bench.passes(&monitor(90, "other", 2)));
        let _ = bench.setting.answers.take();
        assert!(!bench.passes(&to_app(payload)));
        assert_eq!(bench.setting.answers.take(), None);
        for n in [3, 4] {
            assert!(bench.passes(&monitor(90, "app", n)));
        }
        let out = bench.pass(&to_app(payload)).unwrap();
        let answer = bench.setting.answers.take().unwrap();
        assert!(holds(&answer, &fires(4)) && !holds(&answer, &fires(3)));
        assert!(holds(&out, &taken_back(4)), "the monitor stays behind");
        // It fires once.
        assert!(!bench.passes(&to_app(payload)));
        assert_eq!(bench.setting.answers.take(), None);
    }
}

#[test]
fn a_pid_is_judged_as_the_name_that_it_bears() {
    let named = r#"@id("pids") permit(principal, action == Skans::Action::"send_pid", resource);"#;
    let mut bench = Bench::new(named, |_| {});
    let to_80 = send(Target::Pid(pid("b@here", 80)), &atom("hello"));
    assert!(bench.passes(&to_80));
    let mut table = b"N\0\0\0\x01\0\0\0\x50\0\0\0\0\0\x04".to_vec();
    table.extend(b"shop");
    bench.setting.names.replace(&table).unwrap();
    assert!(!bench.passes(&to_80));
    assert_eq!(bench.denied(), [("deny", "send", "policy", 1)]);
    assert!(bench.passes(&send(Target::Pid(pid("b@here", 81)), &atom("hello"))));
}

#[test]
fn what_a_delegate_tells_others_is_judged_as_told_to_those_that_bear_names() {
    let permits = r#"@id("pids") permit(principal, action == Skans::Action::"send_pid", resource);
        @id("app") permit(principal, action == Skans::Action::"send", resource == Skans::Process::"app");"#;
    let told = |processes: &[Pid<'_>]| {
        let mut payload = Writer::new();
        payload.tuple(2).atom("$gen_cast").tuple(3).atom("invoke");
        payload.tuple(3).atom("gen_server2").atom("cast");
        payload.list(1).atom("resume").nil();
        payload.map(1).atom("b@here").list(processes.len());
        for process in processes {
            payload.pid(process);
        }
        payload.nil();
        send(Target::Name(Atom::new("delegate_3")), &payload)
    };
    let mut bench = Bench::new(permits, |_| {});
    let mut table = Vec::from(*b"N\0\0\0\x01");
    for (id, name) in [(80, "shop"), (82, "app")] {
        table.extend([0, 0, 0, id, 0, 0, 0, 0, 0]);
        table.push(u8::try_from(name.len()).unwrap());
        table.extend(name.as_bytes());
    }
    bench.setting.names.replace(&table).unwrap();
    let (named, permitted, without) = (pid("b@here", 80), pid("b@here", 82), pid("b@here", 81));
    assert!(bench.passes(&told(std::slice::from_ref(&without))));
    assert!(bench.passes(&told(&[permitted.clone(), without.clone()])));
    assert_eq!(bench.denied(), []);
    // Wherever it stands among the others.
    assert!(!bench.passes(&told(&[without.clone(), permitted, named.clone()])));
    assert!(!bench.passes(&told(&[named, without])));
    assert_eq!(bench.denied(), [("deny", "send", "policy", 2)]);
    // Elsewhere it is somebody else.
    assert!(bench.passes(&told(&[pid("c@here", 80)])));
}

#[test]
fn what_was_handed_out_may_be_answered_without_a_right_to_all_processes() {
    let mut bench = Bench::new(ONE_FUNCTION, |_| {});
    let answer = send(Target::Pid(pid("b@here", 80)), &atom("answer"));
    assert!(!bench.passes(&answer));
    bench.setting.handles.pid(&pid("b@here", 80));
    assert!(bench.passes(&answer));
    // Another life of the node, another process.
    let mut other = pid("b@here", 80);
    other.creation = 0;
    assert!(!bench.passes(&send(Target::Pid(other), &atom("answer"))));
}

/// What is handed out spares a permit, and no more.
#[test]
fn a_forbid_reaches_what_was_handed_out() {
    let functions = r#"@id("no") forbid(principal, action in [Skans::Action::"send", Skans::Action::"send_pid"], resource)
        when { context.carriesFunction };"#;
    let pids = r#"@id("no") forbid(principal, action == Skans::Action::"send_pid", resource);"#;
    let mut brings = Writer::new();
    brings
        .tuple(2)
        .atom("$gen_cast")
        .export(&Atom::new("os"), &Atom::new("cmd"), 1);
    let to_80 = |payload: &Writer| send(Target::Pid(pid("b@here", 80)), payload);
    for (policy, plain) in [(functions, true), (pids, false)] {
        let mut bench = Bench::new(policy, |_| {});
        bench.setting.handles.pid(&pid("b@here", 80));
        assert_eq!(bench.passes(&to_80(&atom("answer"))), plain, "{policy}");
        assert!(!bench.passes(&to_80(&brings)), "{policy}");
    }
    let mut bench = Bench::new(ONE_FUNCTION, |_| {});
    bench.setting.handles.pid(&pid("b@here", 80));
    assert!(bench.passes(&to_80(&brings)), "nobody forbids it");
}

/// Or its events would be of what is never refused.
#[test]
fn a_dry_run_tells_what_would_be_refused_and_nothing_else() {
    let mut bench = Bench::new(ONE_FUNCTION, |setting| {
        let mut set = source(ONE_FUNCTION);
        set.mode = skans_policy::Mode::DryRun { until: u64::MAX };
        setting.policies = Arc::new(Policies::testing(&set));
    });
    let told = |bench: &Bench| {
        let all = bench.link.traffic.received.decisions.all();
        all.map(|(verdict, action, _, count)| (verdict, action, count))
            .collect::<Vec<_>>()
    };
    let answer = send(Target::Pid(pid("b@here", 80)), &atom("answer"));
    bench.setting.handles.pid(&pid("b@here", 80));
    assert!(bench.passes(&answer));
    assert_eq!(told(&bench), [("permit", "send_pid", 1)]);
    let other = send(Target::Pid(pid("b@here", 81)), &atom("answer"));
    assert!(bench.passes(&other));
    assert_eq!(
        told(&bench),
        [("permit", "send_pid", 1), ("would-deny", "send_pid", 1)]
    );
}

/// A link is exit/2 in another word for whatever does not trap exits: who was handed a process may not end it.
#[test]
fn what_was_handed_out_may_be_watched_and_neither_linked_to_nor_ended() {
    let (from, to) = (pid("a@here", 90), pid("b@here", 80));
    let monitor = Signal::Monitor {
        from: from.clone(),
        to: Target::Pid(to.clone()),
        reference: reference(5),
    };
    let monitor = message(Op::MonitorP, monitor, None);
    let link = Signal::Link {
        from: from.clone(),
        to: to.clone(),
    };
    let link = message(Op::Link, link, None);
    let mut bench = Bench::new(ONE_FUNCTION, |_| {});
    assert!(!bench.passes(&monitor) && !bench.passes(&link));
    bench.setting.handles.pid(&to);
    assert!(bench.passes(&monitor));
    assert!(!bench.passes(&link));
    // Another one was not handed out.
    let other = Signal::Monitor {
        from,
        to: Target::Pid(pid("b@here", 81)),
        reference: reference(6),
    };
    assert!(!bench.passes(&message(Op::MonitorP, other, None)));
    // Whoever forbids it means it.
    let forbids = r#"@id("no") forbid(principal, action == Skans::Action::"monitor", resource);"#;
    let mut bench = Bench::new(forbids, |_| {});
    bench.setting.handles.pid(&to);
    assert!(!bench.passes(&monitor));
}

#[test]
fn what_a_message_hands_out_is_noted_where_the_receiver_may_not_send_to_all() {
    let mut bench = Bench::new(OPEN, |_| {});
    let mut payload = Writer::new();
    payload
        .tuple(2)
        .pid(&pid("a@here", 70))
        .reference(&reference(71));
    // Permitted both ways: nobody has to know.
    assert!(bench.passes(&send(Target::Name(Atom::new("shop")), &payload)));
    assert!(!bench.setting.handles.has_pid(&pid("a@here", 70)));
    let one_way = r#"@id("a") permit(principal in Skans::Node::"spiffe://test/cluster/c/ns/n/sa/w/node/a", action, resource);"#;
    let mut bench = Bench::new(one_way, |_| {});
    assert!(bench.passes(&send(Target::Name(Atom::new("shop")), &payload)));
    for id in [70, 90] {
        assert!(bench.setting.handles.has_pid(&pid("a@here", id)), "{id}");
    }
    assert!(bench.setting.handles.has_reference(&reference(71)));
    // What has not come yet is waited for, also where a function was found before.
    let mut payload = Writer::new();
    payload
        .tuple(3)
        .export(&Atom::new("os"), &Atom::new("cmd"), 1)
        .binary(&[0; 1000])
        .pid(&pid("a@here", 72));
    let late = send(Target::Name(Atom::new("shop")), &payload);
    let (begin, end) = late.split_at(late.len() - 500);
    let mut out = bench.pass(begin).unwrap();
    out.extend(bench.pass(end).unwrap());
    assert_eq!(out, late);
    assert!(bench.setting.handles.has_pid(&pid("a@here", 72)));
}

#[test]
fn who_names_a_pid_of_the_receiver_was_not_handed_it() {
    let both = r#"@id("shop") permit(principal, action == Skans::Action::"send", resource == Skans::Process::"shop");"#;
    let mut bench = Bench::new(both, |_| {});
    let mut payload = Writer::new();
    let guessed = Reference::new(Atom::new("b@here"), 1, &[1, 2, 3]).unwrap();
    payload
        .tuple(3)
        .pid(&pid("b@here", 80))
        .pid(&pid("a@here", 70))
        .reference(&guessed);
    assert!(bench.passes(&send(Target::Name(Atom::new("shop")), &payload)));
    assert!(bench.setting.handles.has_pid(&pid("a@here", 70)));
    assert!(!bench.setting.handles.has_reference(&guessed));
    let demonitor = Signal::Demonitor {
        from: pid("a@here", 90),
        to: Target::Pid(pid("b@here", 80)),
        reference: reference(5),
    };
    assert!(bench.passes(&message(Op::DemonitorP, demonitor, None)));
    assert!(!bench.passes(&send(Target::Pid(pid("b@here", 80)), &atom("guess"))));
}

#[test]
fn another_set_decides_the_next_message() {
    let mut bench = Bench::new(OPEN, |_| {});
    let hello = send(Target::Name(Atom::new("shop")), &atom("hello"));
    assert!(bench.passes(&hello));
    bench.setting.policies.replace(&source(ONE_FUNCTION));
    assert!(!bench.passes(&hello));
    bench.setting.policies.replace(&source(OPEN));
    assert!(bench.passes(&hello));
}

#[test]
fn a_spawn_that_was_not_negotiated_is_refused_though_it_is_permitted() {
    let mut bench = Bench::new(ONE_FUNCTION, |setting| {
        setting.flags = setting.flags.without(Flags::SPAWN);
    });
    assert!(!bench.passes(&call("shop", "stock", 1)));
    assert_eq!(bench.denied(), [("deny", "call", "not_negotiated", 1)]);
}

#[test]
fn a_message_in_a_form_that_was_not_negotiated_is_refused_though_it_is_permitted() {
    let signal = Signal::Send {
        from: Some(pid("a@here", 90)),
        to: Target::Name(Atom::new("shop")),
        priority: true,
    };
    let hello = message(Op::AltactSigSend, signal, Some(&atom("hello")));
    assert!(Bench::new(OPEN, |_| {}).passes(&hello));
    let mut bench = Bench::new(OPEN, |setting| {
        setting.flags = setting.flags.without(Flags::ALTACT_SIG);
    });
    assert!(!bench.passes(&hello));
    assert_eq!(bench.denied(), [("deny", "send", "not_negotiated", 1)]);
}

/// OTP 29 ends with it; nodes write op 37 for what has priority, and for aliases.
#[test]
fn what_ends_its_receiver_is_refused_though_it_is_permitted() {
    let to_pid = || Target::Pid(pid("b@here", 80));
    let to_name = || Target::Name(Atom::new("shop"));
    let in_fragments = |to, priority| {
        let from = Some(pid("a@here", 90));
        let signal = Signal::Send { from, to, priority };
        let whole = message(Op::AltactSigSend, signal, None);
        // Behind length, type and version of the pass-through frame.
        let control = &whole[6..];
        let numbers = |left: u8| [[0; 7].as_slice(), &[1], &[0; 7], &[left]].concat();
        let payload = atom("hello").finish().unwrap();
        let framed = |parts: &[&[u8]]| {
            let body = parts.concat();
            [&u32::try_from(body.len()).unwrap().to_be_bytes(), &body[..]].concat()
        };
        let first = framed(&[&[131, 69], &numbers(2), &[0], control]);
        [first, framed(&[&[131, 70], &numbers(1), &payload])].concat()
    };
    for to in [to_pid(), to_name()] {
        let mut bench = Bench::new(OPEN, |_| {});
        assert!(bench.passes(&in_fragments(to.clone(), true)));
        assert!(!bench.passes(&in_fragments(to.clone(), false)));
        let action = if matches!(to, Target::Name(_)) {
            "send"
        } else {
            "send_pid"
        };
        assert_eq!(bench.denied(), [("deny", action, "not_negotiated", 1)]);
    }
    let alias = Target::Alias(reference(5));
    assert!(Bench::new(OPEN, |_| {}).passes(&in_fragments(alias, false)));
}

/// Where the end of the list is not seen there may be any number of them.
#[test]
fn a_permit_for_one_arity_is_none_for_a_list_without_an_end() {
    let asked = |open| {
        let function = Function {
            module: "shop".into(),
            function: "stock".into(),
            arity: 1,
            open,
        };
        asked::functions(&function)
            .map(|resource| match resource {
                Resource::Function { arity, .. } => arity,
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(asked(false), [1]);
    assert_eq!(asked(true), [1, 2, 255]);
}

#[test]
fn a_peer_that_makes_too_many_atoms_loses_its_link() {
    let mut bench = Bench::new(OPEN, |setting| setting.limits.new_atoms = 100);
    let name = |n: usize| send(Target::Name(Atom::new("shop")), &atom(&format!("made_{n}")));
    for n in 0..90 {
        // The same again is no other.
        assert!(bench.passes(&name(n)) && bench.passes(&name(n)));
    }
    let end = (90..200).find_map(|n| bench.pass(&name(n)).err());
    assert!(
        matches!(end, Some(Error::TooMany { limit: 100, .. })),
        "{end:?}"
    );
    assert!(bench.pass(&name(0)).is_err(), "nothing more is forwarded");
}

#[test]
fn atoms_inside_pids_count_as_well() {
    let mut bench = Bench::new(OPEN, |setting| setting.limits.new_atoms = 100);
    let end = (0..200).find_map(|n| {
        let node = format!("made_{n}@nowhere");
        let mut payload = Writer::new();
        payload.pid(&pid(&node, 1));
        bench
            .pass(&send(Target::Name(Atom::new("shop")), &payload))
            .err()
    });
    assert!(
        matches!(end, Some(Error::TooMany { limit: 100, .. })),
        "{end:?}"
    );
}

#[test]
fn a_peer_that_is_too_fast_is_read_more_slowly() {
    let mut bench = Bench::new(OPEN, |setting| setting.limits.messages_per_second = 10);
    let hello = send(Target::Name(Atom::new("shop")), &atom("hello"));
    for _ in 0..9 {
        assert!(bench.passes(&hello));
    }
    assert_eq!(bench.passage.flow().pause(), std::time::Duration::ZERO);
    for _ in 0..30 {
        assert!(bench.passes(&hello));
    }
    let pause = bench.passage.flow().pause();
    assert!(pause > std::time::Duration::from_millis(500), "{pause:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wherever a stream is cut, the same comes out.
    #[test]
    fn no_cut_changes_what_passes(
        kinds in prop::collection::vec((0..4_usize, 0..3000_usize), 1..12),
        cuts in prop::collection::vec(1..2500_usize, 1..40),
    ) {
        let mut stream = Vec::new();
        for (kind, size) in kinds {
            let payload = {
                let mut writer = Writer::new();
                writer.binary(&vec![7; size]);
                writer
            };
            stream.extend(match kind {
                0 => call("shop", "stock", 1),
                1 => call("os", "cmd", 1),
                2 => send(Target::Name(Atom::new("shop")), &payload),
                _ => vec![0; 4],
            });
        }
        let mut bench = Bench::new(ONE_FUNCTION, |_| {});
        let whole = bench.pass(&stream).unwrap();
        let mut bench = Bench::new(ONE_FUNCTION, |_| {});
        let mut pieces = Vec::new();
        let (mut rest, mut cuts) = (&stream[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            pieces.extend(bench.pass(piece).unwrap());
            rest = after;
        }
        prop_assert_eq!(pieces, whole);
    }

    /// Whatever is changed in a message that is refused: it is refused, or ends the link.
    #[test]
    fn no_change_of_a_refused_message_lets_it_pass(
        at in 4..120_usize,
        by in 1..=255_u8,
    ) {
        let mut bench = Bench::new(ONE_FUNCTION, |_| {});
        let mut changed = call("os", "cmd", 1);
        let at = 4 + at % (changed.len() - 4);
        changed[at] = changed[at].wrapping_add(by);
        if let Ok(out) = bench.pass(&changed) {
            // A tuple that begins with another operation may be none that is asked for.
            let op = changed.get(8).copied();
            prop_assert!(out != changed || op != Some(29), "{changed:?}");
        }
    }
}
