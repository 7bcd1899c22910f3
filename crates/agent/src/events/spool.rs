//! Events on their way to a file, and to the spool on disk where there is one: a bounded queue and the thread that empties it, so that a slow
//! disk holds up no message.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::Error;
use crate::events::kept::Kept;
use crate::events::ocsf;

pub use skans_host::spool::Room;

/// Bytes of lines that wait, at most. Ours: 8 MiB are some ten thousand events, minutes of a busy day.
const MAX_WAITING: u64 = 8 * 1024 * 1024;

/// Where events go.
#[derive(Debug)]
pub struct Spool {
    lines: Mutex<Sender<Line>>,
    shared: Arc<Shared>,
}

/// One on its way, and how long it is.
#[derive(Debug)]
struct Line {
    what: What,
    length: u64,
}

#[derive(Debug)]
enum What {
    Event(Value, Room),
    /// Behind all others: what was lost on the way here is told now, and all is made durable. With each of the others instead, every one that
    /// finds no room would be told of by one that takes some.
    End,
}

#[derive(Debug, Default)]
struct Shared {
    /// `None`: standard output.
    file: Mutex<Option<File>>,
    /// What is kept on disk until the control plane has it.
    kept: Option<Arc<Kept>>,
    waiting: AtomicU64,
    written: AtomicU64,
    lost: AtomicU64,
    /// Of those lost, how many an event told of, or the spool counts.
    told: AtomicU64,
    idle: Mutex<()>,
    /// Nothing waits.
    rested: Condvar,
}

impl Spool {
    /// Opens the file, or standard output, and starts the thread.
    pub fn open(path: Option<&Path>, kept: Option<Arc<Kept>>) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            file: Mutex::new(path.map(open).transpose()?),
            kept,
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
    pub fn put(&self, event: Value, room: Room) {
        let length = length(&event);
        let shared = &self.shared;
        if shared.waiting.fetch_add(length, Relaxed) + length > MAX_WAITING {
            shared.waiting.fetch_sub(length, Relaxed);
            shared.lost.fetch_add(1, Relaxed);
            return;
        }
        self.send(Line {
            what: What::Event(event, room),
            length,
        });
    }

    fn send(&self, line: Line) {
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
        if self.shared.kept.is_some() {
            // Counted, so that it is waited for.
            self.shared.waiting.fetch_add(1, Relaxed);
            self.send(Line {
                what: What::End,
                length: 1,
            });
        }
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
    fn write_all(&self, lines: &Receiver<Line>) {
        loop {
            let line = match self.kept.as_deref().map(Kept::patience) {
                None => lines.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(patience) => lines.recv_timeout(patience),
            };
            let (mut end, mut length) = (false, 0);
            match line {
                Ok(line) => {
                    length = line.length;
                    match line.what {
                        What::Event(event, room) => _ = self.take(event, room),
                        What::End => end = true,
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            match &self.kept {
                None => self.tell_of_losses(),
                Some(kept) => {
                    let lost = self.lost.load(Relaxed);
                    kept.lose(lost.saturating_sub(self.told.swap(lost, Relaxed)));
                    if let Some(event) = kept.turn(end) {
                        kept.told(self.take(event, Room::Reserved));
                    }
                }
            }
            let _idle = self.idle.lock();
            self.waiting.fetch_sub(length, Relaxed);
            self.rested.notify_all();
        }
    }

    /// First where it is kept: what stands in the file and has a number is there.
    /// Says whether it is kept.
    fn take(&self, mut event: Value, room: Room) -> bool {
        let kept = self
            .kept
            .as_ref()
            .is_some_and(|kept| kept.put(&mut event, room));
        let mut line = event.to_string().into_bytes();
        line.push(b'\n');
        if self.write(&line).is_ok() {
            self.written.fetch_add(1, Relaxed);
        } else if !kept {
            self.lost.fetch_add(1, Relaxed);
            // What the spool did not take it has counted.
            if self.kept.is_some() {
                self.told.fetch_add(1, Relaxed);
            }
        }
        kept
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
        let mut line = ocsf::lost(new, None).to_string().into_bytes();
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

/// Of its text.
fn length(event: &Value) -> u64 {
    struct Count(u64);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(1);
    // Counting does not fail.
    let _ = serde_json::to_writer(&mut count, event);
    count.0
}
