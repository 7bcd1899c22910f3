//! The log of a real control plane, as docs/audit.md has it: followed, searched, witnessed by another process, copied, and checked by somebody who
//! asks nobody; and found out when it was written anew.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use skans_lab::plan::find_skans;
use skans_lab::until;
use skans_promises::PATIENCE;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::plane::Plane;

const PAGE: &str = include_str!("../../docs/audit.md");

/// The line below a comment of the page, with these in the place of the names in it.
fn command(first: &str, names: &[(&str, &str)]) -> Vec<String> {
    let mut lines = PAGE.lines();
    let comment = format!("# {first}");
    assert!(
        lines.any(|line| line == comment),
        "the page has no {first:?}"
    );
    let line = lines.next().unwrap().strip_prefix("skans ").unwrap();
    let word = |word: &str| {
        let found = names.iter().find(|(name, _)| *name == word);
        found.map_or(word, |(_, value)| value).to_owned()
    };
    line.split_whitespace().map(word).collect()
}

/// Status, and what it said.
async fn skans(words: &[String], more: &[&str]) -> (i32, String) {
    let said = Command::new(find_skans().unwrap())
        .args(words)
        .args(more)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(said.stdout).unwrap() + &String::from_utf8(said.stderr).unwrap();
    (said.status.code().unwrap(), text)
}

/// What a witness of one log is told, in `witness.yaml`. Gives its key.
async fn prepare(directory: &Path, origin: &str, key: &str) -> String {
    let at = |name: &str| directory.join(name).display().to_string();
    let secret = at("witness.key");
    let made = command(
        "Make the key of a witness",
        &[("/etc/skans/witness.key", &secret)],
    );
    let (status, vkey) = skans(&made, &[]).await;
    assert_eq!(status, 0, "{vkey}");
    let config = json!({
        "apiVersion": "skans.io/v1alpha1", "listen": "127.0.0.1:0", "key": secret, "state": at("state"),
        "logs": [{"origin": origin, "key": key}],
    });
    std::fs::write(directory.join("witness.yaml"), config.to_string()).unwrap();
    vkey.trim().to_owned()
}

/// A witness of one log. Gives its process, where it is, and its key.
async fn witness(directory: &Path, origin: &str, key: &str) -> (Child, String, String) {
    let vkey = prepare(directory, origin, key).await;
    let at = |name: &str| directory.join(name).display().to_string();
    let mut process = Command::new(find_skans().unwrap())
        .args(command(
            "Run it",
            &[("/etc/skans/witness.yaml", &at("witness.yaml"))],
        ))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let address = tokio::time::timeout(PATIENCE, async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, rest)) = line.split_once("address=") {
                return rest.split_whitespace().next().unwrap().to_owned();
            }
        }
        panic!("it ended")
    });
    let address = address.await.unwrap();
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (process, address, vkey)
}

async fn newest(plane: &Plane) -> Value {
    let logs: Value = plane.owner().get("/v1/audit/logs").await.unwrap();
    logs["items"]
        .as_array()
        .unwrap()
        .last()
        .cloned()
        .unwrap_or_default()
}

async fn grant(plane: &Plane, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let grant = json!({"user": format!("user-{number}"), "role": "viewer"});
        let _: Value = plane
            .owner()
            .send("POST", "/v1/grants", &grant)
            .await
            .unwrap();
    }
}

/// Of its log, once it has one.
async fn name_and_key(plane: &Plane) -> (String, String) {
    until(PATIENCE, "there is a log", async || {
        let log = newest(plane).await;
        let key = log["key"].as_str().ok_or("not yet")?.to_owned();
        Ok((log["origin"].as_str().unwrap().to_owned(), key))
    })
    .await
    .unwrap()
}

/// Has its log witnessed from now on.
async fn witness_it(plane: &mut Plane, address: &str, vkey: &str) {
    plane.stop().await;
    let wanted = json!({"witnesses": [{"url": format!("http://{address}"), "key": vkey}]});
    plane.configure("events", &wanted);
    plane.restart().await;
}

