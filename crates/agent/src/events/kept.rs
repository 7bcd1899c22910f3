//! Events on disk, until the control plane has them: what the thread that writes them and the task that tells of them share. Neither a link nor the
//! administration waits for a disk here.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use skans_host::spool::{self, Batch, Lost, Refused, Room, SpoolId};
use tokio::sync::Notify;

use crate::Error;
use crate::events::ocsf;
use crate::keeper;

/// For how long an event waits for others before all of them are made durable. A disk takes some milliseconds for that, whatever their number;
/// databases that group commits wait less, since somebody waits for them.
const TOGETHER: Duration = Duration::from_millis(100);
/// Bytes after which nobody waits any longer.
const ENOUGH: u64 = 64 * 1024;
/// Between two looks whether a disk that was full has room.
const LOOK: Duration = Duration::from_secs(1);
/// Between two events that tell of losses: one that floods loses all the time.
const TELL: Duration = Duration::from_secs(10);

/// The events of this agent that the control plane does not have.
#[derive(Debug)]
pub struct Kept {
    directory: PathBuf,
    limit: u64,
    inner: Mutex<Inner>,
    /// There is something to tell.
    pub some: Notify,
    blocked: AtomicBool,
    bytes: AtomicU64,
    waiting: AtomicU64,
    lost: AtomicU64,
    taken: AtomicU64,
    /// The time of the oldest that waits, in milliseconds since 1970; 0 if none does.
    oldest: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    spool: Option<spool::Spool>,
    /// Its identifier in hexadecimal digits.
    id: String,
    /// Lost while there was no spool.
    lost: Lost,
    /// What an event tells of that is about to be kept.
    telling: Lost,
    told: Option<Instant>,
    unsynced: u64,
    since: Option<Instant>,
    looked: Option<Instant>,
}

/// How it stands, for metrics and for people.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Bytes on disk.
    pub bytes: u64,
    /// Events that wait.
    pub waiting: u64,
    /// Events that were lost, since the agent was started.
    pub lost: u64,
    /// Events that the control plane has taken, since the agent was started.
    pub taken: u64,
    /// The time of the oldest that waits, in milliseconds since 1970; 0 if none does.
    pub oldest: u64,
    /// No event can be kept now, but those that have room of their own.
    pub blocked: bool,
}

impl Standing {
    /// The age of the oldest that waits, in seconds.
    #[must_use]
    pub fn age(&self) -> u64 {
        if self.oldest == 0 {
            return 0;
        }
        keeper::millis(keeper::now()).saturating_sub(self.oldest) / 1000
    }
}

impl Kept {
    /// Opens what is kept in this directory, at most `limit` bytes of it. If that fails it is tried again, and until then events are lost.
    #[must_use]
    pub fn open(directory: &Path, limit: u64) -> Self {
        let this = Self {
            directory: directory.to_owned(),
            limit,
            inner: Mutex::default(),
            some: Notify::new(),
            blocked: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            oldest: AtomicU64::new(0),
        };
        this.look(&mut this.inner());
        this
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing {
            bytes: self.bytes.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            lost: self.lost.load(Relaxed),
            taken: self.taken.load(Relaxed),
            oldest: self.oldest.load(Relaxed),
            blocked: self.is_blocked(),
        }
    }

