//! A control plane for tests, in this process: it can be stopped, and come back at the same port.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skans_control::client::Client;
use skans_control::config::{self, Config};
use skans_control::{Running, backup, root, setup};
use skans_lab::plan::find_skans;
use skans_lab::{HostPlan, NodePlan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// One replica on SQLite, with a root of its own.
pub struct Plane {
    directory: tempfile::TempDir,
    own: Value,
    address: SocketAddr,
    running: Option<(Running, CancellationToken)>,
}

impl Plane {
    /// Makes one, and starts it. `own` goes over its configuration. Its root is elsewhere once it runs.
    pub async fn start(own: &Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::within(directory, own).await
    }

    /// The same with its root at hand, so that it replaces its issuing authorities by itself: each lives for `lifetime`.
    pub async fn with_root(lifetime: &str, own: &Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut own = own.clone();
        own["authority"] = json!({"root": directory.path().join("root"), "lifetime": lifetime});
        Self::within(directory, &own).await
    }

    async fn within(directory: tempfile::TempDir, own: &Value) -> Self {
        let mut plane = Self {
            directory,
            own: own.clone(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            running: None,
        };
        let root = plane.make_root("root");
        let config = plane.config();
        setup::init(&config, &setup::RootIs::Here(root))
            .await
            .unwrap();
        plane.restart().await;
        plane
    }

    fn config(&self) -> Config {
        let mut config = json!({
            "apiVersion": config::API_VERSION,
            "trustDomain": "lab.test",
            "cluster": "lab",
            "name": "one",
            "directory": self.directory.path().join("control"),
            "listen": self.address,
            "admin": {"listen": "127.0.0.1:0"},
        });
        for (key, value) in self.own.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        config::parse(&config.to_string(), "test", |_| None).unwrap()
    }

    /// Runs again what does not run, at the same port.
    pub async fn restart(&mut self) {
        let stop = CancellationToken::new();
        let running = skans_control::start(self.config(), stop.clone())
            .await
            .unwrap();
        self.address = running.api;
        self.running = Some((running, stop));
    }

    /// Nobody answers any more.
    pub async fn stop(&mut self) {
        if let Some((running, stop)) = self.running.take() {
            stop.cancel();
            running.ended().await;
        }
    }

    /// Changes its configuration from its next start on.
    pub fn configure(&mut self, key: &str, value: &Value) {
        self.own[key] = value.clone();
    }

    /// Does something to its database that no release does. It must not run.
    pub fn sql(&self, statements: &str) {
        assert!(self.running.is_none(), "it runs");
        let path = self.config().sqlite();
        let database = rusqlite::Connection::open(path).unwrap();
        database.execute_batch(statements).unwrap();
    }

    /// Where its API is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.config().socket()
    }

    /// Where the witness is asked that runs beside it.
    pub fn witness(&self) -> SocketAddr {
        let (running, _) = self.running.as_ref().expect("it runs");
        running.witness.expect("it has none")
    }

    /// What it counts.
    pub async fn metrics(&self) -> String {
        let (running, _) = self.running.as_ref().expect("it runs");
        let mut socket = TcpStream::connect(running.admin).await.unwrap();
        let asked = b"GET /metrics HTTP/1.1\r\nhost: control\r\nconnection: close\r\n\r\n";
        socket.write_all(asked).await.unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        text
    }

    /// Its owner, at the Unix socket.
    pub fn owner(&self) -> Client {
        Client::Socket(self.config().socket())
    }

    /// A join token for the agent of a host, in a file: for the nodes of `hosts` host parts, as workload `lab`.
    pub async fn token(&self, label: &str, names: &[&str]) -> PathBuf {
        self.token_of("lab", label, names).await
    }

    /// The same as another workload.
    pub async fn token_of(&self, workload: &str, label: &str, names: &[&str]) -> PathBuf {
        let body = json!({"register": {
            "name": label, "names": names, "workload": workload, "cli": true,
        }});
        let made: Value = self
            .owner()
            .send("POST", "/v1/tokens", &body)
            .await
            .unwrap();
        let path = self.directory.path().join(format!("{label}.token"));
        write_secret(&path, made["token"].as_str().unwrap());
        path
    }

    /// Where the agent of a host keeps its state.
    pub fn state(&self, label: &str) -> PathBuf {
        self.directory.path().join(format!("{label}.agent"))
    }

    /// A host whose agent enrols here, with one node `<label>@<label>.lab`; `own` goes over its configuration.
    pub async fn host(&self, label: &str, own: &Value) -> HostPlan {
        self.host_of(label, |node| node, own).await
    }

    /// The same, with something about the node changed.
    pub async fn host_of(
        &self,
        label: &str,
        node: impl FnOnce(NodePlan) -> NodePlan,
        own: &Value,
    ) -> HostPlan {
        let name = format!("{label}@{label}.lab");
        let token = self.token(label, &[&name]).await;
        let planned = NodePlan::new(&name).config(&json!({"workload": "lab"}));
        HostPlan::new(label)
            .node(node(planned))
            .config(&json!({"identity": {
                "authority": null,
                "control": {"joinToken": token, "stateDirectory": self.state(label)},
            }}))
            .config(own)
    }

    /// The certificate of the root, PEM.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root/root.pem")
    }

    /// What the root makes of a request of its issuing authority, PEM.
    pub fn sign(&self, request: &str) -> String {
        self.sign_by("root", request)
    }

    /// The same by another root, that [`Plane::make_root`] made.
    pub fn sign_by(&self, root: &str, request: &str) -> String {
        let life = Duration::from_secs(12 * 3600);
        let cluster = self.own["cluster"].as_str().unwrap_or("lab");
        root::sign(&self.root_directory(root), request, cluster, life).unwrap()
    }

    /// Its trust domain.
    pub fn trust_domain(&self) -> &str {
        self.own["trustDomain"].as_str().unwrap_or("lab.test")
    }

    /// Makes another root of the same trust domain, which nobody trusts yet. Where it is.
    pub fn make_root(&self, name: &str) -> PathBuf {
        let directory = self.root_directory(name);
        root::init(
            &directory,
            self.trust_domain(),
            Duration::from_secs(24 * 3600),
        )
        .unwrap();
        directory
    }

    /// Where a root is, with its key; the first one is called `root`.
    pub fn root_directory(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The authorities of a kind, newest first.
    pub async fn authorities(&self, kind: &str) -> Vec<Value> {
        let all: Value = self.owner().get("/v1/authorities").await.unwrap();
        let all = all["items"].as_array().unwrap().iter();
        all.filter(|one| one["kind"] == kind).cloned().collect()
    }

    /// A backup of it as it stands.
    pub async fn backup(&self) -> PathBuf {
        let file = self.directory.path().join("backup");
        let owner = self.owner();
        owner.download("POST", "/v1/backups", &file).await.unwrap();
        file
    }

    /// Puts what a backup has in the place of what it remembers, while nobody answers.
    pub async fn restore(&self, file: &Path) {
        assert!(self.running.is_none(), "stop it first");
        let config = self.config();
        for entry in std::fs::read_dir(&config.directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("control.db") {
                std::fs::remove_file(path).unwrap();
            }
        }
        backup::restore(&config, file).await.unwrap();
    }

    /// `skans control recover --new-epoch`, as an operator types it.
    pub async fn recover(&self) {
        let mut command = Command::new(find_skans().unwrap());
        command
            .args(["control", "recover", "--new-epoch", "--root"])
            .arg(self.root_directory("root"))
            .env("SKANS_CONTROL_SOCKET", self.config().socket())
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        let done = command.output().await.unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    /// A second, as it is on this machine just now: where a denial of a node that nobody has a link with is acknowledged by every agent
    /// after milliseconds, that and little more; where that takes long, since the machine has other things to do, in proportion.
    pub async fn a_second(&self) -> Duration {
        let begun = Instant::now();
        self.deny("nobody@nowhere.lab", 30).await;
        Duration::from_secs(1) + 5 * begun.elapsed()
    }

    /// Revokes a node, and waits up to so many seconds until every agent that is connected says that it holds.
    pub async fn deny(&self, node: &str, wait: u64) -> Value {
        let body = json!({"kind": "node", "target": node, "reason": "a test"});
        let owner = self.owner();
        let made: Value = owner.send("POST", "/v1/denials", &body).await.unwrap();
        let path = format!("/v1/denials/{}?wait={wait}", made["seq"]);
        owner.get(&path).await.unwrap()
    }
}

fn write_secret(path: &std::path::Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
