//! `cli-tool`: `erl_call` of Erlang, and nodes that come and go as those of rabbitmqctl and ejabberdctl do. What they ask
//! for is doubles of a broker and of a server here (`tests/roles`); rabbitmqctl itself is with RabbitMQ.

use skans_promises::PATIENCE;

use super::bind;
use super::tools::{NODES, TOOLS, Tools};
use crate::root;

/// What tools ask for, and get.
const ASKED: &[(&str, &str)] = &[
    ("net_adm:ping({A})", "pong"),
    (
        "is_list(proplists:get_value(running_applications, rpc:call({A}, rabbit, status, [])))",
        "true",
    ),
    ("is_list(rpc:call({A}, rabbit, status, [], 5000))", "true"),
    (
        "rpc:call({A}, ejabberd_ctl, process, [[\"status\"], 2])",
        "{ok,{A}}",
    ),
    ("is_list(rpc:call({A}, erlang, memory, []))", "true"),
    (
        "is_list(rpc:call({A}, application, which_applications, [5000]))",
        "true",
    ),
    (
        "Ref = make_ref(), Me = self(), spawn(fun() -> ok = rpc:call({A}, rabbit_amqqueue, emit_info_all, [[{A}], <<\"/\">>, [name, type], Ref, Me]) end), \
         (fun Loop(N) -> receive {Ref, [_, _], continue} -> Loop(N + 1); {Ref, finished} -> N end end)(0)",
        "3",
    ),
    ("monitor_node({A}, true), monitor_node({A}, false)", "true"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_administers_an_application_and_owns_no_node() {
    if !root::or_skip("tools on two hosts") {
        return;
    }
    let role = bind("cli-tool", TOOLS, NODES, "");
    let modules = ["rabbit", "rabbit_amqqueue", "ejabberd_ctl"];
    let tools = Tools::start(&[role], &modules).await;
    let call = "HOME=/run/skans/cookies/cli erl_call -n app@host-1";
    for (asked, wanted) in [
        ("erlang nodes []", "[]"),
        ("erlang node []", "'app@host-1'"),
        (
            "ejabberd_ctl process [[\"status\"],2]",
            "{ok, 'app@host-1'}",
        ),
    ] {
        assert_eq!(tools.run(&format!("{call} -a '{asked}'")).await, wanted);
    }
    for name in ["rabbitmqcli-17-rabbit", "ctl-3-ejabberd"] {
        let tool = tools.tool(name).await;
        for app in ["'app@host-1'", "'app@host-2'"] {
            for (asked, wanted) in ASKED {
                let found = tool
                    .eval(&asked.replace("{A}", app), PATIENCE)
                    .await
                    .unwrap();
                let denied = tools.denied().await.join("\n");
                assert_eq!(found, wanted.replace("{A}", app), "{asked}\n{denied}");
            }
        }
    }
    assert_eq!(tools.denied().await, Vec::<String>::new());
    let tool = tools.tool("rabbitmqcli-18-rabbit").await;
    tools.owns_nobody(&tool).await;
    // A C node watches nobody, and is answered all the same.
    let answer = tools
        .run(&format!(
            "timeout 30 env {call} -a 'os cmd [\"id\"]' 2>&1; true"
        ))
        .await;
    assert!(answer.contains("eacces"), "{answer}");
    for node in &tools.nodes {
        assert_eq!(node.eval("1 + 1", PATIENCE).await.unwrap(), "2");
    }
}
