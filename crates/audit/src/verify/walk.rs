//! From the root down: partial tiles by the root of the checkpoint, full ones by the hash above them, entries by their hash. So what is
//! found to be wrong is wrong, and not what it is held against.

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result, shown};
use crate::merkle::{Hash, leaf};
use crate::proof::range;
use crate::tile::{self, Kind, MAX_BUNDLE, MAX_HASHES, MAX_LEVEL, Tile, Tiles, WIDTH};
use crate::wire::to_base64;

use super::{Files, unreadable};

/// A log that is looked at.
pub(super) struct Walk<'a, F> {
    files: &'a F,
    checkpoint: &'a Checkpoint,
    /// The last tile of each level that was found right: whoever goes from left to right reads each once.
    right: Vec<Option<(u64, Vec<Hash>)>>,
}

impl<'a, F: Files> Walk<'a, F> {
    pub(super) fn new(files: &'a F, checkpoint: &'a Checkpoint) -> Self {
        Self {
            files,
            checkpoint,
            right: vec![None; usize::from(MAX_LEVEL) + 1],
        }
    }

    /// Whether the partial tiles lead to the root: it is made of nothing else.
    pub(super) fn check_root(&self) -> Result<()> {
        let size = self.checkpoint.size;
        let tree = Tiles::new(size, |tile| self.hashes(tile));
        let root = range(&tree, 0, size)?;
        if root == self.checkpoint.root {
            return Ok(());
        }
        // One of them is wrong: it is the one instead of which what is below it leads to the root.
        for level in 0..=MAX_LEVEL {
            let last = size >> (8 * u32::from(level)) >> 8;
            let Some(tile) = Tile::in_tree(Kind::Hashes(level), last, size) else {
                continue;
            };
            let (Ok(found), Ok(below)) = (self.hashes(tile), self.read_below(tile)) else {
                continue;
            };
            let instead = Tiles::new(size, |one| {
                if one == tile {
                    Ok(below.clone())
                } else {
                    self.hashes(one)
                }
            });
            if range(&instead, 0, size)? == self.checkpoint.root {
                let at = found.iter().zip(&below).position(|(a, b)| a != b);
                return Err(wrong_hash(tile, at.unwrap_or_default(), &found, &below));
            }
        }
        Err(Error::Root {
            size,
            found: to_base64(&root),
            wanted: to_base64(&self.checkpoint.root),
        })
    }

    /// What a tile should hold by what is below it.
    fn read_below(&self, tile: Tile) -> Result<Vec<Hash>> {
        match tile.kind() {
            Kind::Entries | Kind::Hashes(0) => {
                let bundle = Tile::entries(tile.number(), tile.width())?;
                let bytes = self.must_read(bundle, MAX_BUNDLE)?;
                let entries = bundle.decode_bundle(&bytes)?;
                Ok(entries.into_iter().map(leaf).collect())
            }
            Kind::Hashes(level) => {
                let numbers = tile.start()..tile.start() + u64::from(tile.width());
                let below = numbers.map(|number| {
                    let full = Tile::hashes(level - 1, number, WIDTH)?;
                    Ok(tile::root(&self.hashes(full)?))
                });
                below.collect()
            }
        }
    }

    /// The hashes of the entries of a bundle, which are right.
    pub(super) fn leaves(&mut self, number: u64) -> Result<Vec<Hash>> {
        self.level(0, number)
    }

    fn level(&mut self, level: u8, number: u64) -> Result<Vec<Hash>> {
        if let Some(Some((at, hashes))) = self.right.get(usize::from(level))
            && *at == number
        {
            return Ok(hashes.clone());
        }
        let tile = Tile::in_tree(Kind::Hashes(level), number, self.checkpoint.size);
        let tile = tile.ok_or_else(|| {
            let found = format!("{number} of level {level}");
            Error::format("number of a tile", found, "one that the tree has")
        })?;
        let hashes = self.hashes(tile)?;
        // Partial ones were held against the root.
        if tile.is_full() {
            let above = self.level(level + 1, number >> 8)?;
            let place = usize::try_from(number & 255).unwrap_or_default();
            let (found, wanted) = (tile::root(&hashes), above.get(place));
            if wanted != Some(&found) {
                return Err(self.wrong_tile(tile, &hashes, wanted));
            }
        }
        if let Some(place) = self.right.get_mut(usize::from(level)) {
            *place = Some((number, hashes.clone()));
        }
        Ok(hashes)
    }

    /// Says which hash of a tile is wrong, if what is below it knows better.
    fn wrong_tile(&self, tile: Tile, hashes: &[Hash], wanted: Option<&Hash>) -> Error {
        let below = self.read_below(tile).unwrap_or_default();
        let at = hashes.iter().zip(&below).position(|(a, b)| a != b);
        if let Some(at) = at
            && wanted == Some(&tile::root(&below))
        {
            return wrong_hash(tile, at, hashes, &below);
        }
        Error::Tile {
            path: tile.path(),
            found: format!("hashes under {}", to_base64(&tile::root(hashes))),
            wanted: match wanted {
                Some(wanted) => format!("{} as the tile above says", to_base64(wanted)),
                None => "a hash of it in the tile above".to_owned(),
            },
        }
    }

