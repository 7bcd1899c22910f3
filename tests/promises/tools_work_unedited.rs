//! What an operator reaches for at night works as it did: remote shells, `erl_call`, `iex --remsh`,
//! `epmd -names`. It is in nobody's `nodes()`, and what is not foreseen is refused at once.

use std::time::{Duration, Instant};

use serde_json::json;
use skans_lab::erl::Options;
use skans_lab::{ErlNode, until};
use skans_promises::host::Hosts;
use skans_promises::{PATIENCE, readme};

use crate::root;

/// Before any tool.
const CLI: &str = "set -a; . /run/skans/env/cli.env; set +a;";
/// A node that may not be is told so at once: nobody waits for a time-out of OTP (7 s) or of the shim
/// (10 s). The start of a VM on a loaded machine is in it.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Two hosts with the node `app` each, connected.
struct Pair {
    // Nodes go before the hosts that they are on.
    nodes: [ErlNode; 2],
    hosts: Hosts,
}

impl Pair {
    async fn start() -> Self {
        let mut hosts = Hosts::start(&["host-1", "host-2"], None).await.unwrap();
        // The same on both, or they would be hidden from each other.
        let cli = json!({"patterns": ["migrate-*"]});
        let nodes = [
            json!({"nodes": [{"name": "app@host-1"}], "cli": cli}),
            json!({"nodes": [{"name": "app@host-2"}, {"name": "web@host-2"}], "cli": cli}),
        ];
        hosts.start_agents(&nodes).await.unwrap();
        let pair = Self {
            nodes: [node(&hosts, 0).await, node(&hosts, 1).await],
            hosts,
        };
        assert_eq!(pair.eval(0, "net_adm:ping('app@host-2')").await, "pong");
        pair
    }

    async fn eval(&self, node: usize, expression: &str) -> String {
        self.nodes[node].eval(expression, PATIENCE).await.unwrap()
    }

    async fn run(&self, host: usize, commands: &str) -> String {
        self.hosts
            .host(host)
            .run(commands, PATIENCE)
            .await
            .unwrap()
            .trim()
            .to_owned()
    }

    /// Everybody sees the two nodes, and nothing else.
    async fn only_the_two_are_visible(&self) {
        assert_eq!(self.eval(0, "nodes()").await, "['app@host-2']");
        assert_eq!(self.eval(1, "nodes()").await, "['app@host-1']");
    }
}

/// `erl -sname app` beside the environment file of its agent.
async fn node(hosts: &Hosts, number: usize) -> ErlNode {
    let host = hosts.host(number);
    let start = "set -a; . /run/skans/env/app.env; set +a; exec erl \"$@\"";
    let options = Options {
        label: format!("app@{}", host.name()),
        erl: host.script("erl", &["sh", "-c", start, "erl"]).unwrap(),
        home: host.directory().to_owned(),
        args: ["-sname", "app", "-setcookie", "baked"]
            .map(str::to_owned)
            .to_vec(),
        env: Vec::new(),
    };
    ErlNode::start(&options).await.unwrap()
}

/// A line of README.md, for the node here.
fn readme(what: &str) -> String {
    readme::how(what)[0].replace("app@host-a", "app@host-1")
}

