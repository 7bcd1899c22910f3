mod encode;

use proptest::prelude::*;
use std::sync::Arc;

use super::*;
use crate::control::{Control, Op};
use crate::stream::FrameKind;
use crate::term::{Atom, Term};
use encode::{Choices, encode};

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
        creation: 7,
    }
}

fn pid() -> Term<'static> {
    Term::Pid(a_pid())
}

fn a_reference() -> Reference<'static> {
    Reference::new(Atom::new("a@host"), 7, &[1, 2, 3]).unwrap()
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

/// Messages, and what they are. All that OTP acts on is here once at least.
fn table() -> Vec<(Control<'static>, Term<'static>, &'static str)> {
    let [m, f, a] = mfa();
    let gl = pid();
    let mfa5 = |name| {
        let [m, f, a] = mfa();
        tuple([atom(name), m, f, a, pid()])
    };
    let unnamed = || send_to(Target::Pid(a_pid()));
    let alias = || send_to(Target::Alias(a_reference()));
    let os = "call os:cmd/1";
    vec![
        // erpc and spawn.
        (
            spawn("erpc", "execute_call", 4),
            list([reference(), m.clone(), f.clone(), a.clone()]),
            os,
        ),
        (
            spawn("erpc", "execute_call", 3),
            list([m.clone(), f.clone(), a.clone()]),
            os,
        ),
        // The arity in the control message says nothing.
        (
            spawn("erpc", "execute_call", 3),
            list([reference(), m.clone(), f.clone(), a.clone()]),
            os,
        ),
        (
            spawn("erpc", "execute_call", 9),
            list([m.clone(), f.clone(), a.clone()]),
            os,
        ),
        (
            spawn("erpc", "execute_cast", 3),
            list([m.clone(), f.clone(), a.clone()]),
            "cast os:cmd/1",
        ),
        (
            spawn("erpc", "execute_cast", 3),
            list([m.clone(), f.clone(), list([])]),
            "cast os:cmd/0",
        ),
        (
            spawn("erpc", "execute_call", 4),
            list([reference(), export(), f.clone(), a.clone()]),
            "spawn erpc:execute_call/4",
        ),
        (
            spawn("erpc", "execute_call", 2),
            list([m.clone(), f.clone()]),
            "spawn erpc:execute_call/2",
        ),
        (
            spawn("lists", "reverse", 1),
            list([int(1), int(2)]),
            "spawn lists:reverse/2",
        ),
        (
            spawn("lists", "reverse", 1),
            atom("none"),
            "spawn lists:reverse/0",
        ),
        // rex.
        (to("rex"), call(mfa5("block_call")), os),
        (to("rex"), call(mfa5("call")), os),
        (to("rex"), cast(mfa5("cast")), "cast os:cmd/1"),
        (to("rex"), tuple([pid(), mfa5("call")]), os),
        (to("rex"), tuple([atom("any"), mfa5("call")]), os),
        (
            to("rex"),
            tuple([pid(), atom("features_request")]),
            "send rex",
        ),
        (to("rex"), call(atom("stop")), "unknown rex"),
        (to("rex"), call(mfa5("apply")), "unknown rex"),
        (
            to("rex"),
            call(tuple([
                atom("call"),
                m.clone(),
                f.clone(),
                int(1),
                gl.clone(),
            ])),
            "unknown rex",
        ),
        (to("rex"), cast(mfa5("call")), "unknown rex"),
        (
            to("rex"),
            tuple([pid(), tuple([atom("sbcast"), atom("app"), atom("hello")])]),
            "send app",
        ),
        (
            to("rex"),
            tuple([
                pid(),
                tuple([
                    atom("sbcast"),
                    atom("init"),
                    tuple([atom("stop"), atom("stop")]),
                ]),
            ]),
            "stop_node init",
        ),
        (
            to("rex"),
            tuple([
                pid(),
                tuple([atom("sbcast"), atom("rex"), call(mfa5("call"))]),
            ]),
            os,
        ),
        (
            to("rex"),
            tuple([pid(), tuple([atom("send"), atom("app"), atom("hello")])]),
            "send app",
        ),
        (
            to("rex"),
            tuple([
                atom("stop"),
                tuple([atom("send"), atom("init"), atom("stop")]),
            ]),
            "unknown rex",
        ),
        (
            to("rex"),
            tuple([
                atom("$gen_cast"),
                tuple([atom("send"), atom("app"), atom("x")]),
            ]),
            "unknown rex",
        ),
        // net_kernel.
        (
            to("net_kernel"),
            call(tuple([atom("is_auth"), atom("a@host")])),
            "send net_kernel",
        ),
        (to("net_kernel"), call(mfa5("spawn")), "spawn os:cmd/1"),
        (to("net_kernel"), call(mfa5("spawn_link")), "spawn os:cmd/1"),
        (
            to("net_kernel"),
            call(tuple([
                atom("spawn_opt"),
                m.clone(),
                f.clone(),
                a.clone(),
                list([]),
                atom("link"),
                gl.clone(),
            ])),
            "spawn os:cmd/1",
        ),
        (
            to("net_kernel"),
            call(tuple([atom("disconnect"), atom("b@host")])),
            "unknown net_kernel",
        ),
        (
            to("net_kernel"),
            tuple([
                pid(),
                atom("registered_send"),
                atom("init"),
                tuple([atom("stop"), atom("stop")]),
            ]),
            "unknown net_kernel",
        ),
        (to("net_kernel"), atom("tick"), "unknown net_kernel"),
        // Files, code, the node itself.
        (
            to("file_server_2"),
            call(tuple([atom("read_file"), binary(3)])),
            "access_files file_server_2",
        ),
        (
            to("erl_prim_loader"),
            tuple([pid(), tuple([atom("get_file"), list([int(47)])])]),
            "access_files erl_prim_loader",
        ),
        (
            to("code_server"),
            tuple([atom("code_call"), pid(), tuple([atom("delete"), m.clone()])]),
            "manage_code code_server",
        ),
        (
            to("erts_code_purger"),
            tuple([atom("purge"), m.clone(), pid(), reference()]),
            "manage_code erts_code_purger",
        ),
        (
            to("init"),
            tuple([atom("stop"), atom("stop")]),
            "stop_node init",
        ),
        (
            to("init"),
            tuple([
                pid(),
                tuple([atom("make_permanent"), list([int(1)]), atom("false")]),
            ]),
            "stop_node init",
        ),
        (to("init"), tuple([pid(), atom("get_status")]), "send init"),
        (
            to("init"),
            tuple([pid(), tuple([atom("get_argument"), atom("root")])]),
            "send init",
        ),
        (
            to("heart"),
            tuple([pid(), atom("set_cmd"), list([int(1)])]),
            "stop_node heart",
        ),
        (
            to("erl_signal_server"),
            tuple([atom("notify"), atom("sigterm")]),
            "stop_node erl_signal_server",
        ),
        (
            to("application_controller"),
            call(tuple([atom("stop_application"), atom("ssl")])),
            "manage_applications application_controller",
        ),
        (
            to("application_controller"),
            call(atom("which_applications")),
            "send application_controller",
        ),
        (
            to("application_controller"),
            cast(tuple([atom("application_started"), atom("x"), atom("ok")])),
            "manage_applications application_controller",
        ),
        (
            to("auth"),
            call(tuple([atom("set_cookie"), m.clone(), f.clone()])),
            "unknown auth",
        ),
        (
            to("logger"),
            call(tuple([
                atom("add_handler"),
                m.clone(),
                f.clone(),
                a.clone(),
            ])),
            "unknown logger",
        ),
        (to("logger"), tuple([atom("log"), m.clone()]), "send logger"),
        // global.
        (
            to("global_name_server"),
            call(tuple([atom("register"), m.clone(), pid(), export()])),
            "register_global global_name_server",
        ),
        (
            to("global_name_server"),
            call(tuple([atom("unregister"), m.clone()])),
            "register_global global_name_server",
        ),
        (
            to("global_name_server"),
            call(tuple([atom("registrar"), export()])),
            "register_global global_name_server",
        ),
        (
            to("global_name_server"),
            call(tuple([atom("set_lock"), tuple([m.clone(), f.clone()])])),
            "send global_name_server",
        ),
        (
            to("global_name_server"),
            call(tuple([atom("sync"), list([])])),
            "send global_name_server",
        ),
        (
            to("global_name_server"),
            call(atom("stop")),
            "unknown global_name_server",
        ),
        (
            to("global_name_server"),
            cast(tuple([atom("init_connect"), int(8), m.clone(), f.clone()])),
            "send global_name_server",
        ),
        // Timers.
        (
            to("timer_server"),
            call(tuple([
                atom("apply_once"),
                tuple([int(1), int(2), tuple(mfa())]),
            ])),
            "spawn os:cmd/1",
        ),
        (
            to("timer_server"),
            call(tuple([
                atom("apply_interval"),
                tuple([int(1), int(2), pid(), tuple(mfa())]),
            ])),
            "spawn os:cmd/1",
        ),
        (
            to("timer_server"),
            call(tuple([
                atom("apply_repeatedly"),
                tuple([int(1), int(2), pid(), tuple([export(), list([])])]),
            ])),
            "spawn erlang:apply/2",
        ),
        (
            to("timer_server"),
            tuple([
                atom("timeout"),
                reference(),
                tuple([atom("apply_once"), tuple(mfa())]),
            ]),
            "unknown timer_server",
        ),
        // What any process may act on.
        (
            to("app"),
            tuple([atom("system"), from(), atom("suspend")]),
            "system_message app",
        ),
        (
            unnamed(),
            tuple([atom("system"), from(), atom("get_state")]),
            "system_message pid",
        ),
        (
            to("code_server"),
            tuple([atom("system"), from(), atom("suspend")]),
            "system_message code_server",
        ),
        (
            to("app"),
            tuple([atom("EXIT"), pid(), atom("kill")]),
            "exit app",
        ),
        (
            alias(),
            tuple([atom("EXIT"), pid(), atom("kill")]),
            "exit alias",
        ),
        (
            to("sup"),
            call(tuple([atom("start_child"), list([])])),
            "supervise sup",
        ),
        (
            unnamed(),
            call(tuple([atom("terminate_child"), m.clone()])),
            "supervise pid",
        ),
        (
            to("sup"),
            call(tuple([atom("restart_child"), m.clone()])),
            "supervise sup",
        ),
        (
            to("sup"),
            call(tuple([atom("delete_child"), m.clone()])),
            "supervise sup",
        ),
        (to("sup"), call(atom("which_children")), "send sup"),
        (to("sup"), call(atom("count_children")), "send sup"),
        (
            to("sup"),
            call(tuple([
                atom("start_task"),
                list([]),
                atom("temporary"),
                int(5000),
            ])),
            "supervise sup",
        ),
        (
            to("sup"),
            cast(tuple([atom("try_again_restart"), m.clone()])),
            "supervise sup",
        ),
        (
            to("events"),
            tuple([
                pid(),
                reference(),
                tuple([atom("add_handler"), m.clone(), list([])]),
            ]),
            "supervise events",
        ),
        (
            to("user"),
            tuple([
                atom("io_request"),
                pid(),
                reference(),
                tuple([
                    atom("put_chars"),
                    atom("unicode"),
                    m.clone(),
                    f.clone(),
                    a.clone(),
                ]),
            ]),
            os,
        ),
        (
            unnamed(),
            tuple([
                atom("io_request"),
                pid(),
                reference(),
                tuple([
                    atom("get_until"),
                    atom("unicode"),
                    list([]),
                    m.clone(),
                    f.clone(),
                    a.clone(),
                ]),
            ]),
            os,
        ),
        (
            unnamed(),
            tuple([
                atom("io_request"),
                pid(),
                reference(),
                tuple([
                    atom("requests"),
                    list([
                        tuple([atom("put_chars"), list([])]),
                        tuple([atom("put_chars"), m.clone(), f.clone(), a.clone()]),
                    ]),
                ]),
            ]),
            os,
        ),
        (
            unnamed(),
            tuple([
                atom("io_request"),
                pid(),
                reference(),
                tuple([
                    atom("put_chars"),
                    atom("unicode"),
                    atom("io_lib"),
                    atom("format"),
                    list([binary(2), list([])]),
                ]),
            ]),
            "send pid",
        ),
        (
            unnamed(),
            tuple([
                atom("io_request"),
                pid(),
                reference(),
                tuple([atom("put_chars"), atom("unicode"), binary(9)]),
            ]),
            "send pid",
        ),
        // A pid may be rex, or net_kernel.
        (unnamed(), call(mfa5("block_call")), os),
        (alias(), call(mfa5("call")), os),
        (unnamed(), cast(mfa5("cast")), "cast os:cmd/1"),
        (unnamed(), tuple([pid(), mfa5("call")]), os),
        (unnamed(), call(mfa5("spawn")), "spawn os:cmd/1"),
        // An application says what it likes to its own.
        (to("app"), call(mfa5("call")), "send app"),
        (to("app"), atom("hello"), "send app"),
        (to("app"), tuple([]), "send app"),
        (
            to("app"),
            tuple([m.clone(), f.clone(), a.clone()]),
            "send app",
        ),
        (unnamed(), tuple([reference(), atom("ok")]), "send pid"),
    ]
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
            let refused = told.starts_with("unknown") || told == "spawn erpc:execute_call/0"
                || told == "spawn erpc:execute_cast/0";
            let as_good = told == wanted || open(&found.operation);
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
