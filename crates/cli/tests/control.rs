//! A control plane as an operator runs it: the commands of docs/control.md, in their order, against a real process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers as well"
)]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const SKANS: &str = env!("CARGO_BIN_EXE_skans");

struct Plane {
    dir: TempDir,
    child: Option<Child>,
}

impl Drop for Plane {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free() -> String {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

impl Plane {
    fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (api, admin) = (free(), free());
        let text = format!(
            "apiVersion: skans.io/v1alpha1\ntrustDomain: prod.example\nname: c1\ndirectory: {}\nlisten: {api}\n\
             advertise: [\"{api}\"]\nadmin: {{ listen: {admin} }}\n{more}",
            dir.path().join("control").display()
        );
        std::fs::write(dir.path().join("control.yaml"), text).unwrap();
        Self { dir, child: None }
    }

    fn skans(&self, arguments: &[&str]) -> Output {
        self.skans_with(arguments, Stdio::null())
    }

    fn skans_with(&self, arguments: &[&str], input: Stdio) -> Output {
        Command::new(SKANS)
            .args(arguments)
            .current_dir(self.dir.path())
            .env_clear()
            .env(
                "SKANS_CONTROL_SOCKET",
                self.dir.path().join("control/control.sock"),
            )
            .stdin(input)
            .output()
            .unwrap()
    }

    /// What it says on standard output; it must succeed.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.skans(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["--output", "json"]);
        serde_json::from_str(&self.ok(&all)).unwrap()
    }

    fn code(&self, arguments: &[&str]) -> i32 {
        self.skans(arguments).status.code().unwrap()
    }

