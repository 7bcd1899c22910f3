//! Several replicas over one PostgreSQL: any of them enrols, issues and revokes; what one writes, agents of all hear of.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skans_api::v1::watch_reply::Message;
use skans_control::client::Client;
use skans_control::config::Config;
use skans_control::setup::{self, RootIs};
use skans_control::{Running, root};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::support::{Agent, DOMAIN, PATIENCE, configuration, eventually};

struct Replicas {
    dir: TempDir,
    all: Vec<Replica>,
}

struct Replica {
    config: Config,
    running: Option<Running>,
    stopping: CancellationToken,
}

impl Replica {
    async fn start(&mut self) {
        self.stopping = CancellationToken::new();
        let running = skans_control::start(self.config.clone(), self.stopping.clone()).await;
        self.running = Some(running.unwrap());
    }

    async fn stop(&mut self) {
        self.stopping.cancel();
        if let Some(running) = self.running.take() {
            running.ended().await;
        }
    }

    fn owner(&self) -> Client {
        Client::Socket(self.config.socket())
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.owner().send("POST", path, &body).await.unwrap()
    }

    fn address(&self) -> String {
        self.running.as_ref().unwrap().api.to_string()
    }

    async fn agent(&self, host: &str) -> Agent {
        let wanted = json!({ "register": { "name": host, "names": [format!("*@{host}")] } });
        let token = self.post("/v1/tokens", wanted).await["token"]
            .as_str()
            .unwrap()
            .to_owned();
        Agent::enrol(&token, host).await.unwrap()
    }
}

impl Replicas {
    async fn new(cluster: &Cluster, database: &str, count: usize) -> Self {
        cluster.create_database(database);
        let dir = tempfile::tempdir().unwrap();
        let root_dir = dir.path().join("root");
        root::init(&root_dir, DOMAIN, Duration::from_secs(86_400 * 30)).unwrap();
        let config = |number: usize| {
            let url = cluster.config(database).url;
            let key = dir.path().join("encryption.key");
            let more = format!(
                "database: {{ postgres: {{ url: \"{url}\" }} }}\nencryptionKey: {{ file: {} }}\n",
                key.display()
            );
            let mut config = configuration(dir.path().join(format!("c{number}")), &root_dir, &more);
            config.name = format!("c{number}");
            config
        };
        setup::init(&config(1), &RootIs::Here(root_dir.clone()))
            .await
            .unwrap();
        let mut all = Vec::new();
        for number in 1..=count {
            let mut replica = Replica {
                config: config(number),
                running: None,
                stopping: CancellationToken::new(),
            };
            replica.start().await;
            all.push(replica);
        }
        Self { dir, all }
    }

    async fn stop(&mut self) {
        for replica in &mut self.all {
            replica.stop().await;
        }
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        for replica in &self.all {
            replica.stopping.cancel();
        }
        assert!(Path::new(self.dir.path()).exists());
    }
}

