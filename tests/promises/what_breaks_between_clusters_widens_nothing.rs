//! `docs/chaos.md` says what may break between two linked clusters and what is promised of it. Each experiment is run as an operator runs it,
//! by the commands of the page; what takes a quarter of an hour is run by the soak.

use std::path::Path;
use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use skans_lab::plan::find_skans;
use skans_promises::PATIENCE;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const PAGE: &str = include_str!("../../docs/chaos.md");

/// The commands of the page, in its order: lines that are indented by four spaces.
fn commands() -> Vec<&'static str> {
    let lines = PAGE.lines().filter_map(|line| line.strip_prefix("    "));
    lines.collect()
}

fn path() -> String {
    let skans = find_skans().unwrap();
    let path = std::env::var("PATH").unwrap();
    format!("{}:{path}", skans.parent().unwrap().display())
}

/// Types a line; whatever the lab writes goes below `desk`, and is gone afterwards.
async fn shell(desk: &Path, line: &str) -> Output {
    let scratch = desk.join("tmp");
    std::fs::create_dir_all(&scratch).unwrap();
    let run = Command::new("sh")
        .args(["-euc", line])
        .current_dir(desk)
        .env("PATH", path())
        .env("TMPDIR", &scratch)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = tokio::time::timeout(PATIENCE * 20, run).await;
    let done = done.unwrap().unwrap();
    assert_eq!(left(&scratch), Vec::<String>::new(), "{line}");
    done
}

/// What has stayed of clusters below a directory: files, and processes that were told of it.
fn left(scratch: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(scratch).unwrap() {
        found.push(entry.unwrap().path().display().to_string());
    }
    let words = scratch.display().to_string();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&words) {
            found.push(line);
        }
    }
    found
}

#[track_caller]
fn held(done: &Output, line: &str) -> String {
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let aside = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{line}:\n{said}\n{aside}");
    said
}

#[tokio::test]
async fn a_gateway_a_line_or_both_control_planes_may_go_and_no_node_notices() {
    let desk = tempfile::tempdir().unwrap();
    let [list, quick, ..] = commands()[..] else {
        panic!("{:?}", commands())
    };
    assert_eq!(list, "skans chaos list");
    let listed = held(&shell(desk.path(), list).await, list);
    let names: Vec<_> = listed
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(names.len(), 6);
    for name in names {
        assert!(PAGE.contains(&format!("| `{name}` |")), "{name}");
    }
    let line = format!("{quick} --output json");
    let said = held(&shell(desk.path(), &line).await, &line);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["kind"], "ChaosReport");
    let experiments = report["experiments"].as_array().unwrap();
    assert_eq!(experiments.len(), 3);
    for one in experiments {
        // What the verdict says is also there to be read: a load that ran, and attempts that were refused.
        let (calls, rows) = (&one["numbers"]["calls"], &one["rows"]);
        println!("{}: {calls} {rows}", one["name"]);
        assert!(calls["answered"].as_u64().unwrap() > 200, "{one}");
        assert_eq!(calls["failed"], 0, "{one}");
        assert_eq!(one["numbers"]["nodedowns"], serde_json::json!([0, 0]));
        assert!(rows["tried"].as_u64().unwrap() >= 24, "{one}");
        assert_eq!(rows["passed"], 0, "{one}");
        assert!(one["numbers"]["resumed"].as_u64().unwrap() > 0, "{one}");
    }
}

#[tokio::test]
async fn one_side_is_upgraded_and_accepted_links_do_not_notice() {
    let desk = tempfile::tempdir().unwrap();
    let line = commands()[2];
    assert!(
        line.contains("--newer ./skans-next --page chaos.html"),
        "{line}"
    );
    std::os::unix::fs::symlink(find_skans().unwrap(), desk.path().join("skans-next")).unwrap();
    let said = held(&shell(desk.path(), line).await, line);
    assert!(said.contains("one-side-upgraded  held"), "{said}");
    let page = std::fs::read_to_string(desk.path().join("chaos.html")).unwrap();
    assert!(page.contains("one-side-upgraded") && page.contains("Let through"));
    assert!(!page.contains("<script"), "nothing runs in it");
}

#[tokio::test]
async fn a_clock_that_is_off_widens_nothing_and_heals() {
    let desk = tempfile::tempdir().unwrap();
    let line = "skans chaos run clock-off";
    let said = held(&shell(desk.path(), line).await, line);
    assert!(said.contains("clock-off   held"), "{said}");
}

#[tokio::test]
async fn what_could_not_be_tried_is_no_success() {
    let desk = tempfile::tempdir().unwrap();
    let line = "skans chaos run bundle-endpoint-gone --address 127.0.0.1 --output json";
    let done = shell(desk.path(), line).await;
    assert_eq!(done.status.code(), Some(3), "{done:?}");
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["verdict"], "skipped");
    let why = report["experiments"][0]["why"].as_str().unwrap();
    assert!(why.contains("never fetched from there"), "{why}");
    let aside = String::from_utf8_lossy(&done.stderr);
    assert!(aside.contains("SKIPPED") && aside.contains(why), "{aside}");
    let unknown = shell(desk.path(), "skans chaos run earthquake").await;
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
}

#[tokio::test]
async fn what_does_not_hold_is_told() {
    let desk = tempfile::tempdir().unwrap();
    // A release that says what it is, and does not run.
    let newer = "#!/bin/sh\n[ \"$1\" = --version ] && echo skans 9.9.9\n";
    std::fs::write(desk.path().join("broken"), newer).unwrap();
    let line = "chmod +x broken; skans chaos run one-side-upgraded --newer ./broken --output json";
    let done = shell(desk.path(), line).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["versions"]["newer"], "9.9.9");
    let one = &report["experiments"][0];
    assert_eq!(one["verdict"], "failed");
    assert!(
        one["why"].as_str().unwrap().contains("control plane"),
        "{one}"
    );
}

#[tokio::test]
async fn who_interrupts_it_finds_nothing_left() {
    let scratch = tempfile::tempdir().unwrap();
    let mut run = Command::new(find_skans().unwrap())
        .args(["chaos", "run", "link-cut"])
        .env("TMPDIR", scratch.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut aside = BufReader::new(run.stderr.take().unwrap()).lines();
    let cut = async {
        while let Some(line) = aside.next_line().await.unwrap() {
            if line.contains("the line between the gateways is cut") {
                return;
            }
        }
        panic!("it ended before");
    };
    tokio::time::timeout(PATIENCE * 2, cut).await.unwrap();
    assert!(left(scratch.path()).len() > 5, "this finds what runs");
    let pid = run.id().and_then(|id| i32::try_from(id).ok());
    kill_process(pid.and_then(Pid::from_raw).unwrap(), Signal::INT).unwrap();
    let ended = tokio::time::timeout(PATIENCE, run.wait()).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(3));
    assert_eq!(left(scratch.path()), Vec::<String>::new());
}
