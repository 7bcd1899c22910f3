//! Tiles: Go's paths and bytes; that each path leads to one tile; bundles; trees out of their tiles.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::merkle::leaf;
use crate::proof::range;
use crate::testing::{Leaves, bytes, entries, tree_hash, vectors};

#[test]
fn go_writes_the_same_paths() {
    let (mut there, mut too_far) = (0, 0);
    for one in vectors().paths {
        let tile = match u8::try_from(one.level) {
            Ok(level) => Tile::hashes(level, one.number, one.width),
            Err(_) => Tile::entries(one.number, one.width),
        };
        let span = u128::from(one.number) << (8 * (i32::from(one.level).max(0) + 1));
        if span > u128::from(MAX_SIZE) {
            assert!(tile.is_err(), "{}", one.path);
            assert!(Tile::parse(&one.path).is_err());
            too_far += 1;
            continue;
        }
        let tile = tile.unwrap();
        assert_eq!(tile.path(), one.path);
        assert_eq!(Tile::parse(&one.path), Ok(tile));
        there += 1;
    }
    assert!(there > 200 && too_far > 20, "{there} {too_far}");
}

#[test]
fn the_examples_of_the_specification_hold() {
    let tile = Tile::entries(1_234_067, 256).unwrap();
    assert_eq!(tile.path(), "tile/entries/x001/x234/067");
    let widths = |kind| {
        let of_kind = of_tree(70_000).filter(move |tile| tile.kind() == kind);
        of_kind.map(|tile| tile.width()).collect::<Vec<_>>()
    };
    let mut level_0 = vec![256; 273];
    level_0.push(112);
    assert_eq!(widths(Kind::Hashes(0)), level_0);
    assert_eq!(widths(Kind::Entries), level_0);
    assert_eq!(widths(Kind::Hashes(1)), [256, 17]);
    assert_eq!(widths(Kind::Hashes(2)), [1]);
    let of_256: Vec<_> = of_tree(256).map(|tile| tile.path()).collect();
    assert_eq!(of_256, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(of_tree(0).count(), 0);
}

#[test]
fn go_lists_the_same_tiles() {
    for (size, mut wanted) in vectors().tree_tiles {
        let size: u64 = size.parse().unwrap();
        let mut found: Vec<_> = of_tree(size)
            .filter(|tile| tile.kind() != Kind::Entries)
            .map(|tile| tile.path())
            .collect();
        wanted.sort();
        found.sort();
        assert_eq!(found, wanted, "of {size}");
    }
}

/// Every tile of a tree, by its path.
fn tiles(entries: &[Vec<u8>]) -> BTreeMap<String, Vec<u8>> {
    let mut level: Vec<_> = entries.iter().map(|entry| leaf(entry)).collect();
    let mut all = BTreeMap::new();
    for number in 0..=MAX_LEVEL {
        for (at, part) in level.chunks(256).enumerate() {
            let tile = Tile::hashes(number, at as u64, u16::try_from(part.len()).unwrap()).unwrap();
            all.insert(tile.path(), encode_hashes(part));
        }
        let (full, _) = level.as_chunks::<256>();
        level = full.iter().map(|part| root(part)).collect();
    }
    all
}

#[test]
fn go_puts_the_same_into_them() {
    let ours = tiles(&entries(600));
    let theirs: BTreeMap<_, _> = vectors()
        .tiles
        .iter()
        .map(|tile| (tile.path.clone(), bytes(&tile.hex)))
        .collect();
    assert_eq!(ours, theirs);
}

#[test]
fn a_tree_comes_out_of_its_tiles() {
    for size in [1, 2, 255, 256, 257, 511, 600, 66_000] {
        let entries = entries(size);
        let kept = tiles(&entries);
        let tree = Tiles::new(size, |tile: Tile| {
            tile.decode_hashes(kept.get(&tile.path()).expect("is one of the tree"))
        });
        let root = range(&tree, 0, size).unwrap();
        assert_eq!(root, tree_hash(&Leaves::of(&entries).0), "of {size}");
        assert!(tree.subtree(0, size).is_err(), "no entry {size}");
        assert!(tree.subtree(63, 1).is_err());
        assert!(tree.subtree(255, u64::MAX).is_err());
    }
}

#[test]
fn paths_of_no_tile_are_refused() {
    let wrong = [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/8/000",
        "tile/63/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/0/+00",
        "tile/0/x000/000",
        "tile/0/x001",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p/1/",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/../000",
        "tile/entries",
        "tile/data/000",
        "tile/8/0/000",
        "tile/0/000.p/65537",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/7/001",
        "tile/0/x036/x028/x797/x018/x963/968",
        "tile/0/\u{664}\u{664}\u{664}",
        "checkpoint",
    ];
    for path in wrong {
        assert!(Tile::parse(path).is_err(), "{path}");
    }
    assert!(Tile::parse("tile/0/x036/x028/x797/x018/x963/967").is_ok());
    assert!(Tile::hashes(8, 0, 1).is_err());
    assert!(Tile::hashes(0, 0, 257).is_err());
    assert!(Tile::entries(u64::MAX, 1).is_err());
}

#[test]
fn bundles_have_bounds() {
    let longest = vec![7; MAX_ENTRY];
    let bytes = encode_bundle(&[&longest, &Vec::new()]).unwrap();
    assert_eq!(decode_bundle(&bytes, 2).unwrap(), [&longest[..], &[]]);
    assert!(encode_bundle(&[vec![7; MAX_ENTRY + 1]]).is_err());
    assert!(encode_bundle::<&[u8]>(&[]).is_err());
    assert!(encode_bundle(&[b""; 257]).is_err());
    let full = encode_bundle(&vec![&longest; 256]).unwrap();
    assert_eq!(full.len(), MAX_BUNDLE);
    assert!(decode_bundle(&bytes, 1).is_err(), "something behind it");
    assert!(decode_bundle(&bytes, 3).is_err());
}

proptest! {
    #[test]
    fn every_tile_has_one_path(level in 0u8..=8, number in any::<u64>(), shift in 0u32..64, width in 0u16..=257) {
        let tile = if level == 8 {
            Tile::entries(number >> shift, width)
        } else {
            Tile::hashes(level, number >> shift, width)
        };
        if let Ok(tile) = tile {
            prop_assert!(tile.path().len() <= 47);
            prop_assert_eq!(Tile::parse(&tile.path()), Ok(tile));
        }
    }

    #[test]
    fn what_is_read_is_written_so(path in "tile/(entries|[0-9]{1,2})(/x?[0-9]{2,4}){1,4}(\\.p/[0-9]{1,4})?") {
        if let Ok(tile) = Tile::parse(&path) {
            prop_assert_eq!(tile.path(), path);
        }
    }

    #[test]
    fn bundles_come_back(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..=256)) {
        let bytes = encode_bundle(&entries).unwrap();
        let width = u16::try_from(entries.len()).unwrap();
        let tile = Tile::entries(0, width).unwrap();
        prop_assert_eq!(tile.decode_bundle(&bytes).unwrap(), entries.iter().map(Vec::as_slice).collect::<Vec<_>>());
        prop_assert!(decode_bundle(&bytes[..bytes.len() - 1], width).is_err());
        prop_assert!(width == 256 || decode_bundle(&bytes, width + 1).is_err());
    }

    #[test]
    fn a_tile_of_another_length_is_refused(width in 1u16..=256, length in 0usize..9000) {
        let tile = Tile::hashes(0, 0, width).unwrap();
        prop_assert_eq!(tile.decode_hashes(&vec![0; length]).is_ok(), length == usize::from(width) * 32);
    }
}
