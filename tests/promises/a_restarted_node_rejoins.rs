//! A node that dies is missed at once, and is welcome again under its name with a new creation.

use skans_lab::until;
use skans_promises::{PATIENCE, cluster};

#[tokio::test]
async fn a_killed_node_is_missed_and_the_restarted_one_rejoins() {
    let mut cluster = cluster(3).await;
    let n3 = cluster.atom(2).unwrap();
    let watch = format!(
        "register(watcher, spawn(fun() -> net_kernel:monitor_nodes(true), \
           receive {{nodedown, {n3}}} -> receive {{ask, From}} -> From ! down end end end))"
    );
    cluster
        .node(0)
        .unwrap()
        .eval(&watch, PATIENCE)
        .await
        .unwrap();
    let creation = |links: &[skans_agent::admin::LinkView]| {
        links
            .iter()
            .find(|link| link.peer == "n3@n3.lab" && link.state == "up")
            .map(|link| link.peer_creation)
    };
    let before = creation(&cluster.agent(0).unwrap().links().await.unwrap()).unwrap();

    cluster.kill_node(2).await.unwrap();
    let ask = "watcher ! {ask, self()}, receive down -> down after 10000 -> timeout end";
    assert_eq!(
        cluster.node(0).unwrap().eval(ask, PATIENCE).await.unwrap(),
        "down"
    );
    cluster
        .node(1)
        .unwrap()
        .wait_until(&format!("not lists:member({n3}, nodes())"), PATIENCE)
        .await
        .unwrap();

    cluster.start_node(2).await.unwrap();
    cluster.connect(PATIENCE).await.unwrap();
    let agent = cluster.agent(0).unwrap();
    let after = until(PATIENCE, "one link with the new life of n3", async || {
        let links = agent.links().await.map_err(|error| error.to_string())?;
        let count = links.iter().filter(|link| link.peer == "n3@n3.lab").count();
        creation(&links)
            .filter(|_| count == 1)
            .ok_or_else(|| format!("{count} links"))
    })
    .await
    .unwrap();
    assert_ne!(before, after, "a new life has a new creation");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_name_whose_node_is_alive_cannot_be_taken() {
    let cluster = cluster(1).await;
    let mut options = cluster.tool(0, "n1@n1.lab").unwrap();
    options.label = "impostor".to_owned();
    let error = skans_lab::ErlNode::start(&options)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("refused the name"), "{error}");
    assert_eq!(cluster.agent(0).unwrap().nodes().await.unwrap().len(), 1);
    cluster.stop().await.unwrap();
}
