mod encode;
mod table;

use proptest::prelude::*;
use std::sync::Arc;

use super::*;
use crate::control::{Control, Op};
use crate::stream::FrameKind;
use crate::term::{Atom, Term};
use encode::{Choices, encode};
use table::table;

fn atom(text: &'static str) -> Term<'static> {
    Term::atom(text)
}

fn tuple<const N: usize>(elements: [Term<'static>; N]) -> Term<'static> {
    Term::Tuple(elements.into())
}

fn list<const N: usize>(elements: [Term<'static>; N]) -> Term<'static> {
    Term::list(elements.into())
}

fn int(value: i64) -> Term<'static> {
    Term::Integer(value)
}

fn a_pid() -> Pid<'static> {
    Pid {
        node: Atom::new("a@host"),
        id: 53,
        serial: 0,
        creation: 2,
    }
}

fn pid() -> Term<'static> {
    Term::Pid(a_pid())
}

fn a_reference() -> Reference<'static> {
    Reference::new(Atom::new("a@host"), 2, &[1, 2, 3]).unwrap()
}

fn reference() -> Term<'static> {
    Term::Reference(a_reference())
}

/// `{Pid, [alias | Ref]}`, as `gen:call` writes it since OTP 24.
fn from() -> Term<'static> {
    let tag = Term::List {
        elements: vec![atom("alias")],
        tail: Some(Box::new(reference())),
    };
    tuple([pid(), tag])
}

fn call(request: Term<'static>) -> Term<'static> {
    tuple([atom("$gen_call"), from(), request])
}

fn cast(request: Term<'static>) -> Term<'static> {
    tuple([atom("$gen_cast"), request])
}

fn export() -> Term<'static> {
    Term::Export {
        module: Atom::new("os"),
        function: Atom::new("cmd"),
        arity: 1,
    }
}

fn binary(size: usize) -> Term<'static> {
    Term::Binary(vec![b'x'; size].into())
}

/// `module:function/arity` and the list that it is applied to.
fn mfa() -> [Term<'static>; 3] {
    [atom("os"), atom("cmd"), list([list([int(108), int(115)])])]
}

fn send_to(target: Target<'static>) -> Control<'static> {
    Control {
        op: match target {
            Target::Name(_) => Op::RegSend,
            Target::Pid(_) => Op::SendSender,
            Target::Alias(_) => Op::AliasSend,
        },
        token: None,
        signal: Signal::Send {
            from: Some(a_pid()),
            to: target,
            priority: false,
        },
    }
}

fn spawn(module: &'static str, function: &'static str, arity: u8) -> Control<'static> {
    Control {
        op: Op::SpawnRequest,
        token: None,
        signal: Signal::SpawnRequest {
            id: a_reference(),
            from: a_pid(),
            group_leader: a_pid(),
            module: Atom::new(module),
            function: Atom::new(function),
            arity,
            options: &[106],
        },
    }
}

fn to(name: &'static str) -> Control<'static> {
    send_to(Target::Name(Atom::new(name)))
}

/// A message with all or part of its payload.
struct Made {
    control: Control<'static>,
    bytes: Vec<u8>,
    payload: Vec<u8>,
    atoms: Vec<Arc<str>>,
}

impl Made {
    fn new(control: Control<'static>, payload: &Term<'static>, choices: &mut Choices) -> Self {
        let mut atoms = Vec::new();
        let payload = encode(payload, choices, &mut atoms);
        let bytes = control.encode().unwrap();
        Self {
            control,
            bytes,
            payload,
            atoms,
        }
    }

    fn plain(control: Control<'static>, payload: &Term<'static>) -> Self {
        Self::new(control, payload, &mut Choices::plain())
    }

    fn part<'a>(&'a self, payload: &'a [u8], whole: bool, last: bool) -> Shown<'a> {
        Shown {
            control: &self.control,
            control_bytes: &self.bytes,
            payload,
            whole,
            last,
            atoms: &self.atoms,
            new_atoms: 0,
            frame: FrameKind::Header,
            length: 0,
        }
    }

    fn whole(&self) -> Shown<'_> {
        self.part(&self.payload, true, false)
    }

    fn found(&self) -> Found<'_> {
        match read(&self.whole()).unwrap() {
            Read::Whole(found) => found,
            Read::More => panic!("all of it is there"),
        }
    }
}

