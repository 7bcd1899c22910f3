use proptest::prelude::*;

use super::super::Order;
use super::*;
use crate::id::SpiffeId;
use crate::testing::{NOW, at};

fn order(target: Target, until: u64) -> Order {
    Order {
        target,
        time: 10,
        until,
        reason: String::new(),
    }
}

fn next(chain: &Chain, target: Target) -> Entry {
    Entry::after(chain.seq(), *chain.hash(), order(target, 0)).unwrap()
}

fn key(n: u8) -> Target {
    Target::Key([n; 32])
}

/// A chain of so many denied keys.
fn long(count: u64) -> Chain {
    let mut chain = Chain::default();
    for n in 0..count {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&n.to_be_bytes());
        let entry = next(&chain, Target::Key(hash));
        chain.apply(entry).unwrap();
    }
    chain
}

#[test]
fn entries_are_applied_in_order_and_without_a_gap() {
    let mut chain = Chain::default();
    let first = next(&chain, key(1));
    let mut other = Chain::default();
    other.apply(first.clone()).unwrap();
    let second = next(&other, key(2));
    other.apply(second.clone()).unwrap();
    let third = next(&other, key(3));

    let untouched = chain.clone();
    assert_eq!(
        chain.apply(second.clone()),
        Err(Error::DenyGap { have: 0, got: 2 })
    );
    assert_eq!(chain, untouched);
    assert_eq!(chain.apply(first.clone()), Ok(Applied::Denied(key(1))));
    assert_eq!(chain.apply(first), Err(Error::DenyGap { have: 1, got: 1 }));
    assert_eq!(chain.apply(third), Err(Error::DenyGap { have: 1, got: 3 }));
    // The right number, on another entry.
    let forged = Entry::after(1, [9; 32], order(key(2), 0)).unwrap();
    let before = chain.clone();
    assert_eq!(chain.apply(forged), Err(Error::DenyFork { seq: 2 }));
    assert_eq!(chain, before);
    assert_eq!(chain.apply(second), Ok(Applied::Denied(key(2))));
    assert_eq!((chain.seq(), chain.hash()), (other.seq(), other.hash()));
}

#[test]
fn the_first_entry_builds_on_zeros() {
    let forged = Entry::after(0, [1; 32], order(key(1), 0)).unwrap();
    assert_eq!(
        Chain::default().apply(forged),
        Err(Error::DenyFork { seq: 1 })
    );
}

#[test]
fn what_is_lifted_is_allowed_unless_something_else_denies_it() {
    let mut chain = Chain::default();
    for target in [key(1), key(1), key(2)] {
        let entry = next(&chain, target);
        chain.apply(entry).unwrap();
    }
    let mut lift = |seq| {
        let entry = next(&chain, Target::Allow(seq));
        (chain.apply(entry).unwrap(), chain.deny_set(NOW).keys)
    };
    assert_eq!(
        lift(1),
        (Applied::Allowed(key(1)), [[1; 32], [2; 32]].into())
    );
    assert_eq!(lift(1), (Applied::Nothing, [[1; 32], [2; 32]].into()));
    assert_eq!(lift(2), (Applied::Allowed(key(1)), [[2; 32]].into()));
    // Lifting the lift denies nothing again.
    assert_eq!(lift(4), (Applied::Nothing, [[2; 32]].into()));
}

#[test]
fn what_ran_out_denies_nothing() {
    let mut chain = Chain::default();
    let entry = Entry::after(0, [0; 32], order(key(1), 100)).unwrap();
    chain.apply(entry).unwrap();
    assert!(chain.deny_set(at(100)).keys.contains(&[1; 32]));
    assert!(chain.deny_set(at(101)).keys.is_empty());
    chain.forget(100);
    assert_eq!(chain.denied().len(), 1);
    chain.forget(101);
    assert_eq!(chain.denied().len(), 0);
    assert_eq!(chain.seq(), 1, "the stream goes on where it was");
}

#[test]
fn all_kinds_reach_the_deny_set() {
    let mut chain = Chain::default();
    let id = SpiffeId::parse("spiffe://lab.test/a").unwrap();
    let name: crate::node_name::NodeName = "a@h".parse().unwrap();
    for target in [
        key(1),
        Target::Id(id.clone()),
        Target::Node(name.clone()),
        Target::Issuer([4; 32]),
    ] {
        let entry = next(&chain, target);
        chain.apply(entry).unwrap();
    }
    let set = chain.deny_set(NOW);
    assert_eq!(set.keys, [[1; 32]].into());
    assert_eq!(set.ids, [id].into());
    assert_eq!(set.nodes, [name].into());
    assert_eq!(set.issuers, [[4; 32]].into());
}

#[test]
fn so_many_may_be_denied_and_no_more() {
    let mut chain = long(MAX_DENIED as u64);
    let before = chain.clone();
    let more = next(&chain, key(1));
    assert_eq!(
        chain.apply(more),
        Err(Error::DenyFull { limit: MAX_DENIED })
    );
    assert_eq!(chain, before);
    // Lifting still goes, and makes room.
    let lift = next(&chain, Target::Allow(1));
    chain.apply(lift).unwrap();
    let more = next(&chain, key(1));
    chain.apply(more).unwrap();
    // And it can be written down and read.
    assert_eq!(
        Chain::from_bytes(&chain.to_bytes()).unwrap().hash(),
        chain.hash()
    );
    let mut entries = chain.snapshot().entries;
    let last = next(&chain, key(9));
    entries.push(last.encode());
    let full = Chain::restore(last.seq(), last.hash(), entries);
    assert_eq!(full, Err(Error::DenyFull { limit: MAX_DENIED }));
}

