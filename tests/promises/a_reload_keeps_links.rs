//! A changed configuration is put in force in a running agent: links that hold go on, those that no
//! longer do end, and a broken file changes nothing.

use serde_json::json;
use skans_lab::Cluster;
use skans_promises::{PATIENCE, cluster, plan};

/// Peers and link ids of a host.
async fn ids(cluster: &Cluster, host: usize) -> Vec<(String, u64)> {
    let links = cluster.agent(host).unwrap().links().await.unwrap();
    links.into_iter().map(|link| (link.peer, link.id)).collect()
}

/// Three ordinary nodes, with `global` at its defaults, which would take all of them apart if the
/// refused one were heard to complain.
#[tokio::test]
async fn a_live_node_is_shut_out_and_the_others_keep_their_link() {
    let silence = json!({"links": {"silence": "2s"}});
    let mut cluster = plan().nodes(3).config(&silence).start().await.unwrap();
    let before = ids(&cluster, 0).await;
    assert_eq!(before.len(), 2);
    let between =
        |links: &[(String, u64)]| links.iter().find(|(peer, _)| peer == "n2@n2.lab").cloned();

    let mark = cluster.agent(0).unwrap().log_mark();
    for host in [0, 1] {
        cluster
            .reconfigure(host, &json!({"refuse": ["n3@*"]}))
            .await
            .unwrap();
    }
    // The first step: from now on nothing passes, though the link still stands.
    let n1 = cluster.node(0).unwrap();
    let call = "catch gen_server:call({net_kernel, 'n3@n3.lab'}, {is_auth, node()}, 500)";
    let answer = n1.eval(call, PATIENCE).await.unwrap();
    assert!(answer.contains("timeout"), "{answer}");
    // The second: it is closed, and nobody else is.
    for node in [0, 1] {
        cluster
            .node(node)
            .unwrap()
            .wait_for("lists:member('n3@n3.lab', nodes())", "false", PATIENCE)
            .await
            .unwrap();
    }
    let agent = cluster.agent(0).unwrap();
    agent
        .wait_log(mark, "the reason", PATIENCE, |line| {
            line["message"]
                .as_str()
                .is_some_and(|m| m.contains("n3@n3.lab matches refuse: n3@*"))
        })
        .await
        .unwrap();
    for node in [0, 1] {
        assert_eq!(
            cluster
                .node(node)
                .unwrap()
                .eval("global:sync()", PATIENCE)
                .await
                .unwrap(),
            "ok"
        );
    }
    assert_eq!(n1.eval("nodes()", PATIENCE).await.unwrap(), "['n2@n2.lab']");
    assert_eq!(
        between(&ids(&cluster, 0).await),
        between(&before),
        "the same link as before"
    );
    let ping = "net_adm:ping('n3@n3.lab')";
    assert_eq!(n1.eval(ping, PATIENCE).await.unwrap(), "pang");

    // And taken back.
    for host in [0, 1] {
        cluster
            .reconfigure(host, &json!({"refuse": []}))
            .await
            .unwrap();
    }
    cluster
        .node(0)
        .unwrap()
        .wait_for(ping, "pong", PATIENCE)
        .await
        .unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn what_changes_nothing_for_a_link_leaves_it_alone() {
    let mut cluster = cluster(3).await;
    let before = ids(&cluster, 0).await;
    cluster
        .reconfigure(
            0,
            &json!({"links": {"maxPerPeer": 64}, "log": {"level": "debug"}}),
        )
        .await
        .unwrap();
    assert_eq!(ids(&cluster, 0).await, before);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_key_that_takes_a_restart_is_named_and_nothing_changes() {
    let mut cluster = cluster(2).await;
    let error = cluster
        .reconfigure(0, &json!({"cluster": "another", "refuse": ["n2@*"]}))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cluster: found another value than at start"),
        "{error}"
    );
    assert_eq!(cluster.agent(0).unwrap().links().await.unwrap().len(), 1);
    assert_eq!(
        cluster
            .node(0)
            .unwrap()
            .eval("net_adm:ping('n2@n2.lab')", PATIENCE)
            .await
            .unwrap(),
        "pong"
    );
    cluster.stop().await.unwrap();
}

/// The refusal comes while the agent of the node that calls is still dialling: there is no link yet
/// that the reload could end, so the attempt itself has to notice.
#[tokio::test]
async fn a_refusal_reaches_an_attempt_that_is_under_way() {
    let mut cluster = cluster(2).await;
    let other = cluster.agent(1).unwrap().link_address().unwrap();
    let gate = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through = gate.local_addr().unwrap().to_string();
    let peers = json!({"static": [{"nodes": "n2@*", "address": through}]});
    cluster
        .reconfigure(0, &json!({"peers": peers}))
        .await
        .unwrap();
    let n1 = cluster.node(0).unwrap();
    n1.eval("erlang:disconnect_node('n2@n2.lab')", PATIENCE)
        .await
        .unwrap();
    n1.wait_for("nodes()", "[]", PATIENCE).await.unwrap();
    let dial = "spawn(fun() -> net_kernel:connect_node('n2@n2.lab') end), ok";
    assert_eq!(n1.eval(dial, PATIENCE).await.unwrap(), "ok");
    let (mut held, _) = tokio::time::timeout(PATIENCE, gate.accept())
        .await
        .unwrap()
        .unwrap();
    let mark = cluster.agent(0).unwrap().log_mark();
    cluster
        .reconfigure(0, &json!({"refuse": ["n2@*"]}))
        .await
        .unwrap();
    let passing = tokio::spawn(async move {
        let mut on = tokio::net::TcpStream::connect(other).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut held, &mut on).await;
    });
    let agent = cluster.agent(0).unwrap();
    agent
        .wait_log(mark, "the refusal", PATIENCE, |line| {
            line["message"]
                .as_str()
                .is_some_and(|m| m.contains("n2@n2.lab matches refuse: n2@*"))
        })
        .await
        .unwrap();
    assert_eq!(
        cluster
            .node(0)
            .unwrap()
            .eval("nodes(connected)", PATIENCE)
            .await
            .unwrap(),
        "[]"
    );
    passing.abort();
    cluster.stop().await.unwrap();
}
