//! A configuration that cannot be used stops the start within seconds, with status 1 and a message
//! that names the key or the file, what was found and what was wanted. In a running agent it changes
//! nothing: the old one stays in force, and no link notices.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use skans_identity::forge::{Forge, Forged};
use skans_lab::agent::Files;
use skans_lab::plan::find_skans;
use skans_promises::{PATIENCE, cluster};
use tempfile::TempDir;
use tokio::process::Command;

use crate::hostile::{bounded, foreign_root, spec, spec_in};
use crate::root;

/// For the message to be there. Everything is decided from files; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(10);
const NODE: &str = "n1@n1.lab";

/// A host on which an agent is to be started.
struct Host {
    directory: TempDir,
    forge: Forge,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Others must be able to pass, and nobody to write.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let host = Self {
            directory,
            forge: foreign_root("lab.test"),
        };
        host.write("bundle.pem", &host.forge.bundle().unwrap().to_pem(), 0o644);
        host.certificate("own", &host.forge.leaf(&spec(NODE)).unwrap());
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Writes a certificate chain and its key.
    fn certificate(&self, name: &str, forged: &Forged) {
        self.write(&format!("{name}.pem"), &forged.chain_pem(), 0o644);
        self.write(&format!("{name}.key"), &forged.key_pem(), 0o600);
    }

    /// A configuration that works, with certificates from files.
    fn config(&self) -> Value {
        json!({
            "apiVersion": "skans.io/v1alpha1",
            "trustDomain": "lab.test",
            "cluster": "lab",
            "runtimeDirectory": self.path("run"),
            "nodes": [{
                "name": NODE,
                "certificate": {"chain": self.path("own.pem"), "key": self.path("own.key")},
            }],
            "cli": {"enabled": false},
            "identity": {"files": {"bundle": self.path("bundle.pem")}},
            "links": {"listen": "127.0.0.1:0"},
            "epmd": {"port": 0, "addresses": ["127.0.0.1"]},
            "admin": {"listen": "127.0.0.1:0"},
        })
    }

    /// The same with an authority.
    fn with_authority(&self) -> Value {
        let mut config = self.config();
        config["identity"] = json!({"authority": {"directory": self.path("authority")}});
        config["nodes"] = json!([{"name": NODE}]);
        config
    }

    fn agent(&self, text: &str) -> Command {
        self.write("agent.yaml", text, 0o644);
        let mut command = Command::new(find_skans().unwrap());
        command
            .args(["agent", "--config"])
            .arg(self.path("agent.yaml"));
        prepared(command)
    }
}

fn prepared(mut command: Command) -> Command {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// What a start that is to fail said on standard error.
async fn refused(what: &str, mut command: Command) -> String {
    let begin = Instant::now();
    let output = tokio::time::timeout(SOON, command.output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("{what}: it still runs after {SOON:?}"))
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{what}: {text}");
    assert!(output.stdout.is_empty(), "{what}: {output:?}");
    assert!(begin.elapsed() < SOON);
    assert!(!text.contains("panicked"), "{what}: {text}");
    // One error, not a trace of them.
    assert!(text.lines().count() <= 12, "{what}: {text}");
    text
}

fn assert_says(what: &str, text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(
            text.contains(wanted),
            "{what}: wanted {wanted:?} in: {text}"
        );
    }
}

/// What is changed in a configuration that works.
type Change = fn(&Host, &mut Value);

