//! Tiles and entry bundles of C2SP tlog-tiles: which there are of a tree, under which paths, and what is in them. Where they are
//! kept is not decided here.

use crate::error::{Error, Result, shown};
use crate::merkle::{Frontier, Hash, MAX_SIZE};
use crate::proof::Subtrees;

#[cfg(test)]
mod tests;

/// Hashes or entries of a full tile: the number that tlog-tiles fixes.
pub const WIDTH: u16 = 256;

/// The longest entry in bytes: its length has 16 bits.
pub const MAX_ENTRY: usize = 65_535;

/// The longest entry bundle in bytes: 256 of the longest entries, each with its length.
pub const MAX_BUNDLE: usize = 256 * (MAX_ENTRY + 2);

/// The longest tile of hashes in bytes.
pub const MAX_HASHES: usize = 256 * 32;

/// The highest level that a tree of [`MAX_SIZE`] has a tile on: each stands for 256 of the one below. tlog-tiles writes up to 63,
/// of which no tree has a hash.
pub const MAX_LEVEL: u8 = 7;

/// The longest path in bytes; the longest that there is has 47.
const MAX_PATH: usize = 64;

/// What is in a tile.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// The entries themselves: a bundle.
    Entries,
    /// Hashes of complete subtrees: on level 0 of entries, above each of a full tile of the level below.
    Hashes(u8),
}

/// One tile: what, where, and how much of it there is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tile {
    kind: Kind,
    number: u64,
    width: u16,
}

impl Tile {
    /// Tile `number` from the left of `level`, with `width` hashes.
    ///
    /// # Errors
    /// [`Error::Format`], if no tree has it.
    pub fn hashes(level: u8, number: u64, width: u16) -> Result<Self> {
        Self::new(Kind::Hashes(level), number, width)
    }

    /// Entry bundle `number` from the left, with `width` entries.
    ///
    /// # Errors
    /// [`Error::Format`], if no tree has it.
    pub fn entries(number: u64, width: u16) -> Result<Self> {
        Self::new(Kind::Entries, number, width)
    }

    fn new(kind: Kind, number: u64, width: u16) -> Result<Self> {
        let level = level(kind);
        if level > MAX_LEVEL {
            return Err(Error::format(
                "level of a tile",
                level.to_string(),
                "0 to 7",
            ));
        }
        if width == 0 || width > WIDTH {
            return Err(Error::format(
                "width of a tile",
                width.to_string(),
                "1 to 256",
            ));
        }
        if number > places(MAX_SIZE, level) >> 8 {
            let wanted = "one that a tree of at most 2^63 - 1 entries has";
            return Err(Error::format(
                "number of a tile",
                number.to_string(),
                wanted,
            ));
        }
        Ok(Self {
            kind,
            number,
            width,
        })
    }

    /// The tile of this kind and number, as wide as it is in a tree of `size` entries; `None` if that has none of it.
    #[must_use]
    pub fn in_tree(kind: Kind, number: u64, size: u64) -> Option<Self> {
        let before = number.checked_mul(u64::from(WIDTH))?;
        let left = places(size, level(kind)).checked_sub(before)?;
        let width = u16::try_from(left).map_or(WIDTH, |left| left.min(WIDTH));
        Self::new(kind, number, width).ok()
    }

    /// What is in it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Which one from the left, from 0.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// How many hashes or entries, 1 to 256.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether it never changes any more.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == WIDTH
    }

    /// The place of its first hash on its level, or of its first entry in the log.
    #[must_use]
    pub const fn start(&self) -> u64 {
        // Bounded by `new`.
        self.number << 8
    }

    /// `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`: the number in groups of three digits, all but the last begun by x.
    #[must_use]
    pub fn path(&self) -> String {
        let mut groups = vec![format!("{:03}", self.number % 1000)];
        let mut left = self.number / 1000;
        while left > 0 {
            groups.push(format!("x{:03}", left % 1000));
            left /= 1000;
        }
        groups.reverse();
        let kind = match self.kind {
            Kind::Entries => "entries".to_owned(),
            Kind::Hashes(level) => level.to_string(),
        };
        let part = if self.is_full() {
            String::new()
        } else {
            format!(".p/{}", self.width)
        };
        format!("tile/{kind}/{}{part}", groups.join("/"))
    }

    /// Reads what [`Tile::path`] writes, and nothing else: a path leads to one tile, a tile has one path.
    ///
    /// # Errors
    /// [`Error::Format`].
    pub fn parse(path: &str) -> Result<Self> {
        Self::read(path)
            .filter(|tile| tile.path() == path)
            .ok_or_else(|| {
                let wanted =
                    "tile/<level>/<number>[.p/<width>] or tile/entries/<number>[.p/<width>]";
                Error::format("path of a tile", shown(path), wanted)
            })
    }

    fn read(path: &str) -> Option<Self> {
        if path.len() > MAX_PATH {
            return None;
        }
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match kind {
            "entries" => Kind::Entries,
            level => Kind::Hashes(level.parse().ok()?),
        };
        let (number, width) = match rest.split_once(".p/") {
            // A full one is written without.
            Some((number, width)) => (number, width.parse().ok().filter(|w| *w != WIDTH)?),
            None => (rest, WIDTH),
        };
        let number = number.split('/').try_fold(0u64, |sum, group| {
            let digits: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
            sum.checked_mul(1000)?.checked_add(digits)
        })?;
        Self::new(kind, number, width).ok()
    }

    /// The hashes that are in these bytes.
    ///
    /// # Errors
    /// [`Error::Format`], if there are more or fewer than the width says.
    pub fn decode_hashes(&self, bytes: &[u8]) -> Result<Vec<Hash>> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() != usize::from(self.width) {
            let found = format!("{} bytes for a width of {}", bytes.len(), self.width);
            return Err(Error::format("tile of hashes", found, "32 for each hash"));
        }
        Ok(hashes.to_vec())
    }

    /// The entries that are in these bytes.
    ///
    /// # Errors
    /// [`Error::Format`], if there are more or fewer than the width says, or bytes behind them.
    pub fn decode_bundle<'a>(&self, bytes: &'a [u8]) -> Result<Vec<&'a [u8]>> {
        decode_bundle(bytes, self.width)
    }
}

