//! Configurations that are wrong, and what is said about them.

use super::*;

const LEAST: &str = "apiVersion: skans.io/v1alpha1\ntrustDomain: prod.example\nname: c1\n";

fn read(text: &str) -> Result<Config, Error> {
    parse(text, "control.yaml", |_| None)
}

#[test]
fn the_least_that_must_be_said() {
    let config = read(LEAST).unwrap();
    assert_eq!(config.cluster, "main");
    assert_eq!(config.listen.port(), 8443);
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:4372");
    assert_eq!(config.database, Database::Sqlite);
    assert_eq!(
        config.socket(),
        Path::new("/var/lib/skans/control/control.sock")
    );
}

#[test]
fn errors_name_the_key_what_was_found_and_what_was_wanted() {
    for (more, wanted) in [
        ("cluser: x\n", "cluser"),
        ("cluster: a/b\n", "cluster: "),
        (
            "directory: here\n",
            "directory: found \"here\", wanted an absolute path",
        ),
        (
            "leaves: { lifetime: 10s }\n",
            "leaves.lifetime: found 10s, wanted 300s to 86400s",
        ),
        (
            "leaves: { lifetime: 25h }\n",
            "leaves.lifetime: found 90000s",
        ),
        (
            "leaves: { lifetime: 1s, laboratory: true }\n",
            "wanted 10s to",
        ),
        ("leaves: { lifetime: soon }\n", "wanted a duration"),
        (
            "events: { retention: 1h }\n",
            "events.retention: found 3600s, wanted 86400s to",
        ),
        (
            "events: { atMost: 99 }\n",
            "events.atMost: found 99, wanted 100 to",
        ),
        (
            "events: { placeWithin: 1s }\n",
            "events.placeWithin: found 1s, wanted 10s to",
        ),
        (
            "events: { copy: { otlp: { endpoint: 'http://collector:4318' } } }\n",
            "events.copy.otlp.endpoint: found",
        ),
        (
            "events: { copy: { otlp: { endpoint: 'https://c:1' }, redact: rules.yaml } }\n",
            "events.copy.redact: found",
        ),
        (
            "events: { copy: { otlp: { endpoint: 'https://c:1' }, redactKey: /k } }\n",
            "events.copy.redactKey: found one, wanted redact",
        ),
        (
            "witness: witness.yaml\n",
            "witness: found \"witness.yaml\", wanted an absolute path",
        ),
        (
            "authority: { lifetime: 2h }\n",
            "at least six times leaves.lifetime",
        ),
        (
            "advertise: [control]\n",
            "advertise[0]: found \"control\", wanted host:port",
        ),
        ("advertise: ['a b:1']\n", "advertise[0]"),
        (
            "database: { postgres: {} }\n",
            "database.postgres: found neither",
        ),
        (
            "database: { postgres: { url: 'postgresql://u:p@h/d' } }\n",
            "found a password",
        ),
        (
            "database: { postgres: { url: 'host=h password=p' } }\n",
            "found a password",
        ),
        (
            "encryptionKey: { systemdCredential: ../x }\n",
            "encryptionKey.systemdCredential: found",
        ),
        ("class: lax\n", "lax"),
        (
            "limits: { maxPending: 1 }\n",
            "limits.maxPending: found 1, wanted 16 to 65536",
        ),
    ] {
        let error = read(&format!("{LEAST}{more}")).unwrap_err().to_string();
        assert!(
            error.starts_with("control.yaml: ") && error.contains(wanted),
            "{error}"
        );
    }
    let error = read("apiVersion: v2\ntrustDomain: a\nname: c\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("apiVersion: found \"v2\", wanted \"skans.io/v1alpha1\""),
        "{error}"
    );
}

#[test]
fn the_environment_overrides_what_differs_between_replicas() {
    let env = |name: &str| match name {
        "SKANS_CONTROL_NAME" => Some("c2".to_owned()),
        "SKANS_CONTROL_LISTEN" => Some("127.0.0.1:9443".to_owned()),
        "SKANS_CONTROL_ADVERTISE" => Some("a:1, [::1]:2".to_owned()),
        _ => None,
    };
    let config = parse(LEAST, "x", env).unwrap();
    assert_eq!(config.name, "c2");
    assert_eq!(config.listen.port(), 9443);
    assert_eq!(config.advertise, ["a:1", "[::1]:2"]);
    let error = parse(LEAST, "x", |name| {
        (name == "SKANS_CONTROL_LISTEN").then(|| "9443".to_owned())
    });
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("SKANS_CONTROL_LISTEN: found \"9443\"")
    );
}
