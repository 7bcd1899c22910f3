//! Several replicas over one PostgreSQL, and who talks to them.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use skans_control::client::Client;
use skans_control::config::Config;
use skans_control::setup::{self, RootIs};
use skans_control::{Running, root};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::support::{Agent, DOMAIN, configuration, metric};

pub struct Replicas {
    pub dir: TempDir,
    pub all: Vec<Replica>,
}

pub struct Replica {
    pub config: Config,
    running: Option<Running>,
    stopping: CancellationToken,
}

impl Replica {
    pub async fn start(&mut self) {
        self.stopping = CancellationToken::new();
        let running = skans_control::start(self.config.clone(), self.stopping.clone()).await;
        self.running = Some(running.unwrap());
    }

    pub async fn stop(&mut self) {
        self.stopping.cancel();
        if let Some(running) = self.running.take() {
            running.ended().await;
        }
    }

    pub fn owner(&self) -> Client {
        Client::Socket(self.config.socket())
    }

    pub async fn get(&self, path: &str) -> Value {
        self.owner().get(path).await.unwrap()
    }

    /// A person with these roles, who talks to this replica.
    pub async fn person(&self, name: &str, roles: &[&str]) -> Client {
        for role in roles {
            self.post(
                "/v1/grants",
                json!({ "user": name, "role": role, "scope": DOMAIN }),
            )
            .await;
        }
        let made = self.post("/v1/tokens", json!({ "person": name })).await;
        let dir = self.config.directory.join(format!("person-{name}"));
        skans_control::client::login(made["token"].as_str().unwrap(), &dir)
            .await
            .unwrap();
        Client::Person(dir)
    }

    pub async fn metric(&self, name: &str) -> Option<u64> {
        metric(self.running.as_ref().unwrap().admin, name).await
    }

    /// Events of a kind.
    pub async fn events(&self, kind: &str) -> Vec<Value> {
        let all = self.get("/v1/events?limit=1000").await;
        let all = all["items"].as_array().unwrap();
        all.iter()
            .filter(|one| one["kind"] == kind)
            .cloned()
            .collect()
    }

    /// The authorities, each with its name and state.
    pub async fn authorities(&self, kind: &str) -> Vec<(String, String)> {
        let all = self.get("/v1/authorities").await;
        let word = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
        all["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["kind"] == kind)
            .map(|one| (word(one, "id"), word(one, "state")))
            .collect()
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.owner().send("POST", path, &body).await.unwrap()
    }

    pub fn address(&self) -> String {
        self.running.as_ref().unwrap().api.to_string()
    }

    pub async fn agent(&self, host: &str) -> Agent {
        let wanted = json!({ "register": { "name": host, "names": [format!("*@{host}")] } });
        let token = self.post("/v1/tokens", wanted).await["token"]
            .as_str()
            .unwrap()
            .to_owned();
        Agent::enrol(&token, host).await.unwrap()
    }
}

impl Replicas {
    pub async fn new(cluster: &Cluster, database: &str, count: usize) -> Self {
        Self::with(cluster, database, count, "", true).await
    }

    /// With more lines in the configuration, and the root's key at hand or not.
    pub async fn with(
        cluster: &Cluster,
        database: &str,
        count: usize,
        more: &str,
        root_at_hand: bool,
    ) -> Self {
        cluster.create_database(database);
        let dir = tempfile::tempdir().unwrap();
        let root_dir = dir.path().join("root");
        root::init(&root_dir, DOMAIN, Duration::from_secs(86_400 * 30)).unwrap();
        let config = |number: usize| {
            let url = cluster.config(database).url;
            let key = dir.path().join("encryption.key");
            let more = format!(
                "{more}database: {{ postgres: {{ url: \"{url}\" }} }}\nencryptionKey: {{ file: {} }}\n",
                key.display()
            );
            let mut config = configuration(dir.path().join(format!("c{number}")), &root_dir, &more);
            config.name = format!("c{number}");
            if !root_at_hand {
                config.authority.root = None;
            }
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

    pub async fn stop(&mut self) {
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
