//! That each operation is asked for by its own name, and that nothing grows: what single changes of the code would break.

use super::*;

fn to_80() -> Pid<'static> {
    pid("b@here", 80)
}

/// `gen_server:call(rex, stop)`, which nobody knows.
fn unknown() -> Vec<u8> {
    let mut payload = Writer::new();
    payload.tuple(3).atom("$gen_call").tuple(2);
    payload.pid(&pid("a@here", 90)).reference(&reference(3));
    payload.atom("stop");
    send(Target::Name(Atom::new("rex")), &payload)
}

#[test]
fn each_operation_is_asked_for_by_its_own_name() {
    let from = || pid("a@here", 90);
    let exit = Signal::Exit2 {
        from: from(),
        to: Target::Pid(to_80()),
        reason: None,
        priority: false,
    };
    let leader = Signal::GroupLeader {
        from: from(),
        to: to_80(),
    };
    let link = Signal::Link {
        from: from(),
        to: to_80(),
    };
    let mut system = Writer::new();
    system.tuple(3).atom("system").tuple(2);
    system.pid(&from()).reference(&reference(3));
    system.atom("suspend");
    for (message, action, reason) in [
        (
            message(Op::PayloadExit2, exit, Some(&atom("kill"))),
            "exit",
            "policy",
        ),
        (
            message(Op::GroupLeader, leader, None),
            "group_leader",
            "policy",
        ),
        (message(Op::Link, link, None), "link", "policy"),
        (
            send(Target::Name(Atom::new("shop")), &system),
            "system_message",
            "policy",
        ),
        (
            send(Target::Name(Atom::new("shop")), &atom("x")),
            "send",
            "policy",
        ),
        (unknown(), "unknown", "unknown_request"),
    ] {
        let mut bench = Bench::new(ONE_FUNCTION, |_| {});
        // Whoever was handed it may do none of this.
        bench.setting.handles.pid(&to_80());
        assert!(!bench.passes(&message), "{action}");
        assert_eq!(bench.denied(), [("deny", action, reason, 1)]);
    }
}

#[test]
fn what_nobody_knows_passes_in_a_dry_run_and_is_told() {
    let mut bench = Bench::new(ONE_FUNCTION, |setting| {
        let mut set = source(ONE_FUNCTION);
        set.mode = skans_policy::Mode::DryRun { until: u64::MAX };
        setting.policies = Arc::new(Policies::testing(&set));
    });
    assert!(bench.passes(&unknown()));
    let told: Vec<_> = bench.link.traffic.received.decisions.all().collect();
    assert_eq!(told, [("would-deny", "unknown", "unknown_request", 1)]);
}

#[test]
fn answers_that_nobody_reads_take_no_more_than_their_room() {
    let answers = Answers::default();
    let frame = [0; 1000];
    for _ in 0..5000 {
        answers.put(&frame);
    }
    let kept = answers.take().unwrap().len();
    assert!((1_000_000..=1024 * 1024).contains(&kept), "{kept}");
    assert_eq!(answers.take(), None);
}

#[test]
fn what_was_handed_out_long_ago_is_forgotten_unless_it_is_used() {
    let handles = Handles::new();
    let (old, used) = (pid("b@here", 0), pid("b@here", 1));
    handles.pid(&old);
    for id in 1..100_000 {
        handles.pid(&pid("b@here", id));
        assert!(id % 1000 != 0 || handles.has_pid(&used), "{id}");
    }
    assert!(!handles.has_pid(&old));
    assert!(handles.has_pid(&pid("b@here", 99_999)));
}

/// A node that was told that it may goes on until its link is made again.
#[test]
fn spawn_requests_that_are_withheld_are_refused_on_a_live_link() {
    let withheld = format!(
        "{ONE_FUNCTION} @id(\"no\") forbid(principal, action == Skans::Action::\"spawn_request\", resource);"
    );
    let mut bench = Bench::new(&withheld, |_| {});
    assert!(!bench.passes(&call("shop", "stock", 1)));
    assert_eq!(bench.denied(), [("deny", "call", "policy", 1)]);
}

/// `{6, From, '', shop}` behind a header that brings this atom along, which nothing uses.
fn with_header(place: u8, brought: &str) -> Vec<u8> {
    let mut terms = Writer::new();
    terms.tuple(4).integer(6).pid(&pid("a@here", 90));
    terms.atom("").atom("shop").nil();
    let terms = terms.finish().unwrap();
    let mut frame = vec![131, 68, 1, 8, place];
    frame.push(u8::try_from(brought.len()).unwrap());
    frame.extend(brought.as_bytes());
    frame.extend(terms);
    let mut out = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
    out.extend(frame);
    out
}

#[test]
fn atoms_that_headers_bring_count_as_well() {
    let mut bench = Bench::new(OPEN, |setting| setting.limits.new_atoms = 100);
    let end = (0..200).find_map(|n: u8| bench.pass(&with_header(n, &format!("made_{n}"))).err());
    assert!(
        matches!(end, Some(Error::TooMany { limit: 100, .. })),
        "{end:?}"
    );
}
