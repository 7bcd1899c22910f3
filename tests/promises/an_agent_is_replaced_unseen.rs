//! Another process takes an agent's place while its nodes talk: no node misses another, and each message arrives once and in its
//! place.

use serde_json::json;
use skans_lab::{Cluster, HostPlan, NodePlan, Plan, Policy, until};
use skans_promises::talk::Talk;
use skans_promises::{PATIENCE, cluster, plan};

use crate::plane::Plane;

/// Says how often its agent was replaced.
async fn handovers(cluster: &Cluster, host: usize) -> u64 {
    let agent = cluster.agent(host).unwrap();
    agent.status().await.unwrap().handovers
}

#[tokio::test]
async fn an_idle_link_goes_over_with_its_nodes() {
    let mut cluster = cluster(2).await;
    cluster.connect(PATIENCE).await.unwrap();
    // A node tells which of its processes bear names some time after it has joined.
    let nodes = until(PATIENCE, "the names of a node's processes", async || {
        let nodes = cluster.agent(0).unwrap().nodes().await;
        match nodes.map_err(|error| error.to_string())? {
            nodes if nodes.iter().all(|node| node.names > 0) => Ok(nodes),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    let before = cluster.agent(0).unwrap().links().await.unwrap();
    cluster.replace_agent(0).await.unwrap();
    let agent = cluster.agent(0).unwrap();
    let after = agent.nodes().await.unwrap();
    assert_eq!(after.len(), 1);
    assert_eq!(
        (&after[0].name, after[0].creation, after[0].names),
        (&nodes[0].name, nodes[0].creation, nodes[0].names)
    );
    let link = until(PATIENCE, "the link to have a connection", async || {
        let links = agent.links().await.map_err(|error| error.to_string())?;
        match links.as_slice() {
            [link] if link.state == "up" => Ok(link.clone()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    assert_eq!((link.id, link.since), (before[0].id, before[0].since));
    let ping = "net_adm:ping('n2@n2.lab')";
    let n1 = cluster.node(0).unwrap();
    assert_eq!(n1.eval(ping, PATIENCE).await.unwrap(), "pong");
    assert_eq!(handovers(&cluster, 0).await, 1);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn five_times_in_a_row_under_traffic_at_either_end_and_at_both_at_once() {
    let mut cluster = cluster(2).await;
    cluster.connect(PATIENCE).await.unwrap();
    let talk = Talk::begin(&cluster, [0, 1]).await;
    for turn in 0..5 {
        cluster.replace_agent(turn % 2).await.unwrap();
        talk.goes_on(&cluster).await;
    }
    cluster.replace_agents([0, 1]).await.unwrap();
    talk.goes_on(&cluster).await;
    let said = talk.end(&cluster).await;
    println!("{said:?} messages, none lost, doubled or out of place");
    assert_eq!(handovers(&cluster, 0).await, 4);
    assert_eq!(handovers(&cluster, 1).await, 3);
    cluster.stop().await.unwrap();
}

/// Processes without a name may be sent to only by whom they were handed to, and what was handed out goes over as well.
#[tokio::test]
async fn what_was_handed_out_before_may_be_answered_after() {
    let cedar = "@id(\"handed\") permit(principal, action, resource) \
        unless { action == Skans::Action::\"send_pid\" };";
    // Without `global`, which is told of processes that this policy keeps from it, and takes nodes apart then.
    let host = |n: u8| {
        let node = NodePlan::new(format!("n{n}@n{n}.lab")).args(["-connect_all", "false"]);
        HostPlan::new(format!("n{n}")).node(node)
    };
    let plan = Plan::new(skans_lab::plan::find_skans().unwrap()).unwrap();
    let plan = plan.host(host(1)).host(host(2));
    let mut cluster = plan.policy(Policy::open()).start().await.unwrap();
    cluster.connect(PATIENCE).await.unwrap();
    let handed = Policy::enforced(cedar, "");
    cluster.put_policy(&handed).await.unwrap();
    let serve = "register(server, spawn(fun() -> receive {P, hello} -> receive go -> P ! {answer, node()} end end end))";
    let n2 = cluster.node(1).unwrap();
    assert_eq!(n2.eval(serve, PATIENCE).await.unwrap(), "true");
    let asked = "register(asker, spawn(fun() -> {server, 'n2@n2.lab'} ! {self(), hello}, \
        receive {answer, _} = Answer -> receive {ask, From} -> From ! Answer end end end))";
    let n1 = cluster.node(0).unwrap();
    assert_eq!(n1.eval(asked, PATIENCE).await.unwrap(), "true");
    let held = "process_info(whereis(server), current_function)";
    n2.wait_for(held, "{current_function,{prim_eval,'receive',2}}", PATIENCE)
        .await
        .unwrap();
    cluster.replace_agents([0, 1]).await.unwrap();
    let n2 = cluster.node(1).unwrap();
    assert_eq!(n2.eval("server ! go", PATIENCE).await.unwrap(), "go");
    let ask = "asker ! {ask, self()}, receive A -> A after 20000 -> refused end";
    let n1 = cluster.node(0).unwrap();
    let answer = n1.eval(ask, PATIENCE).await.unwrap();
    assert_eq!(answer, "{answer,'n2@n2.lab'}");
    cluster.stop().await.unwrap();
}

/// The state directory goes over with its lock, and the new process knows and hears what is revoked.
#[tokio::test]
async fn an_agent_of_a_control_plane_goes_on_with_its_certificates_and_hears_of_revocation() {
    let plane = Plane::start(&json!({})).await;
    let mut lab = plan();
    for label in ["n1", "n2"] {
        lab = lab.host(plane.host(label, &json!({})).await);
    }
    let mut cluster = lab.start().await.unwrap();
    cluster.connect(PATIENCE).await.unwrap();
    let talk = Talk::begin(&cluster, [0, 1]).await;
    cluster.replace_agent(0).await.unwrap();
    talk.goes_on(&cluster).await;
    cluster.replace_agent(1).await.unwrap();
    talk.end(&cluster).await;
    until(PATIENCE, "both to hear the control plane", async || {
        let spread = plane.deny("n2@n2.lab", 30).await;
        if spread["acknowledged"] == 2 {
            Ok(())
        } else {
            Err(spread.to_string())
        }
    })
    .await
    .unwrap();
    let n1 = cluster.node(0).unwrap();
    let listed = "lists:member('n2@n2.lab', nodes())";
    n1.wait_for(listed, "false", PATIENCE).await.unwrap();
    cluster.stop().await.unwrap();
}

/// Nodes of the two hosts, each with each over the two agents.
const NODES: usize = 4;

#[tokio::test]
async fn many_links_go_over_at_once() {
    let host = |label: &str| {
        (0..NODES).fold(HostPlan::new(label), |host, n| {
            host.node(NodePlan::new(format!("{label}{n}@{label}.lab")))
        })
    };
    let mut cluster = plan()
        .host(host("x"))
        .host(host("y"))
        .start()
        .await
        .unwrap();
    cluster.connect(PATIENCE * 4).await.unwrap();
    let before = cluster.agent(0).unwrap().links().await.unwrap();
    assert!(before.len() >= NODES * NODES, "{}", before.len());
    let talk = Talk::begin(&cluster, [0, NODES]).await;
    for turn in 0..3 {
        let mark = cluster.agent(0).unwrap().log_mark();
        cluster.replace_agent(0).await.unwrap();
        let agent = cluster.agent(0).unwrap();
        let line = agent
            .wait_log(mark, "the handover", PATIENCE, |line| {
                line["message"] == "handed over to another process"
            })
            .await
            .unwrap();
        println!(
            "turn {turn}: {} links, {} nodes, still for {}",
            line["links"], line["nodes"], line["still"]
        );
        until(PATIENCE, "all links to go on", async || {
            let links = agent.links().await.map_err(|error| error.to_string())?;
            let up = links.iter().filter(|link| link.state == "up").count();
            if up == before.len() {
                Ok(())
            } else {
                Err(format!("{up} of {}", before.len()))
            }
        })
        .await
        .unwrap();
        talk.goes_on(&cluster).await;
    }
    talk.end(&cluster).await;
    let after = agent_links(&cluster).await;
    assert_eq!(
        after,
        before.iter().map(|link| (link.id, link.since)).collect()
    );
    cluster.stop().await.unwrap();
}

/// Which links there are: one that had ended would have another number now.
async fn agent_links(cluster: &Cluster) -> std::collections::BTreeSet<(u64, u64)> {
    let links = cluster.agent(0).unwrap().links().await.unwrap();
    links.iter().map(|link| (link.id, link.since)).collect()
}
