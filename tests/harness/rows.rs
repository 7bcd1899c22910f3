//! What runs over a connection between nodes, as attacks by a node that is a member of the cluster, and their harmless
//! neighbours.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skans_lab::{Cluster, HostPlan, NodePlan, Plan, Policy, until};
use skans_promises::PATIENCE;

/// What an attack is, what it is answered, and the action that it is told as. `{N}` is the victim, `{F}` a file that it would
/// write.
struct Attack {
    what: &'static str,
    expression: &'static str,
    /// Part of the answer; empty where nobody waits for one.
    answer: &'static str,
    action: &'static str,
}

const fn attack(
    what: &'static str,
    expression: &'static str,
    answer: &'static str,
    action: &'static str,
) -> Attack {
    Attack {
        what,
        expression,
        answer,
        action,
    }
}

/// Each row of what runs over a connection between nodes.
const ATTACKS: &[Attack] = &[
    attack(
        "rpc:call",
        "rpc:call({N}, os, cmd, [\"echo owned > {F}\"])",
        "eacces",
        "call",
    ),
    attack(
        "erpc:call",
        "catch erpc:call({N}, file, write_file, [\"{F}\", <<1>>])",
        "{erpc,eacces}",
        "call",
    ),
    attack(
        "a large erpc:call, in fragments",
        "catch erpc:call({N}, file, write_file, [\"{F}\", binary:copy(<<1>>, 300000)])",
        "{erpc,eacces}",
        "call",
    ),
    attack(
        "rpc:cast",
        "rpc:cast({N}, file, write_file, [\"{F}\", <<1>>])",
        "",
        "cast",
    ),
    attack(
        "erpc:cast",
        "erpc:cast({N}, file, write_file, [\"{F}\", <<1>>])",
        "",
        "cast",
    ),
    attack(
        "a fun by erpc:call",
        "catch erpc:call({N}, fun() -> file:write_file(\"{F}\", <<1>>) end)",
        "{erpc,eacces}",
        "call",
    ),
    attack(
        "rpc:block_call, which rex serves",
        "rpc:block_call({N}, file, write_file, [\"{F}\", <<1>>])",
        "eacces",
        "call",
    ),
    attack(
        "a call to rex by its pid",
        "catch gen_server:call(rpc:call({N}, erlang, whereis, [rex]), {block_call, file, write_file, [\"{F}\", <<1>>], group_leader()})",
        "eacces",
        "call",
    ),
    attack(
        "rex, as C nodes and old nodes ask",
        "begin {rex, {N}} ! {self(), {call, file, write_file, [\"{F}\", <<1>>], group_leader()}}, sent end",
        "",
        "call",
    ),
    attack(
        "what rex passes on",
        "begin {rex, {N}} ! {self(), {sbcast, net_kernel, {'$gen_call', {self(), make_ref()}, {spawn, file, write_file, [\"{F}\", <<1>>], group_leader()}}}}, sent end",
        "",
        "spawn",
    ),
    attack(
        "a request that rex does not have",
        "catch gen_server:call({rex, {N}}, stop)",
        "eacces",
        "unknown",
    ),
    attack(
        "a request that global does not have",
        "catch gen_server:call({global_name_server, {N}}, stop)",
        "eacces",
        "unknown",
    ),
    attack(
        "the cookie",
        "catch gen_server:call({auth, {N}}, {get_cookie, {N}})",
        "eacces",
        "unknown",
    ),
    attack(
        "net_kernel, asked for more than a ping",
        "catch gen_server:call({net_kernel, {N}}, {disconnect, node()})",
        "eacces",
        "unknown",
    ),
    attack(
        "spawn",
        "catch spawn({N}, file, write_file, [\"{F}\", <<1>>])",
        "eacces",
        "spawn",
    ),
    attack(
        "spawn_request",
        "R = spawn_request({N}, file, write_file, [\"{F}\", <<1>>], []), receive {spawn_reply, R, Kind, Why} -> {Kind, Why} after 5000 -> nothing end",
        "{error,eacces}",
        "spawn",
    ),
    attack(
        "spawn_link",
        "catch spawn_link({N}, file, write_file, [\"{F}\", <<1>>])",
        "eacces",
        "spawn",
    ),
    attack(
        "a fun by spawn",
        "catch spawn_monitor({N}, fun() -> file:write_file(\"{F}\", <<1>>) end)",
        "eacces",
        "spawn",
    ),
    attack(
        "a timer",
        "catch gen_server:call({timer_server, {N}}, {apply_once, {erlang:monotonic_time(millisecond), 1, {file, write_file, [\"{F}\", <<1>>]}}})",
        "eacces",
        "spawn",
    ),
    attack(
        "output that a function makes",
        "begin {user, {N}} ! {io_request, self(), make_ref(), {put_chars, unicode, file, write_file, [\"{F}\", <<1>>]}}, sent end",
        "",
        "call",
    ),
    attack(
        "output that a function makes, to a pid",
        "io:request(rpc:call({N}, erlang, whereis, [user]), {put_chars, unicode, file, write_file, [\"{F}\", <<1>>]})",
        "{error,terminated}",
        "call",
    ),
    attack(
        "net_kernel's spawn, as old nodes ask for it",
        "catch gen_server:call({net_kernel, {N}}, {spawn, file, write_file, [\"{F}\", <<1>>], group_leader()})",
        "eacces",
        "spawn",
    ),
    attack(
        "the file server",
        "catch gen_server:call({file_server_2, {N}}, {read_file, \"/etc/passwd\"})",
        "eacces",
        "access_files",
    ),
    attack(
        "the file server again, its names from the atom cache",
        "catch gen_server:call({file_server_2, {N}}, {read_file, \"/etc/passwd\"})",
        "eacces",
        "access_files",
    ),
    attack(
        "the code server",
        "begin {code_server, {N}} ! {code_call, self(), {load_binary, evil, \"evil\", <<1>>}}, sent end",
        "",
        "manage_code",
    ),
    attack(
        "the file server, to write",
        "catch gen_server:call({file_server_2, {N}}, {open, \"{F}\", [write]})",
        "eacces",
        "access_files",
    ),
    attack(
        "erlang:halt",
        "catch erpc:call({N}, erlang, halt, [])",
        "eacces",
        "call",
    ),
    attack(
        "a handler of an event manager",
        "catch gen_event:add_handler({erl_signal_server, {N}}, lists, [])",
        "eacces",
        "stop_node",
    ),
    attack(
        "init:stop",
        "begin {init, {N}} ! {stop, stop}, sent end",
        "",
        "stop_node",
    ),
    attack(
        "the application controller",
        "catch gen_server:call({application_controller, {N}}, {stop_application, kernel})",
        "eacces",
        "manage_applications",
    ),
    attack(
        "a child of a supervisor",
        "catch supervisor:start_child({kernel_safe_sup, {N}}, #{id => evil, start => {file, write_file, [\"{F}\", <<1>>]}})",
        "eacces",
        "supervise",
    ),
    attack(
        "a system message",
        "catch sys:suspend({rex, {N}})",
        "eacces",
        "system_message",
    ),
    attack(
        "exit/2",
        "exit(rpc:call({N}, erlang, whereis, [rex]), kill)",
        "true",
        "exit",
    ),
    attack(
        "a group leader",
        "group_leader(self(), rpc:call({N}, erlang, whereis, [rex]))",
        "true",
        "group_leader",
    ),
];