fn told(operation: &Operation<'_>) -> String {
    let to = |what: &str, to: &To<'_>| match to {
        To::Name(name) => format!("{what} {name}"),
        To::Pid(_) => format!("{what} pid"),
        To::Alias(_) => format!("{what} alias"),
    };
    match operation {
        Operation::Housekeeping => "housekeeping".to_owned(),
        Operation::Send { to: target } => to("send", target),
        Operation::Call(function) => format!("call {function}"),
        Operation::Cast(function) => format!("cast {function}"),
        Operation::Spawn(function) => format!("spawn {function}"),
        Operation::Link { to: target } => to("link", target),
        Operation::Monitor { to: target } => to("monitor", target),
        Operation::Exit { to: target } => to("exit", target),
        Operation::GroupLeader { to: target } => to("group_leader", target),
        Operation::RegisterGlobal { to: target } => to("register_global", target),
        Operation::ManageCode { to: target } => to("manage_code", target),
        Operation::AccessFiles { to: target } => to("access_files", target),
        Operation::StopNode { to: target } => to("stop_node", target),
        Operation::ManageApplications { to: target } => to("manage_applications", target),
        Operation::Supervise { to: target } => to("supervise", target),
        Operation::SystemMessage { to: target } => to("system_message", target),
        Operation::Unknown { to: target } => to("unknown", target),
    }
}

#[test]
fn what_otp_acts_on_is_told_from_what_is_only_said() {
    for (control, payload, wanted) in table() {
        let made = Made::plain(control, &payload);
        assert_eq!(told(&made.found().operation), wanted, "{payload:?}");
    }
}

/// Whether a shape is looked for as far as it can be seen and no further.
fn is_best_effort(wanted: &str, payload: &Term<'_>) -> bool {
    let Term::Tuple(elements) = payload else {
        return false;
    };
    // An event manager's requests, and a C node's to a pid.
    wanted == "supervise events" || wanted == "call os:cmd/1" && elements.len() == 2
}

proptest! {
    #[test]
    fn no_encoding_hides_what_is_asked_for(
        index in 0..table().len(),
        choices in prop::collection::vec(any::<u16>(), 0..60),
    ) {
        let (control, payload, wanted) = table().swap_remove(index);
        let made = Made::new(control, &payload, &mut Choices::new(choices));
        prop_assert_eq!(told(&made.found().operation), wanted);
    }

    #[test]
    fn what_is_said_about_a_part_holds_for_the_whole(
        index in 0..table().len(),
        choices in prop::collection::vec(any::<u16>(), 0..30),
    ) {
        let (control, payload, wanted) = table().swap_remove(index);
        let made = Made::new(control, &payload, &mut Choices::new(choices));
        for cut in 0..made.payload.len() {
            let part = &made.payload[..cut];
            if let Read::Whole(found) = read(&made.part(part, false, false)).unwrap() {
                prop_assert_eq!(told(&found.operation), wanted);
            }
            let Read::Whole(found) = read(&made.part(part, false, true)).unwrap() else {
                panic!("there is no more");
            };
            prop_assert!(found.carries_function || !made.found().carries_function);
            let told = told(&found.operation);
            let refused = told.starts_with("unknown");
            let name = |told: &str| told.split('/').next().map(str::to_owned);
            let as_good = told == wanted || open(&found.operation) && name(&told) == name(wanted);
            prop_assert!(as_good || refused || is_best_effort(wanted, &payload), "{} for {}", told, wanted);
        }
    }

    #[test]
    fn bytes_of_any_kind_are_read_without_harm(
        name in prop::sample::select(vec!["rex", "init", "app", "net_kernel", "global_name_server"]),
        bytes in prop::collection::vec(prop_oneof![
            any::<u8>(),
            prop::sample::select(b"abdghijklmnopqrstuvwxyzMFPRXYZ".to_vec()),
        ], 0..80),
        (whole, last) in prop::sample::select(vec![(true, false), (false, true), (false, false)]),
    ) {
        let made = Made { payload: bytes, ..Made::plain(to(name), &int(1)) };
        let _: Result<_> = read(&made.part(&made.payload, whole, last));
        let _: Result<_> = handed_out(&made.part(&made.payload, whole, last), &mut |_| {});
    }
}

fn open(operation: &Operation<'_>) -> bool {
    match operation {
        Operation::Call(called) | Operation::Cast(called) | Operation::Spawn(called) => called.open,
        _ => false,
    }
}

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
    // Before OTP 24 the tag was the monitor; to anything else there is no answer.
    for (from, monitor) in [
        (tuple([pid(), reference()]), Some(Some(a_reference()))),
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
