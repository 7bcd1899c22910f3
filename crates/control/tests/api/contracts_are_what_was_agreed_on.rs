//! The REST contract and the table of roles are committed; a change of either is seen as one.

use std::fmt::Write as _;
use std::path::PathBuf;

use skans_control::rest;
use skans_control::roles::{Held, Kind, Question, RoleName, Roles};
use skans_control::scope::Scope;

fn compare(name: &str, found: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/api")
        .join(name);
    if std::env::var_os("SKANS_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let agreed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        agreed == found,
        "docs/api/{name} is not what the code says; if that is meant: SKANS_UPDATE_SNAPSHOTS=1 cargo test -p skans-control"
    );
}

#[test]
fn the_rest_api() {
    compare("openapi.json", &rest::document());
}

/// Every method of the contracts, and special cases that have a row of their own.
pub fn methods() -> Vec<String> {
    let mut all: Vec<String> = skans_api::METHODS.iter().map(ToString::to_string).collect();
    all.extend(rest::operations());
    all
}

#[test]
fn every_method_has_a_row_and_every_row_a_method() {
    let roles = Roles::load().unwrap();
    let rows: Vec<&str> = roles.methods().collect();
    for method in methods() {
        assert!(
            rows.contains(&method.as_str()),
            "{method}: no row in roles/schema.cedarschema"
        );
    }
    let known = methods();
    for row in rows {
        // A special case is named after its method.
        let method = row.split(' ').take(2).collect::<Vec<_>>().join(" ");
        assert!(known.contains(&method), "{row}: no such method");
    }
}

#[test]
fn who_may_call_what() {
    let roles = Roles::load().unwrap();
    let everywhere: Scope = "prod.example".parse().unwrap();
    let here: Scope = "prod.example/main".parse().unwrap();
    let mut text = String::from(
        "Who may call what, in a scope where the role was granted. Generated from the contracts and the policies.\n\
         yes: allowed. two: if somebody else asks for the same within the hour. Everything else is refused.\n\n",
    );
    let mut columns: Vec<(String, Kind, Vec<Held>)> = RoleName::ALL
        .into_iter()
        .map(|role| {
            let held = vec![Held {
                role,
                scope: everywhere.clone(),
            }];
            (role.as_str().to_owned(), Kind::User, held)
        })
        .collect();
    columns.push(("person".to_owned(), Kind::User, Vec::new()));
    for (name, kind) in [
        ("agent", Kind::Agent),
        ("control", Kind::Control),
        ("gateway", Kind::Gateway),
        ("node", Kind::Node),
        ("foreign", Kind::Foreign),
        ("stranger", Kind::Stranger),
    ] {
        columns.push((name.to_owned(), kind, Vec::new()));
    }
    let width = roles.methods().map(str::len).max().unwrap_or(0);
    let _ = write!(text, "{:width$}", "");
    for (name, ..) in &columns {
        let _ = write!(text, "  {name}");
    }
    text.push('\n');
    for method in roles.methods() {
        let _ = write!(text, "{method:width$}");
        for (name, kind, held) in &columns {
            let question = Question {
                kind: *kind,
                held,
                action: method,
                scope: &here,
                seconded: false,
                local: false,
            };
            let answer = if roles.allows(&question) {
                "yes"
            } else if roles.allows(&Question {
                seconded: true,
                ..question
            }) {
                "two"
            } else {
                "-"
            };
            let _ = write!(text, "  {answer:0$}", name.len());
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    compare("roles.txt", &text);
}
