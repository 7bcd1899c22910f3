//! Proofs: published ones, Go's, those by the letter of RFC 6962; and that nothing else passes for one.

use proptest::prelude::*;

use super::*;
use crate::merkle::tests::{ENTRIES, ROOTS};
use crate::merkle::{Frontier, leaf};
use crate::testing::{Leaves, at, bytes, hash, hashes, path, subproof, tree_hash, vectors};

fn published() -> Leaves {
    Leaves(ENTRIES.iter().map(|entry| leaf(&bytes(entry))).collect())
}

fn whole<T>(proof: Result<T, std::convert::Infallible>) -> T {
    match proof {
        Ok(proof) => proof,
    }
}

fn short(proof: &[Hash]) -> Vec<String> {
    let hex = |hash: &Hash| hash.iter().map(|byte| format!("{byte:02x}")).collect();
    proof.iter().map(hex).collect()
}

const ONE: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const TWO: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const FOUR: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
const FIVE: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const SEVEN: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const SIX: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";

#[test]
fn published_proofs_come_out_and_hold() {
    let tree = published();
    let inclusions: [(u64, u64, &[&str]); 5] = [
        (0, 1, &[]),
        (0, 8, &[ONE, TWO, FOUR]),
        (5, 8, &[FIVE, SEVEN, ROOTS[4]]),
        (2, 3, &[ROOTS[2]]),
        (1, 5, &[ROOTS[1], TWO, FIVE]),
    ];
    for (index, size, wanted) in inclusions {
        let proof = whole(inclusion(&tree, index, size));
        assert_eq!(short(&proof), wanted, "{index} in {size}");
        let root = root_of_inclusion(tree.0[at(index)], index, size, &proof);
        assert_eq!(root, Some(hash(ROOTS[at(size)])));
    }
    let consistencies: [(u64, u64, &[&str]); 4] = [
        (1, 1, &[]),
        (1, 8, &[ONE, TWO, FOUR]),
        (6, 8, &[SIX, SEVEN, ROOTS[4]]),
        (2, 5, &[TWO, FIVE]),
    ];
    for (old, new, wanted) in consistencies {
        let proof = whole(consistency(&tree, old, new));
        assert_eq!(short(&proof), wanted, "{old} to {new}");
        let root = |size: u64| (size, hash(ROOTS[at(size)]));
        assert!(is_consistent(root(old), root(new), &proof));
    }
}

#[test]
fn go_proves_the_same() {
    let vectors = vectors();
    let tree = Leaves::count(600);
    let root = |size: u64| hash(&vectors.roots[at(size)].root);
    for one in &vectors.inclusion {
        let proof = whole(inclusion(&tree, one.one, one.size));
        assert_eq!(proof, hashes(&one.proof), "{} in {}", one.one, one.size);
        let entry = tree.0[at(one.one)];
        let found = root_of_inclusion(entry, one.one, one.size, &proof);
        assert_eq!(found, Some(root(one.size)));
    }
    for one in &vectors.consistency {
        let proof = whole(consistency(&tree, one.one, one.size));
        assert_eq!(proof, hashes(&one.proof), "{} to {}", one.one, one.size);
        let (old, new) = ((one.one, root(one.one)), (one.size, root(one.size)));
        assert!(is_consistent(old, new, &proof));
    }
    assert!(vectors.inclusion.len() > 80 && vectors.consistency.len() > 80);
}

#[test]
fn numbers_at_their_bounds_are_no_panic() {
    let (tree, hash) = (Leaves::count(4), [7; 32]);
    for (index, size) in [(0, 0), (1, 0), (9, 4), (u64::MAX, u64::MAX), (0, u64::MAX)] {
        for length in [0, 1, 62, 63, 64, 65, 200] {
            let proof = vec![hash; length];
            let found = root_of_inclusion(hash, index, size, &proof);
            assert!(found.is_none() || (index < size && length <= 64));
            assert!(!is_consistent((index, hash), (size, [8; 32]), &proof));
        }
    }
    assert_eq!(whole(consistency(&tree, 5, 4)), Vec::<Hash>::new());
    assert_eq!(whole(consistency(&tree, 0, 4)), Vec::<Hash>::new());
    assert_eq!(whole(inclusion(&tree, 0, 0)), Vec::<Hash>::new());
    assert_eq!(whole(range(&tree, 3, 3)), empty());
    assert_eq!(whole(range(&tree, 3, 2)), empty());
}

