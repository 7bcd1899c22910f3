//! `skans up` as a user starts it: what it prints, how it exits, and that nothing of it stays.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A cluster starts in a second or two; a loaded machine takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

fn skans(temporary: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skans"));
    command
        .args(arguments)
        .env("TMPDIR", temporary.path())
        .env_remove("SKANS_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(temporary: &TempDir, arguments: &[&str]) -> Output {
    skans(temporary, arguments).output().unwrap()
}

/// The command lines of all processes that carry the path of this test's directory.
fn processes_of(temporary: &TempDir) -> Vec<String> {
    let path = temporary.path().to_str().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| {
            String::from_utf8_lossy(&std::fs::read(entry.path().join(name)).unwrap_or_default())
                .replace('\0', " ")
        };
        // Nodes carry it in their environment, agents in their arguments.
        let (line, environment) = (read("cmdline"), read("environ"));
        if entry.path() != Path::new("/proc/self")
            && (line.contains(path) || environment.contains(&format!("HOME={path}")))
        {
            found.push(line);
        }
    }
    found
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

fn nothing_stays(temporary: &TempDir) {
    until("all processes to be gone", || {
        processes_of(temporary).is_empty()
    });
    let left: Vec<_> = std::fs::read_dir(temporary.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Starts `skans up --output json` and waits for its first object.
fn start(temporary: &TempDir) -> (Child, Value) {
    let mut child = skans(temporary, &["up", "--nodes", "2", "--output", "json"])
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    // Read on, so that it never waits for us.
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    let first = serde_json::from_str(&line).unwrap_or_else(|error| {
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        panic!("{error}: {line:?}; {said}");
    });
    (child, first)
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

#[test]
fn ends_in_time_and_shows_real_nodes() {
    let temporary = tempfile::tempdir().unwrap();
    let output = run(
        &temporary,
        &["up", "--nodes", "2", "--for", "2s", "--output", "json"],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let views: Vec<Value> = output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let (summary, views) = views.split_last().unwrap();
    assert!(views.len() >= 2, "{views:?}");
    for what in ["nodedowns", "lost", "misplaced"] {
        assert_eq!(summary["summary"][what], 0, "{summary}");
    }
    assert!(
        summary["summary"]["received"].as_u64() > Some(0),
        "{summary}"
    );
    let nodes = views.last().unwrap()["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2);
    for (node, name) in nodes.iter().zip(["n1", "n2"]) {
        assert_eq!(node["node"], format!("{name}@{name}.lab"));
        assert_eq!(node["registered"], true);
        assert_eq!(
            node["identity"],
            format!("spiffe://lab.test/cluster/lab/ns/default/sa/{name}/node/{name}")
        );
        assert_eq!(node["links"].as_array().unwrap().len(), 1, "{node}");
        assert_eq!(node["links"][0]["tls"], "TLSv1.3");
        assert_eq!(node["links"][0]["visible"], true);
    }
    nothing_stays(&temporary);
}

#[test]
fn shows_a_table() {
    let temporary = tempfile::tempdir().unwrap();
    let output = run(&temporary, &["up", "--nodes", "2", "--for", "500ms"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert!(text.starts_with("NODE "), "{text}");
    assert!(
        text.contains("\nn2@n2.lab  1 ")
            && text.contains("  spiffe://lab.test/cluster/lab/ns/default/sa/n2/node/n2  TLSv1.3 "),
        "{text}"
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("all nodes see each other"));
    nothing_stays(&temporary);
}

#[test]
fn a_signal_ends_it_and_nothing_stays() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let temporary = tempfile::tempdir().unwrap();
        let (mut child, _) = start(&temporary);
        // The witness must be able to see something: two agents and two nodes at least.
        assert!(
            processes_of(&temporary).len() >= 4,
            "{:?}",
            processes_of(&temporary)
        );
        kill_process(pid(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal:?}");
        nothing_stays(&temporary);
    }
}

#[test]
fn killed_without_warning_it_leaves_no_process() {
    let temporary = tempfile::tempdir().unwrap();
    let (mut child, _) = start(&temporary);
    assert!(processes_of(&temporary).len() >= 4);
    child.kill().unwrap();
    child.wait().unwrap();
    // Its files stay: nobody was left to remove them.
    until("all processes to be gone", || {
        processes_of(&temporary).is_empty()
    });
}

#[test]
fn stopped_while_it_starts_it_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = skans(&temporary, &["up", "--nodes", "3"]).spawn().unwrap();
    until("an agent to run", || {
        processes_of(&temporary)
            .iter()
            .any(|line| line.contains("agent.yaml"))
    });
    kill_process(pid(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    nothing_stays(&temporary);
}

#[test]
fn the_commands_that_look_can_look() {
    let temporary = tempfile::tempdir().unwrap();
    let (mut child, first) = start(&temporary);
    let socket = first["nodes"][0]["socket"].as_str().unwrap();
    for (command, wanted) in [
        ("status", "\"cluster\":\"lab\""),
        ("nodes", "\"name\":\"n1@n1.lab\""),
        ("links", "\"peer\":\"n2@n2.lab\""),
    ] {
        let table = run(&temporary, &[command, "--socket", socket]);
        assert_eq!(table.status.code(), Some(0), "{command}");
        assert!(
            String::from_utf8_lossy(&table.stdout).contains("n1"),
            "{command}"
        );
        let json = run(
            &temporary,
            &[command, "--socket", socket, "--output", "json"],
        );
        let text = String::from_utf8(json.stdout).unwrap();
        serde_json::from_str::<Value>(&text).unwrap();
        assert!(text.contains(wanted), "{text}");
    }
    let top = run(
        &temporary,
        &["top", "--iterations", "1", "--socket", socket],
    );
    assert_eq!(top.status.code(), Some(0));
    assert!(
        String::from_utf8_lossy(&top.stdout).starts_with("n1@n1.lab n2@n2.lab sent "),
        "{top:?}"
    );
    for (command, status) in [
        (vec!["reload"], 0),
        (vec!["log-level", "debug"], 0),
        (vec!["log-level", "=="], 1),
    ] {
        let done = run(
            &temporary,
            &[command.clone(), vec!["--socket", socket]].concat(),
        );
        assert_eq!(done.status.code(), Some(status), "{command:?}: {done:?}");
    }
    kill_process(pid(&child), Signal::TERM).unwrap();
    child.wait().unwrap();
    nothing_stays(&temporary);
}

#[test]
fn a_reader_that_leaves_is_no_panic() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = skans(&temporary, &["up", "--nodes", "1", "--output", "json"])
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    assert!(output.status.code().is_some(), "{said}");
    nothing_stays(&temporary);
}

#[test]
fn without_erl_it_says_how_to_get_it() {
    let temporary = tempfile::tempdir().unwrap();
    let output = skans(&temporary, &["up"])
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("apt-get install erlang-base"));
    nothing_stays(&temporary);
}

#[test]
fn usage_and_what_cannot_be_looked_at() {
    let temporary = tempfile::tempdir().unwrap();
    for (arguments, status) in [
        (&["up", "--nodes", "0"][..], 2),
        (&["up", "--prove", "--nodes", "2"], 2),
        (&["up", "--for", "soon"], 2),
        (&["fly"], 2),
        (&["--version"], 0),
        (&["up", "--help"], 0),
        (&["status", "--socket", "/nowhere/agent.sock"], 3),
        (&["top", "--socket", "/nowhere/agent.sock"], 3),
        (&["reload", "--socket", "/nowhere/agent.sock"], 1),
        (&["agent", "--config", "/nowhere/agent.yaml"], 1),
    ] {
        let output = run(&temporary, arguments);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{arguments:?}: {output:?}"
        );
        if status == 1 || status == 3 {
            assert!(output.stderr.starts_with(b"skans: "), "{output:?}");
        }
    }
}

#[test]
fn all_proofs_hold() {
    let temporary = tempfile::tempdir().unwrap();
    let output = run(&temporary, &["up", "--prove", "--output", "json"]);
    let proofs: Vec<Value> = output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    for proof in &proofs {
        assert_eq!(proof["passed"], true, "{proof:#}");
        assert!(
            !proof["proof"].as_str().unwrap().is_empty()
                && !proof["evidence"].as_str().unwrap().is_empty()
        );
    }
    assert_eq!(proofs.len(), skans_lab::prove::ALL.len());
    assert_eq!(output.status.code(), Some(0));
    nothing_stays(&temporary);
}
