//! Production releases of Mix and relx run as they were built, in embedded mode, with the cookies that
//! are baked into them overridden; their own scripts work. The lines that start them are those of
//! README.md.

use serde_json::json;
use skans_lab::until;
use skans_promises::host::{Host, Hosts};
use skans_promises::{PATIENCE, readme, releases};

use crate::root;

/// Before any command of the Mix release.
const SHOP: &str = "set -a; . /run/skans/env/shop.env; set +a; cd /opt/app;";
/// Before any command of the relx release.
const TILL: &str = "set -a; . /run/skans/env/till.env; USE_NODETOOL=1; set +a; cd /opt/app;";

/// How README.md starts the Mix release.
fn start_shop() -> String {
    let how = readme::how("a Mix release");
    let line = how[0]
        .replace("app.env", "shop.env")
        .replace("bin/app", "exec bin/shop");
    assert!(line.contains("bin/shop start"), "{line}");
    format!("cd /opt/app; {line}")
}

/// How README.md starts the relx release, with the unit's lines said in shell.
fn start_till() -> String {
    let how = readme::how("an Erlang release (relx), systemd");
    let file = how[0]
        .strip_prefix("EnvironmentFile=")
        .unwrap()
        .replace("app.env", "till.env");
    let variable = how[1].strip_prefix("Environment=").unwrap();
    format!("cd /opt/app; set -a; . {file}; {variable}; set +a; exec bin/till foreground")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mix_release_and_a_relx_release_are_one_cluster() {
    if !root::or_skip("releases on two hosts") {
        return;
    }
    let mut hosts = Hosts::start(&["host-1", "host-2"], None).await.unwrap();
    let (shop, till) = tokio::try_join!(
        releases::mix("shop", hosts.directory()),
        releases::relx("till", hosts.directory())
    )
    .unwrap();
    releases::install(hosts.host(0), &shop).await.unwrap();
    releases::install(hosts.host(1), &till).await.unwrap();
    let nodes = [
        json!({"nodes": [{"name": "shop@host-1", "user": "app"}]}),
        json!({"nodes": [{"name": "till@host-2", "user": "app"}]}),
    ];
    hosts.start_agents(&nodes).await.unwrap();
    let mut shop = hosts.host(0).serve("app", &start_shop()).unwrap();
    let mut till = hosts.host(1).serve("app", &start_till()).unwrap();
    for host in 0..2 {
        until(PATIENCE, "the release to register", async || {
            match hosts.agent(host).nodes().await {
                Ok(nodes) if nodes.iter().any(|node| !node.cli) => Ok(()),
                other => Err(format!("{other:?}; {}{}", shop.said(), till.said())),
            }
        })
        .await
        .unwrap();
    }

    let (one, two) = (hosts.host(0), hosts.host(1));
    they_call_each_other(one, two).await;
    as_built_but_for_the_cookie(one, two).await;
    their_scripts_work(one, two).await;

    run(one, &format!("{SHOP} bin/shop stop")).await;
    shop.ended(PATIENCE).await.unwrap();
    until(PATIENCE, "the other to see it go", async || {
        match run(two, &format!("{TILL} bin/till eval 'nodes().'")).await {
            text if text.trim() == "[]" => Ok(()),
            text => Err(text),
        }
    })
    .await
    .unwrap();
    run(two, &format!("{TILL} bin/till stop")).await;
    till.ended(PATIENCE).await.unwrap();
}

async fn they_call_each_other(one: &Host, two: &Host) {
    assert_eq!(in_shop(one, "Node.ping(:\"till@host-2\")").await, ":pong");
    assert_eq!(in_shop(one, "Node.list()").await, "[:\"till@host-2\"]");
    assert_eq!(in_till(two, "nodes()").await, "['shop@host-1']");
    assert_eq!(
        in_shop(one, ":erpc.call(:\"till@host-2\", :till, :sum, [[30, 40]])").await,
        "70"
    );
    assert_eq!(
        in_till(
            two,
            "erpc:call('shop@host-1', 'Elixir.Shop', price, [pear])"
        )
        .await,
        "40"
    );
    assert_eq!(
        in_till(two, "rpc:call('shop@host-1', erlang, nodes, [])").await,
        "['till@host-2']"
    );
}

/// Embedded mode, and no cookie but the one that the agent wrote.
async fn as_built_but_for_the_cookie(one: &Host, two: &Host) {
    assert_eq!(in_shop(one, ":code.get_mode()").await, ":embedded");
    assert_eq!(in_till(two, "code:get_mode()").await, "embedded");
    let cookie = async |host: &Host, name: &str| {
        run(host, &format!("cat /run/skans/cookies/{name}.cookie")).await
    };
    let (shop, till) = (cookie(one, "shop").await, cookie(two, "till").await);
    assert_ne!(shop, till);
    assert_eq!(
        in_shop(one, "to_string(Node.get_cookie())").await,
        format!("\"{shop}\"")
    );
    assert_eq!(
        in_till(two, "erlang:get_cookie()").await.trim_matches('\''),
        till
    );
    // The baked ones are still what the processes were started with.
    let baked = run(one, "cat /opt/app/releases/COOKIE").await;
    assert!(!baked.is_empty() && baked != shop);
    assert_eq!(
        in_till(two, "init:get_argument(setcookie)").await,
        "{ok,[[\"till_cookie\"]]}"
    );
    for (host, name) in [(one, "shop"), (two, "till")] {
        run(host, "test ! -e /opt/app/.erlang.cookie").await;
        run(host, &format!("! tr '\\0' ' ' < /proc/$(pgrep -u app -o beam.smp)/cmdline | grep -F $(cat /run/skans/cookies/{name}.cookie)")).await;
    }
}

async fn their_scripts_work(one: &Host, two: &Host) {
    let pid = run(one, &format!("{SHOP} bin/shop pid")).await;
    assert_eq!(
        run(one, "pgrep -u app -o beam.smp").await.trim(),
        pid.trim()
    );
    let pid = run(two, &format!("{TILL} bin/till pid")).await;
    assert_eq!(
        run(two, "pgrep -u app -o beam.smp").await.trim(),
        pid.trim()
    );
    assert_eq!(
        run(two, &format!("{TILL} bin/till ping")).await.trim(),
        "pong"
    );
    assert_eq!(
        run(two, &format!("{TILL} bin/till rpc till sum '[[1,2,3]]'"))
            .await
            .trim(),
        "6"
    );

    let mut remote = one
        .terminal("app", &format!("{SHOP} bin/shop remote"))
        .unwrap();
    remote.shows("iex(", PATIENCE).await.unwrap();
    remote
        .enter("IO.puts(Enum.join([\"here is\", node()], \" \"))")
        .await
        .unwrap();
    remote.shows("here is shop@host-1", PATIENCE).await.unwrap();

    let mut remote = two
        .terminal("app", &format!("{TILL} bin/till remote_console"))
        .unwrap();
    remote.shows("1>", PATIENCE).await.unwrap();
    remote
        .enter("io:format(\"~s ~s~n\", [\"here is\", node()]).")
        .await
        .unwrap();
    remote.shows("here is till@host-2", PATIENCE).await.unwrap();
    // None of these was ever in anybody's nodes().
    assert_eq!(
        in_shop(one, "{length(Node.list()), length(Node.list(:hidden)) > 0}").await,
        "{1, true}"
    );
    assert_eq!(
        in_till(two, "{length(nodes()), length(nodes(hidden)) > 0}").await,
        "{1,true}"
    );
}

/// Evaluates Elixir in the shop.
async fn in_shop(host: &Host, expression: &str) -> String {
    run(
        host,
        &format!("{SHOP} bin/shop rpc 'IO.inspect({expression})'"),
    )
    .await
    .trim()
    .to_owned()
}

/// Evaluates Erlang in the till.
async fn in_till(host: &Host, expression: &str) -> String {
    let escaped = expression.replace('\'', "'\\''");
    run(host, &format!("{TILL} bin/till eval '{escaped}.'"))
        .await
        .trim()
        .to_owned()
}

async fn run(host: &Host, commands: &str) -> String {
    host.run_as("app", commands, PATIENCE).await.unwrap()
}
