//! What nodes agree on at the set-up of a link can be withheld by policy: spawn requests in one direction, and that a node shows
//! itself to others. Receivers do not look at what was agreed on, so that the operation is refused as well.

use skans_lab::{Cluster, HostPlan, NodePlan, Plan, Policy};
use skans_promises::PATIENCE;

/// Members of one application, but for what is forbidden.
fn policy(forbid: &str) -> Policy {
    let cluster = "{cluster: spiffe://lab.test/cluster/lab}";
    let roles = format!("roles: [{{role: member, principals: [{cluster}], on: [{cluster}]}}]\n");
    Policy::enforced(forbid, &roles)
}

fn node(n: u8) -> String {
    format!("Skans::Node::\"spiffe://lab.test/cluster/lab/ns/default/sa/n{n}/node/n{n}\"")
}

/// n1 asks n2 for no spawn.
fn no_spawn() -> String {
    format!(
        "@id(\"no-spawn\") forbid(principal in {}, action == Skans::Action::\"spawn_request\", resource in {});\n",
        node(1),
        node(2)
    )
}

/// n3 shows itself to nobody.
fn hidden() -> String {
    format!(
        "@id(\"hidden\") forbid(principal in {}, action == Skans::Action::\"publish\", resource);\n",
        node(3)
    )
}

async fn start(forbid: &str) -> Cluster {
    let host = |n: u8| {
        let node = NodePlan::new(format!("n{n}@n{n}.lab"));
        HostPlan::new(format!("n{n}")).node(node.args(["-connect_all", "false"]).not_started())
    };
    let mut cluster = Plan::new(skans_lab::plan::find_skans().unwrap())
        .unwrap()
        .host(host(1))
        .host(host(2))
        .host(host(3))
        .policy(policy(forbid))
        .start()
        .await
        .unwrap();
    for node in 0..3 {
        cluster.start_node(node).await.unwrap();
    }
    cluster
}

async fn eval(cluster: &Cluster, node: usize, expression: &str) -> String {
    let node = cluster.node(node).unwrap();
    node.eval(expression, PATIENCE).await.unwrap()
}

/// What n1 hears if it calls a function of n2.
async fn call(cluster: &Cluster) -> String {
    eval(cluster, 0, "rpc:call('n2@n2.lab', erlang, node, [])").await
}

#[tokio::test]
async fn spawn_requests_are_withheld_in_one_direction_and_refused_where_they_were_agreed_on_before()
{
    let cluster = start(&no_spawn()).await;
    // n1 is told that n2 cannot; n2 may ask n1.
    assert_eq!(call(&cluster).await, "{badrpc,notsup}");
    let back = "rpc:call('n1@n1.lab', erlang, node, [])";
    assert_eq!(eval(&cluster, 1, back).await, "'n1@n1.lab'");
    // Everything else goes on.
    assert_eq!(eval(&cluster, 0, "net_adm:ping('n2@n2.lab')").await, "pong");

    // A link that was made so stays so, and is as it should be once it is made again.
    cluster.put_policy(&policy("")).await.unwrap();
    assert_eq!(call(&cluster).await, "{badrpc,notsup}");
    let anew = "begin erlang:disconnect_node('n2@n2.lab'), net_adm:ping('n2@n2.lab') end";
    assert_eq!(eval(&cluster, 0, anew).await, "pong");
    assert_eq!(call(&cluster).await, "'n2@n2.lab'");

    // What was agreed on is refused from now on, though n1 knows nothing of it.
    cluster.put_policy(&policy(&no_spawn())).await.unwrap();
    let refused = call(&cluster).await;
    assert!(refused.contains("eacces"), "{refused}");
    assert_eq!(eval(&cluster, 1, back).await, "'n1@n1.lab'");
    let told = |event: &serde_json::Value| {
        let skans = &event["unmapped"]["skans"];
        skans["action"] == "call" && skans["verdict"] == "deny" && skans["reason"] == "policy"
    };
    let agent = cluster.agent(0).unwrap();
    agent
        .wait_event("the refusal", PATIENCE, told)
        .await
        .unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_node_that_may_not_publish_itself_is_hidden_from_all_and_all_from_it() {
    let cluster = start(&hidden()).await;
    let all = "[net_adm:ping(N) || N <- ['n1@n1.lab', 'n2@n2.lab', 'n3@n3.lab'], N =/= node()]";
    for node in 0..3 {
        assert_eq!(eval(&cluster, node, all).await, "[pong,pong]");
    }
    let seen = "{lists:sort(nodes()), lists:sort(nodes(hidden))}";
    assert_eq!(
        eval(&cluster, 0, seen).await,
        "{['n2@n2.lab'],['n3@n3.lab']}"
    );
    assert_eq!(
        eval(&cluster, 1, seen).await,
        "{['n1@n1.lab'],['n3@n3.lab']}"
    );
    assert_eq!(
        eval(&cluster, 2, seen).await,
        "{[],['n1@n1.lab','n2@n2.lab']}"
    );
    cluster.stop().await.unwrap();
}
