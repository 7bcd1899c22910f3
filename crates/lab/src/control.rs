//! A control plane of a lab: a root, a directory, a `skans control` process, and tokens for agents.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use skans_agent::admin::ask;
use tokio::process::{ChildStdin, Command};

use crate::cluster::{CLUSTER, TRUST_DOMAIN};
use crate::process::Process;
use crate::{Error, until};

/// A command that makes keys and files takes some milliseconds; a loaded machine takes its time.
const COMMAND: Duration = Duration::from_secs(30);
/// A control plane is ready within a second.
const READY: Duration = Duration::from_secs(30);

/// What is wanted of a control plane.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long leaves live.
    pub leaf: Duration,
}

/// Whose control plane it is, and where it listens.
#[derive(Clone, Debug)]
pub struct Home {
    /// The trust domain that it signs for.
    pub trust_domain: String,
    /// The cluster.
    pub cluster: String,
    /// What the replica is called in its own certificate.
    pub name: String,
    /// The API. With port 0 it is another one after a restart, which agents do not find.
    pub listen: SocketAddr,
}

impl Home {
    /// That of a lab of one cluster.
    #[must_use]
    pub fn lab() -> Self {
        Self {
            trust_domain: TRUST_DOMAIN.to_owned(),
            cluster: CLUSTER.to_owned(),
            name: "lab".to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        }
    }
}

/// A running control plane. Dropping it kills it.
#[derive(Debug)]
pub struct ControlProcess {
    skans: PathBuf,
    directory: PathBuf,
    process: Process,
    /// Its end tells the process to stop.
    _input: Option<ChildStdin>,
}

impl ControlProcess {
    /// Makes a root and a control plane in `directory`, which must not be there yet, and starts it.
    ///
    /// # Errors
    /// [`Error::Ended`] with what a command said, [`Error::TimedOut`] after 30 s.
    pub async fn start(skans: &Path, directory: &Path, options: Options) -> Result<Self, Error> {
        Self::start_as(skans, directory, options, &Home::lab()).await
    }

    /// The same for another trust domain than that of labs.
    ///
    /// # Errors
    /// As [`ControlProcess::start`].
    pub async fn start_as(
        skans: &Path,
        directory: &Path,
        options: Options,
        home: &Home,
    ) -> Result<Self, Error> {
        std::fs::create_dir(directory).map_err(Error::system(directory.display().to_string()))?;
        let root = directory.join("root");
        let config = json!({
            "apiVersion": "skans.io/v1alpha1",
            "trustDomain": home.trust_domain,
            "cluster": home.cluster,
            "name": home.name,
            "directory": directory.join("state"),
            "listen": home.listen,
            "admin": {"listen": "127.0.0.1:0"},
            "authority": {"root": root},
            // Shorter than anybody should have it in production, so that renewing can be watched.
            "leaves": {"lifetime": format!("{}s", options.leaf.as_secs()), "laboratory": options.leaf < Duration::from_secs(300)},
            "log": {"format": "json"},
        });
        let file = directory.join("control.yaml");
        std::fs::write(&file, format!("{config:#}\n"))
            .map_err(Error::system(file.display().to_string()))?;
        run(Command::new(skans)
            .args(["ca", "init", "--trust-domain", &home.trust_domain, "--dir"])
            .arg(&root))
        .await?;
        run(Command::new(skans)
            .args(["control", "init", "--config"])
            .arg(&file)
            .arg("--root")
            .arg(&root))
        .await?;
        let (process, input) = spawn(skans, directory)?;
        let mut control = Self {
            skans: skans.to_owned(),
            directory: directory.to_owned(),
            process,
            _input: input,
        };
        control.ready().await?;
        Ok(control)
    }

