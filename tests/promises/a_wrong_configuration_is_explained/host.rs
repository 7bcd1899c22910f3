//! A host on which an agent is to be started, and what a start that is to fail says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skans_identity::forge::{Forge, Forged};
use skans_lab::plan::find_skans;
use tempfile::TempDir;
use tokio::process::Command;

use super::NODE;
use crate::hostile::{foreign_root, spec};

/// For the message to be there. Everything is decided from files; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(10);
/// A host on which an agent is to be started.
pub struct Host {
    directory: TempDir,
    /// Signs for the trust domain that is configured.
    pub forge: Forge,
}

impl Host {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Others must be able to pass, and nobody to write.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let host = Self {
            directory,
            forge: foreign_root("lab.test"),
        };
        host.write("bundle.pem", &host.forge.bundle().unwrap().to_pem(), 0o644);
        host.certificate("own", &host.forge.leaf(&spec(NODE)).unwrap());
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Writes a certificate chain and its key.
    pub fn certificate(&self, name: &str, forged: &Forged) {
        self.write(&format!("{name}.pem"), &forged.chain_pem(), 0o644);
        self.write(&format!("{name}.key"), &forged.key_pem(), 0o600);
    }

    /// A configuration that works, with certificates from files.
    pub fn config(&self) -> Value {
        json!({
            "apiVersion": "skans.io/v1alpha1",
            "trustDomain": "lab.test",
            "cluster": "lab",
            "runtimeDirectory": self.path("run"),
            "nodes": [{
                "name": NODE,
                "certificate": {"chain": self.path("own.pem"), "key": self.path("own.key")},
            }],
            "cli": {"enabled": false},
            "identity": {"files": {"bundle": self.path("bundle.pem")}},
            "links": {"listen": "127.0.0.1:0"},
            "epmd": {"port": 0, "addresses": ["127.0.0.1"]},
            "admin": {"listen": "127.0.0.1:0"},
        })
    }

    /// The same with an authority.
    pub fn with_authority(&self) -> Value {
        let mut config = self.config();
        config["identity"] = json!({"authority": {"directory": self.path("authority")}});
        config["nodes"] = json!([{"name": NODE}]);
        config
    }

    pub fn agent(&self, text: &str) -> Command {
        self.write("agent.yaml", text, 0o644);
        let mut command = Command::new(find_skans().unwrap());
        command
            .args(["agent", "--config"])
            .arg(self.path("agent.yaml"));
        prepared(command)
    }
}

pub fn prepared(mut command: Command) -> Command {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// What a start that is to fail said on standard error.
pub async fn refused(what: &str, mut command: Command) -> String {
    let begin = Instant::now();
    let output = tokio::time::timeout(SOON, command.output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("{what}: it still runs after {SOON:?}"))
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{what}: {text}");
    assert!(output.stdout.is_empty(), "{what}: {output:?}");
    assert!(begin.elapsed() < SOON);
    assert!(!text.contains("panicked"), "{what}: {text}");
    // One error, not a trace of them.
    assert!(text.lines().count() <= 12, "{what}: {text}");
    text
}

pub fn assert_says(what: &str, text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(
            text.contains(wanted),
            "{what}: wanted {wanted:?} in: {text}"
        );
    }
}

pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