#[tokio::test]
async fn every_key_says_what_was_found_and_what_was_wanted() {
    let cases: &[(&str, Change, &[&str])] = &[
        (
            "another format",
            |_, c| c["apiVersion"] = json!("skans.io/v2"),
            &["apiVersion", "skans.io/v2", "skans.io/v1alpha1"],
        ),
        (
            "an unknown key",
            |_, c| c["nodez"] = json!([]),
            &["agent.yaml", "nodez"],
        ),
        (
            "an unknown key further in",
            |_, c| c["links"]["lisen"] = json!("x"),
            &["agent.yaml", "lisen", "listen"],
        ),
        (
            "a key that is missing",
            |_, c| drop(c.as_object_mut().unwrap().remove("trustDomain")),
            &["agent.yaml", "trustDomain"],
        ),
        (
            "a list where a text should be",
            |_, c| c["cluster"] = json!([1]),
            &["agent.yaml", "line", "string"],
        ),
        (
            "no trust domain",
            |_, c| c["trustDomain"] = json!("Not A Domain"),
            &["trustDomain", "Not A Domain"],
        ),
        (
            "no node",
            |_, c| c["nodes"] = json!([]),
            &["nodes: found none", "at least one"],
        ),
        (
            "a name without a host",
            |_, c| c["nodes"][0]["name"] = json!("n1"),
            &["nodes[0].name", "n1"],
        ),
        (
            "a node twice",
            |_, c| {
                let node = c["nodes"][0].clone();
                c["nodes"].as_array_mut().unwrap().push(node);
            },
            &["nodes[1].name", "twice"],
        ),
        (
            "the name of the tools",
            |_, c| c["nodes"][0]["name"] = json!("cli@n1.lab"),
            &["nodes[0].name", "cli@n1.lab"],
        ),
        (
            "a user that is none",
            |_, c| c["nodes"][0]["user"] = json!("no-such-user"),
            &["nodes[0].user", "no-such-user", "/etc/passwd"],
        ),
        (
            "no address",
            |_, c| c["links"]["listen"] = json!("everywhere"),
            &["agent.yaml", "listen", "everywhere"],
        ),
        (
            "no duration",
            |_, c| c["links"]["handshakeTimeout"] = json!("5 parsecs"),
            &["agent.yaml", "5 parsecs", "500ms"],
        ),
        (
            "a duration without a unit",
            |_, c| c["drain"] = json!({"timeout": 20}),
            &["agent.yaml", "20"],
        ),
        (
            "a set-up longer than the node's",
            |_, c| c["links"]["setupTimeout"] = json!("9s"),
            &["links.setupTimeout", "9s", "6.9s"],
        ),
        (
            "too few that may wait",
            |_, c| c["links"]["maxPending"] = json!(1),
            &["links.maxPending", "found 1", "16"],
        ),
        (
            "an epmd that others reach",
            |_, c| c["epmd"]["addresses"] = json!(["0.0.0.0"]),
            &["epmd.addresses", "0.0.0.0", "loopback"],
        ),
        (
            "a peer without a port",
            |_, c| c["peers"] = json!({"static": [{"nodes": "*@b", "address": "b"}]}),
            &["peers.static[0].address", "\"b\"", "host:port"],
        ),
        (
            "a peer without a host",
            |_, c| c["peers"] = json!({"static": [{"nodes": "b", "address": "b:1"}]}),
            &["peers.static[0].nodes", "b"],
        ),
        (
            "a refusal of nobody",
            |_, c| c["refuse"] = json!(["old"]),
            &["refuse[0]", "old"],
        ),
        (
            "a pattern that every name fits",
            |_, c| c["cli"] = json!({"enabled": true, "patterns": ["*"]}),
            &["cli.patterns[0]", "\"*\""],
        ),
        (
            "no level",
            |_, c| c["log"] = json!({"level": "=="}),
            &["log.level", "=="],
        ),
        (
            "no format",
            |_, c| c["log"] = json!({"format": "xml"}),
            &["agent.yaml", "xml", "json"],
        ),
        (
            "no source of identities",
            |_, c| c["identity"] = json!({}),
            &["agent.yaml", "identity"],
        ),
        (
            "a relative directory",
            |_, c| c["runtimeDirectory"] = json!("run"),
            &["runtimeDirectory", "\"run\"", "absolute"],
        ),
        (
            "a leaf that lives for ever",
            |h, c| {
                *c = h.with_authority();
                c["identity"]["authority"]["leafLifetime"] = json!("720h");
            },
            &["identity.authority.leafLifetime", "86400s"],
        ),
        (
            "certificate and authority",
            |h, c| {
                let node = c["nodes"].clone();
                *c = h.with_authority();
                c["nodes"] = node;
            },
            &["nodes[0].certificate", "wanted none"],
        ),
        (
            "neither",
            |_, c| drop(c["nodes"][0].as_object_mut().unwrap().remove("certificate")),
            &["nodes[0].certificate", "found none"],
        ),
    ];
    for (what, change, wanted) in cases {
        let host = Host::new();
        let mut config = host.config();
        change(&host, &mut config);
        let text = refused(what, host.agent(&format!("{config:#}"))).await;
        assert_says(what, &text, wanted);
    }
}

