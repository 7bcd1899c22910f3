//! `remsh-operator`: a person with a shell. Who has the role owns the node, and so its second statement is another one: what
//! it lets through, and what owns a node beyond it, is refused to a node that has not got the role.

use skans_promises::PATIENCE;
use skans_promises::attacks;

use super::bind;
use super::tools::{CLI, NODES, TOOLS, Tools};
use crate::root;

/// What a shell starts with, asked for by a node that is no operator.
const WITHOUT: &[(&str, &str)] = &[
    ("catch spawn({A}, shell, start, [])", "eacces"),
    ("catch spawn_link({A}, shell, start, [true])", "eacces"),
    ("catch erpc:call({A}, fun() -> node() end)", "{erpc,eacces}"),
    ("rpc:call({A}, shell, start_interactive, [])", "eacces"),
    (
        "rpc:call({A}, erl_eval, exprs, [[{integer, 1, 1}], []])",
        "eacces",
    ),
    (
        "catch gen_server:call({net_kernel, {A}}, {spawn, shell, start, [], group_leader()})",
        "eacces",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_a_shell_and_a_node_has_none() {
    if !root::or_skip("remote shells on two hosts") {
        return;
    }
    let roles = [
        bind("remsh-operator", TOOLS, NODES, ""),
        bind("global-member", NODES, NODES, ""),
    ];
    let tools = Tools::start(&roles, &[]).await;
    for app in ["app@host-1", "app@host-2"] {
        shell(&tools, app).await;
    }
    // What erl_call -e and -q do, as rabbitmqctl eval does.
    let call = "HOME=/run/skans/cookies/cli erl_call -n app@host-1";
    assert_eq!(
        tools.run(&format!("echo 'node().' | {call} -e")).await,
        "{ok, 'app@host-1'}"
    );
    let denied = tools.denied().await;
    assert_eq!(denied, Vec::<String>::new());

    // Each in the name of its own host's agent, so that one does not count for the other.
    let asks = &tools.nodes[1];
    for (asked, wanted) in WITHOUT {
        let asked = asked.replace("{A}", "'app@host-1'");
        let found = asks.eval(&asked, PATIENCE).await.unwrap();
        assert!(found.contains(wanted), "{asked}: {found}");
    }
    let file = tools.hosts.directory().join("owned");
    attacks::are_refused(
        &tools.nodes[0],
        &tools.nodes[1],
        tools.hosts.agent(0),
        "/node/app",
        &file,
    )
    .await
    .unwrap();
}

/// Typed, shown, completed, interrupted: what people do in a shell.
async fn shell(tools: &Tools, app: &str) {
    let line = format!("{CLI} erl -remsh {app}");
    let mut terminal = tools.hosts.host(0).terminal("root", &line).unwrap();
    let prompt = |number: u8| format!("({app}){number}>");
    terminal.shows(&prompt(1), PATIENCE).await.unwrap();
    for (number, (typed, shown)) in [
        (
            "io:format(\"~s ~s~n\", [\"here is\", node()]).",
            format!("here is {app}"),
        ),
        ("X = lists:sum([20, 22]).", "42".to_owned()),
        (
            "os:cmd(\"echo from a\" \" shell\").",
            "\"from a shell\\n\"".to_owned(),
        ),
        ("1 / (X - 42).", "an error occurred".to_owned()),
        ("length(nodes(hidden)).", "1".to_owned()),
        (
            "{ok, Text} = file:read_file(\"/etc/hostname\"), is_binary(Text).",
            "true".to_owned(),
        ),
        ("memory().", "{atom_used,".to_owned()),
        // Completion asks the node.
        ("lists:nthta\t1, [a, b]).", "[b]".to_owned()),
        (
            "spawn(fun() -> io:put_chars([\"written \", \"later\\n\"]) end).",
            "written later".to_owned(),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        terminal.enter(typed).await.unwrap();
        if let Err(error) = terminal.shows(&shown, PATIENCE).await {
            panic!("{typed}: {error}\n{}", tools.denied().await.join("\n"));
        }
        let next = u8::try_from(number + 2).unwrap();
        terminal.shows(&prompt(next), PATIENCE).await.unwrap();
    }
    // ^G, and an end to what hangs.
    let hang = "io:format(\"hang~s\", [ing]), receive after infinity -> ok end.";
    for (typed, shown) in [
        (hang, "hanging"),
        ("\u{7}", " -->"),
        ("i", " --> i\r\n -->"),
        ("c", "exception exit: killed"),
    ] {
        terminal.enter(typed).await.unwrap();
        if let Err(error) = terminal.shows(shown, PATIENCE).await {
            panic!("{error}\n{}", tools.denied().await.join("\n"));
        }
    }
}
