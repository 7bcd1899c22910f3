//! An agent that stops does so in order; while it is away its nodes are cut off and nothing bypasses
//! it; when it is back they register and connect again by themselves.

use skans_lab::until;
use skans_promises::{PATIENCE, cluster};

#[tokio::test]
async fn nodes_outlive_their_agent_and_come_back_under_the_same_creation() {
    let mut cluster = cluster(2).await;
    let creation = cluster
        .agent(0)
        .unwrap()
        .nodes()
        .await
        .unwrap()
        .first()
        .unwrap()
        .creation;
    let mark = cluster.agent(1).unwrap().log_mark();

    cluster
        .take_agent(0)
        .unwrap()
        .terminate(PATIENCE)
        .await
        .unwrap();
    // The other end was told why.
    cluster
        .agent(1)
        .unwrap()
        .wait_log(mark, "the last word of a drained agent", PATIENCE, |line| {
            line["reason"] == "draining"
        })
        .await
        .unwrap();
    let n2 = cluster.node(1).unwrap();
    n2.wait_for("nodes()", "[]", PATIENCE).await.unwrap();
    assert_eq!(
        n2.eval("net_adm:ping('n1@n1.lab')", PATIENCE)
            .await
            .unwrap(),
        "pang"
    );

    cluster.start_agent(0).await.unwrap();
    let agent = cluster.agent(0).unwrap();
    let again = until(PATIENCE, "n1 to register again", async || {
        let nodes = agent.nodes().await.map_err(|error| error.to_string())?;
        nodes
            .first()
            .map(|node| node.creation)
            .ok_or_else(|| "nobody".to_owned())
    })
    .await
    .unwrap();
    assert_eq!(again, creation, "the node is the same, and so is its life");
    // An agent that comes back knows nothing of its nodes' names: they tell them again.
    until(PATIENCE, "n1 to tell its names", async || {
        let nodes = agent.nodes().await.map_err(|error| error.to_string())?;
        match nodes.first().map(|node| node.names) {
            Some(20..) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    cluster.connect(PATIENCE).await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn an_agent_that_is_killed_is_an_ordinary_nodedown() {
    let mut cluster = cluster(2).await;
    cluster.kill_agent(0).await.unwrap();
    cluster
        .node(0)
        .unwrap()
        .wait_for("nodes()", "[]", PATIENCE)
        .await
        .unwrap();
    cluster
        .node(1)
        .unwrap()
        .wait_for("nodes()", "[]", PATIENCE)
        .await
        .unwrap();
    cluster.start_agent(0).await.unwrap();
    cluster.connect(PATIENCE).await.unwrap();
    cluster.stop().await.unwrap();
}