#[tokio::test]
async fn what_is_no_configuration_at_all_is_shown_with_its_place() {
    let host = Host::new();
    let long = format!("trustDomain: {}\n", "x".repeat(2 * 1024 * 1024));
    for (what, text, wanted) in [
        (
            "a list that does not end",
            "apiVersion: skans.io/v1alpha1\nnodes: [\n",
            &["agent.yaml", "line"][..],
        ),
        (
            "a tab",
            "apiVersion: skans.io/v1alpha1\n\tnodes: []\n",
            &["agent.yaml", "line", "tab"],
        ),
        ("a list", "- a\n- b\n", &["agent.yaml"]),
        ("nothing", "", &["agent.yaml"]),
        (
            "a key twice",
            "trustDomain: a\ntrustDomain: b\n",
            &["agent.yaml", "trustDomain"],
        ),
        ("too much", &long, &["agent.yaml", "1048576"]),
    ] {
        let said = refused(what, host.agent(text)).await;
        assert_says(what, &said, wanted);
    }
    fs::write(host.path("agent.yaml"), [0xff, 0xfe, 0, 1]).unwrap();
    let mut command = Command::new(find_skans().unwrap());
    command
        .args(["agent", "--config"])
        .arg(host.path("agent.yaml"));
    assert_says(
        "no text",
        &refused("no text", prepared(command)).await,
        &["agent.yaml", "UTF-8"],
    );

    for (what, path) in [
        ("a file that is not there", host.path("not-there.yaml")),
        ("a directory", host.path("")),
    ] {
        let mut command = Command::new(find_skans().unwrap());
        command.args(["agent", "--config"]).arg(&path);
        let said = refused(what, prepared(command)).await;
        assert_says(what, &said, &[path.to_str().unwrap(), "cannot"]);
    }
}

#[tokio::test]
async fn a_variable_is_named_like_a_key() {
    let host = Host::new();
    let text = host.config().to_string();
    for (name, value) in [
        ("SKANS_LINKS_LISTEN", "everywhere"),
        ("SKANS_ADMIN_LISTEN", "4372"),
        ("SKANS_RUNTIME_DIRECTORY", "run"),
    ] {
        let mut command = host.agent(&text);
        command.env(name, value);
        let said = refused(name, command).await;
        let key = if name == "SKANS_RUNTIME_DIRECTORY" {
            "runtimeDirectory"
        } else {
            name
        };
        assert_says(name, &said, &[key, value]);
    }
}

/// A certificate, or a file around it, that cannot be used.
type Spoil = fn(&Host);

