//! Those that call, or tell others, what they are told to.

use super::*;

fn closure(module: &'static str) -> Term<'static> {
    Term::Fun(Box::new(crate::term::Fun {
        arity: 1,
        unique: [0; 16],
        index: 0,
        module: Atom::new(module),
        old_index: 0,
        old_unique: 0,
        pid: a_pid(),
        free: vec![],
    }))
}

/// `#{'b@host' => [Pid, …]}`.
fn grouped(pids: Vec<Pid<'static>>) -> Term<'static> {
    let pids = Term::list(pids.into_iter().map(Term::Pid).collect());
    Term::Map(vec![(atom("b@host"), pids)])
}

fn invoke(what: Term<'static>) -> Term<'static> {
    tuple([atom("invoke"), what, grouped(vec![a_pid(), a_pid()])])
}

fn by(module: &'static str, function: &'static str, request: Term<'static>) -> Term<'static> {
    tuple([atom(module), atom(function), list([request])])
}

/// Messages, and what they are.
pub(super) fn table() -> Vec<(Control<'static>, Term<'static>, &'static str)> {
    let delegate = || to("delegate_3");
    let told = |request| cast(invoke(by("gen_server2", "cast", request)));
    let asked = |request| {
        let arguments = list([request, atom("infinity")]);
        call(invoke(tuple([
            atom("gen_server2"),
            atom("call"),
            arguments,
        ])))
    };
    let query = |query| call(tuple([atom("local_query"), query]));
    vec![
        // Delegates, with the process as first argument.
        (
            delegate(),
            call(invoke(tuple([atom("os"), atom("cmd"), list([])]))),
            "call os:cmd/1",
        ),
        (
            to("delegate_management_12"),
            cast(invoke(tuple([
                atom("rabbit_mgmt_data"),
                atom("overview_data"),
                list([int(300)]),
            ]))),
            "call rabbit_mgmt_data:overview_data/2",
        ),
        (
            delegate(),
            call(invoke(tuple([
                atom("gen_server2"),
                atom("stop"),
                list([atom("x")]),
            ]))),
            "call gen_server2:stop/2",
        ),
        (
            delegate(),
            call(invoke(tuple([atom("gen_server2"), atom("call"), list([])]))),
            "call gen_server2:call/1",
        ),
        (delegate(), call(invoke(export())), "call os:cmd/1"),
        (
            delegate(),
            call(invoke(closure("erl_eval"))),
            "call erl_eval:fun/1",
        ),
        (delegate(), call(invoke(int(1))), "unknown delegate_3"),
        // What it tells them is what they are told.
        (delegate(), told(tuple([atom("ack"), pid()])), "send told"),
        (delegate(), asked(atom("stat")), "send told"),
        (
            delegate(),
            call(invoke(by("gen_server", "call", atom("stat")))),
            "send told",
        ),
        (
            delegate(),
            asked(tuple([atom("terminate_child"), atom("x")])),
            "supervise told",
        ),
        (
            delegate(),
            {
                let [m, f, a] = mfa();
                asked(tuple([atom("call"), m, f, a, pid()]))
            },
            "call os:cmd/1",
        ),
        (
            delegate(),
            told(tuple([
                atom("run_backing_queue"),
                atom("rabbit_variable_queue"),
                closure("erl_eval"),
            ])),
            "cast erl_eval:fun/2",
        ),
        (
            delegate(),
            cast(tuple([atom("monitor"), pid(), pid()])),
            "send delegate_3",
        ),
        (
            to("rex"),
            tuple([
                pid(),
                tuple([atom("sbcast"), atom("delegate_3"), told(atom("resume"))]),
            ]),
            "unknown delegate_3",
        ),
        // Nobody's delegate.
        (to("delegate_x"), told(atom("resume")), "send delegate_x"),
        (to("delegate_"), told(atom("resume")), "send delegate_"),
        // Mnesia.
        (
            to("mnesia_rpc"),
            {
                let [m, f, a] = mfa();
                call(tuple([atom("apply"), m, f, a]))
            },
            "call os:cmd/1",
        ),
        (
            to("mnesia_rpc"),
            call(tuple([atom("apply"), atom("os"), atom("cmd"), int(1)])),
            "unknown mnesia_rpc",
        ),
        (to("mnesia_rpc"), cast(atom("x")), "unknown mnesia_rpc"),
        // Ra.
        (to("%2F_orders"), query(export()), "call os:cmd/1"),
        (
            to("%2F_orders"),
            query(closure("erl_eval")),
            "call erl_eval:fun/1",
        ),
        (
            send_to(Target::Pid(a_pid())),
            query(tuple(mfa())),
            "call os:cmd/2",
        ),
        (
            to("%2F_orders"),
            call(tuple([
                atom("consistent_query"),
                export(),
                Term::Map(vec![]),
            ])),
            "call os:cmd/1",
        ),
        (to("%2F_orders"), query(atom("all")), "send %2F_orders"),
        // Alarms.
        (
            to("rabbit_alarm"),
            tuple([
                atom("notify"),
                tuple([atom("register"), pid(), tuple(mfa())]),
            ]),
            "call os:cmd/4",
        ),
        (
            to("rabbit_alarm"),
            tuple([
                pid(),
                reference(),
                tuple([
                    atom("call"),
                    atom("rabbit_alarm"),
                    tuple([atom("register"), pid(), tuple(mfa())]),
                ]),
            ]),
            "call os:cmd/4",
        ),
        (
            to("rabbit_alarm"),
            tuple([atom("notify"), tuple([atom("node_up"), atom("b@host")])]),
            "send rabbit_alarm",
        ),
        (
            to("rabbit_alarm"),
            tuple([
                pid(),
                reference(),
                tuple([atom("add_handler"), atom("evil"), list([])]),
            ]),
            "supervise rabbit_alarm",
        ),
        // Workers, queues, and whatever is a gen_server2.
        (
            send_to(Target::Pid(a_pid())),
            call(tuple([atom("submit"), tuple(mfa()), pid(), atom("reuse")])),
            "call os:cmd/1",
        ),
        (
            send_to(Target::Pid(a_pid())),
            cast(tuple([atom("submit_async"), closure("erl_eval"), pid()])),
            "cast erl_eval:fun/0",
        ),
        (
            send_to(Target::Pid(a_pid())),
            tuple([atom("$with_state"), from(), export()]),
            "call os:cmd/1",
        ),
        (
            send_to(Target::Pid(a_pid())),
            tuple([atom("timeout"), reference(), closure("erl_eval")]),
            "call erl_eval:fun/0",
        ),
        (
            send_to(Target::Pid(a_pid())),
            tuple([atom("timeout"), reference(), tuple(mfa())]),
            "send pid",
        ),
        (
            to("rabbit_mgmt_db_cache_overview"),
            call(tuple([atom("fetch"), export(), list([])])),
            "call os:cmd/1",
        ),
        (
            send_to(Target::Pid(a_pid())),
            call(tuple([
                atom("msg"),
                atom("start_child"),
                list([tuple(mfa())]),
            ])),
            "supervise pid",
        ),
        (
            send_to(Target::Pid(a_pid())),
            call(tuple([
                atom("msg"),
                atom("restart_child"),
                list([atom("x")]),
            ])),
            "send pid",
        ),
    ]
}

#[test]
fn what_a_delegate_is_told_is_asked_of_those_who_bear_names() {
    let stop = by(
        "gen_server2",
        "call",
        tuple([atom("stop_application"), atom("ssl")]),
    );
    let made = Made::plain(to("delegate_3"), &call(invoke(stop)));
    assert_eq!(told(&made.found().operation), "send told");
    for (name, wanted) in [
        (
            "application_controller",
            "manage_applications application_controller",
        ),
        ("net_kernel", "unknown net_kernel"),
        ("rabbit_alarm", "send rabbit_alarm"),
        ("delegate_4", "send delegate_4"),
    ] {
        let Read::Whole(found) = read_as_told(&made.whole(), None, name).unwrap() else {
            panic!("all of it is there");
        };
        assert_eq!(super::told(&found.operation), wanted);
    }
    // One that tells another one is not followed.
    let again = by("gen_server2", "cast", invoke(export()));
    let made = Made::plain(to("delegate_3"), &cast(invoke(again)));
    let Read::Whole(found) = read_as_told(&made.whole(), None, "delegate_4").unwrap() else {
        panic!("all of it is there");
    };
    assert_eq!(super::told(&found.operation), "unknown delegate_4");
    // To a pid that is known to be a delegate.
    let made = Made::plain(
        send_to(Target::Pid(a_pid())),
        &cast(invoke(by("gen_server2", "cast", atom("stop")))),
    );
    for (name, wanted) in [("init", "send init"), ("heart", "stop_node heart")] {
        let whole = made.whole();
        let Read::Whole(found) = read_as_told(&whole, Some("delegate_0"), name).unwrap() else {
            panic!("all of it is there");
        };
        assert_eq!(super::told(&found.operation), wanted);
    }
}

#[test]
fn those_whom_a_delegate_tells_are_told() {
    let pids = |ids: &[u32]| {
        ids.iter()
            .map(|&id| Pid { id, ..a_pid() })
            .collect::<Vec<_>>()
    };
    let payload = |wrap: fn(Term<'static>) -> Term<'static>| {
        wrap(tuple([
            atom("invoke"),
            by("gen_server2", "cast", pid()),
            Term::Map(vec![
                (
                    atom("b@host"),
                    Term::list(pids(&[1, 2]).into_iter().map(Term::Pid).collect()),
                ),
                (
                    atom("c@host"),
                    list([
                        list([Term::Pid(pids(&[3]).remove(0))]),
                        Term::Pid(pids(&[4]).remove(0)),
                    ]),
                ),
            ]),
        ]))
    };
    for payload in [payload(call), payload(cast)] {
        let made = Made::plain(to("delegate_0"), &payload);
        let mut seen = Vec::new();
        super::super::told(&made.whole(), &mut |pid| seen.push(pid.id)).unwrap();
        assert_eq!(seen, [1, 2, 3, 4]);
    }
}

#[test]
fn nothing_but_a_delivery_is_told_to_whom_is_not_seen() {
    for (name, large, wanted) in [
        ("deliver", 100_000, "send told"),
        ("notify_down", 100_000, "unknown delegate_3"),
        ("notify_down", 100, "send told"),
    ] {
        let message = tuple([atom(name), binary(large), atom("false")]);
        let made = Made::plain(
            to("delegate_3"),
            &cast(invoke(by("gen_server2", "cast", message))),
        );
        let held = made.payload.len().min(crate::gate::HOLD);
        let whole = held == made.payload.len();
        let part = made.part(&made.payload[..held], whole, !whole);
        let Read::Whole(found) = read(&part).unwrap() else {
            panic!("there is no more");
        };
        assert_eq!(told(&found.operation), wanted, "{name}");
    }
}