    /// Whether events are being lost, whoever they are of.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Relaxed)
    }

    /// Keeps an event and numbers it, or counts it as lost. Gives whether it is kept. Of the thread that writes events, as all up to
    /// [`Kept::told`].
    pub(super) fn put(&self, event: &mut Value, room: Room) -> bool {
        let mut inner = self.inner();
        let id = std::mem::take(&mut inner.id);
        let kept = match &mut inner.spool {
            None => Err(Refused::Full),
            Some(spool) => {
                ocsf::number(event, &id, spool.next());
                let body = event.to_string();
                let kept = spool.put(room, body.as_bytes());
                kept.map(|_| body.len() as u64)
            }
        };
        inner.id = id;
        match &kept {
            Ok(length) => {
                inner.unsynced += length;
                inner.since.get_or_insert_with(Instant::now);
                let time = event.get("time").and_then(Value::as_u64);
                // Kept if there is an older one.
                let _ = self
                    .oldest
                    .compare_exchange(0, time.unwrap_or(1), Relaxed, Relaxed);
            }
            Err(refused) => {
                tracing::debug!("an event is not kept: {refused}");
                ocsf::without_number(event);
                self.count(&mut inner, 1);
            }
        }
        self.see(&inner);
        kept.is_ok()
    }

    /// So many were lost before they came here.
    pub(super) fn lose(&self, count: u64) {
        if count > 0 {
            self.count(&mut self.inner(), count);
        }
    }

    /// Does what is due, or at the `end` all that there is to do. Gives the event that tells of losses, to be kept.
    pub(super) fn turn(&self, end: bool) -> Option<Value> {
        let mut inner = self.inner();
        if self.is_blocked() && inner.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            self.look(&mut inner);
        }
        let due = inner.since.is_some_and(|since| since.elapsed() >= TOGETHER);
        if due || end || inner.unsynced >= ENOUGH {
            self.sync(&mut inner);
        }
        let lost = inner.spool.as_ref().map(spool::Spool::lost)?;
        let again = inner.told.is_none_or(|told| told.elapsed() >= TELL);
        if lost.count == 0 || !(end || again && !self.is_blocked()) {
            return None;
        }
        inner.told = Some(Instant::now());
        inner.telling = lost;
        Some(ocsf::lost(lost.count, Some((lost.first, lost.last))))
    }

    /// The event that [`Kept::turn`] gave was put, and kept or not. Only once it is durable the losses are forgotten.
    pub(super) fn told(&self, kept: bool) {
        let mut inner = self.inner();
        let telling = std::mem::take(&mut inner.telling);
        if self.sync(&mut inner)
            && kept
            && let Some(spool) = &mut inner.spool
        {
            spool.told(telling);
            self.sync(&mut inner);
        }
    }

    /// For how long the thread may wait for an event.
    pub(super) fn patience(&self) -> Duration {
        let inner = self.inner();
        let due = inner
            .since
            .map(|since| TOGETHER.saturating_sub(since.elapsed()));
        due.unwrap_or(LOOK)
    }

    /// The identifier of the spool that is written to, and up to where it is durable. Of the task that tells.
    #[must_use]
    pub fn id(&self) -> Option<SpoolId> {
        self.inner().spool.as_ref().map(|spool| *spool.id())
    }

    /// Durable events from a number on, or from the next that there is.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn read(&self, from: u64, most: usize, bytes: usize) -> Result<Batch, Error> {
        let mut inner = self.inner();
        match &mut inner.spool {
            Some(spool) => Ok(spool.read(from, most, bytes)?),
            None => Ok(Batch::default()),
        }
    }

    /// The control plane has all up to this number.
    ///
    /// # Errors
    /// [`Error::File`] if it has what was never here, and no other spool can be made.
    pub fn taken(&self, number: u64) -> Result<(), Error> {
        let mut inner = self.inner();
        let Some(spool) = &mut inner.spool else {
            return Ok(());
        };
        if spool.is_behind(number) {
            tracing::error!(
                directory = %spool.directory().display(), number, next = spool.next(),
                "the control plane has events that were never in this spool: it is a copy that was put back; another one is begun"
            );
            let fresh = spool::fresh(&self.directory, self.limit)?;
            let lost = spool.lost();
            inner.spool = Some(fresh);
            if let Some(spool) = &mut inner.spool {
                spool.lose(lost.count, lost.last);
                inner.id = digits(spool.id());
            }
        } else {
            let before = spool.waiting();
            spool.taken(number);
            let more = before.saturating_sub(spool.waiting());
            self.taken.fetch_add(more, Relaxed);
        }
        let oldest = match &mut inner.spool {
            Some(spool) if !spool.is_empty() => {
                let batch = spool.read(number.saturating_add(1), 1, 0)?;
                // None of those that wait may be there: not durable yet, or damaged.
                batch.bodies.first().map_or(0, |body| time(body))
            }
            _ => 0,
        };
        self.oldest.store(oldest, Relaxed);
        self.see(&inner);
        Ok(())
    }

    /// Spools that other processes of this agent have left behind, which nobody uses any more.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn remains(&self) -> Result<Vec<spool::Spool>, Error> {
        let own = self
            .inner()
            .spool
            .as_ref()
            .map(|spool| spool.directory().to_owned());
        let mut found = Vec::new();
        if !self.directory.is_dir() {
            return Ok(found);
        }
        for path in spool::all(&self.directory)? {
            if Some(&path) != own.as_ref() {
                found.extend(spool::remains(&path)?);
            }
        }
        Ok(found)
    }

    /// All of it was taken: what it had lost and not told is told from here.
    ///
    /// # Errors
    /// [`Error::File`]; then it stays.
    pub fn remove(&self, rest: spool::Spool) -> Result<(), Error> {
        let lost = rest.lost();
        let mut inner = self.inner();
        let Some(spool) = &mut inner.spool else {
            return Ok(());
        };
        if lost.count > 0 {
            spool.lose(lost.count, lost.last);
            spool.sync()?;
        }
        drop(inner);
        Ok(spool::remove(rest)?)
    }

    fn count(&self, inner: &mut Inner, count: u64) {
        let now = keeper::millis(keeper::now());
        self.lost.fetch_add(count, Relaxed);
        match &mut inner.spool {
            Some(spool) => spool.lose(count, now),
            None => inner.lost.add(count, now),
        }
        // What was lost is written down with what was kept.
        inner.since.get_or_insert_with(Instant::now);
    }

    /// Makes what was put durable; says whether it is.
    fn sync(&self, inner: &mut Inner) -> bool {
        (inner.unsynced, inner.since) = (0, None);
        let Some(spool) = &mut inner.spool else {
            return false;
        };
        let (before, next) = (spool.durable(), spool.next());
        let synced = spool.sync();
        if let Err(error) = &synced {
            tracing::warn!("events cannot be kept: {error}");
            let count = next.saturating_sub(before.saturating_add(1));
            self.lost.fetch_add(count, Relaxed);
            spool.lose(count, keeper::millis(keeper::now()));
            inner.looked = Some(Instant::now());
        } else if spool.durable() > before {
            self.some.notify_one();
        }
        let durable = synced.is_ok();
        self.see(inner);
        durable
    }

    /// Looks whether there is room again, or a spool at all.
    fn look(&self, inner: &mut Inner) {
        inner.looked = Some(Instant::now());
        if let Some(spool) = &mut inner.spool {
            spool.look_again();
        } else {
            match spool::open(&self.directory, self.limit) {
                Ok(mut spool) => {
                    let lost = std::mem::take(&mut inner.lost);
                    if lost.count > 0 {
                        spool.lose(lost.count, lost.last);
                    }
                    let first = spool.read(1, 1, 0).unwrap_or_default();
                    let oldest = first.bodies.first().map_or(0, |body| time(body));
                    self.oldest.store(oldest, Relaxed);
                    inner.id = digits(spool.id());
                    inner.spool = Some(spool);
                    self.some.notify_one();
                }
                Err(error) => tracing::warn!("events cannot be kept: {error}"),
            }
        }
        self.see(inner);
    }

    fn see(&self, inner: &Inner) {
        let spool = inner.spool.as_ref();
        let blocked = spool.is_none_or(spool::Spool::is_blocked);
        if self.blocked.swap(blocked, Relaxed) != blocked {
            if blocked {
                tracing::error!(directory = %self.directory.display(), "no room for events: they are counted, and lost");
            } else {
                tracing::info!(directory = %self.directory.display(), "there is room for events");
            }
        }
        self.bytes
            .store(spool.map_or(0, spool::Spool::bytes), Relaxed);
        self.waiting
            .store(spool.map_or(0, spool::Spool::waiting), Relaxed);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digits(id: &SpoolId) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// When it was, by what it says.
fn time(body: &[u8]) -> u64 {
    let event = serde_json::from_slice::<Value>(body).unwrap_or_default();
    event.get("time").and_then(Value::as_u64).unwrap_or(1)
}
