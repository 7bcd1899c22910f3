//! Whoever was away for longer than an authority lives comes up all the same, lets nobody in, and is well again by one command.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use skans_control::client::Client;
use skans_lab::clock;
use skans_lab::control::{ControlProcess, Options};
use skans_lab::plan::find_skans;
use skans_lab::until;
use skans_promises::PATIENCE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

/// An authority lives for a week, and the next one is ready half a week before.
const MONTH: i64 = 30 * 24 * 3600;

/// What the port of its health says of it.
async fn ready(log: &Path) -> Result<String, String> {
    let said = std::fs::read_to_string(log).map_err(|error| error.to_string())?;
    let admin = said.lines().rev().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        Some(line["admin"].as_str()?.to_owned())
    });
    let admin = admin.ok_or("not ready yet")?;
    let answer = async {
        let mut socket = TcpStream::connect(&admin).await?;
        let asked = b"GET /readyz HTTP/1.1\r\nhost: control\r\nconnection: close\r\n\r\n";
        socket.write_all(asked).await?;
        let mut text = String::new();
        socket.read_to_string(&mut text).await?;
        Ok(text)
    };
    answer
        .await
        .map_err(|error: std::io::Error| error.to_string())
}

async fn says(log: &Path, wanted: &str) {
    until(PATIENCE, "its health", async || {
        let found = ready(log).await?;
        if found.contains(wanted) {
            Ok(())
        } else {
            Err(format!("{found}, wanted {wanted}"))
        }
    })
    .await
    .unwrap();
}

/// What somebody does there with `skans ca`.
async fn ca(skans: &Path, arguments: &[&str]) -> String {
    let done = Command::new(skans)
        .arg("ca")
        .args(arguments)
        .output()
        .await
        .unwrap();
    assert!(done.status.success(), "{arguments:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

async fn off_for_a_month(root: bool) {
    let directory = tempfile::tempdir().unwrap();
    let _segments = clock::Segments::from_now_on();
    let library = clock::library().unwrap_or_else(|missing| panic!("{missing}"));
    let skans = find_skans().unwrap();
    let skans = clock::shifted(&skans, directory.path(), Some(&library)).unwrap();
    let at: PathBuf = directory.path().join("control");
    let leaf = Duration::from_secs(600);
    let mut control = ControlProcess::start(&skans, &at, Options { leaf })
        .await
        .unwrap();
    let client = Client::Socket(control.socket());
    // The next one is there, and runs out as well.
    let _: Value = (client.send("POST", "/v1/authorities", &json!({})).await).unwrap();
    let before: Value = client.get("/v1/authorities").await.unwrap();
    control.kill().await.unwrap();
    if !root {
        let text = std::fs::read(control.config()).unwrap();
        let mut config: Value = serde_json::from_slice(&text).unwrap();
        config["authority"] = json!({});
        std::fs::write(control.config(), config.to_string()).unwrap();
    }
    clock::set(directory.path(), MONTH).unwrap();
    let log = at.join("control.log");
    std::fs::write(&log, "").unwrap();
    control.restart().await.unwrap();

    says(&log, "no active authority").await;
    // What was asked of it by who sits there is done, and stands in the log.
    let denial = json!({"kind": "node", "target": "x@y", "reason": "test"});
    let _: Value = client.send("POST", "/v1/denials", &denial).await.unwrap();
    let told = if root {
        "when the clock has gone right for an hour, or by skans ca rotate"
    } else {
        "prepare the next one (skans ca rotate)"
    };
    until(PATIENCE, "it says what to do", async || {
        let said = std::fs::read_to_string(&log).unwrap();
        if said.contains(told) {
            Ok(())
        } else {
            Err(said)
        }
    })
    .await
    .unwrap();
    let after: Value = client.get("/v1/authorities").await.unwrap();
    assert_eq!(after, before, "made by a clock that nobody believes yet");

    let socket = control.socket().display().to_string();
    let request = directory.path().join("issuer.csr").display().to_string();
    let said = ca(
        &skans,
        &["rotate", "--socket", &socket, "--request", &request],
    )
    .await;
    if !root {
        let id = said.split("ca import ").nth(1).unwrap();
        let id = id.split_whitespace().next().unwrap();
        let dir = at.join("root").display().to_string();
        let issuer = directory.path().join("issuer.pem").display().to_string();
        ca(
            &skans,
            &[
                "sign",
                "--dir",
                &dir,
                "--request",
                &request,
                "--cluster",
                "lab",
                "--out",
                &issuer,
            ],
        )
        .await;
        ca(
            &skans,
            &["import", id, "--certificate", &issuer, "--socket", &socket],
        )
        .await;
    }
    says(&log, "\r\n\r\nok\n").await;
    let all: Value = client.get("/v1/authorities").await.unwrap();
    let issuers = all["items"].as_array().unwrap().iter();
    let mut states: Vec<_> = issuers
        .filter(|one| one["kind"] == "issuer")
        .map(|one| one["state"].as_str().unwrap())
        .collect();
    states.sort_unstable();
    assert_eq!(states, ["active", "expired", "retired"]);
    control.terminate(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn with_the_root_at_hand() {
    off_for_a_month(true).await;
}

#[tokio::test]
async fn with_the_root_elsewhere() {
    off_for_a_month(false).await;
}
