//! `docs/traces.md` says what an operator types and writes. All of it is taken from the page and tried: a line that nobody tries here
//! fails the test.

use std::net::TcpListener;
use std::process::Stdio;

use serde_json::Value;
use skans_promises::{PATIENCE, plan};

use crate::collector::Collector;

const PAGE: &str = include_str!("../../docs/traces.md");

/// The commands on the page: lines that are indented by four spaces, outside of other blocks.
fn commands() -> Vec<&'static str> {
    let mut fenced = false;
    let lines = PAGE.lines().filter(|line| {
        fenced ^= line.starts_with("```");
        !fenced
    });
    lines.filter_map(|line| line.strip_prefix("    ")).collect()
}

/// The blocks of the page, by the comments that they begin with.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let blocks = PAGE.split("```").skip(1).step_by(2);
    let parts = blocks.map(|block| block.split_once('\n').unwrap().1);
    parts
        .map(|block| block.split_once('\n').unwrap())
        .map(|(first, rest)| (first.trim_start_matches("# "), rest))
        .collect()
}

async fn shell(line: &str) -> String {
    let run = tokio::process::Command::new("sh")
        .args(["-euc", line])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = run.await.unwrap();
    assert!(done.status.success(), "{line}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[tokio::test]
async fn what_the_page_says_brings_traces_to_a_collector() {
    let blocks = blocks();
    let names: Vec<_> = blocks.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["collector here", "collector elsewhere"]);
    let [events, metrics] = commands()[..] else {
        panic!("{:?}", commands())
    };
    let directory = tempfile::tempdir().unwrap();
    for (name, block) in blocks {
        let collector = Collector::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let block = if name == "collector here" {
            collector.serve(listener);
            block.replace("127.0.0.1:4318", &address.to_string())
        } else {
            let roots = directory.path().join("roots.pem");
            std::fs::write(&roots, collector.serve_tls(listener)).unwrap();
            block
                .replace("collector.example:4318", &address.to_string())
                .replace("/etc/skans/collector-roots.pem", roots.to_str().unwrap())
        };
        assert!(block.contains(&address.to_string()), "{block}");
        let traces: Value = serde_saphyr::from_str(&block).unwrap();
        let cluster = plan().nodes(2).config(&traces).start().await.unwrap();
        cluster.connect(PATIENCE).await.unwrap();
        let begun = collector
            .wait("a link", |told| told.name == "connect")
            .await;
        let agent = cluster.agent(0).unwrap();
        let opened = |event: &Value| event["activity_name"] == "Open";
        agent.wait_event("it", PATIENCE, opened).await.unwrap();
        let file = agent.files().events.to_str().unwrap();
        let found = events.replace("/var/log/skans/events.jsonl", file);
        assert!(found != events);
        let found = shell(&found).await;
        assert!(found.contains(&begun.trace), "{begun:?} {found}");
        // The same, by the socket that a test knows where to find.
        let asked = "http://127.0.0.1:4372/metrics";
        assert!(metrics.contains(asked));
        let socket = agent.files().socket.display().to_string();
        let by = format!("--unix-socket {socket} http://agent/metrics");
        let counted = shell(&metrics.replace(asked, &by)).await;
        for name in ["skans_traces_exported_total", "skans_traces_dropped_total"] {
            assert!(counted.contains(name) && PAGE.contains(name), "{counted}");
        }
        cluster.stop().await.unwrap();
        // Nothing is told that the page does not name.
        for told in collector.told() {
            for name in told.events.iter().chain([&told.name]) {
                assert!(PAGE.contains(&format!("`{name}`")), "{told:?}");
            }
        }
    }
}
