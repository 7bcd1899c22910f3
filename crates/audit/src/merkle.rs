//! The tree of RFC 6962 (2.1): hashes of entries and of what stands above them. Sizes and places are numbers of entries. No
//! storage: whoever asks brings the hashes of complete subtrees.

use aws_lc_rs::digest::{SHA256, digest};

use crate::error::{Error, Result};

/// A SHA-256.
pub type Hash = [u8; 32];

/// The most entries of a tree: what Go's and other implementations take (a signed 64-bit number), 300 years of a billion a second.
pub const MAX_SIZE: u64 = (1 << 63) - 1;

/// What stands above nothing: the hash of the empty string.
#[must_use]
pub fn empty() -> Hash {
    sha256(&[])
}

/// Of an entry: RFC 6962 puts a zero in front, so that no entry passes for a node.
#[must_use]
pub fn leaf(entry: &[u8]) -> Hash {
    sha256(&[&[0], entry].concat())
}

/// Of two subtrees.
#[must_use]
pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut both = [1; 65];
    let (_, hashes) = both.split_at_mut(1);
    let (first, second) = hashes.split_at_mut(32);
    first.copy_from_slice(left);
    second.copy_from_slice(right);
    sha256(&both)
}

/// In one piece: pieces take a context on the heap, which costs more than the hash.
pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// The roots of the complete subtrees that a tree is made of, largest first: all that it takes to append to it. One for each bit
/// of its size.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// That of a tree that was kept: as many entries, and what [`Frontier::roots`] gave. Whether these are the roots of anything
    /// is not known here; whoever kept the root of the tree compares.
    ///
    /// # Errors
    /// [`Error::Format`], if there are more or fewer than one for each bit of the size, or more entries than [`MAX_SIZE`].
    pub fn from_parts(size: u64, roots: Vec<Hash>) -> Result<Self> {
        if size > MAX_SIZE {
            let wanted = "at most 2^63 - 1";
            return Err(Error::format("entries of a tree", size.to_string(), wanted));
        }
        if u32::try_from(roots.len()) != Ok(size.count_ones()) {
            let found = format!("{} for {size} entries", roots.len());
            let wanted = "one for each bit of the size";
            return Err(Error::format("roots of complete subtrees", found, wanted));
        }
        Ok(Self { size, roots })
    }

    /// As many entries.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, largest first.
    #[must_use]
    pub fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// Appends the hash of an entry ([`leaf`]). Gives each subtree that became complete by it, by its height, lowest first; the
    /// entry itself has height 0.
    pub fn append(&mut self, entry: Hash) -> Vec<(u8, Hash)> {
        let mut complete = vec![(0, entry)];
        let (mut hash, mut height) = (entry, 0);
        while self.size >> height & 1 == 1 {
            let Some(left) = self.roots.pop() else { break };
            hash = node(&left, &hash);
            height += 1;
            complete.push((height, hash));
        }
        self.roots.push(hash);
        self.size += 1;
        complete
    }

    /// What stands above all of it.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev();
        let Some(last) = roots.next() else {
            return empty();
        };
        roots.fold(*last, |right, left| node(left, &right))
    }
}

#[cfg(test)]
pub(crate) mod tests;
