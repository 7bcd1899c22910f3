//! A child process that cannot outlive the value that stands for it, and the end of what it said.

use std::collections::VecDeque;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::Error;

/// A running child. Dropping it kills it and waits until it is gone.
#[derive(Debug)]
pub(crate) struct Process {
    what: String,
    child: Child,
    pid: Pid,
}

impl Process {
    /// Starts a process in a group of its own, so that Ctrl-C at the terminal reaches us alone and
    /// we decide in which order things end.
    pub fn spawn(what: &str, command: &mut Command) -> Result<Self, Error> {
        let child = command
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::system(format!("cannot start {what}")))?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| Error::Unexpected(format!("{what} has no process id")))?;
        Ok(Self {
            what: what.to_owned(),
            child,
            pid,
        })
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal, unless it has ended: until then its id is nobody else's.
    pub fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        if self.ended().is_some() {
            return Ok(());
        }
        kill_process(self.pid, signal).map_err(|error| Error::System {
            what: format!("cannot send a signal to {}", self.what),
            source: error.into(),
        })
    }

    /// Waits for its end; `None` if it still runs after `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        tokio::time::timeout(limit, self.child.wait())
            .await
            .ok()?
            .ok()
    }

    /// SIGKILL, and until it is gone.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.child
            .kill()
            .await
            .map_err(Error::system(format!("cannot kill {}", self.what)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_some() || self.child.start_kill().is_err() {
            return;
        }
        // What it writes to is removed next. NOWAIT leaves the reaping to the runtime.
        let _ = waitid(
            WaitId::Pid(self.pid),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        );
    }
}

/// The end of what a process said, bounded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<String>>>);

/// Lines kept.
const TAIL_LINES: usize = 200;
/// Longest line in bytes: a term that a test looks at, not a payload.
const MAX_LINE: u64 = 4 * 1024 * 1024;

impl Tail {
    pub fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    pub fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Hands each line of a stream to `take`, until it ends.
pub(crate) async fn lines(stream: impl AsyncRead + Unpin, mut take: impl FnMut(String)) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(0) | Err(_) => return,
            Ok(_) => take(
                String::from_utf8_lossy(&line)
                    .trim_end_matches('\n')
                    .to_owned(),
            ),
        }
    }
}