async fn status(replica: &Replica) -> Value {
    replica.owner().get("/v1/status").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_writes_agents_of_all_hear_of() {
    let mut replicas = Replicas::new(Cluster::shared(), "hear", 3).await;
    let mut agents = Vec::new();
    let mut watches = Vec::new();
    for (number, replica) in replicas.all.iter().enumerate() {
        // Enrolled at one, served by another.
        let mut agent = replica.agent(&format!("host-{number}")).await;
        agent.address = replicas.all[(number + 1) % 3].address();
        agent.renew().await.unwrap();
        let mut watch = agent.watch().await;
        watch
            .until(|message| matches!(message, Message::Head(_)).then_some(()))
            .await;
        agents.push(agent);
        watches.push(watch);
    }
    let mut slowest = Duration::ZERO;
    for (number, replica) in replicas.all.iter().enumerate() {
        let began = Instant::now();
        let node = format!("x{number}@host-x");
        replica
            .post(
                "/v1/denials",
                json!({ "kind": "node", "target": node, "reason": "test" }),
            )
            .await;
        for watch in &mut watches {
            watch
                .until(|message| matches!(message, Message::DenyDelta(_)).then_some(()))
                .await;
            watch
                .until(|message| matches!(message, Message::Head(_)).then_some(()))
                .await;
        }
        slowest = slowest.max(began.elapsed());
    }
    println!("slowest of three revocations over three replicas: {slowest:?}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    for replica in &replicas.all {
        assert_eq!(status(replica).await["deny_seq"], 3);
    }
    replicas.stop().await;
}

/// Nothing twice, nothing that was acknowledged lost, and revocations go on, while the writer dies and is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn the_writer_dies_under_load() {
    let mut replicas = Replicas::new(Cluster::shared(), "dies", 3).await;
    let first = status(&replicas.all[1]).await["writer"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(first, "c1");
    let agent = Arc::new(replicas.all[1].agent("host-a").await);
    let over = Arc::new(AtomicBool::new(false));
    let issued = Arc::new(AtomicUsize::new(0));
    let mut load = JoinSet::new();
    for number in 0..4 {
        let (agent, over, issued) = (Arc::clone(&agent), Arc::clone(&over), Arc::clone(&issued));
        load.spawn(async move {
            let mut serials = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let name = format!("n{number}@host-a");
                let got = agent
                    .issue(&[&name], "host-a")
                    .await
                    .unwrap()
                    .remove(0)
                    .unwrap();
                serials.push(got.identity().serial.clone());
                issued.fetch_add(1, Ordering::Relaxed);
            }
            serials
        });
    }
    let some = |least: usize| {
        let issued = Arc::clone(&issued);
        async move { issued.load(Ordering::Relaxed) >= least }
    };
    eventually("load", || some(10)).await;
    replicas.all[0].stop().await;
    // The others take the fence at once when they need it, not when the silence is noticed.
    let began = Instant::now();
    replicas.all[2]
        .post(
            "/v1/denials",
            json!({ "kind": "node", "target": "x@y", "reason": "test" }),
        )
        .await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(status(&replicas.all[2]).await["writer"], "c3");
    let so_far = issued.load(Ordering::Relaxed);
    eventually("more load", || some(so_far + 10)).await;
    over.store(true, Ordering::Relaxed);
    let mut serials: Vec<String> = load.join_all().await.into_iter().flatten().collect();
    let count = serials.len();
    serials.sort();
    serials.dedup();
    assert_eq!(serials.len(), count, "a serial number twice");
    for serial in &serials {
        let row: Value = replicas.all[2]
            .owner()
            .get(&format!("/v1/identities/{serial}"))
            .await
            .unwrap();
        assert_eq!(row["serial"], *serial);
    }
    replicas.stop().await;
}

/// PostgreSQL goes and comes back: who watches stays, what cannot be kept is not handed out, and all goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_goes_and_comes_back() {
    let cluster = Cluster::start();
    let mut replicas = Replicas::new(&cluster, "goes", 1).await;
    let replica = &replicas.all[0];
    let mut agent = replica.agent("host-a").await;
    let mut watch = agent.watch().await;
    watch
        .until(|message| matches!(message, Message::Head(_)).then_some(()))
        .await;
    tokio::task::block_in_place(|| cluster.stop());
    let refused = tokio::time::timeout(PATIENCE, agent.renew()).await.unwrap();
    assert!(refused.is_err());
    let wanted = json!({ "kind": "node", "target": "x@y", "reason": "" }).to_string();
    assert!(
        replica
            .owner()
            .call("POST", "/v1/denials", Some(wanted))
            .await
            .is_err()
    );
    tokio::task::block_in_place(|| cluster.resume());
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = agent.renew().await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    replica
        .post(
            "/v1/denials",
            json!({ "kind": "node", "target": "x@y", "reason": "test" }),
        )
        .await;
    watch
        .until(|message| matches!(message, Message::DenyDelta(_)).then_some(()))
        .await;
    replicas.stop().await;
}