/// Written anew with its own key, it is what its witness never saw.
async fn written_anew_it_is_refused(plane: &mut Plane) {
    plane.stop().await;
    plane.sql(
        "UPDATE events SET body = replace(body, 'user-7\"', 'user-8\"');
         DELETE FROM log_tiles; DELETE FROM log_bundles;
         UPDATE logs SET size = 0, last_seq = after_seq, signed_size = 0, checkpoint = '', witnessed_size = 0, witnessed = ''",
    );
    plane.restart().await;
    until(PATIENCE, "its witness refuses it", async || {
        let told: Value = plane
            .owner()
            .get("/v1/audit/events?kind=log.refused")
            .await
            .unwrap();
        match told["items"].as_array().map(Vec::len) {
            Some(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    assert_eq!(newest(plane).await["witnessed"], 0);
}

/// Waits until so many entries are witnessed.
async fn witnessed(plane: &Plane, least: u64) -> Value {
    until(PATIENCE, "the log is witnessed", async || {
        let log = newest(plane).await;
        if log["witnessed"].as_u64().unwrap_or(0) >= least {
            Ok(log)
        } else {
            Err(log.to_string())
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn an_auditor_checks_what_happened_without_asking_anybody() {
    let mut plane = Plane::start(&json!({})).await;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let (origin, key) = &name_and_key(&plane).await;
    let (_witness, address, vkey) = witness(directory.path(), origin, key).await;
    witness_it(&mut plane, &address, &vkey).await;

    grant(&plane, 0..300).await;
    let all = witnessed(&plane, 300).await;
    let (socket, copy, older) = (
        plane.socket().display().to_string(),
        at("copy"),
        at("older"),
    );
    let names = [
        ("SOCKET", &*socket),
        ("COPY", &copy),
        ("LOG-KEY", key),
        ("WITNESS-KEY", &vkey),
        ("OLDER", &older),
    ];
    let (status, said) = skans(&command("Copy the log", &names), &["-o", "json"]).await;
    assert_eq!(status, 0, "{said}");
    let exported: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&exported["key"], &exported["witnessed"]),
        (&all["key"], &json!(true))
    );
    let check = command("Check a copy of the log", &names);
    let (status, said) = skans(&check, &["--witness", &vkey]).await;
    assert_eq!(status, 0, "{said}");

    // Later there is more, and what there was is its beginning.
    std::fs::copy(format!("{copy}/checkpoint"), &older).unwrap();
    grant(&plane, 300..310).await;
    witnessed(&plane, exported["size"].as_u64().unwrap() + 10).await;
    let (status, said) = skans(&command("Copy the log", &names), &[]).await;
    assert_eq!(status, 0, "{said}");
    let against = command("Check it against what others know", &names);
    let (status, said) = skans(&against, &[]).await;
    assert_eq!(status, 0, "{said}");

    // A copy that was changed is none.
    let entries = format!("{copy}/tile/entries/000");
    let mut bytes = std::fs::read(&entries).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&entries, bytes).unwrap();
    let (status, said) = skans(&check, &[]).await;
    assert_eq!(status, 1, "{said}");
    assert!(
        said.contains("entry 0") && said.contains("tile/entries/000"),
        "{said}"
    );

    written_anew_it_is_refused(&mut plane).await;
    let second = at("second");
    let names = names.map(|(name, value)| (name, if name == "COPY" { &*second } else { value }));
    let (status, said) = skans(&command("Copy the log", &names), &[]).await;
    assert_eq!(status, 0, "{said}");
    let check = command("Check a copy of the log", &names);
    let (status, said) = skans(&check, &["--against", &older]).await;
    assert_eq!(status, 1, "{said}");
}

#[tokio::test]
async fn the_control_plane_of_another_cluster_is_a_witness() {
    let mut plane = Plane::start(&json!({})).await;
    let directory = tempfile::tempdir().unwrap();
    let (origin, key) = name_and_key(&plane).await;
    let vkey = prepare(directory.path(), &origin, &key).await;
    let own = json!({
        "trustDomain": "other.test", "cluster": "other",
        "witness": directory.path().join("witness.yaml"),
    });
    let mut other = Plane::start(&own).await;
    witness_it(&mut plane, &other.witness().to_string(), &vkey).await;
    grant(&plane, 0..10).await;
    witnessed(&plane, 10).await;
    // It remembers what it signed when it comes back.
    other.stop().await;
    other.restart().await;
    witness_it(&mut plane, &other.witness().to_string(), &vkey).await;
    written_anew_it_is_refused(&mut plane).await;
}

/// As an agent tells a denial; `function` is one of no arguments.
fn denial(module: &str, function: &str) -> Value {
    let node = |name: &str| format!("spiffe://lab.test/cluster/lab/ns/default/sa/lab/node/{name}");
    json!({
        "time": 1_795_000_000_000_u64,
        "src_endpoint": {"name": "a@host-a"},
        "dst_endpoint": {"name": "b@host-b"},
        "unmapped": {"skans": {
            "action": "call", "verdict": "deny", "reason": "policy", "principal": node("a"), "target": node("b"),
            "policyVersion": {"epoch": 1, "n": 1},
            "resources": [{"type": "Function", "module": module, "function": function, "arity": 0}],
        }},
    })
}

#[tokio::test]
async fn a_decision_is_made_again_from_its_event() {
    let mut plane = Plane::start(&json!({})).await;
    plane.stop().await;
    for (module, function) in [("init", "stop"), ("shop", "level")] {
        let body = denial(module, function).to_string();
        plane.sql(&format!(
            "INSERT INTO events (time_ms, kind, actor, object, body) VALUES (1, 'agent.denied', 'a', '{module}', '{body}')"
        ));
    }
    plane.restart().await;
    let socket = plane.socket().display().to_string();
    // The one is decided as the agent says that it was; that the other was refused by this set is not true.
    for (module, verdict, replayed) in [("init", "deny", true), ("shop", "permit", false)] {
        let path = format!("/v1/audit/events?object={module}");
        let found: Value = plane.owner().get(&path).await.unwrap();
        let number = found["items"][0]["seq"].to_string();
        let again = command(
            "Decide it again",
            &[("NUMBER", &number), ("SOCKET", &socket)],
        );
        let (status, said) = skans(&again, &["-o", "json"]).await;
        assert_eq!(status, 0, "{said}");
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(
            (&said[0]["verdict"], &said[0]["replayed"]),
            (&json!(verdict), &json!(replayed)),
            "{said}"
        );
    }
}

#[tokio::test]
async fn what_is_followed_and_found_holds_no_more_than_it_may() {
    let plane = Plane::start(&json!({})).await;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    grant(&plane, 0..3).await;
    let (socket, rules, key) = (
        plane.socket().display().to_string(),
        at("rules.yaml"),
        at("key"),
    );
    let names = [
        ("SOCKET", &*socket),
        ("NAME", "user-1"),
        ("rules.yaml", &rules),
        ("KEY-FILE", &key),
    ];
    let lines = |said: &str| -> Vec<Value> {
        let all = said.lines().map(serde_json::from_str);
        all.collect::<Result<_, _>>().unwrap()
    };
    let (status, said) = skans(
        &command("Follow it", &names),
        &["--after", "0", "--no-follow"],
    )
    .await;
    assert_eq!(status, 0, "{said}");
    let told: Value = plane.owner().get("/v1/events?limit=1000").await.unwrap();
    let told: Vec<_> = told["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["body"].clone())
        .collect();
    assert_eq!(lines(&said), told);
    let find = command("Find what was done about somebody", &names);
    let (status, said) = skans(&find, &["-o", "json"]).await;
    assert_eq!(status, 0, "{said}");
    let found: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    let (status, said) = skans(&find, &["--until", "yesterday"]).await;
    assert_eq!(status, 2, "{said}");

    let (_, text) = PAGE.split_once("# rules.yaml\n").unwrap();
    std::fs::write(&rules, text.split_once("```").unwrap().0).unwrap();
    std::fs::write(&key, "a key that stays where it is").unwrap();
    let private = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    std::fs::set_permissions(&key, private).unwrap();
    let without = command("Follow it without names", &names);
    let (status, said) = skans(&without, &["--after", "0", "--no-follow"]).await;
    assert_eq!(status, 0, "{said}");
    let granted: Vec<_> = lines(&said)
        .into_iter()
        .filter(|event| event["metadata"]["event_code"] == "role.granted")
        .collect();
    assert_eq!(granted.len(), 3);
    for event in granted {
        let name = event["actor"]["user"]["name"].as_str().unwrap();
        assert!(
            name.starts_with("hmac:") && event.get("unmapped").is_none(),
            "{event}"
        );
        assert_eq!(
            event["metadata"]["redacted"],
            json!(["/actor/user/name", "/unmapped"])
        );
    }
}
