//! Mistakes that others made, each with a test that Skans does not make it: those that take real agents and nodes. Which
//! test holds which is in docs/threat-model.md, and that is held here.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use skans_identity::forge::{Forged, client_config};
use skans_identity::sni;
use skans_lab::control::Options;
use skans_lab::plan::find_skans;
use skans_lab::{Plan, until};
use skans_promises::{PATIENCE, plan};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::hostile::{domain, hello, ours};
use crate::plane::Plane;
use crate::root;

/// Files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.extend(files(&entry.path()));
        } else if kind.is_file() {
            all.push(entry.path());
        }
    }
    all
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// What stands in the files of an agent's state that hold keys.
fn keys(state: &Path) -> Vec<String> {
    let texts = files(state)
        .into_iter()
        .map(|path| std::fs::read(path).unwrap());
    let texts = texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    texts.filter(|text| text.contains("PRIVATE KEY")).collect()
}

/// Who has a stolen key, with a certificate that is valid for an hour, and whatever was kept of earlier connections, is cut
/// off within the second that the live link is, and comes back by neither.
#[tokio::test]
async fn pitfall_3_who_is_revoked_comes_back_by_nothing_that_was_saved() {
    let plane = Plane::start(&json!({})).await;
    let mut lab = plan();
    for label in ["n1", "n2"] {
        lab = lab.host(plane.host(label, &json!({})).await);
    }
    let cluster = lab.start().await.unwrap();
    let stolen = keys(&plane.state("n2")).into_iter().find_map(|text| {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap();
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).unwrap();
        // The agent's own certificate is for no link.
        let node = String::from_utf8_lossy(&chain[0]).contains("/node/n2");
        node.then_some(Forged { chain, key })
    });
    let stolen = stolen.expect("the key of n2@n2.lab");
    let address = cluster.agent(0).unwrap().link_address().unwrap();
    // One configuration for both: it keeps tickets, and resumes wherever it is let.
    let thief = tokio_rustls::TlsConnector::from(client_config(Some(&stolen), &ours()).unwrap());
    let dial = async || {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = sni::server_name_for(&domain(), "n1@n1.lab").unwrap();
        let mut tls = thief.connect(name, stream).await.ok()?;
        tls.write_all(&hello("n2@n2.lab", "n1@n1.lab").encode())
            .await
            .ok()?;
        let mut first = [0];
        let read = tokio::time::timeout(PATIENCE, tls.read_exact(&mut first))
            .await
            .unwrap();
        let resumed = tls.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        read.ok().map(|_| (resumed, tls))
    };
    let (resumed, open) = dial()
        .await
        .expect("before it is revoked, a stolen key is as good as the node's");
    assert!(!resumed);
    let began = Instant::now();
    let spread = plane.deny("n2@n2.lab", 30).await;
    assert_eq!(
        (&spread["agents"], &spread["acknowledged"]),
        (&json!(2), &json!(2))
    );
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    let n1 = cluster.node(0).unwrap();
    n1.wait_for("nodes()", "[]", PATIENCE).await.unwrap();
    for _ in 0..3 {
        assert!(dial().await.is_none(), "a revoked key opened a link");
    }
    drop(open);
    cluster.stop().await.unwrap();
}

/// A `skans` that makes its files under a umask that takes nothing away.
fn loose(directory: &Path) -> PathBuf {
    let program = directory.join("skans");
    let skans = find_skans().unwrap();
    std::fs::write(
        &program,
        format!("#!/bin/sh\numask 000\nexec '{}' \"$@\"\n", skans.display()),
    )
    .unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    program
}

/// Whether a program refuses to run, and what it says.
async fn refuses(command: &mut Command) -> String {
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let done = tokio::time::timeout(PATIENCE, run).await;
    let done = done.unwrap_or_else(|_| panic!("it runs on")).unwrap();
    assert!(!done.status.success(), "{done:?}");
    String::from_utf8_lossy(&done.stderr).into_owned()
}

