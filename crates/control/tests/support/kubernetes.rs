//! A real Kubernetes API server with its etcd, on ephemeral loopback ports, in a directory that goes away.
//!
//! `script/kubernetes` builds what is started here.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Both are up within three seconds on a quiet machine.
const START: Duration = Duration::from_secs(90);
/// The administrator's token of these servers.
const ADMIN: &str = "administrator-of-a-test";

/// A running API server. Dropping it ends both processes.
pub struct Kubernetes {
    _processes: [Reaped; 2],
    port: u16,
    directory: TempDir,
}

struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Kubernetes {
    /// Starts both and waits until the API server is ready. Two of them share nothing, keys included.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // More than one crate of the repository uses this.
        let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let programs = above
            .map(|directory| directory.join(".cache/kubernetes"))
            .find(|programs| programs.join("kube-apiserver").exists())
            .unwrap_or_else(|| {
                panic!("no .cache/kubernetes/kube-apiserver: build it with script/kubernetes")
            });
        let deadline = Instant::now() + START;
        loop {
            match Self::attempt(&programs, directory.path(), deadline) {
                Some((processes, port)) => {
                    let server = Self {
                        _processes: processes,
                        port,
                        directory,
                    };
                    // The one called `default` comes some time after the server says that it is ready.
                    server.call(
                        "POST",
                        "/api/v1/namespaces",
                        &json!({"metadata": {"name": "tests"}}),
                    );
                    return server;
                }
                // Somebody else took a port between our look and its use.
                None => assert!(Instant::now() < deadline, "not up within {START:?}"),
            }
        }
    }

    fn attempt(programs: &Path, directory: &Path, deadline: Instant) -> Option<([Reaped; 2], u16)> {
        let [client, peer, port] = free_ports();
        let at = |name: &str| directory.join(name).display().to_string();
        let log = |name| std::fs::File::create(directory.join(name)).unwrap();
        run(Command::new("openssl")
            .args([
                "ecparam",
                "-name",
                "prime256v1",
                "-genkey",
                "-noout",
                "-out",
            ])
            .arg(at("sa.key")));
        run(Command::new("openssl").args([
            "ec",
            "-pubout",
            "-in",
            &at("sa.key"),
            "-out",
            &at("sa.pub"),
        ]));
        std::fs::write(
            at("tokens.csv"),
            format!("{ADMIN},admin,1,\"system:masters\"\n"),
        )
        .unwrap();
        let _ = std::fs::remove_dir_all(at("etcd"));
        let etcd = Command::new(programs.join("etcd"))
            .args(["--data-dir", &at("etcd")])
            .args([
                "--listen-client-urls",
                &format!("http://127.0.0.1:{client}"),
            ])
            .args([
                "--advertise-client-urls",
                &format!("http://127.0.0.1:{client}"),
            ])
            .args(["--listen-peer-urls", &format!("http://127.0.0.1:{peer}")])
            .stdout(log("etcd.out"))
            .stderr(log("etcd.log"))
            .spawn()
            .unwrap();
        let etcd = Reaped(etcd);
        let server = Command::new(programs.join("kube-apiserver"))
            .args(["--etcd-servers", &format!("http://127.0.0.1:{client}")])
            .args([
                "--bind-address",
                "127.0.0.1",
                "--secure-port",
                &port.to_string(),
            ])
            .args(["--cert-dir", &at("certs")])
            .args(["--service-account-issuer", "https://kubernetes.default.svc"])
            .args(["--service-account-key-file", &at("sa.pub")])
            .args(["--service-account-signing-key-file", &at("sa.key")])
            .args([
                "--authorization-mode",
                "RBAC",
                "--token-auth-file",
                &at("tokens.csv"),
            ])
            .args(["--service-cluster-ip-range", "10.0.0.0/24"])
            // No controller runs that would give each namespace its account.
            .args(["--disable-admission-plugins", "ServiceAccount"])
            .stdout(log("server.out"))
            .stderr(log("server.log"))
            .spawn()
            .unwrap();
        let mut server = Reaped(server);
        while Instant::now() < deadline {
            if server.0.try_wait().unwrap().is_some() {
                return None;
            }
            let ready = Command::new("curl")
                .args(["-sSf", "-o", "/dev/null", "--max-time", "5", "--cacert"])
                .arg(directory.join("certs/apiserver.crt"))
                .args(["-H", &format!("Authorization: Bearer {ADMIN}")])
                .arg(format!("https://127.0.0.1:{port}/readyz"))
                .stderr(Stdio::null())
                .status()
                .unwrap();
            if ready.success() {
                return Some(([server, etcd], port));
            }
        }
        None
    }

    /// `host:port` of the API server.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The certificate to verify it by.
    pub fn authorities(&self) -> PathBuf {
        self.directory.path().join("certs/apiserver.crt")
    }

    /// Writes a file beside the server's own; its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Creates a service account in the namespace `tests`.
    pub fn service_account(&self, name: &str) {
        self.call(
            "POST",
            "/api/v1/namespaces/tests/serviceaccounts",
            &json!({"metadata": {"name": name}}),
        );
    }

    /// Lets a service account review tokens, as `system:auth-delegator` does.
    pub fn may_review(&self, account: &str) {
        self.call(
            "POST",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            &json!({
                "metadata": {"name": account},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
                "subjects": [{"kind": "ServiceAccount", "namespace": "tests", "name": account}],
            }),
        );
    }

    /// Creates a pod that runs nowhere; its UID.
    pub fn pod(&self, name: &str, account: &str) -> String {
        let pod = self.call(
            "POST",
            "/api/v1/namespaces/tests/pods",
            &json!({
                "metadata": {"name": name},
                "spec": {"serviceAccountName": account, "containers": [{"name": "a", "image": "a"}]},
            }),
        );
        pod["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    /// Deletes a pod at once.
    pub fn delete_pod(&self, name: &str) {
        self.call(
            "DELETE",
            &format!("/api/v1/namespaces/tests/pods/{name}"),
            &json!({"gracePeriodSeconds": 0}),
        );
    }

    /// What a kubelet would put into the pod: a token of the account for an audience, bound to the pod if there is one.
    pub fn token(&self, account: &str, audience: &str, pod: Option<(&str, &str)>) -> String {
        let bound = pod.map(
            |(name, uid)| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}),
        );
        let made = self.call(
            "POST",
            &format!("/api/v1/namespaces/tests/serviceaccounts/{account}/token"),
            &json!({"spec": {"audiences": [audience], "expirationSeconds": 600, "boundObjectRef": bound}}),
        );
        made["status"]["token"].as_str().unwrap().to_owned()
    }

    /// Creates the objects of YAML documents at a path, as strictly as the server can: nothing in them may be unknown to it. What each
    /// then is.
    pub fn apply(&self, path: &str, documents: &str) -> Vec<Value> {
        let documents = documents.split("\n---\n").skip(1);
        documents
            .map(|one| {
                let path = format!("{path}?fieldValidation=Strict");
                self.send("POST", &path, "application/yaml", one)
            })
            .collect()
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.send(method, path, "application/json", &body.to_string())
    }

    fn send(&self, method: &str, path: &str, kind: &str, body: &str) -> Value {
        let mut curl = Command::new("curl")
            .args([
                "-sSf",
                "--max-time",
                "20",
                "-X",
                method,
                "--data-binary",
                "@-",
            ])
            .args(["-H", &format!("Content-Type: {kind}"), "--cacert"])
            .arg(self.authorities())
            .args(["-H", &format!("Authorization: Bearer {ADMIN}")])
            .arg(format!("https://{}{path}", self.address()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = curl.stdin.take().unwrap();
        input.write_all(body.as_bytes()).unwrap();
        drop(input);
        let answer = curl.wait_with_output().unwrap();
        assert!(answer.status.success(), "{method} {path}: {answer:?}");
        serde_json::from_slice(&answer.stdout).unwrap()
    }
}

fn run(command: &mut Command) {
    let done = command.stderr(Stdio::null()).status().unwrap();
    assert!(done.success(), "{command:?}");
}

/// Ports that were free a moment ago; held together, so that they differ.
fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}
