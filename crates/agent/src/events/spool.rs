//! Lines on their way to a file: a bounded queue and the thread that empties it, so that a slow disk holds up no message.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::Error;
use crate::events::ocsf;

/// Bytes of lines that wait, at most. Ours: 8 MiB are some ten thousand events, minutes of a busy day.
const MAX_WAITING: u64 = 8 * 1024 * 1024;

/// Where lines go.
#[derive(Debug)]
pub struct Spool {
    lines: Mutex<Sender<Vec<u8>>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// `None`: standard output.
    file: Mutex<Option<File>>,
    waiting: AtomicU64,
    written: AtomicU64,
    lost: AtomicU64,
    /// Of those lost, how many an event told of.
    told: AtomicU64,
    idle: Mutex<()>,
    /// Nothing waits.
    rested: Condvar,
}

impl Spool {
    /// Opens the file, or standard output, and starts the thread.
    pub fn open(path: Option<&Path>) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            file: Mutex::new(path.map(open).transpose()?),
            ..Shared::default()
        });
        let (sender, receiver) = channel();
        let writer = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || writer.write_all(&receiver))
            .map_err(|error| Error::Internal(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            lines: Mutex::new(sender),
            shared,
        })
    }

    /// Another file, or the same by its name.
    pub fn reopen(&self, path: Option<&Path>) -> Result<(), Error> {
        let file = path.map(open).transpose()?;
        *self.shared.file() = file;
        Ok(())
    }

    /// Puts an event behind those that wait, or counts it as lost.
    pub fn put(&self, event: &serde_json::Value) {
        let mut line = event.to_string().into_bytes();
        line.push(b'\n');
        let length = line.len() as u64;
        let shared = &self.shared;
        if shared.waiting.fetch_add(length, Relaxed) + length > MAX_WAITING {
            shared.waiting.fetch_sub(length, Relaxed);
            shared.lost.fetch_add(1, Relaxed);
            return;
        }
        let sender = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // The thread ends with the process.
        let _ = sender.send(line);
    }

    /// Written, lost.
    pub fn counts(&self) -> (u64, u64) {
        (
            self.shared.written.load(Relaxed),
            self.shared.lost.load(Relaxed),
        )
    }

    /// Waits until nothing waits any more, within this time.
    pub fn finish(&self, within: Duration) {
        let idle = self.shared.idle.lock();
        let waiting = |_: &mut ()| self.shared.waiting.load(Relaxed) > 0;
        let guard = idle.unwrap_or_else(PoisonError::into_inner);
        let _ = self
            .shared
            .rested
            .wait_timeout_while(guard, within, waiting);
    }
}

impl Shared {
    fn write_all(&self, lines: &Receiver<Vec<u8>>) {
        while let Ok(line) = lines.recv() {
            if self.write(&line).is_ok() {
                self.written.fetch_add(1, Relaxed);
            } else {
                self.lost.fetch_add(1, Relaxed);
            }
            self.tell_of_losses();
            let _idle = self.idle.lock();
            self.waiting.fetch_sub(line.len() as u64, Relaxed);
            self.rested.notify_all();
        }
    }

    fn write(&self, line: &[u8]) -> std::io::Result<()> {
        match &mut *self.file() {
            // One call for one line: a file opened for appending keeps it whole.
            Some(file) => file.write_all(line),
            None => {
                let mut out = std::io::stdout().lock();
                out.write_all(line).and_then(|()| out.flush())
            }
        }
    }

    /// A gap is told as soon as there is room again.
    fn tell_of_losses(&self) {
        let lost = self.lost.load(Relaxed);
        let new = lost.saturating_sub(self.told.load(Relaxed));
        if new == 0 {
            return;
        }
        let mut line = ocsf::lost(new).to_string().into_bytes();
        line.push(b'\n');
        if self.write(&line).is_ok() {
            self.told.store(lost, Relaxed);
        }
    }

    fn file(&self) -> std::sync::MutexGuard<'_, Option<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &Path) -> Result<File, Error> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .map_err(|error| Error::file(path, format!("cannot be opened for events: {error}")))
}