#[tokio::test]
async fn a_certificate_or_key_that_cannot_be_used_is_named() {
    let cases: &[(&str, Spoil, &[&str])] = &[
        (
            "a key that others may read",
            |h| chmod(&h.path("own.key"), 0o644),
            &["own.key", "0644", "chmod 600"],
        ),
        (
            "a key that the group may write",
            |h| chmod(&h.path("own.key"), 0o660),
            &["own.key", "0660"],
        ),
        (
            "no key",
            |h| fs::remove_file(h.path("own.key")).unwrap(),
            &["own.key", "cannot open"],
        ),
        (
            "no chain",
            |h| fs::remove_file(h.path("own.pem")).unwrap(),
            &["own.pem", "cannot open"],
        ),
        (
            "a key that is none",
            |h| h.write("own.key", "nobody may read this\n", 0o600),
            &["own.pem", "own.key", ": key"],
        ),
        (
            "a chain that is none",
            |h| h.write("own.pem", "-----BEGIN NONSENSE-----\n", 0o644),
            &["own.pem", "chain", "CERTIFICATE"],
        ),
        (
            "a directory for a key",
            |h| {
                fs::remove_file(h.path("own.key")).unwrap();
                fs::create_dir(h.path("own.key")).unwrap();
            },
            &["own.key", "regular file"],
        ),
        (
            "a key that does not fit",
            |h| {
                h.write(
                    "own.key",
                    &h.forge.leaf(&spec(NODE)).unwrap().key_pem(),
                    0o600,
                )
            },
            &["own.pem", "own.key", ": key"],
        ),
        (
            "a certificate for another node",
            |h| h.certificate("own", &h.forge.leaf(&spec("n2@n1.lab")).unwrap()),
            &["nodes[0]", "node/n2", "node/n1"],
        ),
        (
            "a certificate for another host",
            |h| h.certificate("own", &h.forge.leaf(&spec("n1@n9.lab")).unwrap()),
            &["nodes[0]", "n9.lab", "n1.lab"],
        ),
        (
            "a certificate of another cluster",
            |h| {
                h.certificate(
                    "own",
                    &h.forge.leaf(&spec_in("lab.test", "other", NODE)).unwrap(),
                )
            },
            &["nodes[0]", "cluster/other", "cluster/lab"],
        ),
        (
            "a certificate that is over",
            |h| {
                let mut s = spec(NODE);
                s.not_before -= 7200;
                s.not_after -= 7200;
                h.certificate("own", &h.forge.leaf(&s).unwrap());
            },
            &["own.pem", "valid now"],
        ),
        (
            "no bundle",
            |h| fs::remove_file(h.path("bundle.pem")).unwrap(),
            &["bundle.pem", "cannot open"],
        ),
        (
            "an empty bundle",
            |h| h.write("bundle.pem", "", 0o644),
            &["bundle.pem"],
        ),
        (
            "a bundle of a leaf",
            |h| {
                h.write(
                    "bundle.pem",
                    &h.forge.leaf(&spec(NODE)).unwrap().chain_pem(),
                    0o644,
                )
            },
            &["bundle.pem", "CA"],
        ),
    ];
    for (what, spoil, wanted) in cases {
        let host = Host::new();
        spoil(&host);
        let text = refused(what, host.agent(&host.config().to_string())).await;
        assert_says(what, &text, wanted);
        // Never what a key holds.
        assert!(!text.contains("nobody may read"), "{what}: {text}");
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_key_that_the_agent_may_not_read_is_named() {
    let host = Host::new();
    let mut config = host.config();
    // Root may read anything: as root, the agent runs as nobody, from a copy that nobody may run.
    let command = if rustix::process::geteuid().is_root() {
        let copy = host.path("skans");
        fs::copy(find_skans().unwrap(), &copy).unwrap();
        let runtime = host.path("run");
        fs::create_dir(&runtime).unwrap();
        std::os::unix::fs::chown(&runtime, Some(root::NOBODY), Some(root::NOBODY)).unwrap();
        config["nodes"][0]["user"] = json!(root::NOBODY.to_string());
        host.write("agent.yaml", &config.to_string(), 0o644);
        let mut command = root::as_nobody(copy.to_str().unwrap());
        command
            .args(["agent", "--config"])
            .arg(host.path("agent.yaml"));
        prepared(command)
    } else {
        chmod(&host.path("own.key"), 0o000);
        host.agent(&config.to_string())
    };
    let text = refused("a key of somebody else", command).await;
    assert_says(
        "a key of somebody else",
        &text,
        &["own.key", "Permission denied"],
    );
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_key() {
    let host = Host::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = taken.local_addr().unwrap();
    let port = address.port();
    for (key, change) in [
        ("links.listen", json!({"links": {"listen": address}})),
        ("admin.listen", json!({"admin": {"listen": address}})),
        (
            "epmd.port",
            json!({"epmd": {"port": port, "addresses": ["127.0.0.1"]}}),
        ),
    ] {
        let mut config = host.config();
        for (name, value) in change.as_object().unwrap() {
            config[name] = value.clone();
        }
        let text = refused(key, host.agent(&config.to_string())).await;
        assert_says(key, &text, &[key, &address.to_string(), "in use"]);
    }
    // An address that this host does not have (RFC 5737 keeps it for examples).
    let mut config = host.config();
    config["links"]["listen"] = json!("203.0.113.7:4370");
    let text = refused("no address of this host", host.agent(&config.to_string())).await;
    assert_says(
        "no address of this host",
        &text,
        &["links.listen", "203.0.113.7:4370"],
    );
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named() {
    for (what, spoil, wanted) in [
        (
            "a file",
            (|h| h.write("run", "", 0o644)) as Spoil,
            &["run", "directory"][..],
        ),
        (
            "one that others may write to",
            |h| {
                fs::create_dir(h.path("run")).unwrap();
                chmod(&h.path("run"), 0o777);
            },
            &["run", "0777"],
        ),
        (
            "a link",
            |h| {
                fs::create_dir(h.path("real")).unwrap();
                std::os::unix::fs::symlink(h.path("real"), h.path("run")).unwrap();
            },
            &["run", "directory"],
        ),
    ] {
        let host = Host::new();
        spoil(&host);
        let text = refused(what, host.agent(&host.config().to_string())).await;
        assert_says(what, &text, wanted);
    }

    // The authority of somebody else.
    let host = Host::new();
    let mut first = running(&host, &host.with_authority()).await;
    first.kill().await.unwrap();
    let mut other = host.with_authority();
    other["trustDomain"] = json!("other.test");
    let text = refused("another's authority", host.agent(&other.to_string())).await;
    assert_says(
        "another's authority",
        &text,
        &["authority", "lab.test", "other.test"],
    );
}

/// Starts an agent, and waits until it answers on its socket.
async fn running(host: &Host, config: &Value) -> tokio::process::Child {
    let agent = host
        .agent(&config.to_string())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let socket = host.path("run/agent.sock");
    skans_lab::until(PATIENCE, "the agent to run", async || {
        skans_agent::admin::ask(&socket, "GET", "/v1/status", "")
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    })
    .await
    .unwrap();
    agent
}

#[tokio::test]
async fn a_second_agent_leaves_the_first_alone() {
    let host = Host::new();
    let config = host.config();
    let mut first = running(&host, &config).await;
    let text = refused("a second agent", host.agent(&config.to_string())).await;
    assert_says(
        "a second agent",
        &text,
        &["agent.sock", "found a running agent"],
    );
    let socket = host.path("run/agent.sock");
    skans_agent::admin::ask(&socket, "GET", "/v1/status", "")
        .await
        .unwrap();
    assert!(first.try_wait().unwrap().is_none());
    first.kill().await.unwrap();
}

#[tokio::test]
async fn what_is_typed_wrong_has_a_status_of_its_own() {
    for words in [
        &[][..],
        &["agent"],
        &["agent", "--config"],
        &["agent", "--confg", "x"],
        &["agnet"],
    ] {
        let mut command = Command::new(find_skans().unwrap());
        command.args(words);
        let output: Output = bounded("skans", prepared(command).output()).await.unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {text}");
        assert!(text.contains("--help"), "{words:?}: {text}");
    }
}

/// What is wrong with a new configuration, and what is to be said about it.
fn broken(files: &Files) -> Vec<(&'static str, String, &'static [&'static str])> {
    let text = fs::read_to_string(&files.config).unwrap();
    let edited = |change: &dyn Fn(&mut Value)| {
        let mut config: Value = serde_json::from_str(&text).unwrap();
        change(&mut config);
        config.to_string()
    };
    vec![
        ("no YAML", format!("{text}]"), &["agent.yaml"]),
        (
            "an unknown key",
            edited(&|c| c["refused"] = json!([])),
            &["agent.yaml", "refused"],
        ),
        (
            "no pattern",
            edited(&|c| c["refuse"] = json!(["n2"])),
            &["refuse[0]", "n2"],
        ),
        (
            "another trust domain",
            edited(&|c| c["trustDomain"] = json!("other.test")),
            &["trustDomain", "restart"],
        ),
        (
            "other nodes",
            edited(&|c| c["nodes"][0]["name"] = json!("n7@n1.lab")),
            &["nodes", "restart"],
        ),
        (
            "another port",
            edited(&|c| c["admin"]["listen"] = json!("127.0.0.1:1")),
            &["admin", "restart"],
        ),
        // Half of it could be put in force: nothing of it is.
        (
            "a refusal, and a level that is none",
            edited(&|c| {
                c["refuse"] = json!(["n2@*"]);
                c["log"]["level"] = json!("==");
            }),
            &["log.level"],
        ),
        (
            "a refusal, and an authority that is gone",
            edited(&|c| {
                c["refuse"] = json!(["n2@*"]);
                c["identity"] = json!({"files": {"bundle": "/not-there.pem"}});
                c["nodes"][0]["certificate"] =
                    json!({"chain": "/not-there.pem", "key": "/not-there.key"});
            }),
            &["nodes", "restart"],
        ),
    ]
}

#[tokio::test]
async fn a_reload_of_a_wrong_configuration_changes_nothing() {
    let cluster = cluster(2).await;
    let agent = cluster.agent(0).unwrap();
    let files = agent.files().clone();
    let good = fs::read_to_string(&files.config).unwrap();
    let link = agent.links().await.unwrap()[0].id;
    let call = "erpc:call('n2@n2.lab', erlang, node, [])";
    let node = cluster.node(0).unwrap();
    for (what, text, wanted) in broken(&files) {
        fs::write(&files.config, text).unwrap();
        // As `skans reload`.
        let said = agent.reload().await.expect_err(what).to_string();
        assert_says(what, &said, wanted);
        // As a service manager.
        let mark = agent.log_mark();
        kill_process(
            Pid::from_raw(agent.pid().cast_signed()).unwrap(),
            Signal::HUP,
        )
        .unwrap();
        let fits = |line: &Value| {
            line["message"].as_str().is_some_and(|text| {
                text.contains("the old configuration stays")
                    && wanted.iter().all(|wanted| text.contains(wanted))
            })
        };
        agent.wait_log(mark, what, PATIENCE, fits).await.unwrap();

        let links = agent.links().await.unwrap();
        assert!(links.len() == 1 && links[0].id == link, "{what}: {links:?}");
        assert_eq!(
            node.eval(call, PATIENCE).await.unwrap(),
            "'n2@n2.lab'",
            "{what}"
        );
    }
    // And one that works is taken.
    fs::write(&files.config, good).unwrap();
    agent.reload().await.unwrap();
    let again = "erlang:disconnect_node('n2@n2.lab'), net_adm:ping('n2@n2.lab')";
    assert_eq!(node.eval(again, PATIENCE).await.unwrap(), "pong");
    cluster.stop().await.unwrap();
}
