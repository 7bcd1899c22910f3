//! What one node asks of another is followed through the logs of everybody on the way: the events of both agents bear one number, and
//! the trace of that number has who they are, by which policy it was decided, and what was transferred. A collector can do no harm.

use std::net::TcpListener;

use serde_json::{Value, json};
use skans_agent::admin::ask;
use skans_lab::{AgentProcess, Policy, until};
use skans_promises::{PATIENCE, plan};

use crate::clusters::{SERVER, Side, calls, exports, imports};
use crate::collector::{Collector, Told};
use crate::netns::Network;
use crate::root;

const OPEN: &str = r#"@id("all") permit(principal, action, resource);"#;

#[tokio::test]
async fn agents_and_gateways_of_both_clusters_stand_in_one_trace() {
    if !root::or_skip("traces of two linked clusters") {
        return;
    }
    let network = Network::new(5, false);
    let collector = Collector::default();
    // Ours tell a collector on each host, theirs one elsewhere that proves itself.
    for host in [0, 2] {
        let listener = network
            .host(host)
            .inside(|| TcpListener::bind("127.0.0.1:4318"));
        collector.serve(listener.unwrap());
    }
    let elsewhere = network.host(4).four();
    let listener = network
        .host(4)
        .inside(move || TcpListener::bind((elsewhere, 4318)));
    let roots = network.directory().join("collector.pem");
    std::fs::write(&roots, collector.serve_tls(listener.unwrap())).unwrap();
    let here = json!({"endpoint": "http://127.0.0.1:4318"});
    let there = json!({"endpoint": format!("https://{elsewhere}:4318"), "roots": roots});
    let traces = |otlp: Value| json!({"traces": {"otlp": otlp, "interval": "1s"}});
    let ours = Side::start_and(&network, "ours", (&[0, 2], &[3]), &traces(here)).await;
    let theirs = Side::start_and(&network, "theirs", (&[1, 3], &[2]), &traces(there)).await;
    ours.link(&theirs, Policy::enforced(OPEN, ""), &imports())
        .await;
    theirs
        .link(&ours, Policy::enforced(OPEN, ""), &exports())
        .await;
    theirs.node.eval(SERVER, PATIENCE).await.unwrap();
    let asked = "catch element(3, gen_server:call({order_server, 'stock@theirs'}, {who, seven}))";
    ours.node.wait_for(asked, "seven", PATIENCE).await.unwrap();

    // The number in the events of both.
    let opened = |event: &Value| event["activity_name"] == "Open";
    let open = ours.agent.wait_event("the link", PATIENCE, opened).await;
    let open = open.unwrap();
    let session = open["metadata"]["correlation_uid"].as_str().unwrap();
    let same = |event: &Value| event["metadata"]["correlation_uid"] == *session;
    let there = theirs.agent.wait_event("the same link", PATIENCE, |event| {
        opened(event) && same(event)
    });
    let there = there.await.unwrap();

    // Its trace: all four tell of the beginning, each under who dialled.
    let told = async |service: &str, cluster: &str, name: &str, more: &dyn Fn(&Told) -> bool| {
        let fits = |told: &Told| {
            told.trace == session && told.is_by(service, cluster) && told.name == name && more(told)
        };
        let what = format!("{name} of {service} in {cluster}");
        collector.wait(&what, fits).await
    };
    let connect = told("skans-agent", "ours", "connect", &|_| true).await;
    let accept = told("skans-agent", "theirs", "accept", &|_| true).await;
    assert!(connect.parent.is_empty());
    assert_eq!(connect.events, ["dialled", "decided", "greeted", "ready"]);
    assert_eq!(accept.events, ["greeted", "decided", "ready"]);
    for (event, span, source, target) in [
        (&open, &connect, "local", "peer"),
        (&there, &accept, "peer", "local"),
    ] {
        for (end, side) in [("src_endpoint", source), ("dst_endpoint", target)] {
            let uid = span.says(&format!("skans.{side}.id"));
            let name = span.says(&format!("skans.{side}.node"));
            assert_eq!(
                (event[end]["uid"].as_str(), event[end]["name"].as_str()),
                (Some(uid), Some(name))
            );
            let domain = if end == "src_endpoint" {
                "ours"
            } else {
                "theirs"
            };
            assert!(uid.starts_with(&format!("spiffe://{domain}.test/cluster/{domain}/")));
        }
        assert_eq!(
            event["policy"]["version"],
            span.says("skans.policy.version")
        );
        assert_eq!(span.says("skans.across"), "true");
        assert!(span.failed.is_empty() && span.times.0 < span.times.1);
    }
    let mut ways = Vec::new();
    for cluster in ["ours", "theirs"] {
        let way = told("skans-gateway", cluster, "way", &|_| true).await;
        assert_eq!(
            way.says("skans.from.cluster"),
            "spiffe://ours.test/cluster/ours"
        );
        assert_eq!(
            way.says("skans.to.cluster"),
            "spiffe://theirs.test/cluster/theirs"
        );
        assert_eq!(way.says("skans.to.node"), "orders@host-a");
        ways.push(way);
    }
    assert_eq!(ways[0].says("skans.by.id"), connect.says("skans.local.id"));
    assert_eq!(
        ways[1].says("skans.by.id"),
        "spiffe://ours.test/skans/gateway/g0"
    );
    for below in [&accept, &ways[0], &ways[1]] {
        assert_eq!(below.parent, connect.id);
    }

    // What is transferred is told while the link goes on, by all four.
    for (service, set_up) in [
        ("skans-agent", [&connect, &accept]),
        ("skans-gateway", [&ways[0], &ways[1]]),
    ] {
        for (cluster, set_up) in ["ours", "theirs"].into_iter().zip(set_up) {
            let some = |told: &Told| {
                let both = ["skans.bytes.sent", "skans.bytes.received"];
                !told.says.contains_key("skans.end") && both.iter().all(|key| told.number(key) > 0)
            };
            let part = told(service, cluster, "transfer", &some).await;
            assert_eq!(part.parent, set_up.id);
            if service == "skans-agent" {
                assert!(part.number("skans.messages.sent") > 0);
                assert_eq!(part.says("skans.peer.id"), set_up.says("skans.peer.id"));
            }
        }
    }

    // A refusal is counted where it was refused.
    let refused = "catch gen_server:call({secret, 'stock@theirs'}, {who, 7}, 5000)";
    ours.node.eval(refused, PATIENCE).await.unwrap();
    let denied = |told: &Told| told.number("skans.denied.sent") > 0;
    let part = told("skans-agent", "ours", "transfer", &denied).await;
    assert!(part.events.contains(&"denied".to_owned()), "{part:?}");

    // And the end, with all that it was, as the events have it.
    calls(&ours).await;
    ours.node
        .eval("erlang:disconnect_node('stock@theirs')", PATIENCE)
        .await
        .unwrap();
    for (side, agent) in [("ours", &ours.agent), ("theirs", &theirs.agent)] {
        let closed = |event: &Value| event["activity_name"] == "Close" && same(event);
        let closed = agent.wait_event("its end", PATIENCE, closed).await.unwrap();
        let ended = |told: &Told| told.says.contains_key("skans.end");
        let last = told("skans-agent", side, "transfer", &ended).await;
        let bytes =
            ["sent", "received"].map(|way| last.number(&format!("skans.total.bytes.{way}")));
        assert_eq!(closed["traffic"]["bytes"], bytes[0] + bytes[1]);
        assert_eq!(closed["status_detail"], last.says("skans.end"));
        assert!(last.failed.is_empty(), "{last:?}");
        let metrics = metrics(agent).await;
        assert!(value(&metrics, "skans_traces_exported_total") >= 3);
        assert_eq!(value(&metrics, "skans_traces_dropped_total"), 0);
    }
    for cluster in ["ours", "theirs"] {
        let ended = |told: &Told| told.says.contains_key("skans.end");
        let last = told("skans-gateway", cluster, "transfer", &ended).await;
        // What TLS adds is in it.
        assert!(
            last.number("skans.total.bytes.sent") > 1_000_000,
            "{last:?}"
        );
    }
}

