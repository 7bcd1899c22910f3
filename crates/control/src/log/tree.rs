//! The tree over the tiles that the store keeps: how it grows, and what its hashes are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use skans_audit::merkle::{self, Hash};
use skans_audit::proof::{self, Subtrees};
use skans_audit::tile;
use skans_store::log::{self, Bundle, Growth, Log, Tile, WIDTH};
use skans_store::writer::Epoch;
use skans_store::{Error, Result, Tx};

use super::current;

/// Gives events that wait their places, at most so many. Gives what the log has become.
///
/// # Errors
/// Those of the store.
pub(crate) fn grow(tx: &mut Tx<'_>, writer: Epoch, epoch: u64, at_most: usize) -> Result<Log> {
    let log = current(tx, epoch)?;
    let waiting = log::unlogged(tx, &log, at_most)?;
    let mut edge = Edge {
        epoch,
        tiles: BTreeMap::new(),
    };
    let mut bundles = BTreeMap::new();
    let (mut size, mut last_seq) = (log.size, log.last_seq);
    for event in &waiting {
        edge.put(tx, 0, size, merkle::leaf(event.body.as_bytes()))?;
        let n = size / WIDTH;
        let before = match bundles.get(&n) {
            None if size % WIDTH != 0 => log::bundle(tx, epoch, n)?,
            known => known.copied(),
        };
        let bundle = Bundle {
            n,
            last_seq: event.seq,
            min_ms: before.map_or(event.time_ms, |old: Bundle| old.min_ms.min(event.time_ms)),
            max_ms: before.map_or(event.time_ms, |old| old.max_ms.max(event.time_ms)),
        };
        bundles.insert(n, bundle);
        (size, last_seq) = (size + 1, event.seq);
    }
    if size == log.size {
        return Ok(log);
    }
    let growth = Growth {
        from: log.size,
        size,
        last_seq,
        tiles: edge.into_tiles(),
        bundles: bundles.into_values().collect(),
    };
    log::grow(tx, writer, epoch, &growth)?;
    Ok(Log {
        size,
        last_seq,
        ..log
    })
}

/// The hash above the first `size` entries.
///
/// # Errors
/// Those of the store; [`crate::error::Error::Audit`] if a tile is missing.
pub(crate) fn root(
    tx: &mut Tx<'_>,
    epoch: u64,
    size: u64,
) -> std::result::Result<Hash, crate::error::Error> {
    look(tx, epoch, size, |tree| proof::range(tree, 0, size))
}

/// Tiles at the right edge, as they grow.
struct Edge {
    epoch: u64,
    tiles: BTreeMap<(u8, u64), Vec<Hash>>,
}

impl Edge {
    /// Puts a hash behind those of its level, and what stands above a tile that is full into the next.
    fn put(&mut self, tx: &mut Tx<'_>, level: u8, index: u64, hash: Hash) -> Result<()> {
        let n = index / WIDTH;
        let hashes = match self.tiles.entry((level, n)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(match index % WIDTH {
                0 => Vec::new(),
                _ => hashes(tx, self.epoch, level, n)?,
            }),
        };
        if hashes.len() as u64 != index % WIDTH {
            return Err(Error::Corrupt(format!(
                "tile {n} of level {level} has {} hashes, wanted {}",
                hashes.len(),
                index % WIDTH
            )));
        }
        hashes.push(hash);
        if hashes.len() as u64 == WIDTH {
            let above = tile::root(hashes);
            self.put(tx, level + 1, n, above)?;
        }
        Ok(())
    }

    fn into_tiles(self) -> Vec<Tile> {
        let tiles = self.tiles.into_iter();
        tiles
            .map(|((level, n), hashes)| Tile {
                level,
                n,
                hashes: hashes.concat(),
            })
            .collect()
    }
}

fn hashes(tx: &mut Tx<'_>, epoch: u64, level: u8, n: u64) -> Result<Vec<Hash>> {
    let tile = log::tile(tx, epoch, level, n)?;
    let bytes = tile.map(|tile| tile.hashes).unwrap_or_default();
    let (hashes, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Err(Error::Corrupt(format!(
            "tile {n} of level {level} does not end with a hash"
        )));
    }
    Ok(hashes.to_vec())
}

/// Looks at the tree of the first `size` entries of a log. Each tile is read once.
///
/// # Errors
/// Those of the store, and of whoever looks.
pub(super) fn look<T>(
    tx: &mut Tx<'_>,
    epoch: u64,
    size: u64,
    look: impl FnOnce(
        &dyn Subtrees<Error = crate::error::Error>,
    ) -> std::result::Result<T, crate::error::Error>,
) -> std::result::Result<T, crate::error::Error> {
    let known = RefCell::new((tx, BTreeMap::<(u8, u64), Vec<Hash>>::new()));
    let read = |tile: tile::Tile| {
        let tile::Kind::Hashes(level) = tile.kind() else {
            return Ok(Vec::new());
        };
        let (tx, known) = &mut *known.borrow_mut();
        let found = match known.entry((level, tile.number())) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(hashes(tx, epoch, level, tile.number())?),
        };
        Ok(found.clone())
    };
    look(&tile::Tiles::new(size, read))
}
