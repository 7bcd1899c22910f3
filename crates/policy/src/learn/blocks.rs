//! From pairs of parties to as few lines as say the same: all with all, or some with some. Exactly the pairs that were there.

use std::collections::{BTreeMap, BTreeSet};

use super::seen::Heard;

/// Who asks, and who is asked: everyone of the first everyone of the second.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Block {
    pub(super) from: BTreeSet<usize>,
    pub(super) to: BTreeSet<usize>,
}

/// The blocks of these pairs.
pub(super) fn of(heard: &Heard, pairs: &BTreeSet<(usize, usize)>) -> Vec<Block> {
    let all: BTreeSet<usize> = pairs.iter().flat_map(|&(from, to)| [from, to]).collect();
    let alike = all
        .iter()
        .all(|&one| heard.cli(one) == all.first().and_then(|&one| heard.cli(one)));
    // One node does not speak to itself over a link: it changes nothing that it might.
    let has = |from: usize, to: usize| {
        pairs.contains(&(from, to)) || (from == to && heard.nodes(from) <= 1)
    };
    if all.len() > 1 && alike && all.iter().all(|&from| all.iter().all(|&to| has(from, to))) {
        return vec![Block {
            from: all.clone(),
            to: all,
        }];
    }
    let mut asked: BTreeMap<usize, BTreeMap<Option<bool>, BTreeSet<usize>>> = BTreeMap::new();
    for &(from, to) in pairs {
        let of = asked.entry(from).or_default();
        of.entry(heard.cli(to)).or_default().insert(to);
    }
    let mut same: BTreeMap<(BTreeSet<usize>, Option<bool>), BTreeSet<usize>> = BTreeMap::new();
    for (from, by_kind) in asked {
        for to in by_kind.into_values() {
            same.entry((to, heard.cli(from))).or_default().insert(from);
        }
    }
    let mut blocks: Vec<Block> = same
        .into_iter()
        .map(|((to, _), from)| Block { from, to })
        .collect();
    blocks.sort();
    blocks
}
