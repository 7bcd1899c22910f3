//! Opening spools: the one that goes on, those that others left behind, and what is whole in them after a crash.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::ledger::Entry;
use super::segment::{Found, HEADER, Header, RECORD, SpoolId, record};
use super::{Segment, Spool, home, reserve, sync_directory};
use crate::error::FileError;
use crate::files;

/// Where a spool keeps what is not in its segments.
pub(super) const LEDGER: &str = "ledger";
const LOCK: &str = "lock";
/// Spools in one directory. One more than there may be when one process takes over from another, and that one has not been read yet.
const MOST: usize = 4;
/// Numbers that a crash of the machine may have used for what it did not keep: more than are written between two syncs.
const SKIPPED: u64 = 65_536;
/// Bytes that are looked at, at once.
const CHUNK: usize = 1024 * 1024;

/// Opens the spool of this process in a directory: the one that was left last, if nobody uses it and the machine has not been started anew
/// since, or a new one. It is never larger than `limit` bytes.
///
/// After a crash of the machine numbers may have been given that the disk knows nothing of. They must not be given again: whoever
/// has taken the first would not take the second. So there is another spool then.
///
/// # Errors
/// Says what the disk did not do.
pub fn open(directory: &Path, limit: u64) -> Result<Spool, FileError> {
    home(directory)?;
    let boot = boot();
    let mut left = 0;
    let mut another = None;
    for path in all(directory)? {
        left += 1;
        let Some(mut spool) = resume(&path, limit, boot)? else {
            continue;
        };
        let same = boot.is_some() && spool.segments.back().is_some_and(|last| of(last) == boot);
        if same {
            spool.go_on(0);
            return Ok(spool);
        }
        another = Some(spool);
    }
    if left >= MOST
        && let Some(mut spool) = another
    {
        spool.go_on(SKIPPED);
        return Ok(spool);
    }
    drop(another);
    create_new(directory, limit, boot.unwrap_or_default())
}

/// Opens a new spool beside what is there: for whoever finds that numbers of the one that it has were used by somebody else.
///
/// # Errors
/// Says what the disk did not do.
pub fn fresh(directory: &Path, limit: u64) -> Result<Spool, FileError> {
    home(directory)?;
    create_new(directory, limit, boot().unwrap_or_default())
}

/// Opens a spool that another process left behind, to be read. `None` while somebody uses it.
///
/// # Errors
/// Those of the disk.
pub fn remains(path: &Path) -> Result<Option<Spool>, FileError> {
    resume(path, 0, None)
}

/// The spools in a directory, in no order.
///
/// # Errors
/// If it cannot be read.
pub fn all(directory: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut found = Vec::new();
    let failed = || FileError::doing(directory, "list");
    for entry in fs::read_dir(directory).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        if id_of(&entry.path()).is_some() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

impl Spool {
    /// What was read is written to from here on, `skipped` numbers later.
    fn go_on(&mut self, skipped: u64) {
        self.look_at_disk();
        self.next += skipped;
        self.durable = self.next - 1;
        let size = self.segment();
        let newest = self.segments.back().filter(|one| one.end == self.next);
        if let Some(newest) = newest {
            reserve(&newest.file, newest.length, size);
        }
    }
}

fn create_new(directory: &Path, limit: u64, boot: [u8; 16]) -> Result<Spool, FileError> {
    let mut id = SpoolId::default();
    File::open("/dev/urandom")
        .and_then(|random| {
            use std::io::Read as _;
            (&random).read_exact(&mut id)
        })
        .map_err(FileError::doing(directory, "draw a name in"))?;
    let name: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = directory.join(name);
    let made = files::private_directory(&path).and_then(|()| begin_new(&path, id, limit, boot));
    if made.is_err() {
        let _ = fs::remove_dir_all(&path);
    }
    made
}

fn begin_new(path: &Path, id: SpoolId, limit: u64, boot: [u8; 16]) -> Result<Spool, FileError> {
    let lock = files::lock(&path.join(LOCK), false)?;
    let at = path.join(LEDGER);
    let ledger = create(&at)?;
    let mut spool = Spool {
        directory: path.to_owned(),
        id,
        boot,
        _lock: lock,
        ledger,
        entry: Entry::default(),
        noted: Entry::default(),
        segments: VecDeque::new(),
        limit,
        next: 1,
        durable: 0,
        taken: 0,
        blocked: false,
        retry: None,
        disk: 0,
        cursor: None,
    };
    // Both places, so that neither needs room later.
    for turn in [0, 1] {
        let entry = Entry {
            turn,
            next: 1,
            ..Entry::default()
        };
        entry
            .write(&id, &spool.ledger)
            .map_err(FileError::doing(&at, "write"))?;
        (spool.entry, spool.noted) = (entry, entry);
    }
    spool
        .ledger
        .sync_all()
        .map_err(FileError::doing(&at, "sync"))?;
    let segment = spool.begin(1)?;
    spool.segments.push_back(segment);
    if let Some(home) = path.parent() {
        sync_directory(home)?;
    }
    spool.look_at_disk();
    Ok(spool)
}

/// What is whole in a spool. `None` if another process uses it, or if nothing in it says how it goes on: then it is removed.
fn resume(path: &Path, limit: u64, boot: Option<[u8; 16]>) -> Result<Option<Spool>, FileError> {
    let Some(id) = id_of(path) else {
        return Ok(None);
    };
    files::private_directory(path)?;
    let Some(lock) = try_lock(&path.join(LOCK))? else {
        return Ok(None);
    };
    let at = path.join(LEDGER);
    let ledger = match writable().open(&at) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(&at)?,
        Err(error) => return Err(FileError::doing(&at, "open")(error)),
    };
    let entry = Entry::read(&id, &ledger);
    let mut segments = VecDeque::new();
    for name in names(path)? {
        let path = path.join(&name);
        if let Some(segment) = look(&id, &path, &name)? {
            segments.push_back(segment);
        } else {
            // Begun, and not written to.
            let _ = fs::remove_file(&path);
        }
    }
    let last = segments.iter().map(|one: &Segment| one.after).max();
    if entry.is_none() && last.is_none() {
        fs::remove_dir_all(path).map_err(FileError::doing(path, "remove"))?;
        return Ok(None);
    }
    let entry = entry.unwrap_or_default();
    let next = entry.next.max(last.unwrap_or(1)).max(1);
    let first = segments.front().map_or(next, |one| one.first);
    Ok(Some(Spool {
        directory: path.to_owned(),
        id,
        boot: boot.unwrap_or_default(),
        _lock: lock,
        ledger,
        entry,
        noted: entry,
        segments,
        limit,
        next,
        durable: next - 1,
        taken: first.saturating_sub(1),
        blocked: false,
        retry: None,
        disk: 0,
        cursor: None,
    }))
}