fn level(kind: Kind) -> u8 {
    match kind {
        Kind::Entries => 0,
        Kind::Hashes(level) => level,
    }
}

/// How many hashes a level has in a tree of `size` entries.
fn places(size: u64, level: u8) -> u64 {
    size.checked_shr(u32::from(level) * 8).unwrap_or(0)
}

/// Every tile of a tree of `size` entries, as they must be there for a checkpoint of it: level by level from below, from the left;
/// on each level the last may be partial. Entry bundles come first.
pub fn of_tree(size: u64) -> impl Iterator<Item = Tile> {
    let kinds = std::iter::once(Kind::Entries).chain((0..=MAX_LEVEL).map(Kind::Hashes));
    kinds.flat_map(move |kind| {
        let count = places(size, level(kind)).div_ceil(u64::from(WIDTH));
        (0..count).filter_map(move |number| Tile::in_tree(kind, number, size))
    })
}

/// The bytes of a tile with these hashes.
#[must_use]
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.as_flattened().to_vec()
}

/// The bytes of a bundle with these entries, each behind its length in 16 bits, big-endian.
///
/// # Errors
/// [`Error::Format`], if an entry is longer than [`MAX_ENTRY`], or there are none or more than 256.
pub fn encode_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>> {
    if entries.is_empty() || entries.len() > usize::from(WIDTH) {
        let found = entries.len().to_string();
        return Err(Error::format("entries of a bundle", found, "1 to 256"));
    }
    let length = entries.iter().map(|entry| entry.as_ref().len() + 2).sum();
    let mut bytes = Vec::with_capacity(length);
    for entry in entries {
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len()).map_err(|_| {
            let found = format!("{} bytes", entry.len());
            Error::format("entry", found, "at most 65535")
        })?;
        bytes.extend(length.to_be_bytes());
        bytes.extend(entry);
    }
    Ok(bytes)
}

/// The entries of a bundle that has `width` of them.
///
/// # Errors
/// [`Error::Format`], if there are more or fewer, or bytes behind them.
pub fn decode_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>> {
    let (entries, rest) = cut(bytes, width);
    if entries.len() < usize::from(width) {
        let found = format!("an end inside entry {} of {width}", entries.len());
        return Err(Error::format("entry bundle", found, "whole entries"));
    }
    if !rest.is_empty() {
        let found = format!("{} bytes behind entry {width}", rest.len());
        return Err(Error::format("entry bundle", found, "nothing behind it"));
    }
    Ok(entries)
}

/// The entries of a bundle that are whole, at most `width`, whatever stands behind them.
pub(crate) fn prefix_of_bundle(bytes: &[u8], width: u16) -> Vec<&[u8]> {
    cut(bytes, width).0
}

fn cut(bytes: &[u8], width: u16) -> (Vec<&[u8]>, &[u8]) {
    let mut entries = Vec::with_capacity(usize::from(width.min(WIDTH)));
    let mut rest = bytes;
    while entries.len() < usize::from(width) {
        let one = rest.split_first_chunk::<2>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        let Some((entry, behind)) = one else { break };
        entries.push(entry);
        rest = behind;
    }
    (entries, rest)
}

/// What stands above some hashes of one level: for a full tile, its hash on the level above.
#[must_use]
pub fn root(hashes: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    for hash in hashes {
        frontier.append(*hash);
    }
    frontier.root()
}

/// The subtrees of a tree of `size` entries, out of its tiles, which `read` fetches. What it gives is taken as it is.
#[derive(Clone, Copy, Debug)]
pub struct Tiles<F> {
    size: u64,
    read: F,
}

impl<F> Tiles<F> {
    /// Reads each tile as wide as it is in a tree of this size.
    pub const fn new(size: u64, read: F) -> Self {
        Self { size, read }
    }
}

impl<E: From<Error>, F: Fn(Tile) -> std::result::Result<Vec<Hash>, E>> Subtrees for Tiles<F> {
    type Error = E;

    fn subtree(&self, height: u8, number: u64) -> std::result::Result<Hash, E> {
        let (level, within) = (height / 8, height % 8);
        let outside = || {
            let found = format!("height {height}, number {number}");
            let wanted = "one that is complete in the tree";
            E::from(Error::format("subtree", found, wanted))
        };
        let first = number.checked_mul(1 << within).ok_or_else(outside)?;
        let place = Tile::in_tree(Kind::Hashes(level), first >> 8, self.size);
        let hashes = (self.read)(place.ok_or_else(outside)?)?;
        let at = usize::try_from(first & 255).map_err(|_| outside())?;
        let part = hashes.get(at..at + (1 << within)).ok_or_else(outside)?;
        Ok(root(part))
    }
}
