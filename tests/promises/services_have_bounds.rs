//! A service takes as many connections as the configuration says, and no more; what does not answer is not tried for ever, and what is no
//! service is not reached as one.

use std::net::SocketAddr;

use serde_json::{Value, json};
use skans_lab::{Cluster, HostPlan, NodePlan, until};
use skans_promises::{PATIENCE, plan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::services::{answered, echo, free, policy, refused, refused_in_silence, reset};

/// `n1` uses what `n2` offers; its node runs.
async fn two(uses: &Value, offers: &Value, names: &[&str]) -> Cluster {
    let idle = NodePlan::new("n1@n1.lab").not_started();
    let one = HostPlan::new("n1").node(idle);
    let other = HostPlan::new("n2").node(NodePlan::new("n2@n2.lab"));
    let plan = plan()
        .host(one.config(&json!({"services": {"uses": uses}})))
        .host(other.config(&json!({"services": {"offers": offers}})));
    plan.policy(policy(names)).start().await.unwrap()
}

/// How often set-ups ended so, by this end.
async fn ended(cluster: &Cluster, host: usize, service: &str, result: &str) -> u64 {
    let socket = &cluster.agent(host).unwrap().files().socket;
    let metrics = skans_agent::admin::ask(socket, "GET", "/metrics", "")
        .await
        .unwrap();
    let lines = metrics.lines().filter(|line| {
        line.starts_with("skans_service_set_ups_total")
            && line.contains(&format!("service=\"{service}\""))
            && line.contains(&format!("result=\"{result}\""))
    });
    let counts = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
    counts.sum()
}

/// Waits until one has. The other end may know sooner.
async fn has_ended(cluster: &Cluster, host: usize, service: &str, result: &str) {
    until(PATIENCE, "a set-up to end", async || {
        match ended(cluster, host, service, result).await {
            1 => Ok(()),
            count => Err(format!("{count} {service} {result}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn no_more_connections_are_let_in_than_is_configured_by_the_door_by_the_peer_and_by_the_offer()
 {
    let (door, peer, offer) = (free(), free(), free());
    let target = echo().await;
    let uses = json!([
        {"name": "door", "from": "n2@n2.lab", "listen": door, "maxConnections": 2},
        {"name": "peer", "from": "n2@n2.lab", "listen": peer},
        {"name": "offer", "from": "n2@n2.lab", "listen": offer},
    ]);
    let offers = json!([
        {"name": "door", "target": target},
        {"name": "peer", "target": target, "maxPerPeer": 2},
        {"name": "offer", "target": target, "maxConnections": 2},
    ]);
    let cluster = two(&uses, &offers, &["door", "peer", "offer"]).await;
    for (name, address, by) in [("door", door, 0), ("peer", peer, 1), ("offer", offer, 1)] {
        let held = (answered(address).await, answered(address).await);
        refused(address).await;
        has_ended(&cluster, by, name, "too_many").await;
        refused_in_silence(address).await;
        drop(held.0);
        until(PATIENCE, "a place to be free", async || {
            // It is refused as long as the other is not over.
            if ask(TcpStream::connect(address).await).await.is_some() {
                return Ok(());
            }
            Err("refused".to_owned())
        })
        .await
        .unwrap();
        drop(held.1);
    }
    cluster.stop().await.unwrap();
}

/// A client, if it is answered.
async fn ask(client: std::io::Result<TcpStream>) -> Option<TcpStream> {
    let call = async {
        let mut client = client?;
        client.write_all(b"hello").await?;
        client.read_exact(&mut [0; 5]).await?;
        Ok::<_, std::io::Error>(client)
    };
    tokio::time::timeout(PATIENCE, call).await.unwrap().ok()
}

#[tokio::test]
async fn a_target_or_an_agent_that_does_not_answer_is_not_tried_for_a_while() {
    let (down, nobody) = (free(), free());
    let uses = json!([{"name": "down", "from": "n2@n2.lab", "listen": down}]);
    let offers = json!([{"name": "down", "target": nobody}]);
    let mut cluster = two(&uses, &offers, &["down"]).await;
    let agent = cluster.agent(1).unwrap();
    let mark = agent.log_mark();
    for _ in 0..3 {
        refused(down).await;
    }
    agent
        .wait_log(mark, "the target not to be tried", PATIENCE, |line| {
            line["peer"] == nobody.to_string() && line["reason"] == "service_down"
        })
        .await
        .unwrap();
    // Now the agent is not there either.
    cluster
        .take_agent(1)
        .unwrap()
        .terminate(PATIENCE)
        .await
        .unwrap();
    until(PATIENCE, "the agent not to be dialled", async || {
        refused(down).await;
        match ended(&cluster, 0, "down", "circuit_open").await {
            0 => Err("dialled".to_owned()),
            _ => Ok(()),
        }
    })
    .await
    .unwrap();
    cluster.stop().await.unwrap();
}

/// Messages would pass there that nobody has judged.
#[tokio::test]
async fn where_a_node_listens_is_no_service() {
    let listen = free();
    let uses = json!([{"name": "node", "from": "n2@n2.lab", "listen": listen}]);
    let mut cluster = two(&uses, &json!([]), &["node"]).await;
    let nodes = cluster.agent(1).unwrap().nodes().await.unwrap();
    let address: SocketAddr = nodes[0].address.to_string().parse().unwrap();
    // It does take connections.
    drop(TcpStream::connect(address).await.unwrap());
    let offers = json!({"services": {"offers": [{"name": "node", "target": address}]}});
    cluster.reconfigure(1, &offers).await.unwrap();
    refused(listen).await;
    has_ended(&cluster, 1, "node", "service_down").await;
    assert_eq!(ended(&cluster, 1, "node", "ok").await, 0);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_door_that_is_taken_away_cuts_what_came_through_it_and_nothing_else() {
    let (one, other) = (free(), free());
    let target = echo().await;
    let door = |name: &str, listen: SocketAddr| json!({"name": name, "from": "n2@n2.lab", "listen": listen});
    let uses = json!([door("one", one), door("other", other)]);
    let offers = json!([{"name": "one", "target": target}, {"name": "other", "target": target}]);
    let mut cluster = two(&uses, &offers, &["one", "other"]).await;
    let (gone, stays) = (answered(one).await, answered(other).await);
    let left = json!({"services": {"uses": [door("other", other)]}});
    cluster.reconfigure(0, &left).await.unwrap();
    reset(gone).await;
    assert!(ask(Ok(stays)).await.is_some(), "the other goes on");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_connection_ends_with_the_certificates_that_nobody_renews() {
    let listen = free();
    let target = echo().await;
    let short = json!({"identity": {"authority": {"leafLifetime": "15s"}}});
    let uses = json!([{"name": "echo", "from": "n2@n2.lab", "listen": listen}]);
    let offers = json!([{"name": "echo", "target": target}]);
    let node = |n: u8| NodePlan::new(format!("n{n}@n{n}.lab")).not_started();
    let one = HostPlan::new("n1").node(node(1));
    let other = HostPlan::new("n2").node(node(2));
    let cluster = plan()
        .host(one.config(&json!({"services": {"uses": uses}})))
        .host(other.config(&json!({"services": {"offers": offers}})))
        .config(&short)
        .policy(policy(&["echo"]))
        .start()
        .await
        .unwrap();
    let client = answered(listen).await;
    std::fs::write(cluster.directory().join("authority/issuer.pem"), "nothing").unwrap();
    reset(client).await;
    let agents = [cluster.agent(0).unwrap(), cluster.agent(1).unwrap()];
    let expired = async |agent: &skans_lab::AgentProcess| {
        agent
            .wait_log(0, "the end of the certificate", PATIENCE, |line| {
                let message = line["message"].as_str().unwrap_or_default();
                message.contains("has run out") && message.contains("the link ends")
            })
            .await
    };
    // Whoever is first tells the other.
    tokio::select! {
        one = expired(agents[0]) => drop(one.unwrap()),
        other = expired(agents[1]) => drop(other.unwrap()),
    }
    refused(listen).await;
    cluster.stop().await.unwrap();
}
