//! Three control planes over one PostgreSQL, as processes: while agents enrol, the one that writes is killed, and PostgreSQL
//! is stopped and started. Nothing is issued twice, nothing that was acknowledged is lost, and revocations still go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skans_api::v1;
use skans_api::v1::enrollment_client::EnrollmentClient;
use skans_control::client::Client;
use skans_control::{config, root, setup};
use skans_identity::control_tls;
use skans_identity::csr;
use skans_identity::first_trust::FirstTrust;
use skans_identity::peer::PeerIdentity;
use skans_identity::token::JoinToken;
use skans_lab::plan::find_skans;
use skans_lab::until;
use skans_promises::PATIENCE;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tonic::Code;

use crate::plane_client::channel;
use crate::postgres::Cluster;

/// Agents that enrol: enough for some to be under way at each blow.
const AGENTS: usize = 60;
/// How many at a time.
const AT_ONCE: usize = 6;

/// One `skans control`.
struct Replica {
    file: PathBuf,
    config: config::Config,
    log: PathBuf,
    process: Option<Child>,
    address: Option<SocketAddr>,
}

impl Replica {
    /// Starts it, and waits until it answers.
    async fn start(&mut self) {
        let log = std::fs::File::create(&self.log).unwrap();
        let mut command = Command::new(find_skans().unwrap());
        command
            .args(["control", "--config"])
            .arg(&self.file)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        self.process = Some(command.spawn().unwrap());
        until(PATIENCE, "a replica is ready", async || {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            let ready = said.lines().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                line["api"].as_str()?.parse().ok()
            });
            self.address = ready;
            let status: Result<Value, _> = self.owner().get("/v1/status").await;
            match (ready, status) {
                (Some(_), Ok(_)) => Ok(()),
                _ => Err(said),
            }
        })
        .await
        .unwrap();
    }

    /// SIGKILL.
    async fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().await.unwrap();
    }

    fn owner(&self) -> Client {
        Client::Socket(self.config.socket())
    }

    async fn status(&self) -> Value {
        self.owner().get("/v1/status").await.unwrap()
    }

    async fn deny(&self, node: &str) -> Value {
        let body = json!({"kind": "node", "target": node, "reason": "a test"});
        self.owner()
            .send("POST", "/v1/denials", &body)
            .await
            .unwrap()
    }
}

/// Three of them.
async fn replicas(directory: &std::path::Path, postgres: &Cluster) -> Vec<Replica> {
    postgres.create_database("three");
    let root_dir = directory.join("root");
    root::init(&root_dir, "lab.test", Duration::from_secs(86_400)).unwrap();
    let mut all = Vec::new();
    for number in 1..=3 {
        let name = format!("c{number}");
        let text = json!({
            "apiVersion": config::API_VERSION,
            "trustDomain": "lab.test",
            "cluster": "lab",
            "name": name,
            "directory": directory.join(&name),
            "database": {"postgres": {"url": postgres.config("three").url}},
            "encryptionKey": {"file": directory.join("encryption.key")},
            "listen": "127.0.0.1:0",
            "admin": {"listen": "127.0.0.1:0"},
            "limits": {"enrolmentsPerAddress": 100_000, "issuesPerIdentity": 100_000},
            "log": {"format": "json"},
        })
        .to_string();
        let file = directory.join(format!("{name}.yaml"));
        std::fs::write(&file, &text).unwrap();
        let config = config::parse(&text, "test", |_| None).unwrap();
        if number == 1 {
            setup::init(&config, &setup::RootIs::Here(root_dir.clone()))
                .await
                .unwrap();
        }
        let log = directory.join(format!("{name}.log"));
        let mut replica = Replica {
            file,
            config,
            log,
            process: None,
            address: None,
        };
        replica.start().await;
        all.push(replica);
    }
    all
}

/// Presents a token with a request to one replica: the leaf, or the code of the refusal.
async fn present(address: SocketAddr, token: &JoinToken, csr: &[u8]) -> Result<Vec<u8>, Code> {
    let first = FirstTrust::new(*token.root_spki_sha256(), None);
    let config = control_tls::client_config(first, None, control_tls::HTTP2).unwrap();
    let asked = async {
        let channel = channel(&address.to_string(), config)
            .await
            .map_err(|_| Code::Unavailable)?;
        let evidence = v1::enrol_request::Evidence::JoinToken(v1::JoinToken {
            id: token.id(),
            secret: token.secret().to_vec(),
        });
        let request = v1::EnrolRequest {
            evidence: Some(evidence),
            csr: csr.to_vec(),
            host: "host.lab".to_owned(),
        };
        let answer = EnrollmentClient::new(channel).enrol(request).await;
        let answer = answer.map_err(|status| status.code())?;
        Ok(answer.into_inner().chain.swap_remove(0))
    };
    let patience = Duration::from_secs(5);
    tokio::time::timeout(patience, asked)
        .await
        .unwrap_or(Err(Code::DeadlineExceeded))
}

/// What those who enrol share.
struct Load {
    tokens: Mutex<Vec<(usize, String)>>,
    /// Where replicas answer; that of a killed one stays, so that some find nobody.
    addresses: Mutex<Vec<SocketAddr>>,
    enrolled: AtomicUsize,
}

impl Load {
    fn address(&self, number: usize) -> SocketAddr {
        let all = self.addresses.lock().unwrap();
        all[number % all.len()]
    }

