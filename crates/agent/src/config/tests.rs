//! Good configurations, and every way to get one wrong: which key, what was found, what was wanted.

use super::*;

const LEAST: &str = "\
apiVersion: skans.io/v1alpha1
trustDomain: prod.example
identity: {authority: {directory: /var/lib/skans/authority}}
nodes:
  - name: rabbit@host-a
";

fn parsed(text: &str) -> Result<Config, Error> {
    parse(text, "agent.yaml", |_| None)
}

fn problem(text: &str) -> String {
    parsed(text).unwrap_err().to_string()
}

#[test]
fn the_least_configuration_has_the_documented_defaults() {
    let config = parsed(LEAST).unwrap();
    assert_eq!(config.links.listen.port(), 4370);
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:4372");
    assert_eq!(config.runtime_directory, Path::new("/run/skans"));
    assert_eq!(config.cli_host().as_deref(), Some("host-a"));
    assert!(config.cli.enabled);
}

#[test]
fn what_is_wrong_is_named_with_its_key() {
    let cases = [
        (
            "apiVersion: skans.io/v1alpha1",
            "apiVersion: v2",
            "apiVersion: found \"v2\", wanted \"skans.io/v1alpha1\"",
        ),
        ("name: rabbit@host-a", "name: rabbit", "nodes[0].name"),
        (
            "name: rabbit@host-a",
            "name: cli@host-a",
            "\"cli\" stands for short-lived nodes",
        ),
        (
            "trustDomain: prod.example",
            "trustDomain: prod.example\nlinks: {handshakeTimeout: soon}",
            "found \"soon\", wanted a duration",
        ),
        (
            "trustDomain: prod.example",
            "trustDomain: prod.example\nlinks: {setupTimeout: 10s}",
            "links.setupTimeout: found 10s, wanted 1s to 6.9s",
        ),
        (
            "trustDomain: prod.example",
            "trustDomain: prod.example\nlinks: {maxPending: 1}",
            "links.maxPending: found 1, wanted 16",
        ),
        (
            "trustDomain: prod.example",
            "trustDomain: prod.example\nepmd: {addresses: [10.0.0.1]}",
            "wanted a loopback address",
        ),
        (
            "trustDomain: prod.example",
            "trustDomain: prod.example\nrefuse: [evil]",
            "refuse[0]: found \"evil\", wanted alive@host",
        ),
        (
            "trustDomain: prod.example",
            "trustDomain: prod.example\npeers: {static: [{nodes: '*@b', address: b}]}",
            "peers.static[0].address: found \"b\", wanted host:port",
        ),
        (
            "trustDomain: prod.example",
            "trustDomain: prod.example\nrefused: []",
            "unknown field `refused`",
        ),
        (
            "trustDomain: prod.example",
            "trustDomain: prod.example\nruntimeDirectory: run",
            "runtimeDirectory: found \"run\", wanted an absolute path",
        ),
        (
            "{authority: {directory: /var/lib/skans/authority}}",
            "{files: {bundle: /b}}",
            "nodes[0].certificate: found none",
        ),
    ];
    for (from, to, wanted) in cases {
        let text = LEAST.replace(from, to);
        assert_ne!(text, LEAST, "the case changes nothing: {from}");
        let found = problem(&text);
        assert!(found.contains(wanted), "wanted {wanted:?} in {found:?}");
        assert!(found.starts_with("agent.yaml: "), "{found}");
    }
}

/// What is plain must not leave the host, what the agent keeps to this host must not be open to others, and nothing leads in a circle.
#[test]
fn a_service_leads_to_this_host_and_not_to_the_agent_itself() {
    let services = |target: &str, listen: &str| {
        format!(
            "{LEAST}services:\n  offers: [{{name: db, target: \"{target}\"}}]\n  uses: [{{name: db, from: b@host-b, listen: \"{listen}\"}}]\n"
        )
    };
    let (target, listen) = ("127.0.0.1:5432", "127.0.0.1:15432");
    parsed(&services(target, listen)).unwrap();
    parsed(&services("unix:/run/db.sock", "[::1]:15432")).unwrap();
    let loopback = "wanted an address of loopback";
    for (target, listen, wanted) in [
        ("192.0.2.1:5432", listen, loopback),
        ("[::ffff:192.0.2.1]:5432", listen, loopback),
        ("0.0.0.0:5432", listen, loopback),
        ("db.example:5432", listen, loopback),
        (target, "0.0.0.0:15432", loopback),
        ("127.0.0.1:0", listen, "wanted a port other than 0"),
        ("unix:run/db.sock", listen, "an absolute path"),
        ("127.0.0.1:4370", listen, "no port of the agent itself"),
        ("[::1]:4369", listen, "no port of the agent itself"),
        (
            "unix:/run/skans/agent.sock",
            listen,
            "no port of the agent itself",
        ),
        (target, "127.0.0.1:4370", "that nothing else listens on"),
        (listen, listen, "lead in a circle"),
    ] {
        let found = problem(&services(target, listen));
        assert!(found.contains(wanted), "{target} {listen}: {found}");
    }
}

#[test]
fn two_nodes_of_one_name_on_a_host_are_refused() {
    let text = format!("{LEAST}  - name: rabbit@host-b\n");
    assert!(problem(&text).contains("found \"rabbit\" twice"));
}

#[test]
fn a_node_that_others_would_hold_for_a_tool_is_refused() {
    for (alive, pattern) in [
        ("c1", "c<number>"),
        ("rem-1", "rem-*"),
        ("BACKEND2024", "<dynamic name>"),
        ("rabbit_prelaunch_7", "rabbit_prelaunch_*"),
        ("rabbit_ctl_7", "rabbit_ctl_*"),
    ] {
        let found = problem(&format!("{LEAST}  - name: {alive}@host-b\n"));
        let wanted = format!("found {alive}@host-b, wanted another name: {pattern} stands");
        assert!(found.contains(&wanted), "{found}");
    }
    // Hosts without tools of their own still meet those of others.
    let found = problem(&format!(
        "cli: {{enabled: false}}\n{LEAST}  - name: c1@host-b\n"
    ));
    assert!(found.contains("found c1@host-b"), "{found}");
}

#[test]
fn the_place_of_a_syntax_error_is_told() {
    let found = problem("apiVersion: [\ntrustDomain: x");
    assert!(found.contains("line"), "{found}");
}

#[test]
fn the_environment_overrides_and_is_checked_as_well() {
    let config = parse(LEAST, "x", |name| {
        (name == "SKANS_LINKS_LISTEN").then(|| "127.0.0.1:0".into())
    })
    .unwrap();
    assert_eq!(config.links.listen.to_string(), "127.0.0.1:0");
    let error = parse(LEAST, "x", |name| {
        (name == "SKANS_LINKS_LISTEN").then(|| "here".into())
    })
    .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("SKANS_LINKS_LISTEN: found \"here\"")
    );
}

#[test]
fn durations_are_read_as_people_write_them() {
    let cases = [
        ("500ms", Some(500)),
        ("5s", Some(5000)),
        ("10m", Some(600_000)),
        ("24h", Some(86_400_000)),
        ("5", None),
        ("s", None),
        ("5 s", None),
        ("-5s", None),
        ("99999999999999999999h", None),
    ];
    for (text, milliseconds) in cases {
        assert_eq!(
            skans_host::duration::parse(text),
            milliseconds.map(Duration::from_millis),
            "{text}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn garbage_is_an_error_and_never_a_panic(text in ".{0,300}") {
        let _ = parsed(&text);
    }
}
