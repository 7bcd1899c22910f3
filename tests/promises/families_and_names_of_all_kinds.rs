//! IPv4 and IPv6, long and short names, several nodes of one host, names that are given.

use skans_lab::{ErlNode, HostPlan, NodePlan};
use skans_promises::{PATIENCE, plan};

#[tokio::test]
async fn nodes_over_ipv6_form_a_cluster() {
    let cluster = plan()
        .host(HostPlan::numbered(1).ipv6())
        .host(HostPlan::numbered(2).ipv6())
        .start()
        .await
        .unwrap();
    let links = cluster.agent(0).unwrap().links().await.unwrap();
    assert!(
        links.iter().all(|link| link.address.starts_with("[::1]")),
        "{links:?}"
    );
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn short_names_and_several_nodes_of_one_host_form_a_cluster() {
    let cluster = plan()
        .host(
            HostPlan::new("x")
                .node(NodePlan::new("a@x"))
                .node(NodePlan::new("b@x")),
        )
        .host(HostPlan::new("y").node(NodePlan::new("c@y")))
        .start()
        .await
        .unwrap();
    for node in 0..3 {
        let node = cluster.node(node).unwrap();
        assert_eq!(node.eval("length(nodes())", PATIENCE).await.unwrap(), "2");
    }
    // Local to local goes over a link as well, with both identities.
    let links = cluster.agent(0).unwrap().links().await.unwrap();
    let between = |link: &&skans_agent::admin::LinkView| {
        link.local.ends_with("@x") && link.peer.ends_with("@x")
    };
    assert_eq!(
        links.iter().filter(between).count(),
        2,
        "both ends of one link: {links:?}"
    );
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_node_may_be_given_its_name_and_is_hidden() {
    let cluster = plan().nodes(2).start().await.unwrap();
    let mut options = cluster.tool(0, "undefined@n1.lab").unwrap();
    options.label = "dynamic".to_owned();
    let dynamic = ErlNode::start(&options).await.unwrap();
    assert_eq!(
        dynamic
            .eval("net_kernel:connect_node('n1@n1.lab')", PATIENCE)
            .await
            .unwrap(),
        "true"
    );
    let name = dynamic.eval("node()", PATIENCE).await.unwrap();
    assert!(name.ends_with("@n1.lab'"), "{name}");
    assert_eq!(
        dynamic
            .eval("erpc:call('n2@n2.lab', erlang, node, [])", PATIENCE)
            .await
            .unwrap(),
        "'n2@n2.lab'"
    );
    let n1 = cluster.node(0).unwrap();
    assert_eq!(
        n1.eval("nodes(hidden)", PATIENCE).await.unwrap(),
        format!("[{name}]")
    );
    assert_eq!(n1.eval("nodes()", PATIENCE).await.unwrap(), "['n2@n2.lab']");
    let links = cluster.agent(0).unwrap().links().await.unwrap();
    assert!(
        links
            .iter()
            .any(|link| format!("'{}'", link.peer) == name && !link.visible),
        "{links:?}"
    );
    dynamic.halt(PATIENCE).await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn peers_are_found_by_dns() {
    // The host part of the node name is what is looked up; every machine knows this one.
    let mut cluster = plan()
        .host(HostPlan::new("x").node(NodePlan::new("a@x")))
        .host(HostPlan::new("local").node(NodePlan::new("b@localhost")))
        .start()
        .await
        .unwrap();
    let port = cluster.agent(1).unwrap().link_address().unwrap().port();
    let dns =
        serde_json::json!({"peers": {"static": [], "dns": {"hosts": "localhost", "port": port}}});
    cluster.reconfigure(0, &dns).await.unwrap();
    let a = cluster.node(0).unwrap();
    a.eval("erlang:disconnect_node(b@localhost)", PATIENCE)
        .await
        .unwrap();
    assert_eq!(
        a.eval("net_adm:ping(b@localhost)", PATIENCE).await.unwrap(),
        "pong"
    );
    assert_eq!(
        a.eval("net_adm:ping('b@elsewhere')", PATIENCE)
            .await
            .unwrap(),
        "pang"
    );
    cluster.stop().await.unwrap();
}
