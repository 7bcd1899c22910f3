//! What is said, word for word: a small set with an embedded file, a suppression and a related place, in each form. And
//! SARIF has what its schema (2.1.0) demands. `SKANS_WRITE=1` writes the snapshots anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::fs;
use std::path::Path;

use serde_json::Value;
use skans_lint::{Checked, Options, check, report};

const FILES: &[(&str, &str)] = &[
    (
        "k8s/shop.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: erlang, namespace: shop}\ndata:\n  vm.args: |\n    \
         -name shop@10.0.0.1\n    +MEAacul de\n",
    ),
    (
        "rel/vm.args",
        "# skans-lint: allow ERL005 because this file is written when the host is made\n-setcookie ${COOKIE}\n\
         -name bank@10.0.0.1\n-proto_dist inet_tls\n-proto_dist inet_tls\n-ssl_dist_optfile /etc/bank/100%,ä.conf\n\
         -start_epmd false -erl_epmd_port 9100\n",
    ),
];

fn checked() -> Checked {
    let own = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    check(FILES.iter().map(own).collect(), &Options::default())
}

fn is(name: &str, said: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/report")
        .join(name);
    if std::env::var_os("SKANS_WRITE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, said).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(said == written, "{name}: wanted\n{written}\nfound\n{said}");
}

#[test]
fn what_people_read() {
    is("people.txt", &report::text(&checked(), false));
}

#[test]
fn what_github_reads() {
    is("github.txt", &report::github(&checked()));
}

#[test]
fn what_programs_read() {
    let value = report::json(&checked());
    is(
        "programs.json",
        &(serde_json::to_string_pretty(&value).unwrap() + "\n"),
    );
}

#[test]
fn without_colour_there_is_no_escape_and_with_it_the_same_words() {
    let plain = report::text(&checked(), false);
    let coloured = report::text(&checked(), true);
    assert!(!plain.contains('\u{1b}') && coloured.contains('\u{1b}'));
    let mut words = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        words += before;
        rest = after.split_once('m').unwrap().1;
    }
    assert_eq!(words + rest, plain);
}

/// Section 3 of the specification: what must be there, and in which ranges.
#[test]
fn sarif_is_as_its_schema_has_it() {
    let sarif = report::sarif(&checked());
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let driver = &run["tool"]["driver"];
    assert!(driver["name"].is_string());
    let rules = driver["rules"].as_array().unwrap();
    for rule in rules {
        assert!(rule["id"].is_string() && rule["shortDescription"]["text"].is_string());
        assert!(
            ["error", "warning", "note"]
                .contains(&rule["defaultConfiguration"]["level"].as_str().unwrap())
        );
        assert!(rule["helpUri"].as_str().unwrap().starts_with("https://"));
    }
    let results = run["results"].as_array().unwrap();
    let mut suppressed = 0;
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(result["message"]["text"].is_string());
        let related = result["relatedLocations"].as_array().unwrap();
        for location in result["locations"]
            .as_array()
            .unwrap()
            .iter()
            .chain(related)
        {
            let physical = &location["physicalLocation"];
            let uri = physical["artifactLocation"]["uri"].as_str().unwrap();
            assert!(uri.chars().all(|c| c.is_ascii_graphic()), "{uri}");
            let at = |key: &str| physical["region"][key].as_u64().unwrap();
            assert!(at("startLine") >= 1 && at("startColumn") >= 1);
            assert!((at("endLine"), at("endColumn")) >= (at("startLine"), at("startColumn")));
        }
        if let Some(suppressions) = result.get("suppressions").and_then(Value::as_array) {
            suppressed += 1;
            assert_eq!(suppressions[0]["kind"], "inSource");
            assert!(
                suppressions[0]["justification"]
                    .as_str()
                    .unwrap()
                    .contains("written when")
            );
        }
    }
    assert_eq!(suppressed, 1);
    assert!(results.len() > 3);
}
