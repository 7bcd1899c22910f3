//! Which processes of a node of this host bear a name, as its shim tells: a message to a bare pid is judged as one to the
//! name that the pid bears. What is judged is not decided here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use arc_swap::ArcSwap;

/// `_PID_NUM_SIZE`.
const NUMBER_BITS: u32 = 15;
/// Names of one node, at most. Ours: a node has some hundreds; the shim sends no more (`skans_names.erl`).
const MAX_NAMES: usize = 16_384;
/// Bytes of one table, at most: that many names of 255 bytes. An atom of 255 characters can take four times as much, and
/// no node has that many of those.
pub const MAX_TABLE: usize = 1 + 4 + MAX_NAMES * (4 + 4 + 2 + 255);
/// Bytes of a name: an atom has 255 characters, of four bytes in UTF-8 at most.
const MAX_NAME: usize = 255 * 4;

/// The names of one node. One writer, the task of its registration; every link of the node reads, without a lock.
#[derive(Debug, Default)]
pub struct Names {
    creation: u32,
    /// In the order of the numbers: searching some hundred is cheaper than a hash, and asks for no secret key.
    table: ArcSwap<Vec<(u64, Arc<str>)>>,
    /// Counts up with each table, after it is there.
    changes: AtomicU64,
}

impl Names {
    /// Of a node in one life; nothing is known of it yet.
    #[must_use]
    pub fn new(creation: u32) -> Self {
        Self {
            creation,
            ..Self::default()
        }
    }

    /// The life of the node.
    #[must_use]
    pub const fn creation(&self) -> u32 {
        self.creation
    }

    /// The name that a process of this node bears, if it bore one a second ago.
    #[must_use]
    pub fn of(&self, id: u32, serial: u32) -> Option<Arc<str>> {
        let (table, wanted) = (self.table.load(), key(id, serial));
        let found = table.binary_search_by_key(&wanted, |(key, _)| *key).ok()?;
        table.get(found).map(|(_, name)| Arc::clone(name))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table.load().len()
    }

    /// The table as the shim would send it; empty if there is none.
    #[must_use]
    pub fn table(&self) -> Vec<u8> {
        let table = self.table.load();
        if table.is_empty() {
            return Vec::new();
        }
        let mut out = vec![b'N'];
        out.extend(self.creation.to_be_bytes());
        for (key, name) in table.iter() {
            // Another way to say the same process: see `key`.
            let id = u32::try_from(key & ((1 << NUMBER_BITS) - 1)).unwrap_or_default();
            let serial = u32::try_from(key >> NUMBER_BITS).unwrap_or(u32::MAX);
            out.extend(id.to_be_bytes());
            out.extend(serial.to_be_bytes());
            out.extend(u16::try_from(name.len()).unwrap_or_default().to_be_bytes());
            out.extend_from_slice(name.as_bytes());
        }
        out
    }

    /// Takes a whole table, as the shim sends it: `'N' creation:32 (id:32 serial:32 length:16 name)*`.
    ///
    /// # Errors
    /// What is wrong with it; the former table stays.
    pub fn replace(&self, table: &[u8]) -> Result<(), String> {
        let table = decode(table, self.creation)?;
        self.table.store(Arc::new(table));
        self.changes.fetch_add(1, Release);
        Ok(())
    }

    /// A number that is another one after each new table. Who wants to know whether what was found still holds asks for it
    /// first, and looks then.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Acquire)
    }
}

/// The number by which a VM finds a process: id and serial as they lie in its own pids (`erl_term.h`, `make_pid_data`).
/// The two halves of a pid on the wire may say the same process in several ways, and a peer must not find one that is
/// missing here. Node and creation are left out for the same reason: a creation of 0 stands for any.
#[must_use]
pub const fn key(id: u32, serial: u32) -> u64 {
    (serial as u64) << NUMBER_BITS | id as u64
}

fn decode(bytes: &[u8], creation: u32) -> Result<Vec<(u64, Arc<str>)>, String> {
    let ends = || "it ends in the middle of an entry".to_owned();
    let Some((b'N', rest)) = bytes.split_first().map(|(kind, rest)| (*kind, rest)) else {
        return Err("found another kind of message, wanted 'N'".to_owned());
    };
    let (found, mut rest) = rest.split_first_chunk().ok_or_else(ends)?;
    let found = u32::from_be_bytes(*found);
    if found != creation {
        return Err(format!(
            "found creation {found}, wanted {creation}, with which the node registered"
        ));
    }
    let mut table = BTreeMap::new();
    while !rest.is_empty() {
        let (id, after) = rest.split_first_chunk().ok_or_else(ends)?;
        let (serial, after) = after.split_first_chunk().ok_or_else(ends)?;
        let (length, after) = after.split_first_chunk().ok_or_else(ends)?;
        let length = usize::from(u16::from_be_bytes(*length));
        if length > MAX_NAME {
            return Err(format!(
                "found a name of {length} bytes, wanted {MAX_NAME} at most"
            ));
        }
        let (name, after) = after.split_at_checked(length).ok_or_else(ends)?;
        let name = std::str::from_utf8(name).map_err(|_| "a name is not UTF-8".to_owned())?;
        if table.len() == MAX_NAMES {
            return Err(format!("it has more than {MAX_NAMES} names"));
        }
        let key = key(u32::from_be_bytes(*id), u32::from_be_bytes(*serial));
        table.insert(key, Arc::from(name));
        rest = after;
    }
    Ok(table.into_iter().collect())
}

#[cfg(test)]
mod tests;