#[test]
fn what_ran_out_makes_room() {
    let mut chain = Chain::default();
    let first = Entry::after(
        0,
        [0; 32],
        Order {
            target: key(1),
            time: 1,
            until: 5,
            reason: String::new(),
        },
    );
    chain.apply(first.unwrap()).unwrap();
    for n in 1..MAX_DENIED as u64 {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&n.to_be_bytes());
        let entry = next(&chain, Target::Key(hash));
        chain.apply(entry).unwrap();
    }
    let more = next(&chain, key(2));
    assert_eq!(more.order().time, 10);
    assert!(chain.apply(more).is_ok());
}

#[test]
fn the_last_entries_can_be_handed_on() {
    let count = MAX_RECENT as u64 + 10;
    let chain = long(count);
    let seqs = |seq| {
        chain
            .since(seq)
            .map(|entries| entries.map(Entry::seq).collect::<Vec<_>>())
    };
    assert_eq!(seqs(count), Some(vec![]));
    assert_eq!(seqs(count - 2), Some(vec![count - 1, count]));
    assert_eq!(seqs(10).map(|all| all.len()), Some(MAX_RECENT));
    assert_eq!(seqs(9), None, "not all of them are here");
    assert_eq!(seqs(count + 1), None);
    // Who got a snapshot has nothing to hand on, and says so.
    let snapshot = chain.snapshot();
    let restored = Chain::restore(snapshot.seq, snapshot.hash, snapshot.entries).unwrap();
    assert!(restored.since(count - 1).is_none());
    assert_eq!(restored.since(count).unwrap().len(), 0);
}

#[test]
fn a_snapshot_that_contradicts_itself_is_refused() {
    let chain = long(5);
    let Snapshot { seq, hash, entries } = chain.snapshot();
    let restore = |seq, hash, entries: &[Vec<u8>]| Chain::restore(seq, hash, entries);
    assert!(restore(seq, hash, &entries).is_ok());
    let swapped = [&entries[1], &entries[0]].map(Clone::clone);
    assert!(restore(seq, hash, &swapped).is_err());
    assert!(restore(seq, hash, &[entries[0].clone(), entries[0].clone()]).is_err());
    assert!(
        restore(4, hash, &entries).is_err(),
        "an entry beyond the last"
    );
    assert_eq!(
        restore(seq, [1; 32], &entries),
        Err(Error::DenyFork { seq: 5 })
    );
    assert_eq!(restore(0, [1; 32], &[]), Err(Error::DenyFork { seq: 0 }));
    let forged = Entry::after(1, [1; 32], order(key(1), 0)).unwrap().encode();
    assert_eq!(
        restore(seq, hash, &[entries[0].clone(), forged]),
        Err(Error::DenyFork { seq: 2 })
    );
    let lift = Entry::after(1, [1; 32], order(Target::Allow(1), 0))
        .unwrap()
        .encode();
    assert!(restore(seq, hash, &[lift]).is_err());
    let bytes = chain.to_bytes();
    for end in 0..bytes.len() {
        assert!(Chain::from_bytes(&bytes[..end]).is_err());
    }
}

/// What a step of a random history does.
#[derive(Debug, Clone)]
enum Act {
    Deny(u8, u64),
    Lift(u64),
    Forget(u64),
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0u8..6, prop_oneof![Just(0u64), 10u64..30]).prop_map(|(n, until)| Act::Deny(n, until)),
        2 => (1u64..20).prop_map(Act::Lift),
        1 => (10u64..30).prop_map(Act::Forget),
        1 => Just(Act::Restart),
    ];
    proptest::collection::vec(act, 0..40)
}

proptest! {
    /// The simplest thing that could be right: all entries ever, and which of them are lifted.
    #[test]
    fn a_chain_denies_what_its_whole_history_denies(acts in acts(), now in 10u64..30) {
        let mut chain = Chain::default();
        let mut history: Vec<Entry> = Vec::new();
        let mut lifted = std::collections::HashSet::new();
        let mut clock = 0;
        for act in acts {
            let target = match act {
                Act::Deny(n, _) => key(n),
                Act::Lift(seq) if seq <= chain.seq() => {
                    lifted.insert(seq);
                    Target::Allow(seq)
                }
                Act::Lift(_) => continue,
                Act::Forget(time) => {
                    clock = clock.max(time);
                    chain.forget(clock);
                    continue;
                }
                Act::Restart => {
                    chain = Chain::from_bytes(&chain.to_bytes()).unwrap();
                    continue;
                }
            };
            let until = if let Act::Deny(_, until) = act { until } else { 0 };
            let entry = Entry::after(chain.seq(), *chain.hash(), order(target, until)).unwrap();
            history.push(entry.clone());
            chain.apply(entry).unwrap();
        }
        let now = now.max(clock);
        let wanted: std::collections::HashSet<[u8; 32]> = history
            .iter()
            .filter(|entry| entry.is_live(now) && !lifted.contains(&entry.seq()))
            .filter_map(|entry| match entry.target() {
                Target::Key(hash) => Some(*hash),
                _ => None,
            })
            .collect();
        prop_assert_eq!(chain.deny_set(at(now)).keys, wanted);
        prop_assert_eq!(chain.seq(), history.len() as u64);
        // Who follows all along, and who takes the snapshot, end at the same place.
        let mut follower = Chain::default();
        for entry in &history {
            follower.apply(Entry::decode(&entry.encode()).unwrap()).unwrap();
        }
        prop_assert_eq!(follower.hash(), chain.hash());
        prop_assert_eq!(follower.deny_set(at(now)), chain.deny_set(at(now)));
    }

    #[test]
    fn no_file_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Chain::from_bytes(&bytes);
        let _ = Chain::from_bytes(&[b"SKS1".as_slice(), &bytes].concat());
    }
}