/// What harmless things an application does, and their results.
const NEIGHBOURS: &[(&str, &str)] = &[
    ("is_list(rpc:call({N}, os, getpid, []))", "true"),
    ("catch erpc:call({N}, erlang, node, [])", "{N}"),
    ("net_adm:ping({N})", "pong"),
    ("is_list(erpc:call({N}, erlang, registered, []))", "true"),
    ("begin {nobody_here, {N}} ! hello, sent end", "sent"),
];

/// What a client of `shop` alone is refused beside: members of one application do this to each other all the time.
const BEYOND_A_SERVER: &[Attack] = &[
    attack(
        "rpc:call of what is harmless",
        "rpc:call({N}, erlang, node, [])",
        "eacces",
        "call",
    ),
    attack(
        "a process",
        "catch erpc:call({N}, erlang, node, [])",
        "{erpc,eacces}",
        "call",
    ),
    attack(
        "spawn of what is harmless",
        "catch spawn_monitor({N}, erlang, node, [])",
        "eacces",
        "spawn",
    ),
    attack(
        "a call to another server",
        "catch gen_server:call({other, {N}}, hello)",
        "eacces",
        "monitor",
    ),
    attack(
        "a message to another server",
        "begin {other, {N}} ! hello, sent end",
        "",
        "send",
    ),
    attack(
        "a fun to the server",
        "begin {shop, {N}} ! fun() -> ok end, sent end",
        "",
        "send",
    ),
    attack(
        "a global name",
        // Whoever asks many at once has marked what it asked otherwise than whom it watches, and waits.
        "begin spawn(fun() -> global:register_name(some, self()) end), done end",
        "done",
        "register_global",
    ),
    attack(
        "a process group",
        "begin {pg, {N}} ! {discover, self()}, sent end",
        "",
        "send",
    ),
    attack(
        "output on the other node",
        "begin {user, {N}} ! {io_request, self(), make_ref(), {put_chars, unicode, \"hello\"}}, sent end",
        "",
        "send",
    ),
    attack(
        "a handler of an event manager",
        "catch gen_event:add_handler({other, {N}}, lists, [])",
        "eacces",
        "supervise",
    ),
];

