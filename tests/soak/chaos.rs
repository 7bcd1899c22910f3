//! Everything that may break between two clusters, by the last command of docs/chaos.md: some twenty minutes, since times that no link may set
//! lower have to pass.

use std::process::Stdio;

use serde_json::Value;
use skans_lab::plan::find_skans;

const PAGE: &str = include_str!("../../docs/chaos.md");

#[tokio::test]
async fn every_hypothesis_of_the_page_holds() {
    let desk = tempfile::tempdir().unwrap();
    let line = PAGE.lines().filter_map(|line| line.strip_prefix("    "));
    let line = line.last().unwrap();
    assert_eq!(line, "skans chaos run --output json > chaos.json");
    let skans = find_skans().unwrap();
    let path = std::env::var("PATH").unwrap();
    let run = tokio::process::Command::new("sh")
        .args(["-euc", line])
        .current_dir(desk.path())
        .env(
            "PATH",
            format!("{}:{path}", skans.parent().unwrap().display()),
        )
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = run.await.unwrap();
    let aside = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{aside}");
    let text = std::fs::read_to_string(desk.path().join("chaos.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let experiments = report["experiments"].as_array().unwrap();
    assert_eq!(experiments.len(), 6);
    for one in experiments {
        println!(
            "soak: {}: {}, {} ms; {} rows {}",
            one["name"], one["verdict"], one["tookMs"], one["numbers"], one["rows"]
        );
        assert_eq!(one["verdict"], "held");
    }
}