    /// The bundle of these entries, each of which has the hash that it should have; `None` if it is not there.
    pub(super) fn entries(&self, tile: &Tile, hashes: &[Hash]) -> Result<Option<Vec<u8>>> {
        let Some(bytes) = self.read(*tile, MAX_BUNDLE)? else {
            return Ok(None);
        };
        self.check_entries(tile, &bytes, hashes)?;
        Ok(Some(bytes))
    }

    fn check_entries(&self, tile: &Tile, bytes: &[u8], hashes: &[Hash]) -> Result<()> {
        // Entry by entry, also where the bundle ends inside of one: the first wrong one is named.
        let entries = tile::prefix_of_bundle(bytes, tile.width());
        for ((index, entry), wanted) in (tile.start()..).zip(&entries).zip(hashes) {
            let found = leaf(entry);
            if found != *wanted {
                return Err(Error::Entry {
                    index,
                    path: tile.path(),
                    found: to_base64(&found),
                    wanted: to_base64(wanted),
                });
            }
        }
        tile.decode_bundle(bytes).map(drop).map_err(|error| {
            let whole = u64::try_from(entries.len()).unwrap_or_default();
            match error {
                Error::Format { found, .. } => Error::Tile {
                    path: tile.path(),
                    found,
                    wanted: format!(
                        "entries {} to {}, of which those before {} are right",
                        tile.start(),
                        tile.start() + u64::from(tile.width()) - 1,
                        tile.start() + whole
                    ),
                },
                other => other,
            }
        })
    }

    /// Whether the log begins with another. All tiles are right by now.
    pub(super) fn check_beginning(&self, older: &Checkpoint) -> Result<()> {
        let tree = Tiles::new(self.checkpoint.size, |tile| self.hashes(tile));
        let root = range(&tree, 0, older.size)?;
        if root == older.root {
            return Ok(());
        }
        Err(Error::Rewritten {
            size: older.size,
            found: to_base64(&root),
            wanted: to_base64(&older.root),
        })
    }

    /// Whether a file that is there is a part of the log; `false` if it says not to be one. A narrower tile, left from an older
    /// checkpoint, must be the beginning of the one that is there now.
    pub(super) fn check_listed(&mut self, path: &str) -> Result<bool> {
        if path == crate::export::CHECKPOINT {
            return Ok(true);
        }
        if !path.starts_with("tile/") {
            return Ok(false);
        }
        // Whoever made the copy called it so.
        let is_plain = path.len() <= 96 && path.bytes().all(|b| b.is_ascii_graphic());
        let stray = || Error::Stray {
            path: if is_plain {
                path.to_owned()
            } else {
                shown(path)
            },
            size: self.checkpoint.size,
        };
        let tile = Tile::parse(path).map_err(|_| stray())?;
        let now = Tile::in_tree(tile.kind(), tile.number(), self.checkpoint.size);
        let now = now.filter(|now| now.width() >= tile.width());
        if now.ok_or_else(stray)? == tile {
            // Walked already.
            return Ok(true);
        }
        match tile.kind() {
            Kind::Hashes(level) => {
                let found = self.hashes(tile)?;
                let right = self.level(level, tile.number())?;
                match found.iter().zip(&right).position(|(a, b)| a != b) {
                    Some(at) => Err(wrong_hash(tile, at, &found, &right)),
                    None => Ok(true),
                }
            }
            Kind::Entries => {
                let right = self.level(0, tile.number())?;
                self.entries(&tile, &right).map(|_| true)
            }
        }
    }

    fn hashes(&self, tile: Tile) -> Result<Vec<Hash>> {
        let bytes = self.must_read(tile, MAX_HASHES)?;
        tile.decode_hashes(&bytes).map_err(|_| Error::Tile {
            path: tile.path(),
            found: format!("{} bytes", bytes.len()),
            wanted: format!("{}", usize::from(tile.width()) * 32),
        })
    }

    fn must_read(&self, tile: Tile, limit: usize) -> Result<Vec<u8>> {
        self.read(tile, limit)?
            .ok_or_else(|| Error::Missing { path: tile.path() })
    }

    fn read(&self, tile: Tile, limit: usize) -> Result<Option<Vec<u8>>> {
        let path = tile.path();
        // One byte more: what is too long is seen to be.
        self.files.read(&path, limit + 1).map_err(unreadable(&path))
    }
}

fn wrong_hash(tile: Tile, at: usize, found: &[Hash], wanted: &[Hash]) -> Error {
    let show = |hashes: &[Hash]| {
        hashes
            .get(at)
            .map(|hash| to_base64(hash))
            .unwrap_or_default()
    };
    Error::Tile {
        path: tile.path(),
        found: format!("{} as hash {at}", show(found)),
        wanted: format!("{} of what is below it", show(wanted)),
    }
}
