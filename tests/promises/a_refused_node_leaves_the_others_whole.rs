//! `global` takes nodes apart when a visible mesh has a hole. A refusal must not make one.

use serde_json::json;
use skans_lab::HostPlan;
use skans_promises::{PATIENCE, plan};

const FIVE: [&str; 5] = [
    "n1@n1.lab",
    "n2@n2.lab",
    "n3@n3.lab",
    "n4@n4.lab",
    "n5@n5.lab",
];

/// Everybody registers a global name, sees all names, and keeps all peers, while `global` settles.
async fn assert_whole(cluster: &skans_lab::Cluster) {
    for node in 0..5 {
        let register = format!("global:register_name(name{node}, whereis(user))");
        assert_eq!(
            cluster
                .node(node)
                .unwrap()
                .eval(&register, PATIENCE)
                .await
                .unwrap(),
            "yes"
        );
    }
    for node in 0..5 {
        let node = cluster.node(node).unwrap();
        node.wait_for("length(global:registered_names())", "5", PATIENCE)
            .await
            .unwrap();
        // Each sync is a round of global's own protocol with every peer: a hole would show by now.
        for _ in 0..3 {
            assert_eq!(node.eval("global:sync()", PATIENCE).await.unwrap(), "ok");
        }
        assert_eq!(
            node.eval("length(nodes())", PATIENCE).await.unwrap(),
            "4",
            "{}",
            node.label()
        );
    }
}

#[tokio::test]
async fn five_nodes_stay_whole_while_one_of_them_refuses_a_sixth() {
    let clique = json!({"clique": {"members": FIVE}});
    let mut plan = plan();
    for number in 1..=5 {
        plan = plan.host(HostPlan::numbered(number));
    }
    // Only n1 refuses n6; the others let it in.
    let mut cluster = plan.config(&clique).start().await.unwrap();
    cluster
        .reconfigure(0, &json!({"refuse": ["n6@*"]}))
        .await
        .unwrap();
    let (_, n6) = cluster
        .add_host(HostPlan::numbered(6).config(&clique))
        .await
        .unwrap();
    cluster.start_node(n6).await.unwrap();
    let sixth = cluster.node(n6).unwrap();
    assert_eq!(
        sixth
            .eval("net_adm:ping('n1@n1.lab')", PATIENCE)
            .await
            .unwrap(),
        "pang"
    );
    for other in FIVE.iter().skip(1) {
        assert_eq!(
            sixth
                .eval(&format!("net_adm:ping('{other}')"), PATIENCE)
                .await
                .unwrap(),
            "pong"
        );
    }
    // It gets what it asks for, but belongs to nobody's mesh.
    assert_eq!(
        sixth
            .eval("{length(nodes(hidden)), nodes()}", PATIENCE)
            .await
            .unwrap(),
        "{4,[]}"
    );
    assert_whole(&cluster).await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_node_that_all_refuse_is_left_alone_and_the_others_whole() {
    let mut cluster = plan()
        .nodes(5)
        .config(&json!({"refuse": ["n6@*"]}))
        .start()
        .await
        .unwrap();
    let (_, n6) = cluster.add_host(HostPlan::numbered(6)).await.unwrap();
    cluster.start_node(n6).await.unwrap();
    for other in FIVE {
        let ping = format!("net_adm:ping('{other}')");
        assert_eq!(
            cluster
                .node(n6)
                .unwrap()
                .eval(&ping, PATIENCE)
                .await
                .unwrap(),
            "pang"
        );
    }
    assert_whole(&cluster).await;
    cluster.stop().await.unwrap();
}
