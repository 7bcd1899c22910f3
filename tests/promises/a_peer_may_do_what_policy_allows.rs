//! A node that is a member of the cluster, with a certificate and all, may do what the policy permits, message by message. What
//! owns a node is refused with an answer, and told; its harmless neighbour works.
//!
//! Once with both agents deciding, and once with a sender whose own agent lets everything through.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skans_lab::{Cluster, HostPlan, Plan, Policy};
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

fn denied(event: &Value, action: &str) -> bool {
    let skans = &event["unmapped"]["skans"];
    skans["action"] == action
        && skans["verdict"] == "deny"
        && event["action"] == "Denied"
        && skans["principal"]
            .as_str()
            .is_some_and(|id| id.ends_with("/sa/n1/node/n1"))
}

/// Runs every attack, and looks for its events with the agent of `host`.
async fn all_are_refused(cluster: &Cluster, host: usize) {
    let file = cluster.directory().join("owned");
    let path = file.display().to_string();
    let mut slowest = (Duration::ZERO, "");
    for attack in ATTACKS {
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
        cluster
            .agent(host)
            .unwrap()
            .wait_event(attack.what, PATIENCE, |event| denied(event, attack.action))
            .await
            .unwrap();
        assert!(!file.exists(), "{} was done", attack.what);
    }
    println!("slowest answer: {slowest:?}");
    for (expression, wanted) in NEIGHBOURS {
        let found = eval(cluster, expression, &path).await;
        let wanted = wanted.replace("{N}", &cluster.atom(1).unwrap());
        assert_eq!(
            found.replace('\'', ""),
            wanted.replace('\'', ""),
            "{expression}"
        );
    }
    // The victim is as it was, and so is the link.
    let victim = cluster.node(1).unwrap();
    let whole = "{is_pid(whereis(rex)), is_pid(whereis(file_server_2)), case catch sys:get_state(rex, 1000) of {'EXIT', _} -> false; _ -> true end, length(nodes())}";
    assert_eq!(
        victim.eval(whole, PATIENCE).await.unwrap(),
        "{true,true,true,1}"
    );
    assert!(!file.exists());
}

fn hosts() -> Plan {
    Plan::new(skans_lab::plan::find_skans().unwrap()).unwrap()
}

#[tokio::test]
async fn what_owns_a_node_is_refused_by_the_set_to_begin_with() {
    let cluster = hosts().nodes(2).start().await.unwrap();
    all_are_refused(&cluster, 0).await;
    cluster.stop().await.unwrap();
}

/// Whoever owns a host owns its agent: the one beside the receiver decides as well.
#[tokio::test]
async fn it_is_refused_as_well_if_the_agent_beside_the_sender_is_lost() {
    let open = tempfile::tempdir().unwrap();
    let directory = open.path().join("open");
    Policy::open().write(&directory).unwrap();
    let lost = HostPlan::numbered(1).config(&json!({"policy": {"directory": directory}}));
    let cluster = hosts()
        .host(lost)
        .host(HostPlan::numbered(2))
        .start()
        .await
        .unwrap();
    all_are_refused(&cluster, 1).await;
    cluster.stop().await.unwrap();
}