/// What it may do.
const OF_A_SERVER: &[(&str, &str)] = &[
    ("net_adm:ping({N})", "pong"),
    ("gen_event:which_handlers({shop, {N}})", "[]"),
    ("begin {shop, {N}} ! hello, sent end", "sent"),
    (
        "begin M = monitor(process, {shop, {N}}), demonitor(M, [flush]) end",
        "true",
    ),
    ("length(nodes())", "1"),
];

async fn eval(cluster: &Cluster, expression: &str, file: &str) -> String {
    let victim = cluster.atom(1).unwrap();
    let expression = expression.replace("{N}", &victim).replace("{F}", file);
    cluster
        .node(0)
        .unwrap()
        .eval(&expression, PATIENCE)
        .await
        .unwrap()
}

/// How often the attacker was denied something, as the agent of a host has told.
fn denials(cluster: &Cluster, host: usize, action: &str) -> u64 {
    let events = cluster.agent(host).unwrap().events().unwrap();
    let denied = |event: &&Value| {
        let skans = &event["unmapped"]["skans"];
        skans["action"] == action
            && skans["verdict"] == "deny"
            && event["action"] == "Denied"
            && skans["principal"]
                .as_str()
                .is_some_and(|id| id.ends_with("/sa/n1/node/n1"))
    };
    let counts = events
        .iter()
        .filter(denied)
        .map(|event| event["count"].as_u64());
    counts.map(Option::unwrap_or_default).sum()
}

