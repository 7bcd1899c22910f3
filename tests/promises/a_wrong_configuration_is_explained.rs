//! A configuration that cannot be used stops the start within seconds, with status 1 and a message
//! that names the key or the file, what was found and what was wanted. In a running agent it changes
//! nothing: the old one stays in force, and no link notices.

mod certificates;
mod host;
mod keys;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use skans_lab::agent::Files;
use skans_lab::plan::find_skans;
use skans_promises::{PATIENCE, cluster};
use tokio::process::Command;

use crate::hostile::bounded;
use crate::root;
use certificates::Spoil;
use host::{Host, assert_says, chmod, prepared, refused};

const NODE: &str = "n1@n1.lab";

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
