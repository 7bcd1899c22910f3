//! What is exported is what Go makes of the same entries.

use std::collections::BTreeMap;

use super::*;
use crate::testing::{at, bytes, entries, hash, vectors};
use crate::tile::of_tree;

#[test]
fn every_file_of_a_tree_is_written_once_and_as_go_writes_it() {
    let vectors = vectors();
    let mut export = Export::new();
    let mut files = BTreeMap::new();
    for entry in entries(600) {
        assert_eq!(
            export.root().unwrap(),
            hash(&vectors.roots[at(export.size())].root)
        );
        for (path, content) in export.push(&entry).unwrap() {
            assert!(files.insert(path, content).is_none());
        }
        let now: BTreeMap<_, _> = files
            .clone()
            .into_iter()
            .chain(export.partial().unwrap())
            .collect();
        let wanted: Vec<_> = of_tree(export.size()).map(|tile| tile.path()).collect();
        let mut found: Vec<_> = now.into_keys().collect();
        found.sort_by_key(|path| wanted.iter().position(|one| one == path));
        assert_eq!(found, wanted);
    }
    files.extend(export.partial().unwrap());
    for tile in vectors.tiles {
        assert_eq!(files[&tile.path], bytes(&tile.hex), "{}", tile.path);
    }
    assert_eq!(export.root().unwrap(), hash(&vectors.roots[600].root));
}

#[test]
fn levels_are_gone_up() {
    let mut export = Export::new();
    let mut paths = Vec::new();
    for _ in 0..65_536 {
        paths.extend(export.push(b"").unwrap().into_iter().map(|(path, _)| path));
    }
    assert_eq!(paths.len(), 256 + 256 + 1);
    assert_eq!(paths.last().unwrap(), "tile/1/000");
    let rest = export.partial().unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].0, "tile/2/000.p/1");
}

#[test]
fn an_entry_that_is_too_long_is_not_appended() {
    let mut export = Export::new();
    assert!(export.push(&vec![0; MAX_ENTRY + 1]).is_err());
    assert_eq!(export.size(), 0);
    assert_eq!(export.partial().unwrap(), []);
    assert!(export.push(&vec![0; MAX_ENTRY]).is_ok());
}
