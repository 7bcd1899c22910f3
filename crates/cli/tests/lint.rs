//! `skans lint` as a user runs it: the walk of docs/lint/README.md from the page itself, and what the exit status says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers as well"
)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const SKANS: &str = env!("CARGO_BIN_EXE_skans");

/// Runs a line of shell, in which `skans` is ours.
fn shell(directory: &Path, line: &str) -> String {
    let here = Path::new(SKANS).parent().unwrap().to_str().unwrap();
    let path = format!("{here}:{}", std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {line}\n}} 2>&1")])
        .current_dir(directory)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Whether a line is the one that is wanted, where `…` is anything.
fn is_line(wanted: &str, found: &str) -> bool {
    match wanted.split_once('…') {
        Some((start, end)) => found.starts_with(start) && found.ends_with(end),
        None => wanted.trim_end() == found.trim_end(),
    }
}

/// Whether the lines are those that are wanted, where a line of `…` is any number of them.
fn matches(wanted: &[&str], found: &[&str]) -> bool {
    match wanted.split_first() {
        None => found.is_empty(),
        Some((&"…", rest)) => (0..=found.len()).any(|from| matches(rest, &found[from..])),
        Some((line, rest)) => match found.split_first() {
            Some((first, others)) => is_line(line, first) && matches(rest, others),
            None => false,
        },
    }
}

#[test]
fn the_walk_of_the_documentation_is_what_happens() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lint/README.md");
    let page = fs::read_to_string(page).unwrap();
    let walk = page.split("<!-- walk -->").nth(1).expect("a walk");
    let directory = tempfile::tempdir().unwrap();
    let mut lines = walk.lines();
    let mut before = "";
    let mut ran = 0;
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            if !line.is_empty() {
                before = line;
            }
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if language == "console" {
            for part in block
                .split(|line| line.starts_with("$ "))
                .skip(1)
                .zip(block.iter().filter_map(|line| line.strip_prefix("$ ")))
            {
                let (wanted, command) = part;
                let said = shell(directory.path(), command);
                let found: Vec<&str> = said.trim_end().lines().collect();
                assert!(matches(wanted, &found), "$ {command}\nsaid:\n{said}");
                ran += 1;
            }
        } else {
            let name = before
                .split('`')
                .nth(1)
                .expect("the name of the file stands above it");
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, block.join("\n") + "\n").unwrap();
        }
    }
    assert!(ran >= 4, "the walk runs {ran} commands");
}

fn lint(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(SKANS)
        .arg("lint")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end before it has read all of it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn the_exit_status_says_found_or_wrong_use_or_not_checked() {
    let bad = "-name shop@10.0.0.1\n";
    for (arguments, input, status) in [
        (&["-"][..], bad, 1),
        (&["--fail-on", "blocker", "-"], bad, 0),
        (&["--fail-on", "never", "-"], bad, 0),
        (&["-"], "+Q 65536\n", 0),
        (&["--explain", "ERL012"], "", 0),
        (&["--explain", "NONE01"], "", 2),
        (&["--format", "xml", "-"], bad, 2),
        (&["/there/is/no/such/file"], "", 3),
        (
            &["--proof", "ERL012", "--erl", "/there/is/no/erl", "-"],
            bad,
            3,
        ),
        (&["--proof", "ERL010", "-"], bad, 2),
        (&["--proof", "ERL012", "-"], bad, 1),
        (&["--proof", "ERL012", "-"], "+Q 65536\n", 0),
        // Found, and such a node does not even boot.
        (&["--proof", "ERL012", "-"], "-name shop@10.0.0.1\n+Zz\n", 3),
    ] {
        let output = lint(arguments, input);
        let found = output.status.code();
        assert_eq!(
            found,
            Some(status),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn each_form_for_programs_is_whole() {
    let bad = "-name shop@10.0.0.1\n";
    for form in ["json", "sarif"] {
        let output = lint(&["--format", form, "-"], bad);
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect(form);
        assert!(value.is_object());
    }
    let output = lint(&["--format", "github", "-"], bad);
    assert!(
        output
            .stdout
            .starts_with(b"::error file=<stdin>,line=1,col=1,")
    );
}
