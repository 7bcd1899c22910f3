//! A spool: numbered records on disk, in files that are only added to, until somebody else has them. It has a bound, and within it everybody has a
//! share that leaves room for others, and what must not be lost has room that nothing else may use.
//!
//! How much of a record's worth is told elsewhere: nothing is dropped here, it is refused, and can be counted ([`Spool::lose`]).

mod ledger;
mod open;
mod segment;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};

use crate::error::FileError;
use crate::files;

use ledger::Entry;
pub use ledger::Lost;
pub use open::{all, fresh, open, remains};
pub use segment::{Found, HEADER, Header, MAX_BODY, RECORD, Record, SpoolId, record};

/// Segments that make a full spool. What is taken frees a segment at a time.
const SEGMENTS: u64 = 16;
/// Bounds of the bytes of a segment.
const SEGMENT: (u64, u64) = (128 * 1024, 4 * 1024 * 1024);
/// A share: this part of what is free. A flood of one takes a fifth of all, of two a sixth each; whoever comes next always finds some
/// (dynamic thresholds, Choudhury and Hahne 1998, as switches share their buffers).
const SHARE: u64 = 4;
/// The part of the newest segment that only what must not be lost may use.
const RESERVE: u64 = 4;
/// Between two attempts to get room from a disk that had none.
const RETRY: Duration = Duration::from_secs(1);
/// Bytes that are read at once.
const READ: usize = 256 * 1024;

/// Which room a record may use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Room {
    /// That of whoever it counts to, given as a number that means the same in the next process. 0 is nobody's: no share bounds it.
    Share(u64),
    /// All there is, and what is kept for it.
    Reserved,
}

/// Why a record is not kept.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is longer than [`MAX_BODY`].
    #[error("longer than a record may be")]
    TooLong,
    /// Whoever it counts to has used its share.
    #[error("its share of the spool is used up")]
    Share,
    /// The spool has no more room.
    #[error("the spool is full")]
    Full,
    /// The disk takes no more.
    #[error("{0}")]
    Disk(FileError),
}

impl Refused {
    /// Whether nobody's record would have been kept.
    #[must_use]
    pub const fn is_for_all(&self) -> bool {
        matches!(self, Self::Full | Self::Disk(_))
    }
}

/// Some records in order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Batch {
    /// The number of the first.
    pub first: u64,
    /// What they hold; none if there are none.
    pub bodies: Vec<Vec<u8>>,
}

/// Numbered records on disk. One process has it; [`Spool::put`] and [`Spool::sync`] belong on a thread that may wait for a disk.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    id: SpoolId,
    boot: [u8; 16],
    /// Held as long as this is there.
    _lock: File,
    ledger: File,
    entry: Entry,
    /// What stands in the ledger.
    noted: Entry,
    /// Oldest first. The last one is written to.
    segments: VecDeque<Segment>,
    limit: u64,
    next: u64,
    durable: u64,
    taken: u64,
    /// Whether the last record that nobody's share kept out was kept.
    blocked: bool,
    retry: Option<Instant>,
    /// Free bytes of the file system, when it was looked at last.
    disk: u64,
    /// Where the last read ended: number, segment's first number, offset.
    cursor: Option<(u64, u64, u64)>,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: File,
    first: u64,
    /// The number after the last that can be read.
    end: u64,
    /// The number after the last that may have been used.
    after: u64,
    length: u64,
    shares: HashMap<u64, u64>,
}

impl Spool {
    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What its numbers are known by.
    #[must_use]
    pub const fn id(&self) -> &SpoolId {
        &self.id
    }