#[tokio::test]
async fn what_was_told_last_arrives_before_an_agent_is_gone() {
    let collector = Collector::default();
    let address = collector.serve(TcpListener::bind("127.0.0.1:0").unwrap());
    let traces = json!({"traces": {"otlp": {"endpoint": format!("http://{address}")}}});
    let cluster = plan().nodes(2).config(&traces).start().await.unwrap();
    cluster.connect(PATIENCE).await.unwrap();
    cluster.stop().await.unwrap();
    let told = collector.told();
    for name in ["connect", "accept"] {
        let begun: Vec<_> = told.iter().filter(|told| told.name == name).collect();
        assert!(!begun.is_empty(), "{told:?}");
        for begun in begun {
            let ended =
                |told: &&Told| told.parent == begun.id && told.says.contains_key("skans.end");
            assert_eq!(told.iter().filter(ended).count(), 1, "{begun:?} {told:?}");
        }
    }
}

#[tokio::test]
async fn a_trace_goes_on_in_the_process_that_takes_over() {
    let collector = Collector::default();
    let address = collector.serve(TcpListener::bind("127.0.0.1:0").unwrap());
    let otlp = json!({"endpoint": format!("http://{address}")});
    let traces = json!({"traces": {"otlp": otlp, "interval": "1s"}});
    let mut cluster = plan().nodes(2).config(&traces).start().await.unwrap();
    cluster.connect(PATIENCE).await.unwrap();
    cluster.replace_agent(0).await.unwrap();
    let ours =
        |told: &Told| told.name == "transfer" && told.says("skans.local.node") == "n1@n1.lab";
    let replaced = |told: &Told| {
        ours(told)
            && told
                .says
                .get("skans.end")
                .is_some_and(|end| end == "replaced")
    };
    let before = collector.wait("the part before", replaced).await;
    assert!(before.failed.is_empty());
    let call = "erpc:call('n2@n2.lab', erlang, node, [])";
    let n1 = cluster.node(0).unwrap();
    assert_eq!(n1.eval(call, PATIENCE).await.unwrap(), "'n2@n2.lab'");
    // Both have it for a moment: the new process follows it while the old one is about to say that it has let go.
    let behind = |told: &Told| {
        ours(told) && told.times.1 > before.times.1 && told.number("skans.messages.sent") > 0
    };
    let after = collector.wait("a part behind it", behind).await;
    // The same link, under the same span, which was told once.
    assert_eq!(
        (&after.trace, &after.parent),
        (&before.trace, &before.parent)
    );
    let set_ups = collector
        .told()
        .into_iter()
        .filter(|told| told.id == before.parent);
    assert_eq!(set_ups.count(), 1);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_collector_that_is_gone_or_hangs_costs_no_link() {
    // One whose port nobody listens on, one that takes connections and says nothing.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let waits = hangs.local_addr().unwrap();
    for address in [address, waits] {
        let traces = json!({"traces": {"otlp": {"endpoint": format!("http://{address}")}}});
        let cluster = plan().nodes(2).config(&traces).start().await.unwrap();
        let n1 = cluster.node(0).unwrap();
        let call = "[erpc:call('n2@n2.lab', erlang, node, []) || _ <- lists:seq(1, 100)] =/= []";
        let since = std::time::Instant::now();
        assert_eq!(n1.eval(call, PATIENCE).await.unwrap(), "true");
        assert!(since.elapsed() < PATIENCE / 3);
        if address != waits {
            let dropped = until(PATIENCE, "what is dropped to be counted", async || {
                let found = value(
                    &metrics(cluster.agent(0).unwrap()).await,
                    "skans_traces_dropped_total",
                );
                (found > 0).then_some(()).ok_or_else(|| format!("{found}"))
            });
            dropped.await.unwrap();
        }
        let text = metrics(cluster.agent(0).unwrap()).await;
        assert_eq!(value(&text, "skans_traces_exported_total"), 0);
        assert_eq!(cluster.agent(0).unwrap().links().await.unwrap().len(), 1);
        // Neither does it hold up the end.
        let since = std::time::Instant::now();
        cluster.stop().await.unwrap();
        assert!(since.elapsed() < PATIENCE / 2, "{:?}", since.elapsed());
    }
}

#[tokio::test]
async fn a_collector_that_cannot_prove_itself_is_told_nothing() {
    let (collector, other) = (Collector::default(), Collector::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    collector.serve_tls(listener);
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("roots.pem");
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    std::fs::write(&roots, other.serve_tls(elsewhere)).unwrap();
    let otlp = json!({"endpoint": format!("https://{address}"), "roots": roots});
    let traces = json!({"traces": {"otlp": otlp}});
    let cluster = plan().nodes(2).config(&traces).start().await.unwrap();
    let agent = cluster.agent(0).unwrap();
    let dropped = until(PATIENCE, "what is dropped to be counted", async || {
        let found = value(&metrics(agent).await, "skans_traces_dropped_total");
        (found > 0).then_some(()).ok_or_else(|| format!("{found}"))
    });
    dropped.await.unwrap();
    let why = |line: &Value| line.to_string().contains("traces do not arrive");
    let line = agent.wait_log(0, "why", PATIENCE, why).await.unwrap();
    assert!(line.to_string().contains("TLS"), "{line}");
    assert!(collector.told().is_empty());
    cluster.stop().await.unwrap();
}

async fn metrics(agent: &AgentProcess) -> String {
    let asked = ask(&agent.files().socket, "GET", "/metrics", "").await;
    asked.unwrap()
}

fn value(metrics: &str, series: &str) -> u64 {
    let mut lines = metrics.lines();
    let found = lines.find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("{series} in {metrics}"))
}
