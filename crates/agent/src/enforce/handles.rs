//! What a node has handed out, and what was handed to it: processes and aliases that a peer without `send_pid` may send to,
//! since it was told of them. Hardening, not proof: what a message holds beyond its first 64 KiB, inside binaries, or what a
//! third node passes on, is not seen.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

use skans_dist::term::{Pid, Reference};
use skans_handover::TableParts;

use super::key::Key;

/// Processes and references of one generation. Ours: two of them are 64 Ki, a megabyte; a call hands out two or three, and
/// an answer comes long before twenty thousand other calls are made.
const GENERATION: usize = 32 * 1024;

/// The table of one node. Links of peers that have `send_pid` never come here.
#[derive(Debug)]
pub struct Handles {
    key: Key,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    young: Keys,
    /// What was young before; gone when there is a new one.
    old: Keys,
}

/// Hashes under a secret key, which need none for a place in a table.
type Keys = HashSet<u64, BuildHasherDefault<Hashed>>;

#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// Never asked for: the keys are numbers.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

impl Handles {
    /// Of a node that has handed out nothing yet.
    pub fn new() -> Self {
        Self {
            key: Key::new(),
            tables: Mutex::default(),
        }
    }

    /// What another process has kept; of more than it may keep, the rest is left out.
    pub fn thaw(parts: &TableParts) -> Self {
        let take = |hashes: &[u64]| hashes.iter().copied().take(GENERATION).collect();
        Self {
            key: Key::of(parts.key),
            tables: Mutex::new(Tables {
                young: take(&parts.young),
                old: take(&parts.old),
            }),
        }
    }

    /// What another process has to know.
    pub fn freeze(&self) -> TableParts {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        TableParts {
            key: self.key.bytes(),
            young: tables.young.iter().copied().collect(),
            old: tables.old.iter().copied().collect(),
        }
    }

    /// Takes note of a process.
    pub fn pid(&self, pid: &Pid<'_>) {
        self.add(self.key.of_pid(pid));
    }

    /// Takes note of a reference, which may be an alias.
    pub fn reference(&self, reference: &Reference<'_>) {
        self.add(self.key.of_reference(reference));
    }

    /// Whether a process was handed out, not too long ago.
    #[must_use]
    pub fn has_pid(&self, pid: &Pid<'_>) -> bool {
        self.has(self.key.of_pid(pid))
    }

    /// Whether a reference was.
    #[must_use]
    pub fn has_reference(&self, reference: &Reference<'_>) -> bool {
        self.has(self.key.of_reference(reference))
    }

    fn add(&self, key: u64) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if tables.young.len() >= GENERATION {
            tables.old = std::mem::take(&mut tables.young);
        }
        tables.young.insert(key);
    }

    fn has(&self, key: u64) -> bool {
        let found = {
            let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
            if tables.young.contains(&key) {
                return true;
            }
            tables.old.contains(&key)
        };
        if found {
            // In use: it stays for another generation.
            self.add(key);
        }
        found
    }
}
