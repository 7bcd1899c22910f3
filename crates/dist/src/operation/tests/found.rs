//! What is told of a message beside its operation, and operations that its control message tells.

use super::*;

#[test]
fn what_has_no_payload_is_told_by_its_control_message() {
    let name = || Target::Name(Atom::new("app"));
    let (a, r) = (a_pid, a_reference);
    let signals = [
        (Op::Link, Signal::Link { from: a(), to: a() }, "link pid"),
        (
            Op::MonitorP,
            Signal::Monitor {
                from: a(),
                to: name(),
                reference: r(),
            },
            "monitor app",
        ),
        (
            Op::MonitorP,
            Signal::Monitor {
                from: a(),
                to: Target::Pid(a()),
                reference: r(),
            },
            "monitor pid",
        ),
        (
            Op::GroupLeader,
            Signal::GroupLeader { from: a(), to: a() },
            "group_leader pid",
        ),
        (
            Op::Exit2,
            Signal::Exit2 {
                from: a(),
                to: Target::Pid(a()),
                reason: Some(&[106]),
                priority: false,
            },
            "exit pid",
        ),
        (
            Op::PayloadExit2,
            Signal::Exit2 {
                from: a(),
                to: Target::Pid(a()),
                reason: None,
                priority: false,
            },
            "exit pid",
        ),
        (
            Op::AltactSigSend,
            Signal::Exit2 {
                from: a(),
                to: Target::Alias(r()),
                reason: None,
                priority: true,
            },
            "exit alias",
        ),
        (
            Op::AltactSigSend,
            Signal::Send {
                from: Some(a()),
                to: name(),
                priority: true,
            },
            "send app",
        ),
        (
            Op::Exit,
            Signal::Exit {
                from: a(),
                to: a(),
                reason: Some(&[106]),
            },
            "housekeeping",
        ),
        (
            Op::PayloadExit,
            Signal::Exit {
                from: a(),
                to: a(),
                reason: None,
            },
            "housekeeping",
        ),
        (
            Op::UnlinkId,
            Signal::Unlink {
                id: Some(1),
                from: a(),
                to: a(),
            },
            "housekeeping",
        ),
        (
            Op::UnlinkIdAck,
            Signal::UnlinkAck {
                id: 1,
                from: a(),
                to: a(),
            },
            "housekeeping",
        ),
        (
            Op::DemonitorP,
            Signal::Demonitor {
                from: a(),
                to: name(),
                reference: r(),
            },
            "housekeeping",
        ),
        (
            Op::PayloadMonitorPExit,
            Signal::MonitorExit {
                from: name(),
                to: a(),
                reference: r(),
                reason: None,
            },
            "housekeeping",
        ),
        (
            Op::SpawnReply,
            Signal::SpawnReply {
                id: r(),
                to: a(),
                flags: 0,
                result: crate::control::Spawned::Pid(a()),
            },
            "housekeeping",
        ),
        (Op::NodeLink, Signal::NodeLink, "housekeeping"),
    ];
    for (op, signal, wanted) in signals {
        let made = Made::plain(
            Control {
                op,
                token: None,
                signal,
            },
            &int(1),
        );
        // Not a byte of the payload is waited for.
        if wanted != "send app" {
            let Read::Whole(found) = read(&made.part(&[], false, false)).unwrap() else {
                panic!("the control message tells it");
            };
            assert_eq!(told(&found.operation), wanted);
        }
        assert_eq!(told(&made.found().operation), wanted);
    }
}

#[test]
fn a_pid_that_bears_a_name_is_asked_as_that_name() {
    let payload = tuple([atom("stop"), atom("stop")]);
    let made = Made::plain(send_to(Target::Pid(a_pid())), &payload);
    assert_eq!(told(&made.found().operation), "send pid");
    let shown = made.whole();
    let Read::Whole(found) = read_as(&shown, "init").unwrap() else {
        panic!("all of it is there");
    };
    assert_eq!(told(&found.operation), "stop_node init");
    // A message to a name is for that name, whatever the caller says.
    let made = Made::plain(to("app"), &payload);
    let shown = made.whole();
    let Read::Whole(found) = read_as(&shown, "init").unwrap() else {
        panic!("all of it is there");
    };
    assert_eq!(told(&found.operation), "send app");
}

#[test]
fn a_function_is_found_wherever_it_is_in_the_payload() {
    let carries =
        |payload: &Term<'static>| Made::plain(to("app"), payload).found().carries_function;
    let fun = Term::Fun(Box::new(crate::term::Fun {
        arity: 0,
        unique: [0; 16],
        index: 0,
        module: Atom::new("m"),
        old_index: 0,
        old_unique: 0,
        pid: a_pid(),
        free: vec![],
    }));
    let mut bytes = Vec::new();
    for term in [export(), fun] {
        for place in [
            term.clone(),
            tuple([binary(9), list([int(300), term.clone()])]),
            Term::Map(vec![(int(1), term.clone())]),
            Term::List {
                elements: vec![int(1)],
                tail: Some(Box::new(term.clone())),
            },
        ] {
            let mut writer = crate::term::Writer::new();
            writer.term(&place);
            bytes.push(writer.finish().unwrap());
        }
    }
    for payload in bytes {
        let made = Made {
            payload,
            ..Made::plain(to("app"), &int(1))
        };
        assert!(made.found().carries_function);
    }
    assert!(!carries(&tuple([
        binary(9),
        from(),
        list([int(1), int(300)]),
        atom("q"),
        atom("p")
    ])));
    // Elixir's Agent.get(agent, M, F, Args) and Agent.cast/4.
    assert!(carries(&call(tuple([atom("get"), tuple(mfa())]))));
    assert!(carries(&cast(tuple([atom("cast"), tuple(mfa())]))));
    assert!(!carries(&call(tuple([atom("get"), atom("key")]))));
}

