//! Each rule finds what its example says, and nothing else; the page of the documentation is that of the code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use skans_lint::example::Example;
use skans_lint::{Options, Profile, check, report, rules};

/// The rules that find something in these files.
fn found(files: &[(String, String)], profile: Profile) -> BTreeSet<String> {
    let checked = check(files.to_vec(), &Options { profile });
    checked
        .findings
        .iter()
        .map(|finding| finding.rule.id.to_owned())
        .collect()
}

#[test]
fn each_rule_finds_its_example_and_nothing_else() {
    let mut wrong = Vec::new();
    for rule in rules::all() {
        let example = Example::read(rule.example);
        assert!(
            !example.bad.is_empty() && !example.good.is_empty(),
            "{} lacks an example",
            rule.id
        );
        let mut bad: BTreeSet<String> = example.also_bad.iter().cloned().collect();
        bad.insert(rule.id.to_owned());
        let good: BTreeSet<String> = example.also_good.iter().cloned().collect();
        let is = found(&example.bad, rule.profile);
        if is != bad {
            wrong.push(format!("{} bad: wanted {bad:?}, found {is:?}", rule.id));
        }
        let is = found(&example.good, rule.profile);
        if is != good {
            wrong.push(format!("{} good: wanted {good:?}, found {is:?}", rule.id));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn ids_and_names_are_used_once() {
    let ids: BTreeSet<_> = rules::all().map(|rule| rule.id).collect();
    let names: BTreeSet<_> = rules::all().map(|rule| rule.name).collect();
    assert_eq!(
        (ids.len(), names.len()),
        (rules::all().count(), rules::all().count())
    );
}

#[test]
fn the_page_of_the_documentation_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lint/rules.md");
    let page = report::markdown();
    if std::env::var_os("SKANS_WRITE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/lint/rules.md differs: SKANS_WRITE=1 writes it anew"
    );
}