    /// The number of the next record.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Bytes that are on disk, or on their way there.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length).sum()
    }

    /// Records that were not taken yet.
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        self.next.saturating_sub(1).saturating_sub(self.taken)
    }

    /// Whether nobody's record would be kept now, as far as is known.
    #[must_use]
    pub const fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// What was lost and not told.
    #[must_use]
    pub const fn lost(&self) -> Lost {
        self.entry.lost
    }

    /// Keeps a record, and gives its number. It is durable after [`Spool::sync`].
    ///
    /// # Errors
    /// [`Refused`]; nothing of it is kept then.
    pub fn put(&mut self, room: Room, body: &[u8]) -> Result<u64, Refused> {
        let whose = match room {
            Room::Share(whose) => whose,
            Room::Reserved => 0,
        };
        if body.len() > MAX_BODY {
            return Err(Refused::TooLong);
        }
        let record = Record {
            number: self.next,
            whose,
            body,
        };
        let bytes = record.encode(&self.id);
        let length = bytes.len() as u64;
        if whose != 0 && self.used_by(whose) + length > self.free() / SHARE {
            // Where it is small for want of room, and not since it has had much, nobody's would last.
            self.blocked |= self.free() < self.segment();
            return Err(Refused::Share);
        }
        let made = self.make_room(room, length);
        if room != Room::Reserved {
            self.blocked = made.as_ref().is_err_and(Refused::is_for_all);
        }
        made?;
        let Some(newest) = self.segments.back_mut() else {
            return Err(Refused::Full);
        };
        if let Err(error) = newest.file.write_all_at(&bytes, newest.length) {
            // What was written of it is cut off here, or when the spool is opened next.
            let _ = newest.file.set_len(newest.length);
            self.blocked = true;
            let path = newest.path.clone();
            return Err(Refused::Disk(FileError::doing(&path, "write")(error)));
        }
        newest.length += length;
        *newest.shares.entry(whose).or_default() += length;
        self.next += 1;
        (newest.end, newest.after) = (self.next, self.next);
        Ok(record.number)
    }

    /// Counts records that were not kept; `now` is in milliseconds since 1970. Durable after [`Spool::sync`].
    pub fn lose(&mut self, count: u64, now: u64) {
        self.entry.lost.add(count, now);
    }

    /// What was lost has been told, in a record that is durable. What came meanwhile stays.
    pub fn told(&mut self, lost: Lost) {
        let left = self.entry.lost.count.saturating_sub(lost.count);
        self.entry.lost = if left == 0 {
            Lost::default()
        } else {
            Lost {
                count: left,
                first: lost.last,
                last: self.entry.lost.last,
            }
        };
    }

    /// Makes all that was kept durable, and gives the number of the last of it.
    ///
    /// # Errors
    /// Says what the disk did not take: then what was kept since the last time is not sure, and is not read.
    pub fn sync(&mut self) -> Result<u64, FileError> {
        if let Some(newest) = self.segments.back()
            && self.durable + 1 < self.next
        {
            let synced = newest.file.sync_data();
            if let Err(error) = synced {
                let error = FileError::doing(&newest.path, "sync")(error);
                self.give_up_newest();
                return Err(error);
            }
            self.durable = self.next - 1;
        }
        self.note()?;
        Ok(self.durable)
    }

    /// Up to the number of the last durable record.
    #[must_use]
    pub const fn durable(&self) -> u64 {
        self.durable
    }

    /// Somebody else has all records up to this number: they need not be kept.
    pub fn taken(&mut self, number: u64) {
        self.taken = self.taken.max(number.min(self.next.saturating_sub(1)));
        if self.is_empty() {
            self.retry = None;
        }
        while self.segments.len() > 1
            && let Some(oldest) = self.segments.front()
            && oldest.end <= self.taken + 1
        {
            // One that cannot be removed is removed when the spool is opened next.
            let _ = fs::remove_file(&oldest.path);
            self.segments.pop_front();
            (self.cursor, self.retry) = (None, None);
        }
    }

    /// Whether all that was kept was taken.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.taken + 1 >= self.next
    }

    /// Whether somebody else has taken records that were never here: then this is a copy that was put back, and what is kept from here on must
    /// have other numbers.
    #[must_use]
    pub const fn is_behind(&self, taken: u64) -> bool {
        taken >= self.next
    }

    /// Durable records from a number on, or from the next that there is: at most so many, and of so many bytes, but one in any case.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn read(&mut self, from: u64, most: usize, bytes: usize) -> Result<Batch, FileError> {
        let mut batch = Batch {
            first: from,
            bodies: Vec::new(),
        };
        let mut room = bytes;
        let mut broken = None;
        for (place, segment) in self.segments.iter().enumerate() {
            if segment.end <= from || segment.first == segment.end {
                continue;
            }
            let wanted = batch.first + batch.bodies.len() as u64;
            if segment.first > wanted {
                if !batch.bodies.is_empty() {
                    break;
                }
                batch.first = segment.first;
            }
            let wanted = batch.first + batch.bodies.len() as u64;
            let (mut number, mut offset) = match self.cursor {
                Some((number, first, offset)) if first == segment.first && number <= wanted => {
                    (number, offset)
                }
                _ => (segment.first, HEADER as u64),
            };
            let end = segment.end.min(self.durable.saturating_add(1));
            while number < end {
                let left = usize::try_from(segment.length - offset).unwrap_or(READ);
                let mut buffer = vec![0; left.min(READ)];
                segment
                    .file
                    .read_exact_at(&mut buffer, offset)
                    .map_err(FileError::doing(&segment.path, "read"))?;
                let mut at = 0;
                while number < end
                    && let Found::Record(record) =
                        record(&self.id, number, buffer.get(at..).unwrap_or_default())
                {
                    if number >= wanted {
                        let full = batch.bodies.len() >= most || record.body.len() > room;
                        if full && !batch.bodies.is_empty() {
                            self.cursor = Some((number, segment.first, offset + at as u64));
                            return Ok(batch);
                        }
                        room = room.saturating_sub(record.body.len());
                        batch.bodies.push(record.body.to_vec());
                    }
                    at += record.length();
                    number += 1;
                }
                offset += at as u64;
                if at == 0 {
                    // It was whole when it was written, or looked at: the disk has changed it. What follows cannot be found.
                    break;
                }
            }
            self.cursor = Some((number, segment.first, offset));
            if number < end {
                broken = Some((place, number));
                break;
            }
        }
        if let Some((place, number)) = broken {
            if let Some(segment) = self.segments.get_mut(place) {
                let path = segment.path.display();
                tracing::error!(%path, number, "a record is not what was written: it and what follows in this file are lost");
                segment.end = number;
            }
            if batch.bodies.is_empty() {
                // Once for each segment.
                return self.read(from, most, bytes);
            }
        }
        Ok(batch)
    }

    fn used_by(&self, whose: u64) -> u64 {
        let of = self.segments.iter().map(|one| one.shares.get(&whose));
        of.flatten().sum()
    }

    /// Bytes that there is room for, as far as is known.
    fn free(&self) -> u64 {
        let newest = self.segments.back();
        let begun = newest.map_or(0, |one| self.segment().saturating_sub(one.length));
        let bound = self.limit.saturating_sub(self.bytes());
        bound.min(self.disk.saturating_add(begun))
    }

    fn segment(&self) -> u64 {
        (self.limit / SEGMENTS).clamp(SEGMENT.0, SEGMENT.1)
    }

    /// Sees to it that the newest segment has room for a record.
    fn make_room(&mut self, room: Room, length: u64) -> Result<(), Refused> {
        let all = self.segment();
        // One that does not go on with the next number is written to no more.
        let newest = self.segments.back().filter(|one| one.end == self.next);
        let used = newest.map_or(all, |newest| newest.length);
        if used + length <= all - all / RESERVE {
            return Ok(());
        }
        let rolled = self.roll();
        if rolled.is_err() && room == Room::Reserved && used + length <= all {
            return Ok(());
        }
        rolled
    }

    /// Begins another segment.
    fn roll(&mut self) -> Result<(), Refused> {
        if self.retry.is_some_and(|retry| retry > Instant::now()) {
            return Err(Refused::Full);
        }
        let done = self.begin_another();
        self.retry = done.is_err().then(|| Instant::now() + RETRY);
        done
    }

    fn begin_another(&mut self) -> Result<(), Refused> {
        let all_taken = self.is_empty();
        if self.bytes() + self.segment() > self.limit && !all_taken {
            return Err(Refused::Full);
        }
        self.sync().map_err(Refused::Disk)?;
        self.look_at_disk();
        if self.disk < 2 * self.segment() && !all_taken {
            // Whatever else is kept there needs some as well: what is denied, and certificates.
            return Err(Refused::Full);
        }
        if all_taken {
            // Nothing in it is needed: the disk may have room for one of them only.
            self.note().map_err(Refused::Disk)?;
            for segment in std::mem::take(&mut self.segments) {
                let _ = fs::remove_file(&segment.path);
            }
            self.cursor = None;
        }
        if let Some(newest) = self.segments.back() {
            // What it had in reserve goes back to the disk.
            let _ = newest.file.set_len(newest.length);
        }
        let begun = self.begin(self.next);
        if begun.is_err()
            && let Some(newest) = self.segments.back()
        {
            reserve(&newest.file, newest.length, self.segment());
        }
        let segment = begun.map_err(Refused::Disk)?;
        self.segments.push_back(segment);
        self.look_at_disk();
        Ok(())
    }

    /// A new segment, with all of its room.
    fn begin(&self, first: u64) -> Result<Segment, FileError> {
        let path = self.directory.join(format!("{first:020}"));
        let header = Header {
            spool: self.id,
            boot: self.boot,
            first,
        };
        let made = open::create(&path).and_then(|file| {
            fallocate(&file, FallocateFlags::KEEP_SIZE, 0, self.segment())
                .or_else(|error| match error {
                    // Then it is not kept for us, and a full disk is noticed when it is written to.
                    rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS => Ok(()),
                    error => Err(error),
                })
                .map_err(io::Error::from)
                .and_then(|()| file.write_all_at(&header.encode(), 0))
                .and_then(|()| file.sync_all())
                .map_err(FileError::doing(&path, "begin"))?;
            sync_directory(&self.directory)?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok(Segment {
                path,
                file,
                first,
                end: first,
                after: first,
                length: HEADER as u64,
                shares: HashMap::new(),
            }),
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// What the disk did not take for sure is not in the spool; its numbers are not used again.
    fn give_up_newest(&mut self) {
        let durable = self.durable;
        if let Some(newest) = self.segments.back_mut() {
            newest.end = newest.end.min(durable + 1).max(newest.first);
        }
        self.blocked = true;
        self.durable = self.next - 1;
    }

    /// Keeps what is not in segments, if it has changed.
    fn note(&mut self) -> Result<(), FileError> {
        // The segments themselves say how far numbers have come, as long as they are there.
        let further = self.is_empty() && self.noted.next != self.next;
        if self.noted.lost == self.entry.lost && !further {
            return Ok(());
        }
        self.entry.turn = self.noted.turn + 1;
        self.entry.next = self.next;
        let path = self.directory.join(open::LEDGER);
        self.entry
            .write(&self.id, &self.ledger)
            .and_then(|()| self.ledger.sync_data())
            .map_err(FileError::doing(&path, "write"))?;
        self.noted = self.entry;
        Ok(())
    }

    fn look_at_disk(&mut self) {
        // What cannot be looked at bounds nothing here: writing says what it is.
        self.disk = fstatvfs(&self.ledger).map_or(u64::MAX / 2, |found| {
            found.f_bavail.saturating_mul(found.f_frsize)
        });
    }

    /// Looks again whether there is room, some time after there was none. To be called now and then while [`Spool::is_blocked`].
    pub fn look_again(&mut self) {
        self.look_at_disk();
        let made = self.make_room(Room::Share(0), MAX_BODY as u64);
        self.blocked = made.is_err() || self.free() < self.segment();
    }
}

/// Sees to it that the file can grow to this size.
fn reserve(file: &File, from: u64, size: u64) {
    let more = size.saturating_sub(from);
    if more > 0 {
        let _ = fallocate(file, FallocateFlags::KEEP_SIZE, from, more);
    }
}

fn sync_directory(path: &Path) -> Result<(), FileError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(FileError::doing(path, "sync"))
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Whoever comes next reads what is there, durable or not: this process has not died.
        let _ = self.sync();
    }
}

/// Removes a spool whose records were all taken.
///
/// # Errors
/// Says what cannot be removed.
pub fn remove(spool: Spool) -> Result<(), FileError> {
    let directory = spool.directory.clone();
    drop(spool);
    fs::remove_dir_all(&directory).map_err(FileError::doing(&directory, "remove"))?;
    directory.parent().map_or(Ok(()), sync_directory)
}

/// The directory that holds spools, made if it is not there.
fn home(directory: &Path) -> Result<(), FileError> {
    files::private_directory(directory)
}