#[test]
fn a_binary_that_ends_the_payload_hides_no_function_and_is_not_waited_for() {
    let large = |payload: Term<'static>| Made::plain(to("app"), &payload);
    let made = large(cast(tuple([atom("store"), binary(1 << 20)])));
    let shown = made.part(&made.payload[..300], false, false);
    let Read::Whole(found) = read(&shown).unwrap() else {
        panic!("nothing can follow");
    };
    assert!(!found.carries_function);
    // Something follows, and will not be shown.
    let made = large(tuple([atom("store"), binary(1 << 20), atom("x")]));
    let shown = made.part(&made.payload[..300], false, false);
    let Read::Whole(found) = read(&shown).unwrap() else {
        panic!("waiting is of no use");
    };
    assert!(found.carries_function);
    // Something follows, and will be shown.
    let made = large(tuple([atom("store"), binary(1000), atom("x")]));
    assert_eq!(
        read(&made.part(&made.payload[..300], false, false)),
        Ok(Read::More)
    );
    assert!(!made.found().carries_function);
}

#[test]
fn arguments_beyond_what_is_held_are_counted_as_far_as_announced() {
    let payload = list([reference(), atom("m"), atom("f"), list([binary(1 << 20)])]);
    let made = Made::plain(spawn("erpc", "execute_call", 4), &payload);
    let shown = made.part(&made.payload[..300], false, false);
    let Read::Whole(found) = read(&shown).unwrap() else {
        panic!("waiting is of no use");
    };
    let Operation::Call(called) = &found.operation else {
        panic!("{:?}", found.operation);
    };
    assert_eq!((called.to_string().as_str(), called.open), ("m:f/1", true));
}

#[test]
fn literal_atoms_are_counted() {
    // In the control message: the node of the pid, the name, and the empty one.
    let made = Made::plain(to("app"), &tuple([int(1)]));
    assert_eq!(made.found().literal_atoms, 3);
    let payload = tuple([
        atom("a"),
        Term::Map(vec![(int(1), int(2))]),
        list([atom("b"), pid()]),
    ]);
    let mut writer = crate::term::Writer::new();
    writer.term(&payload);
    let made = Made {
        payload: writer.finish().unwrap(),
        ..made
    };
    assert_eq!(made.found().literal_atoms, 3 + 3);
    let mut atoms = Vec::new();
    literal_atoms(&made.whole(), &mut |atom| atoms.push(atom.into_owned())).unwrap();
    assert_eq!(atoms, ["a@host", "", "app", "a", "b", "a@host"]);
    // An old one in Latin-1, and what is cut off.
    let made = Made {
        payload: vec![104, 2, b'd', 0, 2, 0xE5, 0x61, b's', 9, 0x61],
        ..made
    };
    let mut last = String::new();
    let part = made.part(&made.payload, false, true);
    literal_atoms(&part, &mut |atom| last = atom.into_owned()).unwrap();
    assert_eq!(last, "\u{E5}a");
}

#[test]
fn what_is_handed_out_is_told_and_bounded() {
    let made = Made::plain(
        to("app"),
        &call(tuple([pid(), Term::list(vec![reference(); 100])])),
    );
    let mut told = Vec::new();
    handed_out(&made.whole(), &mut |handle| told.push(handle)).unwrap();
    assert_eq!(told.len(), MAX_HANDLES);
    let wanted = [
        Handle::Pid(a_pid()),
        Handle::Pid(a_pid()),
        Handle::Reference(a_reference()),
        Handle::Pid(a_pid()),
    ];
    assert_eq!(told[..4], wanted);
}