#[tokio::test(flavor = "multi_thread")]
async fn remote_shells_work_and_are_hidden() {
    if !root::or_skip("remote shells on two hosts") {
        return;
    }
    let pair = Pair::start().await;
    // With a name that the node gives, with names of one's own, and on the node of the other host.
    for (shell, place) in [
        (readme("a remote shell").as_str(), "app@host-1"),
        (
            &format!("{CLI} erl -sname rem-12ab-app -remsh app@host-1"),
            "app@host-1",
        ),
        // One of `cli.patterns`.
        (
            &format!("{CLI} erl -sname migrate-7 -remsh app@host-1"),
            "app@host-1",
        ),
        (&format!("{CLI} erl -remsh app@host-2"), "app@host-2"),
        (
            &format!("{CLI} erl -sname undefined -remsh app@host-2"),
            "app@host-2",
        ),
    ] {
        let mut terminal = pair.hosts.host(0).terminal("root", shell).unwrap();
        terminal
            .shows(&format!("({place})1>"), PATIENCE)
            .await
            .unwrap();
        terminal
            .enter("io:format(\"~s ~s~n\", [\"here is\", node()]).")
            .await
            .unwrap();
        terminal
            .shows(&format!("here is {place}"), PATIENCE)
            .await
            .unwrap();
        let number = usize::from(place == "app@host-2");
        assert_eq!(
            pair.eval(number, "length(nodes(hidden)) > 0").await,
            "true",
            "{shell}"
        );
        pair.only_the_two_are_visible().await;
        // A shell is reachable by its node, and not to be found.
        assert_eq!(
            pair.eval(
                0,
                "{ok, Names} = net_adm:names(), [Name || {Name, _} <- Names]"
            )
            .await,
            "[\"app\"]"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn iex_reaches_an_elixir_node() {
    if !root::or_skip("IEx on two hosts") {
        return;
    }
    let pair = Pair::start().await;
    let start = "set -a; . /run/skans/env/web.env; set +a; exec elixir --sname web --no-halt";
    let web = pair.hosts.host(1).serve("root", start).unwrap();
    until(
        PATIENCE,
        "the Elixir node to register",
        async || match pair.hosts.agent(1).nodes().await {
            Ok(nodes) if nodes.iter().any(|node| node.name == "web@host-2") => Ok(()),
            other => Err(format!("{other:?}; {}", web.said())),
        },
    )
    .await
    .unwrap();
    let shell = readme("one of Elixir").replace("app@host-1", "web@host-2");
    let mut terminal = pair.hosts.host(0).terminal("root", &shell).unwrap();
    terminal.shows("iex(web@host-2)1>", PATIENCE).await.unwrap();
    terminal
        .enter("IO.puts(Enum.join([\"here is\", node(), inspect(Node.list())], \" \"))")
        .await
        .unwrap();
    terminal
        .shows("here is web@host-2 []", PATIENCE)
        .await
        .unwrap();
    pair.only_the_two_are_visible().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn erl_call_works_with_the_cookie_of_tools() {
    if !root::or_skip("erl_call on a host") {
        return;
    }
    let pair = Pair::start().await;
    let line = readme("`erl_call`, on the same host");
    assert_eq!(pair.run(0, &line).await, "['app@host-2']", "{line}");
    for how in [
        "-n app@host-1",
        "-sname app",
        "-sname app@host-1",
        "-r -sname app",
        "-R -sname app",
    ] {
        let call = format!("HOME=/run/skans/cookies/cli erl_call {how} -a");
        assert_eq!(
            pair.run(0, &format!("{call} 'erlang nodes []'")).await,
            "['app@host-2']",
            "{how}"
        );
        assert_eq!(
            pair.run(0, &format!("{call} 'lists sum [[1,2,3]]'")).await,
            "6",
            "{how}"
        );
    }
    pair.only_the_two_are_visible().await;
    // Without that cookie: no.
    assert!(
        pair.hosts
            .host(0)
            .run(
                "HOME=/nonexistent erl_call -c baked -sname app -a 'erlang node []'",
                PATIENCE
            )
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn epmd_answers_questions_and_takes_no_orders() {
    if !root::or_skip("epmd on a host") {
        return;
    }
    let pair = Pair::start().await;
    let names = pair.run(0, "epmd -names").await;
    let agent = pair.hosts.agent(0);
    let registered = agent.nodes().await.unwrap();
    let [app] = &registered[..] else {
        panic!("{registered:?}")
    };
    let lines: Vec<_> = names.lines().skip(1).collect();
    assert_eq!(lines.len(), 1, "{names}");
    assert!(lines[0].starts_with("name app at port "), "{names}");
    let own = app.address.rsplit(':').next().unwrap();
    assert!(
        !lines[0].ends_with(&format!(" {own}")),
        "{own} is the node's own port: {names}"
    );

    for (order, answer) in [
        ("\\000\\001k", "NO"),
        ("\\000\\004sapp", "NOEXIST"),
        ("\\000\\001d", ""),
    ] {
        let send = format!("exec 3<>/dev/tcp/127.0.0.1/4369; printf '{order}' >&3; cat <&3");
        assert_eq!(
            pair.run(0, &format!("bash -c \"{send}\"")).await,
            answer,
            "{order}"
        );
    }
    // Whatever they say of it.
    for command in ["epmd -kill", "epmd -stop app"] {
        let _ = pair.hosts.host(0).run(command, PATIENCE).await;
    }
    let still = agent.nodes().await.unwrap();
    assert_eq!(
        still
            .iter()
            .map(|node| (&node.name, node.creation))
            .collect::<Vec<_>>(),
        [(&app.name, app.creation)]
    );
    pair.only_the_two_are_visible().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_nobody_foresaw_are_refused_at_once() {
    if !root::or_skip("strange names on two hosts") {
        return;
    }
    let pair = Pair::start().await;
    let host = pair.hosts.host(0);
    for start in [
        "erl -noinput -sname intruder",
        "erl -sname shell -remsh app@host-1",
        "erl -noinput -sname app2",
    ] {
        let began = Instant::now();
        let error = host
            .run(&format!("{CLI} {start}"), PATIENCE)
            .await
            .unwrap_err()
            .to_string();
        let took = began.elapsed();
        assert!(took < AT_ONCE, "{start}: {took:?}");
        assert!(error.contains("refused the name"), "{error}");
    }
    // No such node here, none there, no such host, and a short-lived name that nobody has.
    for name in [
        "none@host-1",
        "none@host-2",
        "app@nowhere",
        "rabbitmqcli-17-rabbit@host-1",
        "rem-1234-app@host-2",
    ] {
        let timed = pair
            .eval(
                0,
                &format!("{{Micro, pang}} = timer:tc(net_adm, ping, ['{name}']), Micro"),
            )
            .await;
        let micro: u64 = timed.parse().unwrap();
        eprintln!("pang of {name} after {micro} µs");
        assert!(micro < 2_000_000, "{name}: {micro} µs");
    }
    pair.only_the_two_are_visible().await;
}
