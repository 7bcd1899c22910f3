//! A `skans agent` as a child process: its configuration, its Unix socket, its log.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde::de::DeserializeOwned;
use serde_json::Value;
use skans_agent::admin::{LinkView, NodeView, StatusView, ask};
use tokio::process::{ChildStdin, Command};
use tokio::time::Instant;

use crate::Error;
use crate::process::Process;
use crate::wait::PAUSE;

/// An agent is ready within some milliseconds; making an authority's keys takes some more.
const READY: Duration = Duration::from_secs(20);
/// Lines of the log shown when an agent ends unasked.
const SHOWN_LINES: usize = 20;

/// A running agent.
#[derive(Debug)]
pub struct AgentProcess {
    label: String,
    skans: PathBuf,
    process: Process,
    /// Its end tells the agent to stop.
    _input: Option<ChildStdin>,
    files: Files,
    /// What it said of itself when it was ready.
    status: StatusView,
}

/// Where an agent's files are.
#[derive(Clone, Debug)]
pub struct Files {
    /// Its configuration. JSON, which YAML reads as it is.
    pub config: PathBuf,
    /// Its Unix socket.
    pub socket: PathBuf,
    /// What it logs: one JSON object a line.
    pub log: PathBuf,
    /// Its events, as OCSF: one JSON object a line.
    pub events: PathBuf,
}

impl Files {
    /// The usual places inside a host's directory.
    #[must_use]
    pub fn within(directory: &Path) -> Self {
        Self {
            config: directory.join("agent.yaml"),
            socket: directory.join("run/agent.sock"),
            log: directory.join("agent.log"),
            events: directory.join("events.jsonl"),
        }
    }

    /// Writes the configuration.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn write_config(&self, config: &Value) -> Result<(), Error> {
        std::fs::write(&self.config, format!("{config:#}\n"))
            .map_err(Error::system(self.config.display().to_string()))
    }
}

/// An agent that was started and may not be ready yet.
#[derive(Debug)]
pub struct Starting {
    label: String,
    skans: PathBuf,
    process: Process,
    input: Option<ChildStdin>,
    files: Files,
    /// By its own number, the process that answers at the same place until this one has taken over.
    before: Option<u32>,
}

impl AgentProcess {
    /// Starts `skans agent` with the configuration in `files`; [`Starting::ready`] waits for it. Its
    /// log is added to what a former one left.
    ///
    /// # Errors
    /// [`Error::System`] if the process cannot be started.
    pub fn spawn(skans: &Path, label: &str, files: Files) -> Result<Starting, Error> {
        let label = format!("the agent of {label}");
        Self::spawn_with(skans, label, files, &["agent"])
    }

    /// The same for `skans gateway`.
    ///
    /// # Errors
    /// [`Error::System`] if the process cannot be started.
    pub fn spawn_gateway(skans: &Path, label: &str, files: Files) -> Result<Starting, Error> {
        let label = format!("the gateway of {label}");
        Self::spawn_with(skans, label, files, &["gateway"])
    }

