//! A log as files: entry by entry in, the tiles that are whole by then out, the partial ones at the end. Who writes them, and where,
//! is not known here.

use crate::error::{Error, Result};
use crate::merkle::{Hash, MAX_SIZE, empty, leaf};
use crate::proof::range;
use crate::tile::{self, Kind, MAX_ENTRY, Tile, Tiles, WIDTH};

#[cfg(test)]
mod tests;

/// Under which path the checkpoint is.
pub const CHECKPOINT: &str = "checkpoint";

/// One file: its path in the log, and what is in it.
pub type File = (String, Vec<u8>);

/// A log that is being written. At most one partial tile of each level is held.
#[derive(Clone, Debug, Default)]
pub struct Export {
    size: u64,
    /// The entries of the last bundle, encoded as they come.
    bundle: Vec<Vec<u8>>,
    /// The hashes of the last tile of each level, from below.
    levels: Vec<Vec<Hash>>,
}

impl Export {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries there are so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends an entry. Gives the files that became full by it, and never change again.
    ///
    /// # Errors
    /// [`Error::Format`], if the entry is longer than [`MAX_ENTRY`]; then it was not appended.
    pub fn push(&mut self, entry: &[u8]) -> Result<Vec<File>> {
        if entry.len() > MAX_ENTRY || self.size >= MAX_SIZE {
            let found = format!("{} bytes, behind {} others", entry.len(), self.size);
            return Err(Error::format("entry", found, "at most 65535 bytes"));
        }
        self.size += 1;
        self.bundle.push(entry.to_vec());
        let mut files = Vec::new();
        if self.bundle.len() == usize::from(WIDTH) {
            files.push(self.file(Kind::Entries, &tile::encode_bundle(&self.bundle)?)?);
            self.bundle.clear();
        }
        let mut hash = leaf(entry);
        for level in 0..=tile::MAX_LEVEL {
            let at = usize::from(level);
            if self.levels.len() == at {
                self.levels.push(Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(at) else {
                break;
            };
            hashes.push(hash);
            if hashes.len() < usize::from(WIDTH) {
                break;
            }
            let full = std::mem::take(hashes);
            hash = tile::root(&full);
            files.push(self.file(Kind::Hashes(level), &tile::encode_hashes(&full))?);
        }
        Ok(files)
    }

    /// The last file of this kind, as wide as it is now.
    fn file(&self, kind: Kind, bytes: &[u8]) -> Result<File> {
        let level = match kind {
            Kind::Entries => 0,
            Kind::Hashes(level) => u32::from(level),
        };
        let last = (self.size >> (8 * level)).saturating_sub(1) >> 8;
        let tile = Tile::in_tree(kind, last, self.size).ok_or_else(|| {
            let found = format!("{kind:?} {last} of {}", self.size);
            Error::format("tile", found, "one that the tree has")
        })?;
        Ok((tile.path(), bytes.to_vec()))
    }

    /// The files that are partial: with those that [`Export::push`] gave, and a checkpoint, the log is whole. More may be appended
    /// behind it.
    ///
    /// # Errors
    /// None in practice: [`Error::Format`].
    pub fn partial(&self) -> Result<Vec<File>> {
        let mut files = Vec::new();
        if !self.bundle.is_empty() {
            files.push(self.file(Kind::Entries, &tile::encode_bundle(&self.bundle)?)?);
        }
        for (level, hashes) in (0..=tile::MAX_LEVEL).zip(&self.levels) {
            if !hashes.is_empty() {
                files.push(self.file(Kind::Hashes(level), &tile::encode_hashes(hashes))?);
            }
        }
        Ok(files)
    }

    /// What stands above all entries so far.
    ///
    /// # Errors
    /// None in practice: [`Error::Format`].
    pub fn root(&self) -> Result<Hash> {
        if self.size == 0 {
            return Ok(empty());
        }
        // A root is made of what is partial on each level, and of nothing else.
        let held = Tiles::new(self.size, |tile: Tile| match tile.kind() {
            Kind::Hashes(level) => Ok(self
                .levels
                .get(usize::from(level))
                .cloned()
                .unwrap_or_default()),
            Kind::Entries => Ok::<_, Error>(Vec::new()),
        });
        range(&held, 0, self.size)
    }
}
