//! Child processes: started with an environment of their own, stopped by their id, and what the
//! kernel says they used.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::error::{Doing, Error, Result};

/// How long any process may take to start. On a loaded machine a node takes some seconds.
pub const START: Duration = Duration::from_secs(30);

/// Memory counts as settled when it has not changed by more than a hundredth for so long.
pub const SETTLED: Duration = Duration::from_secs(6);

/// It is looked at for so long at most.
const LONGEST: Duration = Duration::from_secs(60);

/// The unit of times in `/proc/PID/stat`: 1/100 s on every architecture that Erlang runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A child process; it is killed, by its id, when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Open for as long as this lives: agents and relays end with their standard input.
    _stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with `PATH`, `HOME` and `env` as its whole environment. What it says on
    /// standard error goes to `log`.
    pub fn start(
        name: &str,
        program: impl AsRef<OsStr>,
        args: &[String],
        env: &[(String, String)],
        log: &Path,
    ) -> Result<Self> {
        let doing = || format!("start {name}");
        let home = log.parent().unwrap_or(log);
        let mut child = Command::new(program)
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .envs(env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log).doing(doing())?)
            .kill_on_drop(true)
            .spawn()
            .doing(doing())?;
        Ok(Self {
            _stdin: child.stdin.take(),
            stdout: child.stdout.take().map(BufReader::new),
            child,
            name: name.to_owned(),
            log: log.to_owned(),
        })
    }

    /// The first line that the process prints.
    pub async fn first_line(&mut self) -> Result<String> {
        let mut line = String::new();
        let Some(stdout) = &mut self.stdout else {
            return Err(self.failed("its output was taken"));
        };
        let read = tokio::time::timeout(START, stdout.read_line(&mut line)).await;
        match read {
            Ok(Ok(1..)) => Ok(line.trim().to_owned()),
            Ok(Ok(0)) => Err(self.failed("it said nothing")),
            Ok(Err(error)) => Err(self.failed(error)),
            Err(_) => Err(self.failed("it says nothing")),
        }
    }

    /// The process id.
    pub fn id(&self) -> Result<u32> {
        self.child.id().ok_or_else(|| self.failed("it has ended"))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it has made a file, as it does once it is ready.
    pub async fn wait_for_file(&mut self, file: &Path) -> Result<()> {
        let deadline = Instant::now() + START;
        while !file.exists() {
            if !self.is_running() {
                return Err(self.failed("it ended"));
            }
            if Instant::now() >= deadline {
                return Err(self.failed("it does not start"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// An error about this process, with the end of its log.
    pub fn failed(&self, why: impl std::fmt::Display) -> Error {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<_> = log.lines().rev().take(10).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        Error::new(&self.name, format!("{why}\n{}", tail.join("\n")))
    }

    /// CPU time so far, user and system, all threads, in seconds; to 10 ms.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.id()?);
        let text = std::fs::read_to_string(&path).doing(&path)?;
        // The second field holds the program's name, which may hold anything; utime and stime are
        // the 14th and 15th (proc_pid_stat(5)).
        let fields = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let mut fields = fields.split(' ').skip(11);
        let mut next = || -> Option<f64> { fields.next()?.parse().ok() };
        next()
            .zip(next())
            .map(|(user, system)| (user + system) / TICKS_PER_SECOND)
            .ok_or_else(|| Error::new(&path, "cannot be read"))
    }

    /// The most memory that was ever resident, in MB (10^6 bytes).
    pub fn peak_memory(&self) -> Result<f64> {
        self.memory("VmHWM:")
    }

    /// Resident memory in MiB, once it stays as it is.
    pub async fn settled_memory(&self) -> Result<f64> {
        let (start, mut since) = (Instant::now(), Instant::now());
        let mut found = self.resident_memory()?;
        while since.elapsed() < SETTLED && start.elapsed() < LONGEST {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let now = self.resident_memory()?;
            if (now - found).abs() > found / 100.0 {
                (found, since) = (now, Instant::now());
            }
        }
        Ok(self.resident_memory()? * 1e6 / f64::from(1 << 20))
    }

    /// The memory that is resident now, in MB.
    pub fn resident_memory(&self) -> Result<f64> {
        self.memory("VmRSS:")
    }

    fn memory(&self, key: &str) -> Result<f64> {
        let path = format!("/proc/{}/status", self.id()?);
        let text = std::fs::read_to_string(&path).doing(&path)?;
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_suffix("kB"))
            .and_then(|kib| kib.trim().parse::<f64>().ok())
            .map(|kib| kib * 1024.0 / 1e6)
            .ok_or_else(|| Error::new(&path, format!("holds no {key}")))
    }
}
