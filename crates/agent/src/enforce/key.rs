//! Hashes that nobody can foresee, and that are the same in the process that takes the place of this one: SipHash-1-3 under a
//! random key, of bytes that are the same in every release. What is kept under them stands elsewhere.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use skans_dist::term::{Atom, Pid, Reference};

/// The key.
#[derive(Clone)]
pub struct Key {
    bytes: [u8; 16],
    empty: SipHasher13,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// A random one. Without random bytes nothing of an agent starts: zeros are no worse then.
    pub fn new() -> Self {
        Self::of(crate::random().unwrap_or_default())
    }

    /// The one of another process.
    pub fn of(bytes: [u8; 16]) -> Self {
        Self {
            bytes,
            empty: SipHasher13::new_with_key(&bytes),
        }
    }

    /// For another process.
    pub const fn bytes(&self) -> [u8; 16] {
        self.bytes
    }

    /// Of a process.
    pub fn of_pid(&self, pid: &Pid<'_>) -> u64 {
        let mut hasher = self.empty;
        hasher.write_u8(0);
        put_atom(&mut hasher, &pid.node);
        put(&mut hasher, &[pid.id, pid.serial, pid.creation]);
        hasher.finish()
    }

    /// Of a reference.
    pub fn of_reference(&self, reference: &Reference<'_>) -> u64 {
        let mut hasher = self.empty;
        hasher.write_u8(1);
        put_atom(&mut hasher, &reference.node);
        put(&mut hasher, &[reference.creation]);
        put(&mut hasher, reference.words());
        hasher.finish()
    }

    /// Of a text.
    pub fn of_text(&self, text: &str) -> u64 {
        let mut hasher = self.empty;
        hasher.write(text.as_bytes());
        hasher.finish()
    }
}

fn put_atom(hasher: &mut SipHasher13, atom: &Atom<'_>) {
    match atom {
        Atom::Text(text) => hasher.write(text.as_bytes()),
        Atom::Cached(index) => hasher.write(&[0, *index]),
    }
    // In no text of UTF-8, and so its end.
    hasher.write_u8(0xff);
}

fn put(hasher: &mut SipHasher13, words: &[u32]) {
    for word in words {
        hasher.write(&word.to_be_bytes());
    }
}
