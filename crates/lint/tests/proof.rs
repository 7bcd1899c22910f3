//! Each blocker and critical rule about flags, configuration and TLS: its failing example boots a real `erl`, or fails to,
//! and what the rule says happens. Its passing example shows nothing of the kind. With `SKANS_TEST_OTP=27` by the OTP that
//! `script/otp` unpacked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::path::Path;

use skans_erlconf::Span;
use skans_lint::example::Example;
use skans_lint::proof::{self, Erl};
use skans_lint::{Finding, Options, Place, Profile, Rule, Severity, check, rules};

fn erl() -> Erl {
    match std::env::var("SKANS_TEST_OTP") {
        Ok(release) => {
            let root =
                Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../.cache/otp-{release}"));
            Erl::in_root(root.canonicalize().expect("script/otp unpacks it"))
        }
        Err(_) => Erl::default(),
    }
}

fn is_other() -> bool {
    std::env::var_os("SKANS_TEST_OTP").is_some()
}

/// What the passing examples of the rules about connections have in common: two nodes connect, nobody else does.
const RIGHT: &[(&str, &str)] = &[
    (
        "vm.args",
        "-name shop@10.0.0.1\n-proto_dist inet_tls\n-ssl_dist_optfile /etc/shop/ssl_dist.conf\n-start_epmd false -erl_epmd_port 9100\n",
    ),
    (
        "ssl_dist.conf",
        r#"[{server, [{certfile, "/etc/shop/node.pem"}, {keyfile, "/etc/shop/node.key"}, {cacertfile, "/etc/shop/ca.pem"},
           {verify, verify_peer}, {fail_if_no_peer_cert, true}]},
 {client, [{certfile, "/etc/shop/node.pem"}, {keyfile, "/etc/shop/node.key"}, {cacertfile, "/etc/shop/ca.pem"},
           {verify, verify_peer}]}]."#,
    ),
    ("config/sys.config", "[{kernel, [{logger_level, notice}]}]."),
];

/// A proof that would show its consequence with any configuration shows nothing.
#[test]
fn what_is_right_shows_nothing() {
    let files: Vec<_> = RIGHT
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    let checked = check(files, &Options::default());
    assert!(checked.findings.is_empty(), "{:?}", checked.findings);
    let (source, _) = checked.set.sources.iter().next().unwrap();
    for id in ["ERL012", "TLS006", "TLS010", "VMA009"] {
        let finding = Finding {
            rule: rules::find(id).unwrap(),
            place: Place {
                source,
                span: Span::new(0, 5),
            },
            message: "as if it had been found".to_owned(),
            fix: None,
            related: Vec::new(),
        };
        let proof = proof::of(&checked, &finding, &erl()).unwrap();
        println!("{}", proof.text(&checked.set.sources));
        assert!(
            !proof.shown,
            "{id}: {}: {:?}",
            proof.consequence, proof.evidence
        );
    }
}

/// Blocker and critical rules whose consequence is not that of a node of Erlang: who else would have to be started.
const BY_OTHERS: &[(&str, &[&str])] = &[
    ("relx, which builds the release", &["XREF008"]),
    (
        "the start script of relx, before there is an `erl`",
        &["REL001"],
    ),
    ("RabbitMQ", &["RMQ001"]),
    ("EMQX", &["EMQ001", "EMQ003"]),
    (
        "cert-manager, which makes no certificate",
        &["CRT001", "CRT019", "CRT021"],
    ),
    (
        "Kubernetes",
        &[
            "RBC003", "RBC005", "RBC007", "RBC009", "API001", "PSA002", "PSA003", "QUO001",
            "QUO002", "XREF002", "XREF004", "XREF006", "XREF007", "SEC005", "NAM001",
        ],
    ),
    (
        "nobody: a file can be read, or a backup is not one",
        &["SEC004", "BAK001", "BAK002", "BAK004", "BAK006", "BAK007"],
    ),
    ("Prometheus", &["MON001"]),
    ("kustomize", &["KUS002"]),
    ("Helm", &["HLM004"]),
];

/// A new one is proved, or it is said here who else would show it.
#[test]
fn each_blocker_and_critical_rule_about_erlang_can_be_proved() {
    let by_others = |rule: &Rule| BY_OTHERS.iter().any(|(_, ids)| ids.contains(&rule.id));
    let wrong: Vec<_> = rules::all()
        .filter(|rule| rule.severity <= Severity::Critical)
        .filter(|rule| proof::is_provable(rule) == by_others(rule))
        .map(|rule| rule.id)
        .collect();
    assert!(wrong.is_empty(), "neither or both: {wrong:?}");
    for id in BY_OTHERS.iter().flat_map(|(_, ids)| *ids) {
        assert!(
            rules::find(id).unwrap().severity <= Severity::Critical,
            "{id}"
        );
    }
}

#[test]
fn what_a_provable_rule_says_happens() {
    let options = Options {
        profile: Profile::All,
    };
    let mut wrong = Vec::new();
    for rule in rules::all().filter(|rule| proof::is_provable(rule)) {
        // Elixir is not among what is unpacked.
        if is_other() && rule.id == "ERL014" {
            continue;
        }
        let example = Example::read(rule.example);
        let checked = check(example.bad, &options);
        match proof::prove(&checked, rule, &erl()) {
            Ok(Some(proof)) => {
                println!("{}", proof.text(&checked.set.sources));
                if !proof.shown {
                    wrong.push(format!("{}: {}", rule.id, proof.consequence));
                }
            }
            Ok(None) => wrong.push(format!("{}: nothing found", rule.id)),
            Err(error) => wrong.push(format!("{}: {error}", rule.id)),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