/// Under a umask of nothing every key is readable by its owner alone; none is in a log; and one that was made readable for
/// others keeps its process from starting.
#[tokio::test]
async fn pitfall_11_keys_stay_where_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let skans = loose(directory.path());
    let leaf = Duration::from_secs(600);
    let mut cluster = Plan::new(&skans)
        .unwrap()
        .control(Options { leaf })
        .nodes(2)
        .start()
        .await
        .unwrap();
    let (mut secrets, mut shown) = (BTreeMap::new(), Vec::new());
    for path in files(cluster.directory()) {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".log") {
            shown.push((name, text));
        } else if text.contains("PRIVATE KEY") || name.contains(".key") || name.contains(".db") {
            assert_eq!(
                mode(&path) & 0o077,
                0,
                "{}: {:o}",
                path.display(),
                mode(&path)
            );
            let above = path.parent().unwrap();
            assert_eq!(
                mode(above) & 0o077,
                0,
                "{}: {:o}",
                above.display(),
                mode(above)
            );
            secrets.insert(path, text);
        } else if name == "join.token" {
            secrets.insert(path, text);
        }
    }
    let named = |end: &str| {
        secrets
            .keys()
            .find(|path| path.ends_with(end))
            .unwrap_or_else(|| panic!("no {end}: {:?}", secrets.keys()))
            .clone()
    };
    let (own, sealing) = (named("agent.pem"), named("encryption.key"));
    assert!(
        shown.len() >= 3,
        "logs of two agents and of the control plane"
    );
    for (log, text) in &shown {
        assert!(!text.contains("PRIVATE KEY"), "{log}");
        for (path, secret) in secrets.iter().filter(|(path, _)| {
            path.extension()
                .is_some_and(|end| end == "pem" || end == "token")
        }) {
            let lines = secret.lines().map(|line| line.trim_end());
            // The first line of a key is the same in all of them; that of a token is the token.
            for line in lines.filter(|line| line.len() > 40 && !line.starts_with("MIG")) {
                assert!(
                    !text.contains(line),
                    "{log} shows a line of {}",
                    path.display()
                );
            }
        }
    }
    cluster.kill_agent(0).await.unwrap();
    let host = cluster.directory().join("n1");
    let own = if own.starts_with(&host) {
        own
    } else {
        host.join(own.strip_prefix(cluster.directory().join("n2")).unwrap())
    };
    std::fs::set_permissions(&own, PermissionsExt::from_mode(0o640)).unwrap();
    let said = refuses(
        Command::new(&skans)
            .args(["agent", "--config"])
            .arg(host.join("agent.yaml")),
    )
    .await;
    assert!(
        said.contains("agent.pem") && said.contains("0640"),
        "{said}"
    );
    cluster.control_mut().unwrap().kill().await.unwrap();
    std::fs::set_permissions(&sealing, PermissionsExt::from_mode(0o604)).unwrap();
    let config = cluster.control().unwrap().config();
    let said = refuses(
        Command::new(&skans)
            .args(["control", "--config"])
            .arg(config),
    )
    .await;
    assert!(
        said.contains("encryption.key") && said.contains("0604"),
        "{said}"
    );
}

/// The kernel writes no core of a process that holds keys, and another process of the same user does not look into it.
#[tokio::test]
async fn pitfall_11_a_process_with_keys_leaves_no_core() {
    if !root::or_skip("a process of another user") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    // Where anybody may run it.
    std::fs::copy(find_skans().unwrap(), place.join("skans")).unwrap();
    std::fs::create_dir(place.join("work")).unwrap();
    for (path, mode) in [
        (place, 0o755),
        (&place.join("skans"), 0o755),
        (&place.join("work"), 0o700),
    ] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    std::os::unix::fs::chown(place.join("work"), Some(root::NOBODY), Some(root::NOBODY)).unwrap();
    let config = place.join("work/control.yaml");
    let text = json!({
        "apiVersion": "skans.io/v1alpha1", "trustDomain": "lab.test", "name": "one",
        "directory": place.join("work/control"), "listen": "127.0.0.1:0", "admin": {"listen": "127.0.0.1:0"},
        "authority": {"root": place.join("work/root")},
    });
    std::fs::write(&config, text.to_string()).unwrap();
    let skans = || {
        let mut command = root::as_nobody(place.join("skans").to_str().unwrap());
        command
            .current_dir(place.join("work"))
            .stderr(Stdio::piped());
        command
    };
    for arguments in [
        vec!["ca", "init", "--trust-domain", "lab.test", "--dir", "root"],
        vec![
            "control",
            "init",
            "--config",
            config.to_str().unwrap(),
            "--root",
            "root",
        ],
    ] {
        let done = skans().args(&arguments).output().await.unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    let mut running = skans()
        .args(["control", "--until-stdin-closes", "--config"])
        .arg(&config)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let socket = place.join("work/control/control.sock");
    until(
        PATIENCE,
        "the control plane to run",
        async || match socket.exists() {
            true => Ok(()),
            false => Err("no socket".to_owned()),
        },
    )
    .await
    .unwrap();
    // proc(5): what belongs to a process that leaves no core belongs to root.
    let owner = std::fs::metadata(format!("/proc/{}/environ", running.id().unwrap()))
        .unwrap()
        .uid();
    running.kill().await.unwrap();
    assert_eq!(owner, 0, "it would leave a core");
}

/// Every test that the table names is there, and every pitfall has a row that begins with a test of its name.
#[test]
fn the_table_of_pitfalls_names_tests_that_there_are() {
    let top = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let sources: Vec<_> = [top.join("crates"), top.join("tests")]
        .iter()
        .flat_map(|place| files(place))
        .collect();
    let sources = sources
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let sources: Vec<Arc<str>> = sources
        .map(|path| std::fs::read_to_string(path).unwrap().into())
        .collect();
    let there = |name: &str| {
        let wanted = [
            format!("fn {name}("),
            format!("mod {name};"),
            format!("mod {name} {{"),
        ];
        sources
            .iter()
            .any(|text| wanted.iter().any(|one| text.contains(one.as_str())))
    };
    let text = std::fs::read_to_string(top.join("docs/threat-model.md")).unwrap();
    let (_, text) = text
        .split_once("## Pitfalls and the tests that hold them")
        .expect("the section");
    let text = text.split("\n## ").next().unwrap();
    let mut found = Vec::new();
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let Ok(number) = cells[1].parse::<u32>() else {
            continue;
        };
        found.push(number);
        let names: Vec<&str> = cells[3].split('`').skip(1).step_by(2).collect();
        let first = names.first().unwrap_or_else(|| panic!("{number}: no test"));
        assert!(
            first.starts_with(&format!("pitfall_{number}_")),
            "{number}: {first}"
        );
        for name in names {
            assert!(there(name), "{number}: there is no {name}");
        }
    }
    assert_eq!(found, [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]);
}
