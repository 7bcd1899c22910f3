//! A policy that no longer permits what is under way cuts that within a second, and nothing else.

use std::time::{Duration, Instant};

use skans_lab::{HostPlan, NodePlan, Plan, Policy};
use skans_promises::PATIENCE;

/// n1 may call two functions of n2; n3 may do everything that no permit has to name.
fn policy(functions: &str, n3: bool) -> Policy {
    let node = |n: u8| {
        format!("Skans::Node::\"spiffe://lab.test/cluster/lab/ns/default/sa/n{n}/node/n{n}\"")
    };
    let mut cedar = format!(
        "@id(\"connect\") permit(principal in {0}, action == Skans::Action::\"connect\", resource);
         @id(\"ping\") permit(principal in {0}, action in [Skans::Action::\"monitor\", Skans::Action::\"send\", Skans::Action::\"send_pid\"], resource);
         @id(\"net_kernel\") permit(principal, action == Skans::Action::\"send\", resource == Skans::Process::\"net_kernel\");
         @id(\"calls\") permit(principal in {0}, action == Skans::Action::\"call\", resource) when {{ [{functions}].contains(resource.function) }};
         @id(\"back\") permit(principal in {1}, action, resource);
         ",
        node(1),
        node(2),
    );
    if n3 {
        cedar.push_str(&format!(
            "@id(\"n3\") permit(principal in {}, action, resource);",
            node(3)
        ));
    }
    Policy::enforced(&cedar, "")
}

#[tokio::test]
async fn a_call_that_is_no_longer_permitted_is_refused_and_a_link_that_is_not_is_ended() {
    let plan = Plan::new(skans_lab::plan::find_skans().unwrap()).unwrap();
    // Links as they are asked for, and none of `global`'s: n3 calls n2.
    let host = |n: u8, node: NodePlan| {
        HostPlan::new(format!("n{n}")).node(node.args(["-connect_all", "false"]))
    };
    let node = |n: u8| NodePlan::new(format!("n{n}@n{n}.lab"));
    let mut cluster = plan
        .host(host(1, node(1)))
        .host(host(2, node(2)))
        .host(host(3, node(3).not_started()))
        .policy(policy("\"getpid\", \"type\"", true))
        .start()
        .await
        .unwrap();
    cluster.start_node(2).await.unwrap();
    let cluster = cluster;
    let (n1, n3) = (cluster.node(0).unwrap(), cluster.node(2).unwrap());
    let call = |function: &str| {
        format!("element(1, catch {{ok, erpc:call('n2@n2.lab', os, {function}, [])}})")
    };
    assert_eq!(n1.eval(&call("getpid"), PATIENCE).await.unwrap(), "ok");
    assert_eq!(n1.eval(&call("type"), PATIENCE).await.unwrap(), "ok");
    assert_eq!(n3.eval(&call("getpid"), PATIENCE).await.unwrap(), "ok");
    let links = async || {
        let links = cluster.agent(1).unwrap().links().await.unwrap();
        let mut ids: Vec<_> = links
            .iter()
            .map(|link| (link.peer.clone(), link.id))
            .collect();
        ids.sort();
        ids
    };
    let before = links().await;
    // What a call takes from here, as busy as this machine is just now.
    let begun = Instant::now();
    assert_eq!(n1.eval(&call("type"), PATIENCE).await.unwrap(), "ok");
    let a_second = Duration::from_secs(1) + 5 * begun.elapsed();

    // One function less: the next call of it is refused, the other one and every link go on.
    cluster.put_policy(&policy("\"type\"", true)).await.unwrap();
    let changed = Instant::now();
    assert_eq!(n1.eval(&call("getpid"), PATIENCE).await.unwrap(), "'EXIT'");
    println!("refused {:?} after the change", changed.elapsed());
    assert!(changed.elapsed() < a_second);
    assert_eq!(n1.eval(&call("type"), PATIENCE).await.unwrap(), "ok");
    assert_eq!(n3.eval(&call("getpid"), PATIENCE).await.unwrap(), "ok");
    assert_eq!(links().await, before);

    // One node less: its links end, the other one's stay.
    cluster
        .put_policy(&policy("\"type\"", false))
        .await
        .unwrap();
    let changed = Instant::now();
    cluster
        .agent(1)
        .unwrap()
        .wait_event("the end of n3's link, or its refusal", PATIENCE, |event| {
            event["unmapped"]["skans"]["action"] == "connect"
        })
        .await
        .unwrap();
    println!("told {:?} after the change", changed.elapsed());
    assert_eq!(
        n3.eval("net_adm:ping('n2@n2.lab')", PATIENCE)
            .await
            .unwrap(),
        "pang"
    );
    assert_eq!(n1.eval(&call("type"), PATIENCE).await.unwrap(), "ok");
    assert!(
        links()
            .await
            .iter()
            .all(|(peer, id)| peer != "n1@n1.lab" || before.contains(&(peer.clone(), *id))),
        "n1 has another link"
    );

    // A set that is broken changes nothing.
    let broken = Policy::enforced("permit(principal, action, resource) when { nonsense };", "");
    assert!(cluster.put_policy(&broken).await.is_err());
    assert_eq!(n1.eval(&call("type"), PATIENCE).await.unwrap(), "ok");
    assert_eq!(n1.eval(&call("getpid"), PATIENCE).await.unwrap(), "'EXIT'");
    cluster.stop().await.unwrap();
}
