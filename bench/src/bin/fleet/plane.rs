//! A `skans control` in a process of its own: started, killed, asked what it costs.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skans_control::client::Client;
use skans_control::setup::{self, RootIs};
use skans_control::{config, root};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::{Result, kernel};

/// For the process to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The control plane, and where its things are.
pub struct Plane {
    dir: TempDir,
    skans: PathBuf,
    config: PathBuf,
    client: Client,
    child: Child,
}

impl Plane {
    /// Makes one and starts it.
    pub async fn start(skans: &Path, dir: Option<&Path>) -> Result<Self> {
        let dir = match dir {
            Some(dir) => TempDir::new_in(dir),
            None => TempDir::new(),
        };
        let dir = dir.map_err(|error| error.to_string())?;
        let root_dir = dir.path().join("root");
        root::init(&root_dir, "fleet.test", Duration::from_secs(86_400))
            .map_err(|error| error.to_string())?;
        let path = dir.path().join("control.yaml");
        let free = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr());
        let (api, admin) = (
            free().map_err(|error| error.to_string())?,
            free().map_err(|error| error.to_string())?,
        );
        let text = format!(
            "apiVersion: skans.io/v1alpha1\ntrustDomain: fleet.test\nname: c1\ndirectory: {}\nlisten: {api}\n\
             admin: {{ listen: {admin} }}\nauthority: {{ lifetime: 12h }}\nlog: {{ level: warn }}\n\
             limits: {{ enrolmentsPerAddress: 1000000, issuesPerIdentity: 1000000, maxConnections: 200000, maxPending: 65536 }}\n",
            dir.path().join("control").display()
        );
        fs::write(&path, text).map_err(|error| error.to_string())?;
        let made = config::load(&path).map_err(|error| error.to_string())?;
        setup::init(&made, &RootIs::Here(root_dir))
            .await
            .map_err(|error| error.to_string())?;
        let child = spawn(skans, &path)?;
        let plane = Self {
            client: Client::Socket(made.socket()),
            dir,
            skans: skans.to_owned(),
            config: path,
            child,
        };
        plane.ready().await?;
        Ok(plane)
    }

    async fn ready(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.client.get::<Value>("/v1/status").await.is_err() {
            if Instant::now() > deadline {
                return Err("the control plane does not come up".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// One that works for any host, for each agent.
    pub async fn tokens(&self, count: u32, gate: &Arc<Semaphore>) -> Result<Vec<String>> {
        let first = json!({ "register": { "name": "fleet", "names": ["*@*"] } });
        let mut tokens = vec![self.token(&first).await?];
        let mut all = JoinSet::new();
        for _ in 1..count {
            let (client, gate) = (self.client.clone(), Arc::clone(gate));
            all.spawn(async move {
                let _place = gate.acquire().await;
                token(&client, &json!({ "registration": "fleet" })).await
            });
        }
        while let Some(done) = all.join_next().await {
            tokens.push(done.map_err(|error| error.to_string())??);
        }
        Ok(tokens)
    }

    async fn token(&self, wanted: &Value) -> Result<String> {
        token(&self.client, wanted).await
    }

    /// Denies a node.
    pub async fn deny(&self, node: &str) -> Result<()> {
        let wanted = json!({ "kind": "node", "target": node, "reason": "measured" });
        let denied = self
            .client
            .send::<Value>("POST", "/v1/denials", &wanted)
            .await;
        denied.map(drop).map_err(|error| error.to_string())
    }

    /// How many certificates the store holds that have not run out.
    pub async fn certificates(&self) -> Result<u64> {
        let status: Value = self
            .client
            .get("/v1/status")
            .await
            .map_err(|error| error.to_string())?;
        status["certificates"]
            .as_u64()
            .ok_or_else(|| "no number of certificates".to_owned())
    }

    /// Looks whether each of these is in the store.
    pub async fn must_know(&self, serials: Vec<String>, gate: &Arc<Semaphore>) -> Result<()> {
        let mut all = JoinSet::new();
        for serial in serials {
            let (client, gate) = (self.client.clone(), Arc::clone(gate));
            all.spawn(async move {
                let _place = gate.acquire().await;
                let found = client
                    .get::<Value>(&format!("/v1/identities/{serial}"))
                    .await;
                found
                    .map(drop)
                    .map_err(|error| format!("{serial}: {error}"))
            });
        }
        while let Some(done) = all.join_next().await {
            done.map_err(|error| error.to_string())??;
        }
        Ok(())
    }

    /// Processor time of the process so far.
    pub fn cpu(&self) -> Result<Duration> {
        kernel::cpu(self.id()?)
    }

    /// Memory of the process, in bytes.
    pub fn memory(&self) -> Result<u64> {
        kernel::memory(self.id()?)
    }

    fn id(&self) -> Result<u32> {
        self.child
            .id()
            .ok_or_else(|| "the control plane has ended".to_owned())
    }

    /// How many times a second the disk under the store can be made to keep 4 KiB.
    pub fn fsyncs(&self) -> Result<f64> {
        let path = self.dir.path().join("fsync");
        let mut file = fs::File::create(&path).map_err(|error| error.to_string())?;
        let (began, mut count) = (Instant::now(), 0.0);
        while began.elapsed() < Duration::from_secs(1) {
            file.write_all(&[0; 4096])
                .and_then(|()| file.sync_data())
                .map_err(|error| error.to_string())?;
            count += 1.0;
        }
        let _ = fs::remove_file(path);
        Ok(count / began.elapsed().as_secs_f64())
    }

    /// SIGKILL, and again.
    pub async fn kill_and_restart(&mut self) -> Result<()> {
        self.child.kill().await.map_err(|error| error.to_string())?;
        self.child = spawn(&self.skans, &self.config)?;
        self.ready().await
    }

    /// Stops it, by its id.
    pub async fn stop(mut self) -> Result<()> {
        self.child.kill().await.map_err(|error| error.to_string())
    }
}

async fn token(client: &Client, wanted: &Value) -> Result<String> {
    let made: Value = client
        .send("POST", "/v1/tokens", wanted)
        .await
        .map_err(|error| error.to_string())?;
    made["token"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| "no token".to_owned())
}

fn spawn(skans: &Path, config: &Path) -> Result<Child> {
    Command::new(skans)
        .args(["control", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{}: {error}", skans.display()))
}
