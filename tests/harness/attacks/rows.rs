//! What runs over a connection between nodes, as attacks by a node that is a member of the cluster, and their harmless neighbours: the
//! one list. Who tries them under which policy is not here.

/// An attack, what it is answered, and the action that it is told as.
#[derive(Debug)]
pub struct Attack {
    /// What it is called in messages.
    pub what: &'static str,
    /// What is evaluated at the attacker. `{N}` is the victim, `{F}` a file that it would write.
    pub expression: &'static str,
    /// Part of the answer; empty where nobody waits for one.
    pub answer: &'static str,
    /// The action of the event.
    pub action: &'static str,
    /// Who is refused it.
    pub refused: Refused,
}

/// Who is refused an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Everybody, and nothing else has to be permitted before: whatever the policy, this is what is told.
    Alone,
    /// Everybody; it takes something else first, a pid or a monitor, that members of one application may have.
    Members,
    /// A client of one server, beside all of these: members of one application do this to each other all the time.
    Clients,
}

const fn attack(
    what: &'static str,
    expression: &'static str,
    (answer, action): (&'static str, &'static str),
    refused: Refused,
) -> Attack {
    Attack {
        what,
        expression,
        answer,
        action,
        refused,
    }
}

/// What owns a node, asked for alone.
const fn owns(
    what: &'static str,
    expression: &'static str,
    answer: &'static str,
    action: &'static str,
) -> Attack {
    attack(what, expression, (answer, action), Refused::Alone)
}

/// What owns a node by way of something else.
const fn by_way(
    what: &'static str,
    expression: &'static str,
    answer: &'static str,
    action: &'static str,
) -> Attack {
    attack(what, expression, (answer, action), Refused::Members)
}

/// What a client has no business with.
const fn goes_beyond(
    what: &'static str,
    expression: &'static str,
    answer: &'static str,
    action: &'static str,
) -> Attack {
    attack(what, expression, (answer, action), Refused::Clients)
}

