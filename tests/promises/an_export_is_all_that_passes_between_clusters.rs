//! Two clusters of two trust domains, whose nodes bear the same name: what one exports and the other imports is called by name, and
//! nothing else passes, whatever policies permit.

use serde_json::{Value, json};
use skans_lab::{AgentProcess, Policy, until};
use skans_promises::PATIENCE;

use crate::clusters::{CALL, NODE, SERVER, Side, calls, exports, imports};
use crate::netns::Network;
use crate::root;

/// What a careless author permits.
const OPEN: &str = r#"@id("all") permit(principal, action, resource);
@id("rex") permit(principal, action, resource == Skans::Process::"rex");
@id("kernel") permit(principal, action, resource == Skans::Process::"net_kernel");
@id("cmd") permit(principal, action, resource == Skans::Function::"os:cmd/1");
@id("global") permit(principal, action, resource == Skans::Process::"global_name_server");
"#;

/// Two clusters in a network, each with as many gateways: ours may use the server of theirs.
async fn linked(gateways: usize) -> (Network, Side, Side) {
    let count = 2 * (gateways + 1);
    let network = Network::new(u8::try_from(count).unwrap(), false);
    let (first, second): (Vec<_>, Vec<_>) = (0..count).partition(|host| host % 2 == 0);
    let behind = |hosts: &[usize]| hosts.get(1..).unwrap().to_vec();
    let ours = Side::start(&network, "ours", &first, &behind(&second)).await;
    let theirs = Side::start(&network, "theirs", &second, &behind(&first)).await;
    ours.link(&theirs, open(), &imports()).await;
    theirs.link(&ours, open(), &exports()).await;
    theirs.node.eval(SERVER, PATIENCE).await.unwrap();
    (network, ours, theirs)
}

fn open() -> Policy {
    Policy::enforced(OPEN, "")
}

async fn reached(ours: &Side) {
    let called = ours.node.wait_for(CALL, "stock@theirs", PATIENCE);
    called.await.unwrap();
}

/// Waits for a line of a log that has all of these texts.
async fn logged(process: &AgentProcess, texts: &[&str]) -> Value {
    let has = |line: &Value| {
        let line = line.to_string();
        texts.iter().all(|text| line.contains(text))
    };
    let what = format!("a line with {texts:?}");
    process.wait_log(0, &what, PATIENCE, has).await.unwrap()
}

