//! Messages, and what they ask for.

use super::*;

/// Messages, and what they are. All that OTP acts on is here once at least.
pub(super) fn table() -> Vec<(Control<'static>, Term<'static>, &'static str)> {
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
            call(tuple([
                atom("register"),
                m.clone(),
                pid(),
                super::methods::own(),
            ])),
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
            "unknown global_name_server",
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
        // Messages that are passed on.
        (
            to("global_group"),
            call(tuple([atom("send"), atom("app"), atom("hi")])),
            "unknown global_group",
        ),
        (
            to("global_group"),
            cast(tuple([
                atom("send_res"),
                pid(),
                atom("app"),
                atom("hi"),
                pid(),
                from(),
            ])),
            "unknown global_group",
        ),
        (
            to("global_group"),
            cast(tuple([atom("find_name"), pid(), atom("app")])),
            "send global_group",
        ),
        (
            to("alarm_handler"),
            tuple([
                pid(),
                reference(),
                tuple([
                    atom("swap_handler"),
                    m.clone(),
                    list([]),
                    m.clone(),
                    list([]),
                ]),
            ]),
            "supervise alarm_handler",
        ),
        (
            to("alarm_handler"),
            tuple([
                atom("notify"),
                tuple([atom("set_alarm"), tuple([m.clone(), f.clone()])]),
            ]),
            "send alarm_handler",
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
            tuple([
                atom("system"),
                from(),
                tuple([atom("replace_state"), export()]),
            ]),
            "system_message pid",
        ),
        (
            unnamed(),
            tuple([atom("system"), from(), atom("get_state")]),
            "inspect pid",
        ),
        (
            to("%2F_orders"),
            tuple([atom("system"), from(), atom("get_status")]),
            "inspect %2F_orders",
        ),
        (
            to("app"),
            tuple([atom("system"), from(), tuple([atom("get_status")])]),
            "system_message app",
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
            call(tuple([
                atom("start_child"),
                tuple([m.clone(), tuple(mfa()), atom("temporary")]),
            ])),
            "supervise sup",
        ),
        (
            to("sup"),
            call(tuple([atom("start_child"), Term::Map(Vec::new())])),
            "supervise sup",
        ),
        // More arguments for what the supervisor is for.
        (
            to("sup"),
            call(tuple([atom("start_child"), list([m.clone(), int(1)])])),
            "send sup",
        ),
        (
            unnamed(),
            call(tuple([atom("start_child"), list([])])),
            "send pid",
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
            // With what was read before, and what has come.
            "call os:cmd/3",
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
                        tuple([atom("put_chars"), atom("shop"), atom("stock"), list([])]),
                        tuple([atom("put_chars"), m.clone(), f.clone(), a.clone()]),
                    ]),
                ]),
            ]),
            "unknown pid",
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