/// Each row of what runs over a connection between nodes.
pub const ROWS: &[Attack] = &[
    owns(
        "rpc:call",
        "rpc:call({N}, os, cmd, [\"echo owned > {F}\"])",
        "eacces",
        "call",
    ),
    owns(
        "erpc:call",
        "catch erpc:call({N}, file, write_file, [\"{F}\", <<1>>])",
        "{erpc,eacces}",
        "call",
    ),
    owns(
        "os:cmd by erpc",
        "catch erpc:call({N}, os, cmd, [\"echo owned > {F}\"])",
        "{erpc,eacces}",
        "call",
    ),
    owns(
        "file:read_file",
        "catch erpc:call({N}, file, read_file, [\"/etc/passwd\"])",
        "{erpc,eacces}",
        "call",
    ),
    owns(
        "code:load_binary",
        "catch erpc:call({N}, code, load_binary, [evil, \"evil\", <<1>>])",
        "{erpc,eacces}",
        "call",
    ),
    owns(
        "init:stop by erpc",
        "catch erpc:call({N}, init, stop, [])",
        "{erpc,eacces}",
        "call",
    ),
    owns(
        "a function that calls its arguments",
        "catch erpc:call({N}, timer, tc, [file, write_file, [\"{F}\", <<1>>]])",
        "{erpc,eacces}",
        "call",
    ),
    owns(
        "a large erpc:call, in fragments",
        "catch erpc:call({N}, file, write_file, [\"{F}\", binary:copy(<<1>>, 300000)])",
        "{erpc,eacces}",
        "call",
    ),
    owns(
        "rpc:cast",
        "rpc:cast({N}, file, write_file, [\"{F}\", <<1>>])",
        "",
        "cast",
    ),
    owns(
        "erpc:cast",
        "erpc:cast({N}, file, write_file, [\"{F}\", <<1>>])",
        "",
        "cast",
    ),
    owns(
        "a fun by erpc:call",
        "catch erpc:call({N}, fun() -> file:write_file(\"{F}\", <<1>>) end)",
        "{erpc,eacces}",
        "call",
    ),
    owns(
        "rpc:block_call, which rex serves",
        "rpc:block_call({N}, file, write_file, [\"{F}\", <<1>>])",
        "eacces",
        "call",
    ),
    by_way(
        "a call to rex by its pid",
        "catch gen_server:call(rpc:call({N}, erlang, whereis, [rex]), {block_call, file, write_file, [\"{F}\", <<1>>], group_leader()})",
        "eacces",
        "call",
    ),
    by_way(
        "rex, as C nodes and old nodes ask",
        "begin {rex, {N}} ! {self(), {call, file, write_file, [\"{F}\", <<1>>], group_leader()}}, sent end",
        "",
        "call",
    ),
    by_way(
        "what rex passes on",
        "begin {rex, {N}} ! {self(), {sbcast, net_kernel, {'$gen_call', {self(), make_ref()}, {spawn, file, write_file, [\"{F}\", <<1>>], group_leader()}}}}, sent end",
        "",
        "spawn",
    ),
    by_way(
        "a request that rex does not have",
        "catch gen_server:call({rex, {N}}, stop)",
        "eacces",
        "unknown",
    ),
    by_way(
        "a request that global does not have",
        "catch gen_server:call({global_name_server, {N}}, stop)",
        "eacces",
        "unknown",
    ),
    by_way(
        "the cookie",
        "catch gen_server:call({auth, {N}}, {get_cookie, {N}})",
        "eacces",
        "unknown",
    ),
    by_way(
        "net_kernel, asked for more than a ping",
        "catch gen_server:call({net_kernel, {N}}, {disconnect, node()})",
        "eacces",
        "unknown",
    ),
    owns(
        "spawn",
        "catch spawn({N}, file, write_file, [\"{F}\", <<1>>])",
        "eacces",
        "spawn",
    ),
    owns(
        "spawn_request",
        "R = spawn_request({N}, file, write_file, [\"{F}\", <<1>>], []), receive {spawn_reply, R, Kind, Why} -> {Kind, Why} after 5000 -> nothing end",
        "{error,eacces}",
        "spawn",
    ),
    by_way(
        "spawn_link",
        "catch spawn_link({N}, file, write_file, [\"{F}\", <<1>>])",
        "eacces",
        "spawn",
    ),
    by_way(
        "a fun by spawn",
        "catch spawn_monitor({N}, fun() -> file:write_file(\"{F}\", <<1>>) end)",
        "eacces",
        "spawn",
    ),
    by_way(
        "a timer",
        "catch gen_server:call({timer_server, {N}}, {apply_once, {erlang:monotonic_time(millisecond), 1, {file, write_file, [\"{F}\", <<1>>]}}})",
        "eacces",
        "spawn",
    ),
    by_way(
        "output that a function makes",
        "begin {user, {N}} ! {io_request, self(), make_ref(), {put_chars, unicode, file, write_file, [\"{F}\", <<1>>]}}, sent end",
        "",
        "call",
    ),
    by_way(
        "output that a function makes, to a pid",
        "io:request(rpc:call({N}, erlang, whereis, [user]), {put_chars, unicode, file, write_file, [\"{F}\", <<1>>]})",
        "{error,terminated}",
        "call",
    ),
    owns(
        "net_kernel's spawn, as old nodes ask for it",
        "catch gen_server:call({net_kernel, {N}}, {spawn, file, write_file, [\"{F}\", <<1>>], group_leader()})",
        "eacces",
        "spawn",
    ),
    owns(
        "the file server",
        "catch gen_server:call({file_server_2, {N}}, {read_file, \"/etc/passwd\"})",
        "eacces",
        "access_files",
    ),
    owns(
        "the file server again, its names from the atom cache",
        "catch gen_server:call({file_server_2, {N}}, {read_file, \"/etc/passwd\"})",
        "eacces",
        "access_files",
    ),
    owns(
        "the code server",
        "begin {code_server, {N}} ! {code_call, self(), {load_binary, evil, \"evil\", <<1>>}}, sent end",
        "",
        "manage_code",
    ),
    owns(
        "the file server, to write",
        "catch gen_server:call({file_server_2, {N}}, {open, \"{F}\", [write]})",
        "eacces",
        "access_files",
    ),
    owns(
        "erlang:halt",
        "catch erpc:call({N}, erlang, halt, [])",
        "eacces",
        "call",
    ),
    by_way(
        "a handler of an event manager",
        "catch gen_event:add_handler({erl_signal_server, {N}}, lists, [])",
        "eacces",
        "stop_node",
    ),
    owns(
        "init:stop",
        "begin {init, {N}} ! {stop, stop}, sent end",
        "",
        "stop_node",
    ),
    owns(
        "the application controller",
        "catch gen_server:call({application_controller, {N}}, {stop_application, kernel})",
        "eacces",
        "manage_applications",
    ),
    owns(
        "a child of a supervisor",
        "catch supervisor:start_child({kernel_safe_sup, {N}}, #{id => evil, start => {file, write_file, [\"{F}\", <<1>>]}})",
        "eacces",
        "supervise",
    ),
    owns(
        "a system message",
        "catch sys:suspend({rex, {N}})",
        "eacces",
        "system_message",
    ),
    by_way(
        "a server of many nodes",
        "gen_server:multi_call([{N}], file_server_2, {read_file, \"/etc/passwd\"})",
        "{[],[{N}]}",
        "access_files",
    ),
    by_way(
        "a server of many nodes, for a minute",
        "gen_server:multi_call([{N}], rex, {block_call, file, write_file, [\"{F}\", <<1>>], group_leader()}, 60000)",
        "{[],[{N}]}",
        "call",
    ),
    by_way(
        "a message to many nodes",
        "rpc:sbcast([{N}], net_kernel, {'$gen_call', {self(), make_ref()}, {spawn, file, write_file, [\"{F}\", <<1>>], group_leader()}})",
        "{[],[{N}]}",
        "spawn",
    ),
    by_way(
        "a server that is no gen_server",
        "rpc:server_call({N}, init, init, {set_script_name, evil})",
        "{error,nodedown}",
        "stop_node",
    ),
    by_way(
        "the same of many nodes",
        "rpc:multi_server_call([{N}], rex, {stop, everything})",
        "{[],[{N}]}",
        "unknown",
    ),
    by_way(
        "a request by hand",
        "begin M = monitor(process, {init, {N}}), {init, {N}} ! {self(), {make_permanent, a, b}}, receive {'DOWN', M, _, _, Why} -> Why after 60000 -> nothing end end",
        "eacces",
        "stop_node",
    ),
    by_way(
        "exit/2",
        "exit(rpc:call({N}, erlang, whereis, [rex]), kill)",
        "true",
        "exit",
    ),
    by_way(
        "a group leader",
        "group_leader(self(), rpc:call({N}, erlang, whereis, [rex]))",
        "true",
        "group_leader",
    ),
    goes_beyond(
        "rpc:call of what is harmless",
        "rpc:call({N}, erlang, node, [])",
        "eacces",
        "call",
    ),
    goes_beyond(
        "a process",
        "catch erpc:call({N}, erlang, node, [])",
        "{erpc,eacces}",
        "call",
    ),
    goes_beyond(
        "spawn of what is harmless",
        "catch spawn_monitor({N}, erlang, node, [])",
        "eacces",
        "spawn",
    ),
    goes_beyond(
        "a call to another server",
        "catch gen_server:call({other, {N}}, hello)",
        "eacces",
        "monitor",
    ),
    goes_beyond(
        "a message to another server",
        "begin {other, {N}} ! hello, sent end",
        "",
        "send",
    ),
    goes_beyond(
        "a fun to the server",
        "begin {shop, {N}} ! fun() -> ok end, sent end",
        "",
        "send",
    ),
    goes_beyond(
        "a global name",
        "global:register_name(some, self())",
        "yes",
        "register_global",
    ),
    goes_beyond(
        "a process group",
        "begin {pg, {N}} ! {discover, self()}, sent end",
        "",
        "send",
    ),
    goes_beyond(
        "output on the other node",
        "begin {user, {N}} ! {io_request, self(), make_ref(), {put_chars, unicode, \"hello\"}}, sent end",
        "",
        "send",
    ),
    goes_beyond(
        "a handler of an event manager",
        "catch gen_event:add_handler({other, {N}}, lists, [])",
        "eacces",
        "supervise",
    ),
];

/// What harmless things an application does, and their results.
pub const NEIGHBOURS: &[(&str, &str)] = &[
    ("is_list(rpc:call({N}, os, getpid, []))", "true"),
    ("catch erpc:call({N}, erlang, node, [])", "{N}"),
    ("net_adm:ping({N})", "pong"),
    ("is_list(erpc:call({N}, erlang, registered, []))", "true"),
    ("begin {nobody_here, {N}} ! hello, sent end", "sent"),
];

/// What it may do.
pub const OF_A_SERVER: &[(&str, &str)] = &[
    ("net_adm:ping({N})", "pong"),
    ("gen_event:which_handlers({shop, {N}})", "[]"),
    ("begin {shop, {N}} ! hello, sent end", "sent"),
    (
        "begin M = monitor(process, {shop, {N}}), demonitor(M, [flush]) end",
        "true",
    ),
    ("length(nodes())", "1"),
];
