//! A changed configuration is put in force in a running agent: links that hold go on, those that no
//! longer do end, and a broken file changes nothing.

use serde_json::json;
use skans_lab::until;
use skans_promises::{PATIENCE, cluster};

#[tokio::test]
async fn a_reload_keeps_what_holds_and_ends_what_does_not() {
    let mut cluster = cluster(3).await;
    let ids = |links: Vec<skans_agent::admin::LinkView>| -> Vec<(String, u64)> {
        links.into_iter().map(|link| (link.peer, link.id)).collect()
    };
    let before = ids(cluster.agent(0).unwrap().links().await.unwrap());
    assert_eq!(before.len(), 2);

    cluster
        .reconfigure(0, &json!({"links": {"maxPerPeer": 64}}))
        .await
        .unwrap();
    assert_eq!(
        ids(cluster.agent(0).unwrap().links().await.unwrap()),
        before,
        "nothing that matters changed"
    );

    let mark = cluster.agent(0).unwrap().log_mark();
    cluster
        .reconfigure(0, &json!({"refuse": ["n3@*"]}))
        .await
        .unwrap();
    let agent = cluster.agent(0).unwrap();
    let kept: Vec<_> = before
        .iter()
        .filter(|(peer, _)| peer != "n3@n3.lab")
        .cloned()
        .collect();
    until(
        PATIENCE,
        "the link with n3 to end, and no other",
        async || {
            let now = ids(agent.links().await.map_err(|error| error.to_string())?);
            if now == kept {
                Ok(())
            } else {
                Err(format!("{now:?}"))
            }
        },
    )
    .await
    .unwrap();
    agent
        .wait_log(mark, "the reason", PATIENCE, |line| {
            line["message"]
                .as_str()
                .is_some_and(|m| m.contains("n3@n3.lab matches refuse: n3@*"))
        })
        .await
        .unwrap();
    let ping = "net_adm:ping('n3@n3.lab')";
    assert_eq!(
        cluster.node(0).unwrap().eval(ping, PATIENCE).await.unwrap(),
        "pang"
    );

    // And taken back.
    cluster
        .reconfigure(0, &json!({"refuse": []}))
        .await
        .unwrap();
    cluster
        .node(0)
        .unwrap()
        .wait_for(ping, "pong", PATIENCE)
        .await
        .unwrap();
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