#[test]
fn a_proof_that_ends_below_the_root_is_none() {
    // Right for two entries, and the tree is said to have more: nothing leads to what is above.
    let tree = Leaves::count(2);
    let root = |size: usize| tree_hash(&tree.0[..size]);
    let proof = [tree.0[1]];
    assert!(is_consistent((1, root(1)), (2, root(2)), &proof));
    for size in [3, 4, 5, 8, 1 << 40] {
        assert!(
            !is_consistent((1, root(1)), (size, root(2)), &proof),
            "{size}"
        );
        let found = root_of_inclusion(tree.0[0], 0, size, &proof);
        assert_eq!(found, None, "{size}");
    }
}

#[test]
fn a_tree_of_nothing_is_the_beginning_of_any() {
    let root = tree_hash(&Leaves::count(3).0);
    assert!(is_consistent((0, empty()), (3, root), &[]));
    assert!(!is_consistent((0, empty()), (3, root), &[root]));
    assert!(!is_consistent((0, root), (3, root), &[]));
    assert!(is_consistent((0, empty()), (0, empty()), &[]));
    assert!(!is_consistent((0, empty()), (0, root), &[]));
}

proptest! {
    #[test]
    fn each_entry_is_proven_and_no_other(size in 1u64..200, place in any::<proptest::sample::Index>(), bit in 0usize..256, other in 0u64..200) {
        let tree = Leaves::count(size);
        let root = Some(tree_hash(&tree.0));
        let index = place.index(at(size)) as u64;
        let entry = tree.0[at(index)];
        let proof = whole(inclusion(&tree, index, size));
        prop_assert_eq!(&proof, &path(at(index), &tree.0));
        prop_assert_eq!(root_of_inclusion(entry, index, size, &proof), root);
        if other != index {
            prop_assert_ne!(root_of_inclusion(entry, other, size, &proof), root);
        }
        for part in 0..proof.len() {
            let mut changed = proof.clone();
            changed[part][bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(root_of_inclusion(entry, index, size, &changed), root);
            changed.remove(part);
            prop_assert_ne!(root_of_inclusion(entry, index, size, &changed), root);
        }
        let mut longer = proof;
        longer.push(entry);
        prop_assert_ne!(root_of_inclusion(entry, index, size, &longer), root);
    }

    #[test]
    fn a_beginning_is_proven_and_nothing_else(new in 1u64..200, place in any::<proptest::sample::Index>(), bit in 0usize..256) {
        let tree = Leaves::count(new);
        let old = place.index(at(new)) as u64 + 1;
        let root = |size: u64| (size, tree_hash(&tree.0[..at(size)]));
        let proof = whole(consistency(&tree, old, new));
        prop_assert_eq!(&proof, &subproof(at(old), &tree.0, true));
        prop_assert!(is_consistent(root(old), root(new), &proof));
        let changed = |(size, mut root): (u64, Hash)| {
            root[bit / 8] ^= 1 << (bit % 8);
            (size, root)
        };
        prop_assert!(!is_consistent(changed(root(old)), root(new), &proof));
        prop_assert!(!is_consistent(root(old), changed(root(new)), &proof));
        for part in 0..proof.len() {
            let mut less = proof.clone();
            less[part][bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!is_consistent(root(old), root(new), &less));
            less.remove(part);
            prop_assert!(!is_consistent(root(old), root(new), &less));
        }
        let mut more = proof;
        more.push(tree.0[0]);
        prop_assert!(!is_consistent(root(old), root(new), &more));
    }

    #[test]
    fn a_range_is_what_stands_above_it(size in 0u64..200) {
        let tree = Leaves::count(size);
        let mut frontier = Frontier::default();
        for one in &tree.0 {
            frontier.append(*one);
        }
        prop_assert_eq!(whole(range(&tree, 0, size)), frontier.root());
    }
}