    fn spawn_with(
        skans: &Path,
        label: String,
        files: Files,
        words: &[&str],
    ) -> Result<Starting, Error> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&files.log)
            .map_err(Error::system(files.log.display().to_string()))?;
        let mut command = Command::new(skans);
        command
            // SKANS_… of whoever starts the lab would override the configuration.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .args(words)
            .args(["--until-stdin-closes", "--config"])
            .arg(&files.config)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        let mut process = Process::spawn(&label, &mut command)?;
        let input = process.child().stdin.take();
        Ok(Starting {
            label,
            skans: skans.to_owned(),
            process,
            input,
            files,
            before: None,
        })
    }

    /// Starts a process that is to take this one's place; what becomes of it is the caller's to find out.
    ///
    /// # Errors
    /// [`Error::System`] if it cannot be started.
    pub fn successor(&self) -> Result<Starting, Error> {
        let (label, files) = (self.label.clone(), self.files.clone());
        let mut new = Self::spawn_with(&self.skans, label, files, &["agent", "--take-over"])?;
        new.before = Some(self.status.pid);
        Ok(new)
    }

    /// Replaces the process by another one of the same program, which takes over; waits until the old one is gone. On an error
    /// the old one is still here.
    ///
    /// # Errors
    /// [`Error::Ended`] if the new one does not take over; [`Error::TimedOut`] if the old one does not go.
    pub async fn replace(&mut self) -> Result<(), Error> {
        let new = self.successor()?.ready().await?;
        self.succeed(new).await
    }

    /// The same by a process of another program.
    ///
    /// # Errors
    /// As [`AgentProcess::replace`].
    pub async fn replace_from(&mut self, skans: &Path) -> Result<(), Error> {
        skans.clone_into(&mut self.skans);
        self.replace().await
    }

    /// Goes on with the process that has taken over; waits until the old one is gone.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if it does not go, [`Error::Ended`] if it fails in going.
    pub async fn succeed(&mut self, new: Self) -> Result<(), Error> {
        std::mem::replace(self, new).gone(READY).await
    }

    /// Waits until it has gone by itself, since another process has taken its place.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if it does not go, [`Error::Ended`] if it fails in going.
    pub async fn gone(mut self, limit: Duration) -> Result<(), Error> {
        match self.process.wait(limit).await {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Error::Ended {
                what: self.label.clone(),
                how: status.to_string(),
                output: String::new(),
            }),
            None => Err(Error::TimedOut {
                what: format!("{} to go when it was replaced", self.label),
                limit,
                last: "it runs".to_owned(),
            }),
        }
    }

    /// What it is called in messages.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where its files are.
    #[must_use]
    pub const fn files(&self) -> &Files {
        &self.files
    }

    /// Where other agents dial it.
    ///
    /// # Errors
    /// [`Error::Unexpected`] if it told something else than an address.
    pub fn link_address(&self) -> Result<SocketAddr, Error> {
        let text = &self.status.link_address;
        text.parse().map_err(|_| {
            Error::Unexpected(format!("{}: found the link address {text:?}", self.label))
        })
    }

    /// The port of its epmd.
    #[must_use]
    pub const fn epmd_port(&self) -> u16 {
        self.status.epmd_port
    }

    /// What it says of itself now.
    ///
    /// # Errors
    /// [`Error::Agent`].
    pub async fn status(&self) -> Result<StatusView, Error> {
        get(&self.files.socket, "/v1/status").await
    }

    /// The nodes registered with it.
    ///
    /// # Errors
    /// [`Error::Agent`].
    pub async fn nodes(&self) -> Result<Vec<NodeView>, Error> {
        get(&self.files.socket, "/v1/nodes").await
    }

    /// Its links.
    ///
    /// # Errors
    /// [`Error::Agent`].
    pub async fn links(&self) -> Result<Vec<LinkView>, Error> {
        get(&self.files.socket, "/v1/links").await
    }

    /// Makes it read its configuration anew.
    ///
    /// # Errors
    /// [`Error::Agent`] if it does not like it.
    pub async fn reload(&self) -> Result<(), Error> {
        ask(&self.files.socket, "PUT", "/v1/reload", "").await?;
        Ok(())
    }

    /// Makes it re-authenticate every link that its nodes opened, now. How many there are.
    ///
    /// # Errors
    /// [`Error::Agent`].
    pub async fn reauthenticate(&self) -> Result<usize, Error> {
        let said = ask(&self.files.socket, "PUT", "/v1/links/reauthenticate", "").await?;
        said.trim()
            .parse()
            .map_err(|_| Error::Unexpected(format!("{}: found {said:?}", self.label)))
    }

    /// Where the log ends now, in bytes: what comes after is found by [`AgentProcess::wait_log`].
    #[must_use]
    pub fn log_mark(&self) -> u64 {
        std::fs::metadata(&self.files.log).map_or(0, |meta| meta.len())
    }

    /// The log lines after a mark.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn log_since(&self, mark: u64) -> Result<Vec<Value>, Error> {
        lines_since(&self.files.log, mark)
    }

    /// Its events so far. Denials are told when their window ends: half a second in a lab.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn events(&self) -> Result<Vec<Value>, Error> {
        lines_since(&self.files.events, 0)
    }

    /// Waits for an event.
    ///
    /// # Errors
    /// [`Error::TimedOut`] with the last event there was.
    pub async fn wait_event(
        &self,
        what: &str,
        limit: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Value, Error> {
        let what = format!("an event of {}: {what}", self.label);
        crate::until(limit, &what, async || {
            let events = self.events().map_err(|error| error.to_string())?;
            match events.iter().find(|event| fits(event)) {
                Some(found) => Ok(found.clone()),
                None => Err(events
                    .last()
                    .map_or_else(|| "none".to_owned(), Value::to_string)),
            }
        })
        .await
    }

    /// Waits for a log line after a mark.
    ///
    /// # Errors
    /// [`Error::TimedOut`] with the last line there was.
    pub async fn wait_log(
        &self,
        mark: u64,
        what: &str,
        limit: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Value, Error> {
        let deadline = Instant::now() + limit;
        loop {
            let lines = self.log_since(mark)?;
            if let Some(found) = lines.iter().find(|line| fits(line)) {
                return Ok(found.clone());
            }
            if Instant::now() >= deadline {
                let last = lines
                    .last()
                    .map_or_else(|| "nothing new".to_owned(), ToString::to_string);
                let what = format!("a log line of {}: {what}", self.label);
                return Err(Error::TimedOut { what, limit, last });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// SIGKILL, and until it is gone.
    ///
    /// # Errors
    /// [`Error::System`].
    pub async fn kill(mut self) -> Result<(), Error> {
        self.process.kill().await
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
        let last = "it had to be killed".to_owned();
        Err(Error::TimedOut {
            what: format!("{} to end", self.label),
            limit,
            last,
        })
    }
}

impl Starting {
    /// Waits until it answers on its Unix socket.
    ///
    /// # Errors
    /// [`Error::Ended`] with the end of its log, [`Error::TimedOut`] after 20 s.
    pub async fn ready(mut self) -> Result<AgentProcess, Error> {
        let deadline = Instant::now() + READY;
        loop {
            // First, so that an answer of another agent at the same place is not taken for its.
            if let Some(status) = self.process.ended() {
                let output = self.log_end();
                return Err(Error::Ended {
                    what: self.label,
                    how: status.to_string(),
                    output,
                });
            }
            let last = match get::<StatusView>(&self.files.socket, "/v1/status").await {
                // Compared with what the other says of itself: on a host of its own a process has another number than here.
                Ok(status) if self.before == Some(status.pid) => {
                    format!("process {} answers", status.pid)
                }
                Ok(status) => {
                    let Self {
                        label,
                        skans,
                        process,
                        input,
                        files,
                        ..
                    } = self;
                    return Ok(AgentProcess {
                        label,
                        skans,
                        process,
                        _input: input,
                        files,
                        status,
                    });
                }
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                return Err(Error::TimedOut {
                    what: format!("{} to be ready", self.label),
                    limit: READY,
                    last,
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.files.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines
            .get(lines.len().saturating_sub(SHOWN_LINES)..)
            .unwrap_or_default()
            .join("\n")
    }
}

/// The JSON lines of a file after a mark.
fn lines_since(path: &Path, mark: u64) -> Result<Vec<Value>, Error> {
    let text = std::fs::read(path).map_err(Error::system(path.display().to_string()))?;
    let start = usize::try_from(mark).unwrap_or(usize::MAX).min(text.len());
    let new = String::from_utf8_lossy(text.get(start..).unwrap_or_default());
    // The last line may be half written.
    Ok(new
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// Asks an agent for one of its views.
async fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, Error> {
    let text = ask(socket, "GET", path, "").await?;
    serde_json::from_str(&text)
        .map_err(|error| Error::Unexpected(format!("{path} of {}: {error}", socket.display())))
}
