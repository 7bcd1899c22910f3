//! Roots: published ones, Go's, and those by the letter of RFC 6962.

use proptest::prelude::*;

use super::*;
use crate::testing::{Leaves, at, bytes, entries, hash, tree_hash, vectors};

/// The entries and roots that the reference implementation of certificate transparency is tested with.
pub(crate) const ENTRIES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
pub(crate) const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn published_roots_come_out() {
    let mut frontier = Frontier::default();
    for (size, root) in ROOTS.iter().enumerate() {
        assert_eq!(frontier.size(), size as u64);
        assert_eq!(frontier.root(), hash(root), "of {size}");
        if let Some(entry) = ENTRIES.get(size) {
            frontier.append(leaf(&bytes(entry)));
        }
    }
}

#[test]
fn go_finds_the_same_roots() {
    let mut frontier = Frontier::default();
    let entries = entries(600);
    let mut checked = 0;
    for one in vectors().roots {
        while frontier.size() < one.size {
            frontier.append(leaf(&entries[at(frontier.size())]));
        }
        assert_eq!(frontier.root(), hash(&one.root), "of {}", one.size);
        checked += 1;
    }
    assert_eq!(checked, 601);
}

#[test]
fn a_frontier_comes_back_from_what_was_kept() {
    let mut frontier = Frontier::default();
    for entry in entries(77) {
        frontier.append(leaf(&entry));
        let kept = Frontier::from_parts(frontier.size(), frontier.roots().to_vec());
        assert_eq!(kept.as_ref(), Ok(&frontier));
    }
    let roots = frontier.roots().to_vec();
    for size in [76, 78, 0, MAX_SIZE, MAX_SIZE + 1, u64::MAX] {
        let same = size.count_ones() == 77u64.count_ones();
        assert_eq!(
            Frontier::from_parts(size, roots.clone()).is_ok(),
            same,
            "{size}"
        );
    }
    assert!(Frontier::from_parts(u64::MAX, vec![[0; 32]; 64]).is_err());
    assert!(Frontier::from_parts(MAX_SIZE, vec![[0; 32]; 63]).is_ok());
}

proptest! {
    #[test]
    fn appending_is_hashing_all_anew(count in 0u64..300) {
        let leaves = Leaves::count(count).0;
        let mut frontier = Frontier::default();
        for (at, one) in leaves.iter().enumerate() {
            for (height, hash) in frontier.append(*one) {
                let from = at + 1 - (1 << height);
                prop_assert_eq!(hash, tree_hash(&leaves[from..=at]));
            }
        }
        prop_assert_eq!(frontier.root(), tree_hash(&leaves));
    }
}
