//! What a spool remembers beside its records, in a file of its own size from the beginning, so that it can be written when the disk is full:
//! from which number on it goes on, and what was lost and not told yet. Two places, written in turn: one is always whole.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::segment::{SpoolId, check, number};

/// Bytes of one of the two places.
const PLACE: usize = 48;

/// What was lost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Lost {
    /// How many.
    pub count: u64,
    /// The first and the last of them, in milliseconds since 1970.
    pub first: u64,
    /// See [`Lost::first`].
    pub last: u64,
}

impl Lost {
    /// So many more, now.
    pub fn add(&mut self, count: u64, now: u64) {
        if self.count == 0 {
            self.first = now;
        }
        self.count = self.count.saturating_add(count);
        self.last = now;
    }
}

/// One entry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Entry {
    /// The number of this entry.
    pub turn: u64,
    /// No record that is not in a segment has a number from here on.
    pub next: u64,
    pub lost: Lost,
}

impl Entry {
    /// The newest of the two that is whole.
    pub fn read(spool: &SpoolId, file: &File) -> Option<Self> {
        let places = [0, 1].map(|place| {
            let mut bytes = [0; PLACE];
            file.read_exact_at(&mut bytes, place * PLACE as u64).ok()?;
            Self::decode(spool, &bytes)
        });
        places.into_iter().flatten().max_by_key(|entry| entry.turn)
    }

    /// Writes it over the older one. Not durable before the file is synced.
    pub fn write(&self, spool: &SpoolId, file: &File) -> std::io::Result<()> {
        file.write_all_at(&self.encode(spool), (self.turn % 2) * PLACE as u64)
    }

    fn encode(&self, spool: &SpoolId) -> Vec<u8> {
        let Lost { count, first, last } = self.lost;
        let numbers = [self.turn, self.next, count, first, last];
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
        let check = check(spool, &[&bytes]);
        bytes.extend_from_slice(&check.to_be_bytes());
        bytes
    }

    pub(super) fn decode(spool: &SpoolId, bytes: &[u8]) -> Option<Self> {
        let (said, sum) = bytes.get(..PLACE)?.split_at_checked(PLACE - 8)?;
        if number(sum)? != check(spool, &[said]) {
            return None;
        }
        let mut numbers = said.chunks_exact(8).filter_map(number);
        Some(Self {
            turn: numbers.next()?,
            next: numbers.next()?,
            lost: Lost {
                count: numbers.next()?,
                first: numbers.next()?,
                last: numbers.next()?,
            },
        })
    }
}