#[test]
fn who_asks_is_told_with_what_an_answer_needs() {
    let made = Made::plain(to("app"), &call(atom("hello")));
    let found = made.found();
    let Some(Caller::Request {
        from,
        to: asked,
        tag,
        monitor,
    }) = &found.caller
    else {
        panic!("{:?}", found.caller);
    };
    assert_eq!((from, monitor.as_ref()), (&a_pid(), Some(&a_reference())));
    assert_eq!(*asked, To::Name("app"));
    assert_eq!(tag[..5], [108, 0, 0, 0, 1]);
    let improper = |element: Term<'static>, tail: Term<'static>| Term::List {
        elements: vec![element],
        tail: Some(Box::new(tail)),
    };
    let alias = || Term::Reference(Reference::new(Atom::new("a@host"), 2, &[9]).unwrap());
    // `gen_server:multi_call` since OTP 26.
    let of_many = improper(improper(atom("alias"), alias()), reference());
    let beside = improper(improper(atom("other"), alias()), reference());
    // Before OTP 24 the tag was the monitor; of anything else it is not known.
    for (from, monitor) in [
        (tuple([pid(), reference()]), Some(Some(a_reference()))),
        (tuple([pid(), of_many]), Some(Some(a_reference()))),
        (tuple([pid(), beside]), Some(None)),
        (
            tuple([pid(), tuple([reference(), atom("b@host")])]),
            Some(None),
        ),
        (tuple([pid(), atom("tag")]), Some(None)),
        (atom("nobody"), None),
    ] {
        let made = Made::plain(to("app"), &tuple([atom("$gen_call"), from, int(1)]));
        let found = match made.found().caller {
            Some(Caller::Request { monitor, .. }) => Some(monitor),
            _ => None,
        };
        assert_eq!(found, monitor);
    }
    let made = Made::plain(spawn("m", "f", 0), &list([]));
    assert_eq!(
        made.found().caller,
        Some(Caller::Spawn {
            id: &a_reference(),
            from: &a_pid()
        })
    );
}

#[test]
fn who_asks_an_event_manager_or_for_output_waits_as_well() {
    let output = tuple([atom("put_chars"), atom("unicode"), binary(1)]);
    for message in [
        tuple([
            pid(),
            from(),
            tuple([atom("add_handler"), atom("os"), list([])]),
        ]),
        tuple([pid(), from(), atom("which_handlers")]),
        tuple([atom("io_request"), pid(), reference(), output]),
    ] {
        let made = Made::plain(to("events"), &message);
        let Some(Caller::Request { from, monitor, .. }) = made.found().caller else {
            panic!("{message:?}");
        };
        assert_eq!((from, monitor), (a_pid(), Some(a_reference())));
    }
    // Nobody's call.
    for message in [
        tuple([atom("x"), from(), atom("which_handlers")]),
        tuple([pid(), pid(), atom("which_handlers")]),
        tuple([atom("io_request"), pid(), atom("x"), atom("x")]),
    ] {
        assert_eq!(Made::plain(to("events"), &message).found().caller, None);
    }
}

#[test]
fn no_cut_hides_a_request_to_an_event_manager() {
    // A function in front is found at once, and must not end the search.
    let request = tuple([atom("add_handler"), atom("os"), list([])]);
    let made = Made::plain(to("events"), &tuple([export(), reference(), request]));
    for cut in 0..made.payload.len() {
        if let Read::Whole(found) = read(&made.part(&made.payload[..cut], false, false)).unwrap() {
            assert_eq!(told(&found.operation), "supervise events");
        }
    }
    assert_eq!(told(&made.found().operation), "supervise events");
}

#[test]
fn who_asks_rex_without_a_monitor_is_answered_and_nobody_else() {
    let [m, f, a] = mfa();
    let asked = |from| {
        let request = tuple([atom("call"), m.clone(), f.clone(), a.clone(), atom("user")]);
        Made::plain(to("rex"), &tuple([from, request]))
    };
    let own = asked(pid());
    assert_eq!(own.found().caller, Some(Caller::Remote { from: a_pid() }));
    let other = Pid { id: 99, ..a_pid() };
    for from in [Term::Pid(other), reference()] {
        assert_eq!(asked(from).found().caller, None);
    }
}

#[test]
fn who_asks_by_a_pair_is_told_if_it_is_who_sends() {
    let [m, f, a] = mfa();
    let through = tuple([atom("spawn"), m, f, a, pid()]);
    let through = tuple([atom("$gen_call"), tuple([pid(), reference()]), through]);
    let through = tuple([atom("sbcast"), atom("net_kernel"), through]);
    for (name, request, operation) in [
        ("app", atom("hello"), "send app"),
        ("rex", atom("stop"), "send rex"),
        ("rex", through, "spawn os:cmd/1"),
        (
            "init",
            tuple([atom("stop"), atom("stop")]),
            "stop_node init",
        ),
    ] {
        let asked = |from| Made::plain(to(name), &tuple([from, request.clone()]));
        let made = asked(pid());
        assert_eq!(told(&made.found().operation), operation);
        let waits = Caller::Request {
            from: a_pid(),
            to: To::Name(name),
            tag: &[],
            monitor: None,
        };
        assert_eq!(made.found().caller, Some(waits), "{operation}");
        let other = Pid { id: 99, ..a_pid() };
        for from in [Term::Pid(other), reference(), atom("x")] {
            assert_eq!(asked(from).found().caller, None, "{operation}");
        }
    }
}

#[test]
fn the_proxy_of_the_logger_takes_messages_and_no_requests() {
    let log = || tuple([atom("log"), atom("event")]);
    for (payload, wanted) in [
        (log(), "send logger_proxy"),
        (call(log()), "unknown logger_proxy"),
        (cast(log()), "unknown logger_proxy"),
    ] {
        let made = Made::plain(to("logger_proxy"), &payload);
        assert_eq!(told(&made.found().operation), wanted);
    }
}