#[tokio::test]
async fn an_exported_server_is_called_by_its_alias() {
    if !root::or_skip("two linked clusters") {
        return;
    }
    let (_network, ours, theirs) = linked(1).await;
    reached(&ours).await;
    // One number stands for it in the events of both agents, and in the logs of both gateways.
    let opened = |event: &Value| event["activity_name"] == "Open";
    let open = ours
        .agent
        .wait_event("the link", PATIENCE, opened)
        .await
        .unwrap();
    let session = open["metadata"]["correlation_uid"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(session.len(), 32);
    let same = |event: &Value| opened(event) && event["metadata"]["correlation_uid"] == *session;
    theirs
        .agent
        .wait_event("the same link", PATIENCE, same)
        .await
        .unwrap();
    for gateway in [&ours.gateways[0], &theirs.gateways[0]] {
        logged(gateway, &["way open", &session]).await;
    }
    calls(&ours).await;
    // Also in what either of them refuses: ours what it does not import, and once it does, theirs. It is that of a link that both have told of.
    for agent in [&ours.agent, &theirs.agent] {
        let connect = "net_kernel:connect_node('stock@theirs')";
        ours.node.wait_for(connect, "true", PATIENCE).await.unwrap();
        let refused = "catch gen_server:call({secret, 'stock@theirs'}, {who, 7}, 5000)";
        ours.node.eval(refused, PATIENCE).await.unwrap();
        let denied =
            |event: &Value| event["action"] == "Denied" && event.to_string().contains("\"secret\"");
        let told = agent.wait_event("a denial", PATIENCE, denied);
        let session = told.await.unwrap()["metadata"]["correlation_uid"].clone();
        let same = |event: &Value| opened(event) && event["metadata"]["correlation_uid"] == session;
        for end in [&ours.agent, &theirs.agent] {
            let told = end.wait_event("the link of the denial", PATIENCE, same);
            told.await.unwrap();
        }
        let mut all = imports();
        all.imports = vec![json!({"alias": "stock@theirs", "node": NODE})];
        ours.link(&theirs, Policy::enforced(OPEN, ""), &all).await;
    }
}

#[tokio::test]
async fn nothing_else_of_a_linked_cluster_is_reached() {
    if !root::or_skip("what a link does not export") {
        return;
    }
    let (_network, ours, theirs) = linked(1).await;
    reached(&ours).await;
    for side in [&ours, &theirs] {
        let seen = side
            .node
            .eval("{nodes(), global:registered_names()}", PATIENCE);
        assert_eq!(seen.await.unwrap(), "{[],[]}");
    }
    // Ours lets through whatever its own node wants of that one, so that theirs alone says no.
    let mut all = imports();
    all.imports = vec![json!({"alias": "stock@theirs", "node": NODE})];
    ours.link(&theirs, open(), &all).await;
    let down = "receive {'DOWN', Ref, _, _, Why} -> Why after 5000 -> none end";
    for (what, wanted) in [
        // Each row of what runs over a connection, whatever the policies of both permit.
        (
            "catch gen_server:call({secret, 'stock@theirs'}, {who, 7}, 5000)",
            "eacces",
        ),
        ("net_adm:ping('stock@theirs')", "pang"),
        (
            "rpc:call('stock@theirs', os, cmd, [\"id\"], 5000)",
            "eacces",
        ),
        (
            "catch erpc:call('stock@theirs', erlang, node, [], 5000)",
            "eacces",
        ),
        (
            "rpc:block_call('stock@theirs', os, cmd, [\"id\"], 5000)",
            "eacces",
        ),
        (
            "catch gen_server:call({rex, 'stock@theirs'}, {call, os, cmd, [\"id\"], self()}, 5000)",
            "eacces",
        ),
        (
            "catch spawn_monitor('stock@theirs', erlang, node, [])",
            "eacces",
        ),
        (
            "catch gen_server:call({global_name_server, 'stock@theirs'}, x, 5000)",
            "eacces",
        ),
        (
            "catch gen_server:call({code_server, 'stock@theirs'}, x, 5000)",
            "eacces",
        ),
        (
            &format!("Ref = monitor(process, {{secret, 'stock@theirs'}}), {down}"),
            "eacces",
        ),
        (
            "{secret, 'stock@theirs'} ! {'$gen_cast', {tell, self()}}, receive {told, _} -> told after 500 -> silence end",
            "silence",
        ),
    ] {
        let found = ours.node.eval(what, PATIENCE).await.unwrap();
        assert!(found.contains(wanted), "{what}: {found}");
    }
    // Who has the server's pid may ask it and watch it, and not end it: neither before nor after it is known which name that pid bears.
    let kill = "{_, _, _, Pid} = gen_server:call({order_server, 'stock@theirs'}, {who, pid}),
        Kill = fun Kill() -> exit(Pid, kill), receive stop -> ok after 50 -> Kill() end end, register(killer, spawn(Kill)), ok";
    assert_eq!(ours.node.eval(kill, PATIENCE).await.unwrap(), "ok");
    let by_name = |event: &Value| {
        let text = event.to_string();
        text.contains("order_server") && text.contains("\"exit\"")
    };
    let denied = theirs
        .agent
        .wait_event("exit, by the name", PATIENCE, by_name);
    denied.await.unwrap();
    ours.node.eval("killer ! stop", PATIENCE).await.unwrap();
    // And the way leads in one direction: nobody there reaches a process here that was not handed out.
    let back = "catch gen_server:call({order_server, 'orders@host-a-ours'}, x, 1000)";
    let found = theirs.node.eval(back, PATIENCE).await.unwrap();
    assert!(found.contains("eacces"), "{found}");
    // All of it was refused; the one that may still be called is.
    reached(&ours).await;
}

#[tokio::test]
async fn a_link_that_is_taken_back_ends_what_it_carried() {
    if !root::or_skip("a link that is taken back") {
        return;
    }
    let (_network, ours, theirs) = linked(1).await;
    reached(&ours).await;
    let watch = "monitor_node('stock@theirs', true)";
    ours.node.eval(watch, PATIENCE).await.unwrap();
    theirs.unlink().await;
    let gone = "net_kernel:connect_node('stock@theirs')";
    ours.node.wait_for(gone, "false", PATIENCE).await.unwrap();
    assert!(theirs.agent.links().await.unwrap().is_empty());
    let gateway = theirs.gateways.first().unwrap();
    // By the link that is gone, or by the roots that went with it: whichever it looks at first.
    logged(gateway, &["way closed"]).await;
    theirs.link(&ours, open(), &exports()).await;
    reached(&ours).await;
}

#[tokio::test]
async fn what_either_side_does_not_consent_to_is_refused_and_told() {
    if !root::or_skip("links without consent of both") {
        return;
    }
    let (_network, ours, theirs) = linked(1).await;
    reached(&ours).await;
    let (their_gateway, our_gateway) = (&theirs.gateways[0], &ours.gateways[0]);
    let refused = "net_kernel:connect_node('stock@theirs')";
    for (more, process, texts) in [
        // Another gateway than the one that comes.
        (
            json!({"gateways": ["spiffe://ours.test/skans/gateway/g7"]}),
            their_gateway,
            ["no way", "spiffe://ours.test/skans/gateway/g0"],
        ),
        // A caller that the gateway may not bring: only the agent can know.
        (
            json!({"forwards": ["spiffe://ours.test/cluster/ours/ns/default/sa/web/node/*"]}),
            &theirs.agent,
            ["link refused, inbound", "`forwards` names"],
        ),
        // Another node.
        (
            json!({"exports": [{"node": "other@host-a", "process": "order_server"}]}),
            their_gateway,
            ["no way", "nothing that link ours exports"],
        ),
        // Another cluster of that domain.
        (
            json!({"cluster": "other"}),
            their_gateway,
            ["no way", "no link with spiffe://ours.test/cluster/ours"],
        ),
        // Over since long.
        (
            json!({"notAfter": 1}),
            their_gateway,
            ["not heard by the gateway", "ours.test"],
        ),
    ] {
        let mut says = exports();
        let mut forwards = more.clone();
        if more.get("cluster").is_some() {
            forwards["forwards"] =
                json!(["spiffe://ours.test/cluster/other/ns/default/sa/*/node/*"]);
        }
        says.more = forwards;
        theirs.link(&ours, open(), &says).await;
        ours.node
            .wait_for(refused, "false", PATIENCE)
            .await
            .unwrap();
        logged(process, &texts).await;
        theirs.link(&ours, open(), &exports()).await;
        ours.node.wait_for(refused, "true", PATIENCE).await.unwrap();
    }
    // What we do not import, our own gateway does not ask for.
    let mut says = imports();
    says.imports[0]["node"] = json!("other@host-a");
    ours.link(&theirs, open(), &says).await;
    ours.node
        .wait_for(refused, "false", PATIENCE)
        .await
        .unwrap();
    logged(their_gateway, &["no way", "other@host-a"]).await;
    logged(our_gateway, &["no way", "other@host-a"]).await;
}

#[tokio::test]
async fn a_policy_of_either_side_has_a_say() {
    if !root::or_skip("policies across clusters") {
        return;
    }
    let (_network, ours, theirs) = linked(1).await;
    reached(&ours).await;
    let named = r#"@id("connect") permit(principal, action == Skans::Action::"connect", resource);
@id("server") permit(principal, action in [Skans::Action::"send", Skans::Action::"monitor"], resource == Skans::Process::"order_server");
"#;
    let none = r#"@id("connect") permit(principal, action == Skans::Action::"connect", resource);
"#;
    let call = "element(1, element(2, catch gen_server:call({order_server, 'stock@theirs'}, {who, 7}, 1000)))";
    for (at_ours, at_theirs, passes) in [
        (named, named, true),
        (none, named, false),
        (named, none, false),
    ] {
        ours.link(&theirs, Policy::enforced(at_ours, ""), &imports())
            .await;
        theirs
            .link(&ours, Policy::enforced(at_theirs, ""), &exports())
            .await;
        if passes {
            reached(&ours).await;
        } else {
            let denied = format!("catch lists:member({call}, [eacces, timeout])");
            ours.node.wait_for(&denied, "true", PATIENCE).await.unwrap();
        }
    }
}

/// Has the caller told of a nodedown, whenever there is one.
async fn watch(ours: &Side) {
    let watch = "spawn(fun() -> register(watcher, self()), monitor_node('stock@theirs', true), receive stop -> ok end end), ok";
    ours.node.eval(watch, PATIENCE).await.unwrap();
    let links = ours.agent.links().await.unwrap();
    assert_eq!(links.len(), 1, "{links:?}");
}

/// The same link of the same nodes goes on, and no node has seen that anything was amiss.
async fn goes_on_unnoticed(ours: &Side, theirs: &Side) {
    let resumed = until(PATIENCE, "the link to go on", async || {
        let links = ours.agent.links().await.unwrap();
        match links.as_slice() {
            [one] if one.resumed > 0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    resumed.await.unwrap();
    reached(ours).await;
    let said = "process_info(whereis(watcher), messages)";
    assert_eq!(
        ours.node.eval(said, PATIENCE).await.unwrap(),
        "{messages,[]}"
    );
    assert_eq!(theirs.agent.links().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_link_goes_on_through_another_gateway() {
    if !root::or_skip("a gateway that dies") {
        return;
    }
    let (_network, mut ours, theirs) = linked(2).await;
    reached(&ours).await;
    watch(&ours).await;
    ours.gateways.remove(0).kill().await.unwrap();
    goes_on_unnoticed(&ours, &theirs).await;
}

#[tokio::test]
async fn a_network_that_is_gone_between_gateways_is_not_noticed() {
    if !root::or_skip("a cable between gateways") {
        return;
    }
    let (network, ours, theirs) = linked(1).await;
    reached(&ours).await;
    watch(&ours).await;
    // The gateway of theirs.
    network.plug(3, false);
    let lost = until(
        PATIENCE,
        "the link to be without a connection",
        async || {
            let links = ours.agent.links().await.unwrap();
            match links.as_slice() {
                [one] if one.state == "resuming" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        },
    );
    lost.await.unwrap();
    network.plug(3, true);
    goes_on_unnoticed(&ours, &theirs).await;
}