/// A segment, up to the last record that is whole. If there is more behind that, it is not known which numbers were used there: one changed byte of
/// a length makes all that follows look like the beginning of one record. So it stays as it is, and says the same when it is opened again.
fn look(id: &SpoolId, path: &Path, name: &str) -> Result<Option<Segment>, FileError> {
    let failed = |what: &'static str| FileError::doing(path, what);
    let file = writable().open(path).map_err(failed("open"))?;
    let length = file.metadata().map_err(failed("stat"))?.len();
    let mut bytes = vec![0; HEADER];
    if length < HEADER as u64 {
        return Ok(None);
    }
    file.read_exact_at(&mut bytes, 0).map_err(failed("read"))?;
    let header = Header::decode(&bytes).filter(|header| header.spool == *id);
    // One that is not of this spool, or broken where it says which records it holds, is kept for the numbers that may have been used in it.
    let first = header.map_or_else(|| name.parse().unwrap_or(1), |header| header.first);
    let mut segment = Segment {
        path: path.to_owned(),
        file,
        first,
        end: first,
        after: first,
        length: HEADER as u64,
        shares: HashMap::new(),
    };
    while header.is_some() && segment.length < length {
        let left = usize::try_from(length - segment.length).unwrap_or(CHUNK);
        let mut buffer = vec![0; left.min(CHUNK)];
        segment
            .file
            .read_exact_at(&mut buffer, segment.length)
            .map_err(failed("read"))?;
        let mut at = 0;
        let found = loop {
            match record(id, segment.end, buffer.get(at..).unwrap_or_default()) {
                Found::Record(record) => {
                    *segment.shares.entry(record.whose).or_default() += record.length() as u64;
                    segment.end += 1;
                    at += record.length();
                }
                other => break other,
            }
        };
        segment.length += at as u64;
        if found == Found::Nonsense || left == buffer.len() {
            break;
        }
    }
    segment.after = segment.end;
    if segment.length < length {
        let used = (length - segment.length) / RECORD as u64 + 1;
        segment.after = segment.end.saturating_add(used);
        tracing::warn!(path = %path.display(), bytes = length - segment.length, "not whole: what stands there is not read");
        segment.length = length;
    }
    Ok(Some(segment))
}

/// In which life of the machine it was begun.
fn of(segment: &Segment) -> Option<[u8; 16]> {
    let mut bytes = [0; HEADER];
    segment.file.read_exact_at(&mut bytes, 0).ok()?;
    Header::decode(&bytes).map(|header| header.boot)
}

fn names(path: &Path) -> Result<Vec<String>, FileError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(FileError::doing(path, "list"))? {
        let entry = entry.map_err(FileError::doing(path, "list"))?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        if name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn id_of(path: &Path) -> Option<SpoolId> {
    let name = path.file_name()?.to_str()?;
    if name.len() != 32 || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let number = u128::from_str_radix(name, 16).ok()?;
    Some(number.to_be_bytes())
}

fn try_lock(path: &Path) -> Result<Option<File>, FileError> {
    let file = writable()
        .create(true)
        .open(path)
        .map_err(FileError::doing(path, "lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(FileError::doing(path, "lock")(error)),
    }
}

/// A new file, for this process's user alone.
pub(super) fn create(path: &Path) -> Result<File, FileError> {
    writable()
        .create(true)
        .truncate(true)
        .open(path)
        .map_err(FileError::doing(path, "create"))
}

fn writable() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Changes when the machine is started: what was written and not synced is gone then, and only then.
fn boot() -> Option<[u8; 16]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16).ok()?;
    Some(number.to_be_bytes())
}