    /// One agent that does not give up: asks any replica, with the same key, until it has a certificate or is told that it
    /// gets none.
    async fn agent(&self, token: &JoinToken, number: usize) -> Option<Vec<u8>> {
        let (_, csr) = csr::fresh().unwrap();
        let mut attempt = number;
        let deadline = Instant::now() + PATIENCE * 3;
        loop {
            match present(self.address(attempt), token, &csr).await {
                Ok(leaf) => {
                    self.enrolled.fetch_add(1, Ordering::Relaxed);
                    return Some(leaf);
                }
                Err(Code::PermissionDenied) => return None,
                Err(_) => {}
            }
            assert!(Instant::now() < deadline, "an agent does not get in");
            attempt += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Two agents for each token, at once, at different replicas: what each token gave.
    async fn work(&self) -> Vec<(usize, Vec<Vec<u8>>)> {
        let mut got = Vec::new();
        loop {
            let next = self.tokens.lock().unwrap().pop();
            let Some((number, text)) = next else {
                return got;
            };
            let token = JoinToken::parse(&text).unwrap();
            let (one, other) =
                tokio::join!(self.agent(&token, number), self.agent(&token, number + 1));
            got.push((number, one.into_iter().chain(other).collect()));
        }
    }

    async fn reached(&self, count: usize) {
        until(PATIENCE * 2, "agents enrol", async || {
            match self.enrolled.load(Ordering::Relaxed) {
                now if now >= count => Ok(()),
                now => Err(format!("{now} of {count}")),
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_issued_twice_and_nothing_acknowledged_is_lost() {
    let postgres = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    let mut replicas = replicas(directory.path(), &postgres).await;
    assert_eq!(replicas[1].status().await["writer"], "c1");
    let mut tokens = Vec::new();
    for number in 0..AGENTS {
        let body = json!({"register": {"name": format!("r{number}"), "names": ["*@host.lab"]}});
        let made: Value = replicas[1]
            .owner()
            .send("POST", "/v1/tokens", &body)
            .await
            .unwrap();
        tokens.push((number, made["token"].as_str().unwrap().to_owned()));
    }
    let load = Arc::new(Load {
        tokens: Mutex::new(tokens),
        addresses: Mutex::new(replicas.iter().map(|one| one.address.unwrap()).collect()),
        enrolled: AtomicUsize::new(0),
    });
    let mut working = JoinSet::new();
    for _ in 0..AT_ONCE {
        let load = Arc::clone(&load);
        working.spawn(async move { load.work().await });
    }

    // The writer dies; another takes its place when it is needed, and not when the silence is noticed.
    load.reached(AGENTS / 6).await;
    replicas[0].kill().await;
    let began = Instant::now();
    assert_eq!(replicas[2].deny("x1@host.lab").await["seq"], 1);
    let first = began.elapsed();
    assert!(first < Duration::from_secs(5), "{first:?}");
    assert_eq!(replicas[1].status().await["writer"], "c3");
    load.reached(AGENTS / 3).await;

    // PostgreSQL goes, under the same load: nobody gets anything that is not kept.
    tokio::task::block_in_place(|| postgres.stop());
    let gone = json!({"kind": "node", "target": "x9@host.lab", "reason": ""});
    let refused: Result<Value, _> = replicas[1].owner().send("POST", "/v1/denials", &gone).await;
    assert!(refused.is_err(), "{refused:?}");
    let stood = load.enrolled.load(Ordering::Relaxed);
    assert!(stood < AGENTS, "there was load left");
    tokio::task::block_in_place(|| postgres.resume());
    until(PATIENCE, "a revocation goes", async || {
        let body = json!({"kind": "node", "target": "x2@host.lab", "reason": "a test"});
        let made: Result<Value, _> = replicas[1].owner().send("POST", "/v1/denials", &body).await;
        made.map(drop).map_err(|error| error.to_string())
    })
    .await
    .unwrap();
    load.reached(stood + 1).await;
    // The killed one comes back, and all three serve.
    replicas[0].start().await;
    load.addresses.lock().unwrap()[0] = replicas[0].address.unwrap();

    let mut leaves = BTreeMap::new();
    for (number, got) in working.join_all().await.into_iter().flatten() {
        assert_eq!(got.len(), 1, "token {number} let {} agents in", got.len());
        leaves.insert(number, got.into_iter().next().unwrap());
    }
    assert_eq!(leaves.len(), AGENTS);
    // What agents hold, every replica has.
    let mut serials = BTreeSet::new();
    for (number, leaf) in &leaves {
        let serial = PeerIdentity::from_der(&leaf.as_slice().into())
            .unwrap()
            .serial;
        let path = format!("/v1/identities/{serial}");
        let row: Value = replicas[number % 3].owner().get(&path).await.unwrap();
        assert_eq!(row["serial"], *serial);
        assert!(serials.insert(serial), "a serial number twice");
    }
    // And what the store has, agents hold: nothing was issued beside.
    let all: Value = replicas[0]
        .owner()
        .get("/v1/identities?limit=1000")
        .await
        .unwrap();
    let all = all["items"].as_array().unwrap().iter();
    let kept: BTreeSet<_> = all
        .filter(|one| one["agent"] != "")
        .map(|one| one["serial"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kept, serials);
    // One that was refused while nothing could be kept may have been kept after all; those that were acknowledged must.
    for (at, replica) in replicas.iter().enumerate() {
        let listed: Value = replica.owner().get("/v1/denials").await.unwrap();
        for node in ["x1@host.lab", "x2@host.lab"] {
            let text = listed.to_string();
            assert!(text.contains(node), "{node} at replica {at}: {text}");
        }
    }
    println!("the first revocation after the writer was killed: {first:?}");
}
