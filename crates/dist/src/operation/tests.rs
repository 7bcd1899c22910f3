mod encode;
mod found;
mod hands;
mod methods;
mod table;

use proptest::prelude::*;
use std::sync::Arc;

use super::*;
use crate::control::{Control, Op};
use crate::stream::FrameKind;
use crate::term::{Atom, Reader, Term};
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
        let mut reader = Reader::new(&self.bytes).unwrap();
        reader.skip().unwrap();
        Shown {
            control: &self.control,
            control_bytes: &self.bytes,
            control_atoms: reader.literal_atoms(),
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
        To::Told => format!("{what} told"),
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
        Operation::Inspect { to: target } => to("inspect", target),
        Operation::SystemMessage { to: target } => to("system_message", target),
        Operation::Unknown { to: target } => to("unknown", target),
    }
}

/// Both tables.
fn all() -> Vec<(Control<'static>, Term<'static>, &'static str)> {
    let mut all = table();
    all.extend(hands::table());
    all
}

#[test]
fn what_otp_acts_on_is_told_from_what_is_only_said() {
    for (control, payload, wanted) in all() {
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
        index in 0..all().len(),
        choices in prop::collection::vec(any::<u16>(), 0..60),
    ) {
        let (control, payload, wanted) = all().swap_remove(index);
        let made = Made::new(control, &payload, &mut Choices::new(choices));
        prop_assert_eq!(told(&made.found().operation), wanted);
    }

    #[test]
    fn what_is_said_about_a_part_holds_for_the_whole(
        index in 0..all().len(),
        choices in prop::collection::vec(any::<u16>(), 0..30),
    ) {
        let (control, payload, wanted) = all().swap_remove(index);
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
