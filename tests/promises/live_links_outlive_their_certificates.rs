//! Certificates come and go under traffic, and no node notices.

use std::process::Stdio;
use std::time::Duration;

use skans_lab::plan::find_skans;
use tokio::process::Command;

/// Runs `skans up` as a person would, and returns its summary.
async fn summary_of(leaf: &str, time: &str, limit: Duration) -> serde_json::Value {
    let mut command = Command::new(find_skans().unwrap());
    command
        .args(["up", "--nodes", "3", "--output", "json"])
        .args(["--leaf-ttl", leaf, "--for", time])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let done = tokio::time::timeout(limit, command.output())
        .await
        .unwrap()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}: {said}", done.status);
    String::from_utf8(done.stdout)
        .unwrap()
        .lines()
        .rev()
        .find_map(|line| {
            let mut value: serde_json::Value = serde_json::from_str(line).ok()?;
            value.get_mut("summary").map(serde_json::Value::take)
        })
        .unwrap_or_else(|| panic!("no summary: {said}"))
}

#[tokio::test]
async fn certificates_rotate_under_traffic_and_no_node_notices() {
    let summary = summary_of("60s", "100s", Duration::from_secs(180)).await;
    let count = |key: &str| {
        summary[key]
            .as_u64()
            .unwrap_or_else(|| panic!("{key} in {summary}"))
    };
    assert_eq!(count("nodedowns"), 0, "{summary}");
    assert_eq!(count("lost"), 0, "{summary}");
    assert_eq!(count("misplaced"), 0, "{summary}");
    // Six streams, a message every 5 ms or so; a loaded machine sends fewer.
    assert!(count("received") > 10_000, "{summary}");
    // Three agents, each with a node's certificate and one for tools; each lives a minute.
    assert!(count("renewals") >= 6, "{summary}");
    // Three links; none may be older than the certificates that it began with.
    assert!(count("takeovers") >= 3, "{summary}");
}
