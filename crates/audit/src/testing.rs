//! For tests: what Go says (tests/vectors), and trees by the letter of RFC 6962.

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde::Deserialize;

use crate::merkle::{self, Hash, leaf, node};
use crate::proof::Subtrees;

/// What golang.org/x/mod/sumdb says; tests/vectors/main.go wrote it.
#[derive(Deserialize)]
pub struct Vectors {
    pub roots: Vec<Root>,
    pub inclusion: Vec<Proof>,
    pub consistency: Vec<Proof>,
    pub paths: Vec<Path>,
    pub tiles: Vec<TileData>,
    pub tree_tiles: BTreeMap<String, Vec<String>>,
    pub notes: Vec<Signed>,
}

#[derive(Deserialize)]
pub struct Root {
    pub size: u64,
    pub root: String,
}

#[derive(Deserialize)]
pub struct Proof {
    pub one: u64,
    pub size: u64,
    pub proof: Vec<String>,
}

#[derive(Deserialize)]
pub struct Path {
    pub level: i8,
    pub number: u64,
    pub width: u16,
    pub path: String,
}

#[derive(Deserialize)]
pub struct TileData {
    pub path: String,
    pub hex: String,
}

#[derive(Deserialize)]
pub struct Signed {
    pub seed: String,
    pub name: String,
    pub skey: String,
    pub vkey: String,
    pub text: String,
    pub note: String,
}

pub fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../tests/vectors/vectors.json")).unwrap()
}

/// A number as an index.
pub fn at(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

pub fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

pub fn hash(hex: &str) -> Hash {
    bytes(hex).try_into().unwrap()
}

pub fn hashes(hex: &[String]) -> Vec<Hash> {
    hex.iter().map(|one| hash(one)).collect()
}

/// The entries that the vectors are made of.
pub fn entries(count: u64) -> Vec<Vec<u8>> {
    (0..count)
        .map(|i| format!("entry {i}").into_bytes())
        .collect()
}

/// Hashes of entries, and all else worked out from them anew each time.
pub struct Leaves(pub Vec<Hash>);

impl Leaves {
    pub fn of(entries: &[Vec<u8>]) -> Self {
        Self(entries.iter().map(|entry| leaf(entry)).collect())
    }

    pub fn count(count: u64) -> Self {
        Self::of(&entries(count))
    }
}

impl Subtrees for Leaves {
    type Error = Infallible;

    fn subtree(&self, height: u8, number: u64) -> Result<Hash, Infallible> {
        let (from, to) = (at(number << height), at((number + 1) << height));
        Ok(tree_hash(&self.0[from..to]))
    }
}

/// MTH of RFC 6962, 2.1, of entries that are hashed already.
pub fn tree_hash(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => merkle::empty(),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(k(leaves.len()));
            node(&tree_hash(left), &tree_hash(right))
        }
    }
}

/// PATH of RFC 6962, 2.1.1.
pub fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = k(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, last) = if m < k {
        (path(m, left), tree_hash(right))
    } else {
        (path(m - k, right), tree_hash(left))
    };
    proof.push(last);
    proof
}

/// SUBPROOF of RFC 6962, 2.1.2.
pub fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole {
            Vec::new()
        } else {
            vec![tree_hash(leaves)]
        };
    }
    let k = k(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, last) = if m <= k {
        (subproof(m, left, whole), tree_hash(right))
    } else {
        (subproof(m - k, right, false), tree_hash(left))
    };
    proof.push(last);
    proof
}

/// The largest power of two smaller than n.
fn k(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}