    fn start(&mut self) {
        let child = Command::new(SKANS)
            .args(["control", "--config", "control.yaml"])
            .current_dir(self.dir.path())
            .env_clear()
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.code(&["control", "status"]) != 0 {
            assert!(Instant::now() < deadline, "it does not come up");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Ends it as a crash would.
    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

#[test]
fn a_brownfield_is_told_that_nothing_is_refused_yet_and_until_when() {
    let mut plane = Plane::new("");
    let root = plane.path("root");
    plane.ok(&[
        "ca",
        "init",
        "--dir",
        &root,
        "--trust-domain",
        "prod.example",
    ]);
    let init = [
        "control",
        "init",
        "--config",
        "control.yaml",
        "--root",
        &root,
    ];
    for wrong in ["--brownfield=0", "--brownfield=366", "--brownfield=x"] {
        assert_eq!(plane.code(&[&init[..], &[wrong]].concat()), 2, "{wrong}");
    }
    let said = plane.ok(&[&init[..], &["--brownfield"]].concat());
    assert!(said.contains("DRY RUN until 2"), "{said}");
    plane.start();
    let said = plane.ok(&["control", "status"]);
    assert!(
        said.contains("1, DRY RUN: nothing is refused until 2"),
        "{said}"
    );
    let said = plane.ok(&["policy", "list"]);
    assert!(said.contains("dry-run, ends in "), "{said}");
    let until = plane.json(&["policy", "list"])[0]["until"]
        .as_u64()
        .unwrap();
    assert_eq!(until % 86_400, 0);
}

#[test]
fn from_the_first_install_to_a_recovery() {
    let mut plane = Plane::new("");
    let root = plane.path("root");
    plane.ok(&[
        "ca",
        "init",
        "--dir",
        &root,
        "--trust-domain",
        "prod.example",
    ]);
    assert_eq!(
        plane.code(&[
            "ca",
            "init",
            "--dir",
            &root,
            "--trust-domain",
            "prod.example"
        ]),
        1,
        "over a root"
    );
    let said = plane.ok(&[
        "control",
        "init",
        "--config",
        "control.yaml",
        "--root",
        &root,
    ]);
    assert!(said.contains("ENFORCED"), "{said}");
    assert_eq!(
        plane.code(&[
            "control",
            "init",
            "--config",
            "control.yaml",
            "--root",
            &root
        ]),
        1,
        "over a store"
    );
    plane.start();
    assert_eq!(
        plane.json(&["control", "status"])["trust_domain"],
        "prod.example"
    );

    let token = plane.ok(&[
        "token",
        "create",
        "--name",
        "host-a",
        "--node",
        "rabbit@host-a",
        "--cli",
    ]);
    assert!(
        token.starts_with("skans1.") && token.ends_with('\n'),
        "{token}"
    );
    plane.ok(&[
        "identity",
        "register",
        "rabbit",
        "--kubernetes",
        "prod/rabbit",
        "--node",
        "rabbit@*",
        "--namespace",
        "prod",
    ]);
    assert_eq!(
        plane
            .json(&["identity", "registrations"])
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let tokens = plane.json(&["token", "list"]);
    plane.ok(&["token", "revoke", tokens[0]["id"].as_str().unwrap()]);
    assert_eq!(plane.json(&["token", "list"])[0]["state"], "revoked");

    // A person.
    let mia = plane.ok(&["token", "create", "--person", "mia"]);
    std::fs::write(plane.path("mia.token"), mia).unwrap();
    let file = std::fs::File::open(plane.path("mia.token")).unwrap();
    let login = plane.skans_with(&["login", "--dir", &plane.path("mia")], file.into());
    assert!(login.status.success(), "{login:?}");
    assert!(
        String::from_utf8(login.stdout)
            .unwrap()
            .contains("/skans/user/mia")
    );
    assert_eq!(
        plane.code(&["identity", "list", "--login", &plane.path("mia")]),
        1,
        "without a role"
    );
    plane.ok(&["grant", "add", "mia", "viewer"]);
    let listed = plane.json(&["identity", "list", "--login", &plane.path("mia")]);
    let serial = listed[0]["serial"].as_str().unwrap();
    plane.ok(&["identity", "show", serial]);
    assert_eq!(
        plane.code(&[
            "grant",
            "add",
            "--login",
            &plane.path("mia"),
            "mia",
            "owner"
        ]),
        1
    );

    // The authority is replaced, with the root elsewhere.
    let rotated = plane.ok(&["ca", "rotate"]);
    let id = rotated
        .split("authority, ")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap()
        .to_owned();
    plane.ok(&[
        "ca",
        "sign",
        "--dir",
        &root,
        "--request",
        "issuer.csr",
        "--out",
        "issuer.pem",
    ]);
    plane.ok(&["ca", "import", &id, "--certificate", "issuer.pem"]);
    let authorities = plane.json(&["ca", "status"]);
    let active = authorities["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["kind"] == "issuer" && one["state"] == "active");
    assert_eq!(active.unwrap()["id"], id);
    assert!(
        plane
            .ok(&["ca", "export"])
            .matches("BEGIN CERTIFICATE")
            .count()
            >= 3
    );
    assert!(plane.ok(&["bundle", "show"]).contains("BEGIN CERTIFICATE"));
    let spiffe = plane.ok(&["bundle", "show", "--format", "spiffe"]);
    assert!(spiffe.contains("\"spiffe_sequence\":1"), "{spiffe}");

    // Revoked, and back.
    plane.ok(&[
        "identity",
        "revoke",
        "spiffe://prod.example/skans/user/mia",
        "--reason",
        "left",
        "--wait",
        "1s",
    ]);
    assert_eq!(
        plane.code(&["identity", "list", "--login", &plane.path("mia")]),
        3,
        "not even a connection"
    );
    plane.ok(&["identity", "allow", "1"]);
    plane.ok(&["identity", "list", "--login", &plane.path("mia")]);
    assert_eq!(
        plane
            .json(&["identity", "denied"])
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert!(plane.ok(&["events"]).contains("identity.denied"));
    plane.ok(&["agents"]);

    // What was acknowledged survives a kill, and a backup brings it back.
    plane.kill();
    plane.start();
    assert_eq!(
        plane
            .json(&["identity", "denied"])
            .as_array()
            .unwrap()
            .len(),
        2
    );
    plane.ok(&["backup", "create", "--out", "backup"]);
    assert_eq!(
        plane.code(&["backup", "create", "--out", "backup"]),
        1,
        "over a file"
    );
    let found = plane.json(&["backup", "verify", "--config", "control.yaml", "backup"]);
    assert_eq!(found["deny_seq"], 2);
    plane.kill();
    for entry in std::fs::read_dir(plane.path("control")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("control.db")
        {
            std::fs::remove_file(path).unwrap();
        }
    }
    plane.ok(&["backup", "restore", "--config", "control.yaml", "backup"]);
    plane.start();
    assert!(plane.json(&["control", "status"])["read_only"].is_string());
    assert_eq!(plane.code(&["token", "create", "--person", "noa"]), 1);
    plane.ok(&["control", "recover", "--new-epoch", "--root", &root]);
    assert_eq!(plane.json(&["control", "status"])["epoch"], 2);
    plane.ok(&["token", "create", "--person", "noa"]);
}

#[test]
fn the_root_stays_offline_from_the_beginning() {
    let mut plane = Plane::new("");
    let root = plane.path("root");
    plane.ok(&[
        "ca",
        "init",
        "--dir",
        &root,
        "--trust-domain",
        "prod.example",
    ]);
    let certificate = Path::new(&root).join("root.pem").display().to_string();
    let said = plane.ok(&[
        "control",
        "init",
        "--config",
        "control.yaml",
        "--root-certificate",
        &certificate,
    ]);
    let id = said
        .split("authority, ")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap()
        .to_owned();
    plane.ok(&[
        "ca",
        "sign",
        "--dir",
        &root,
        "--request",
        "issuer.csr",
        "--cluster",
        "main",
        "--out",
        "issuer.pem",
    ]);
    plane.start();
    assert_eq!(
        plane.code(&["token", "create", "--person", "mia"]),
        1,
        "without an authority"
    );
    plane.ok(&["ca", "import", &id, "--certificate", "issuer.pem"]);
    plane.ok(&["token", "create", "--person", "mia"]);
}

#[test]
fn what_is_wrong_has_its_exit_status() {
    let plane = Plane::new("");
    assert_eq!(plane.code(&["control"]), 2);
    assert_eq!(plane.code(&["control", "--config", "nowhere.yaml"]), 1);
    assert_eq!(plane.code(&["token", "create"]), 2);
    assert_eq!(plane.code(&["identity", "list"]), 3, "nobody answers");
    assert_eq!(plane.code(&["identity", "revoke"]), 2);
    std::fs::write(
        plane.path("bad.yaml"),
        "apiVersion: skans.io/v1alpha1\ntrustDomain: a\nnames: c\n",
    )
    .unwrap();
    let output = plane.skans(&["control", "--config", "bad.yaml"]);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("names"),
        "{output:?}"
    );
}