/// Runs every attack, and looks for its events with the agent of `host`.
async fn all_are_refused(
    cluster: &Cluster,
    host: usize,
    attacks: &[Attack],
    neighbours: &[(&str, &str)],
) {
    let file = cluster.directory().join("owned");
    let path = file.display().to_string();
    let victim = cluster.node(1).unwrap();
    // Of what is asked for on first use.
    victim.eval("timer:start()", PATIENCE).await.unwrap();
    let mut slowest = (Duration::ZERO, "");
    for attack in attacks {
        let before = denials(cluster, host, attack.action);
        let begun = Instant::now();
        let answer = eval(cluster, attack.expression, &path).await;
        let took = begun.elapsed();
        assert!(
            answer.contains(attack.answer),
            "{}: found {answer}, wanted {:?}",
            attack.what,
            attack.answer
        );
        if took > slowest.0 {
            slowest = (took, attack.what);
        }
        // Refused at once, and not when somebody lost patience.
        assert!(took < Duration::from_secs(4), "{}: {took:?}", attack.what);
        let told = format!("an event about {}, a {}", attack.what, attack.action);
        until(PATIENCE, &told, async || {
            match denials(cluster, host, attack.action) {
                more if more > before => Ok(()),
                same => Err(format!("{same} as before")),
            }
        })
        .await
        .unwrap();
        assert!(!file.exists(), "{} was done", attack.what);
    }
    println!("slowest answer: {slowest:?}");
    for (expression, wanted) in neighbours {
        let found = eval(cluster, expression, &path).await;
        let wanted = wanted.replace("{N}", &cluster.atom(1).unwrap());
        assert_eq!(
            found.replace('\'', ""),
            wanted.replace('\'', ""),
            "{expression}"
        );
    }
    // The victim is as it was, and so is the link.
    let whole = "{is_pid(whereis(rex)), is_pid(whereis(file_server_2)), case catch sys:get_state(rex, 1000) of {'EXIT', _} -> false; _ -> true end, length(nodes())}";
    assert_eq!(
        victim.eval(whole, PATIENCE).await.unwrap(),
        "{true,true,true,1}"
    );
    assert!(!file.exists());
}

/// A node that is started with this `erl`, if not with the one in `PATH`.
pub fn node(name: &str, erl: Option<&Path>) -> NodePlan {
    match erl {
        Some(erl) => NodePlan::new(name).erl(erl),
        None => NodePlan::new(name),
    }
}

fn host(number: usize, erl: Option<&Path>) -> HostPlan {
    HostPlan::new(format!("n{number}")).node(node(&format!("n{number}@n{number}.lab"), erl))
}

fn hosts() -> Plan {
    Plan::new(skans_lab::plan::find_skans().unwrap()).unwrap()
}

/// Both agents decide, by the set to begin with.
pub async fn by_the_set_to_begin_with(attacker: Option<&Path>, victim: Option<&Path>) {
    let plan = hosts().host(host(1, attacker)).host(host(2, victim));
    let cluster = plan.start().await.unwrap();
    all_are_refused(&cluster, 0, ATTACKS, NEIGHBOURS).await;
    cluster.stop().await.unwrap();
}

/// The attacker's own agent lets everything through: whoever owns a host owns its agent.
pub async fn by_the_agent_beside_the_receiver(attacker: Option<&Path>, victim: Option<&Path>) {
    let open = tempfile::tempdir().unwrap();
    let directory = open.path().join("open");
    Policy::open().write(&directory).unwrap();
    let lost = host(1, attacker).config(&json!({"policy": {"directory": directory}}));
    let cluster = hosts()
        .host(lost)
        .host(host(2, victim))
        .start()
        .await
        .unwrap();
    all_are_refused(&cluster, 1, ATTACKS, NEIGHBOURS).await;
    cluster.stop().await.unwrap();
}

/// A client of one server may ask that server, and nobody else for anything.
pub async fn by_a_set_for_one_server(attacker: Option<&Path>, victim: Option<&Path>) {
    let role = "roles:\n  - role: named-client\n    principals: [{cluster: spiffe://lab.test/cluster/lab}]\n    \
                on: [{cluster: spiffe://lab.test/cluster/lab}]\n    servers: [shop]\n";
    let plan = hosts().policy(Policy::enforced("", role));
    let plan = plan.host(host(1, attacker)).host(host(2, victim));
    let cluster = plan.start().await.unwrap();
    let processes =
        "{ok, _} = gen_event:start({local, shop}), {ok, _} = gen_event:start({local, other}), ok";
    let node = cluster.node(1).unwrap();
    assert_eq!(node.eval(processes, PATIENCE).await.unwrap(), "ok");
    all_are_refused(&cluster, 0, BEYOND_A_SERVER, OF_A_SERVER).await;
    cluster.stop().await.unwrap();
}