    /// Its Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join("state/control.sock")
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.directory.join("control.yaml")
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Asks it over its Unix socket, as its owner.
    ///
    /// # Errors
    /// [`Error::Agent`] if it refuses; [`Error::Unexpected`] if the answer is no JSON.
    pub async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, Error> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let text = ask(&self.socket(), method, path, &body).await?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text)
            .map_err(|error| Error::Unexpected(format!("{method} {path}: {error}")))
    }

    /// A join token for an agent that may carry these node names, and the short-lived ones of their hosts.
    ///
    /// # Errors
    /// As [`ControlProcess::ask`].
    pub async fn token(
        &self,
        name: &str,
        workload: &str,
        names: &[String],
    ) -> Result<String, Error> {
        let wanted =
            json!({"register": {"name": name, "workload": workload, "names": names, "cli": true}});
        let made = self.ask("POST", "/v1/tokens", &wanted).await?;
        made["token"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| Error::Unexpected(format!("POST /v1/tokens: found {made}")))
    }

    /// The roots that it began with, as PEM.
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        self.directory.join("root/root.pem")
    }

    /// Puts the policy set of a directory in force, as its owner.
    ///
    /// # Errors
    /// [`Error::Ended`] with what is wrong with it.
    pub async fn push_policy(&self, set: &Path) -> Result<(), Error> {
        run(Command::new(&self.skans)
            .args(["policy", "push", "--activate", "--socket"])
            .arg(self.socket())
            .arg(set))
        .await
    }

    /// SIGKILL, and until it is gone. [`ControlProcess::restart`] brings it back.
    ///
    /// # Errors
    /// [`Error::System`].
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.process.kill().await
    }

    /// Starts it again in its directory.
    ///
    /// # Errors
    /// As [`ControlProcess::start`].
    pub async fn restart(&mut self) -> Result<(), Error> {
        (self.process, self._input) = spawn(&self.skans, &self.directory)?;
        self.ready().await
    }

    /// Stops it politely and starts it again from this binary; in its directory.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if it does not end within 30 s; as [`ControlProcess::start`].
    pub async fn restart_from(&mut self, skans: &Path) -> Result<(), Error> {
        self.process.signal(Signal::TERM)?;
        if self.process.wait(READY).await.is_none() {
            self.process.kill().await?;
            return Err(Error::TimedOut {
                what: "the control plane to end".to_owned(),
                limit: READY,
                last: "it had to be killed".to_owned(),
            });
        }
        skans.clone_into(&mut self.skans);
        self.restart().await
    }

    /// SIGTERM; killed if it takes longer than `limit`.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if it had to be killed.
    pub async fn terminate(mut self, limit: Duration) -> Result<(), Error> {
        self.process.signal(Signal::TERM)?;
        if self.process.wait(limit).await.is_some() {
            return Ok(());
        }
        self.process.kill().await?;
        Err(Error::TimedOut {
            what: "the control plane to end".to_owned(),
            limit,
            last: "it had to be killed".to_owned(),
        })
    }

    async fn ready(&mut self) -> Result<(), Error> {
        until(READY, "the control plane to be ready", async || {
            if let Some(status) = self.process.ended() {
                return Err(format!("it has ended: {status}; {}", self.log_end()));
            }
            self.ask("GET", "/v1/status", &Value::Null)
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        })
        .await
    }

    fn log_end(&self) -> String {
        let log = std::fs::read_to_string(self.directory.join("control.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

fn spawn(skans: &Path, directory: &Path) -> Result<(Process, Option<ChildStdin>), Error> {
    let path = directory.join("control.log");
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(Error::system(path.display().to_string()))?;
    let mut command = Command::new(skans);
    command
        // SKANS_… of whoever starts the lab would override the configuration.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .args(["control", "--until-stdin-closes", "--config"])
        .arg(directory.join("control.yaml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log);
    let mut process = Process::spawn("the control plane", &mut command)?;
    let input = process.child().stdin.take();
    Ok((process, input))
}

/// Runs a command to its end.
async fn run(command: &mut Command) -> Result<(), Error> {
    let shown = format!("{:?}", command.as_std());
    let failed = |how: String, output: String| Error::Ended {
        what: shown.clone(),
        how,
        output,
    };
    let done = command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = tokio::time::timeout(COMMAND, done)
        .await
        .map_err(|_| failed(format!("not done within {COMMAND:?}"), String::new()))?
        .map_err(Error::system(shown.clone()))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(failed(done.status.to_string(), said))
}
