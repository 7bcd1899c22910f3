//! Proofs: that an entry is in a tree, and that one tree is the beginning of another (RFC 6962, 2.1.1 and 2.1.2; verified as RFC
//! 9162, 2.1.3.2 and 2.1.4.2 say).

use crate::merkle::{Hash, empty, node};

/// The longest proof, in hashes: a tree has fewer than 2^63 entries. tlog-witness draws the line at 63, too.
pub const MAX_PROOF: usize = 63;

/// Where the hashes of complete subtrees are: of height `height`, the one with this number from the left.
pub trait Subtrees {
    /// What goes wrong.
    type Error;
    /// The hash.
    ///
    /// # Errors
    /// Those of whoever keeps them.
    fn subtree(&self, height: u8, number: u64) -> Result<Hash, Self::Error>;
}

/// The root of the entries from `start` up to `end`, which begins where a complete subtree of its size would: at 0, say. The root
/// of a whole tree is that from 0 to its size.
///
/// # Errors
/// Those of whoever keeps the subtrees.
pub fn range<S: Subtrees + ?Sized>(tree: &S, start: u64, end: u64) -> Result<Hash, S::Error> {
    let size = end.saturating_sub(start);
    if size == 0 {
        return Ok(empty());
    }
    if size.is_power_of_two() {
        let height = size.trailing_zeros();
        // At most 63.
        return tree.subtree(u8::try_from(height).unwrap_or(u8::MAX), start >> height);
    }
    let split = split(start, end);
    let left = range(tree, start, split)?;
    Ok(node(&left, &range(tree, split, end)?))
}

/// Where RFC 6962 divides: the left part is the largest power of two that leaves something for the right one.
fn split(start: u64, end: u64) -> u64 {
    let size = end.saturating_sub(start);
    start + (1 << size.saturating_sub(1).checked_ilog2().unwrap_or(0))
}

/// That entry `index` is in the tree of `size`, which must be so: `index < size`. Otherwise it is a proof of nothing.
///
/// # Errors
/// Those of whoever keeps the subtrees.
pub fn inclusion<S: Subtrees + ?Sized>(
    tree: &S,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, S::Error> {
    let mut proof = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let split = split(start, end);
        if index < split {
            proof.push(range(tree, split, end)?);
            end = split;
        } else {
            proof.push(range(tree, start, split)?);
            start = split;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The root that this proof of an entry leads to; `None` if it has another length than one must have.
#[must_use]
pub fn root_of_inclusion(entry: Hash, index: u64, size: u64, proof: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, entry);
    for one in proof {
        if last == 0 {
            return None;
        }
        if place & 1 == 1 || place == last {
            hash = node(one, &hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, one);
        }
        place >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// That the tree of `old` entries is the beginning of that of `new`: `old <= new`. It is empty where there is nothing to prove: at
/// 0, and where both are the same.
///
/// # Errors
/// Those of whoever keeps the subtrees.
pub fn consistency<S: Subtrees + ?Sized>(
    tree: &S,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, S::Error> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut start, mut end, mut whole) = (0, new, true);
    while old != end {
        let split = split(start, end);
        if old <= split {
            proof.push(range(tree, split, end)?);
            end = split;
        } else {
            proof.push(range(tree, start, split)?);
            (start, whole) = (split, false);
        }
    }
    // Whoever knows the old root knows this one, if nothing stands beside it.
    if !whole {
        proof.push(range(tree, start, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Whether this proves that the tree with one size and root is the beginning of that with the other. Nothing is proven of a tree
/// without entries but that its root is that of none.
#[must_use]
pub fn is_consistent(
    (old, old_root): (u64, Hash),
    (new, new_root): (u64, Hash),
    proof: &[Hash],
) -> bool {
    if old > new || proof.len() > MAX_PROOF {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && old_root == empty();
    }
    let mut proof = proof.iter();
    let (mut place, mut last) = (old - 1, new - 1);
    while place & 1 == 1 {
        place >>= 1;
        last >>= 1;
    }
    let first = if old.is_power_of_two() {
        Some(&old_root)
    } else {
        proof.next()
    };
    let Some(first) = first else { return false };
    let (mut one, mut other) = (*first, *first);
    for hash in proof {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            one = node(hash, &one);
            other = node(hash, &other);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            other = node(&other, hash);
        }
        place >>= 1;
        last >>= 1;
    }
    one == old_root && other == new_root && last == 0
}

#[cfg(test)]
mod tests;
