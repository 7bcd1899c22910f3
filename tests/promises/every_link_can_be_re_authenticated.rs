//! Whatever a link looks like, it can be moved to a fresh connection; and where that fails it goes on as it was.

use serde_json::json;
use skans_agent::admin::LinkView;
use skans_lab::{Cluster, ErlNode, HostPlan, NodePlan, until};
use skans_promises::{PATIENCE, cluster, plan};

/// All links of a host, in a stable order.
async fn links(cluster: &Cluster, host: usize) -> Vec<LinkView> {
    cluster.agent(host).unwrap().links().await.unwrap()
}

/// Re-authenticates the links that the nodes of `host` opened, and waits until every link of the cluster has moved.
async fn all_move(cluster: &Cluster, hosts: &[usize], opened_by: usize) {
    let agent = cluster.agent(opened_by).unwrap();
    let before = count(cluster, hosts).await;
    assert!(agent.reauthenticate().await.unwrap() > 0);
    until(PATIENCE, "every link to move", async || {
        let now = count(cluster, hosts).await;
        if now.len() == before.len() && now.iter().zip(&before).all(|(now, before)| now > before) {
            Ok(())
        } else {
            Err(format!("{before:?}, then {now:?}"))
        }
    })
    .await
    .unwrap();
}

/// Takeovers of each link.
async fn count(cluster: &Cluster, hosts: &[usize]) -> Vec<(usize, u64, u64)> {
    let mut all = Vec::new();
    for &host in hosts {
        let links = links(cluster, host).await;
        all.extend(links.iter().map(|link| (host, link.id, link.takeovers)));
    }
    all
}

async fn echo(node: &ErlNode, peer: &str) {
    let call = format!("erpc:call({peer}, erlang, node, [])");
    assert_eq!(node.eval(&call, PATIENCE).await.unwrap(), peer);
}

/// One agent has both ends.
#[tokio::test]
async fn between_two_nodes_of_one_host() {
    let host = HostPlan::numbered(1).node(NodePlan::new("m1@n1.lab"));
    let cluster = plan().host(host).start().await.unwrap();
    for _ in 0..3 {
        all_move(&cluster, &[0], 0).await;
        echo(cluster.node(0).unwrap(), "'m1@n1.lab'").await;
    }
    assert_eq!(links(&cluster, 0).await.len(), 2, "both ends of one");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn over_ipv6() {
    let cluster = plan()
        .host(HostPlan::numbered(1).ipv6())
        .host(HostPlan::numbered(2).ipv6())
        .start()
        .await
        .unwrap();
    let opener = opener(&cluster).await;
    all_move(&cluster, &[0, 1], opener).await;
    echo(cluster.node(0).unwrap(), "'n2@n2.lab'").await;
    cluster.stop().await.unwrap();
}

/// Which host of two opened their link.
async fn opener(cluster: &Cluster) -> usize {
    usize::from(links(cluster, 0).await[0].direction == "inbound")
}

/// A tool has the certificate of its host's tools, and a name of its own or one that it was given.
#[tokio::test]
async fn of_a_tool_with_a_name_and_of_one_without() {
    let mut cluster = plan()
        .nodes(1)
        .host(HostPlan::numbered(2).node(NodePlan::new("tools@n2.lab").not_started()))
        .start()
        .await
        .unwrap();
    // The tool's own link only.
    cluster.kill_node(1).await.unwrap();
    cluster
        .node(0)
        .unwrap()
        .wait_for("nodes()", "[]", PATIENCE)
        .await
        .unwrap();
    for name in ["rem-1-x@n2.lab", "undefined@n2.lab"] {
        let options = cluster.tool(1, name).unwrap();
        let tool = ErlNode::start(&options).await.unwrap();
        let connect = "net_kernel:connect_node('n1@n1.lab')";
        assert_eq!(tool.eval(connect, PATIENCE).await.unwrap(), "true");
        all_move(&cluster, &[0, 1], 1).await;
        echo(&tool, "'n1@n1.lab'").await;
        all_move(&cluster, &[0, 1], 1).await;
        echo(&tool, "'n1@n1.lab'").await;
        tool.halt(PATIENCE).await.unwrap();
        until(PATIENCE, "its link to go", async || {
            let left = links(&cluster, 1).await.len();
            if left == 0 {
                Ok(())
            } else {
                Err(left.to_string())
            }
        })
        .await
        .unwrap();
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn one_that_cannot_be_goes_on_as_it_was_and_is_tried_again() {
    let mut cluster = cluster(2).await;
    let opener = opener(&cluster).await;
    let peer = cluster.name(1 - opener).unwrap().to_owned();
    let before = links(&cluster, opener).await;
    // Nobody listens there.
    cluster
        .detour(opener, &peer, Some("127.0.0.1:9".parse().unwrap()))
        .await
        .unwrap();
    // And then somebody who takes the call and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for reason in ["unreachable", "timed_out"] {
        let agent = cluster.agent(opener).unwrap();
        let mark = agent.log_mark();
        agent.reauthenticate().await.unwrap();
        agent
            .wait_log(mark, "the failure", PATIENCE, |line| {
                line["reason"] == reason
                    && line["message"]
                        .as_str()
                        .is_some_and(|m| m.starts_with("link not re-authenticated, outbound"))
            })
            .await
            .unwrap();
        echo(cluster.node(0).unwrap(), "'n2@n2.lab'").await;
        let address = silent.local_addr().unwrap();
        cluster.detour(opener, &peer, Some(address)).await.unwrap();
    }
    let now = links(&cluster, opener).await;
    assert_eq!(now[0].id, before[0].id);
    assert_eq!((now[0].takeovers, &now[0].serial), (0, &before[0].serial));
    cluster.detour(opener, &peer, None).await.unwrap();
    all_move(&cluster, &[0, 1], opener).await;
    echo(cluster.node(0).unwrap(), "'n2@n2.lab'").await;
    cluster.stop().await.unwrap();
}

/// A reload that forbids the pair, in the middle of many takeovers: the link ends all the same.
#[tokio::test]
async fn one_that_is_no_longer_permitted_does_not_get_away_by_moving() {
    let silence = json!({"links": {"silence": "1s"}});
    let mut cluster = plan().nodes(2).config(&silence).start().await.unwrap();
    let opener = opener(&cluster).await;
    all_move(&cluster, &[0, 1], opener).await;
    cluster
        .agent(opener)
        .unwrap()
        .reauthenticate()
        .await
        .unwrap();
    let callee = 1 - opener;
    let refuse = cluster.name(opener).unwrap().to_owned();
    cluster
        .reconfigure(callee, &json!({"refuse": [refuse]}))
        .await
        .unwrap();
    for node in [0, 1] {
        let node = cluster.node(node).unwrap();
        node.wait_for("nodes()", "[]", PATIENCE).await.unwrap();
    }
    cluster.stop().await.unwrap();
}
