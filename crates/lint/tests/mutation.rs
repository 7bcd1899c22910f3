//! A bundle as one would bring it to production is clean; changed in one place for one rule, that rule is found and no
//! other. A mutation of a rule is `mutations/ID.txt`: below `-- FILE --`, lines with `-` stand there once, and those with
//! `+` take their place; `+` lines alone are added at the end of the file, or are a new one. `with: ID …` in the first line
//! names rules that what the rule looks for cannot be without: a cookie in a file of flags is always one in source, too.
//! `only: PATH …` takes these parts of the bundle, where it depends on what else is there which node a project runs in.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use skans_lint::{Checked, Options, Profile, check, rules};

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// Path and text of each file, in a stable order.
fn bundle() -> Vec<(String, String)> {
    let root = directory("bundle");
    let mut open = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// The bundle with one thing changed.
fn mutate(mutation: &str) -> Vec<(String, String)> {
    let mut files = bundle();
    let mut parts: Vec<(&str, String, String)> = Vec::new();
    if let Some(only) = mutation
        .lines()
        .find_map(|line| line.strip_prefix("only: "))
    {
        files.retain(|(name, _)| only.split(' ').any(|part| name.starts_with(part)));
    }
    let is_head = |line: &&str| line.starts_with("with: ") || line.starts_with("only: ");
    for line in mutation.lines().filter(|line| !is_head(line)) {
        if let Some(name) = line
            .strip_prefix("-- ")
            .and_then(|line| line.strip_suffix(" --"))
        {
            parts.push((name, String::new(), String::new()));
            continue;
        }
        let (_, old, new) = parts.last_mut().expect("a file first");
        let (into, line) = match line.split_at_checked(1) {
            Some(("-", line)) => (old, line),
            Some(("+", line)) => (new, line),
            _ => panic!("{line:?}: wanted - or +"),
        };
        into.push_str(line);
        into.push('\n');
    }
    for (name, old, new) in parts {
        let known = files.iter_mut().find(|(known, _)| known == name);
        match known {
            Some((_, text)) if old.is_empty() => text.push_str(&new),
            Some((_, text)) => {
                assert_eq!(
                    text.matches(&old).count(),
                    1,
                    "{name}: {old:?} stands there once"
                );
                *text = text.replace(&old, &new);
            }
            None => {
                assert!(old.is_empty(), "{name} is not in the bundle");
                files.push((name.to_owned(), new));
            }
        }
    }
    files
}

fn look(files: Vec<(String, String)>) -> (BTreeSet<&'static str>, Checked) {
    let options = Options {
        profile: Profile::All,
    };
    let checked = check(files, &options);
    let found = checked.findings.iter().map(|finding| finding.rule.id);
    (found.collect(), checked)
}

fn said(checked: &Checked) -> Vec<String> {
    let place = |at| checked.set.sources.location(at);
    checked
        .findings
        .iter()
        .map(|found| {
            let at = place(found.place);
            format!(
                "{} {}:{}: {}",
                found.rule.id, at.file, at.line, found.message
            )
        })
        .collect()
}

#[test]
fn a_clean_bundle_has_no_findings_and_needs_no_suppression() {
    let (_, checked) = look(bundle());
    assert!(
        checked.findings.is_empty(),
        "\n{}",
        said(&checked).join("\n")
    );
    assert!(checked.allowed.is_empty());
    for unread in &checked.set.unread {
        let at = checked.set.sources.location(unread.place);
        assert_eq!(
            at.file, "chart/templates/certificate.yaml",
            "only a template is not YAML: {}",
            unread.reason
        );
    }
    let nodes: Vec<_> = checked
        .verdicts
        .iter()
        .map(|verdict| verdict.unit.as_str())
        .collect();
    assert_eq!(
        nodes,
        [
            "bank",
            "queue",
            "store",
            "StatefulSet chat/chat",
            "StatefulSet ledger/ledger",
            "StatefulSet mqtt/mqtt",
            "RabbitmqCluster queue/orders",
            "StatefulSet shop/shop"
        ],
        "each of its nodes is seen"
    );
}

#[test]
fn each_mutation_is_found_by_its_rule_and_no_other() {
    let mut wrong = Vec::new();
    for rule in rules::all() {
        // Which one, should the mutation itself be wrong.
        println!("{}", rule.id);
        let path = directory("mutations").join(format!("{}.txt", rule.id));
        let Ok(mutation) = fs::read_to_string(&path) else {
            wrong.push(format!("{}: no mutation", rule.id));
            continue;
        };
        let (found, checked) = look(mutate(&mutation));
        let mut wanted = BTreeSet::from([rule.id]);
        let with = mutation
            .lines()
            .find_map(|line| line.strip_prefix("with: "));
        for id in with.unwrap_or_default().split_whitespace() {
            wanted.insert(rules::find(id).expect("a rule").id);
        }
        if found != wanted {
            wrong.push(format!(
                "{}: found\n    {}",
                rule.id,
                said(&checked).join("\n    ")
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
