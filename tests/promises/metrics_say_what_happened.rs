//! `/livez`, `/readyz` and `/metrics` say what an agent does, and `skans status` the same.

use skans_agent::admin::ask;
use skans_promises::{PATIENCE, cluster};

#[tokio::test]
async fn links_handshakes_bytes_messages_and_expiry_are_counted() {
    let cluster = cluster(2).await;
    let n1 = cluster.node(0).unwrap();
    assert_eq!(
        n1.eval("erpc:call('n2@n2.lab', erlang, node, [])", PATIENCE)
            .await
            .unwrap(),
        "'n2@n2.lab'"
    );
    assert_eq!(
        n1.eval("net_adm:ping('nobody@n2.lab')", PATIENCE)
            .await
            .unwrap(),
        "pang"
    );

    let agent = cluster.agent(0).unwrap();
    let socket = &agent.files().socket;
    assert_eq!(ask(socket, "GET", "/livez", "").await.unwrap(), "ok\n");
    assert_eq!(ask(socket, "GET", "/readyz", "").await.unwrap(), "ok\n");
    let metrics = ask(socket, "GET", "/metrics", "").await.unwrap();
    let value = |series: &str| -> f64 {
        metrics
            .lines()
            .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
            .unwrap_or_else(|| panic!("{series} in {metrics}"))
    };
    let up = |direction: &str| {
        value(&format!(
            "skans_links{{direction=\"{direction}\",visible=\"true\"}}"
        ))
    };
    assert!((up("inbound") + up("outbound") - 1.0).abs() < f64::EPSILON);
    assert!(value("skans_messages_total{direction=\"sent\",operation=\"spawn_request\"}") >= 1.0);
    assert!(value("skans_distribution_bytes_total{direction=\"received\"}") > 100.0);
    assert!(
        value("skans_handshakes_total{direction=\"outbound\",result=\"refused_by_peer\"}") >= 1.0
    );
    let expiry = value("skans_certificate_not_after_timestamp_seconds{node=\"n1@n1.lab\"}");
    let shown = agent.status().await.unwrap();
    let certificate = shown
        .certificates
        .iter()
        .find(|c| c.node == "n1@n1.lab")
        .unwrap();
    assert_eq!(certificate.not_after.to_string(), format!("{expiry}"));
    assert!(certificate.identity.ends_with("/node/n1"));
    let opened = agent
        .wait_event("that the link opened", PATIENCE, |event| {
            event["class_uid"] == 4001 && event["activity_name"] == "Open"
        })
        .await
        .unwrap();
    let ends = ["src_endpoint", "dst_endpoint"].map(|end| opened[end]["uid"].to_string());
    assert!(
        ends.iter().any(|id| id.contains("/sa/n1/node/n1"))
            && ends.iter().any(|id| id.contains("/sa/n2/node/n2")),
        "{opened:#}"
    );
    assert!(
        metrics.ends_with("# EOF\n"),
        "what scrapes OpenMetrics wants its end"
    );
    cluster.stop().await.unwrap();
}
