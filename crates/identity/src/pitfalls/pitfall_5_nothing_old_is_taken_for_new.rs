//! Replay: an older head, a stream with a hole, a restored control plane. What one agent hands to another is signed, so
//! all that is left to an attacker is to show what was true once.

use proptest::prelude::*;

use crate::deny::{Chain, Entry, Order, Standing, Target};
use crate::error::Error;
use crate::head::tests::{head, verified};
use crate::head::{Head, Horizon, VerifiedHead};

/// The stream of a control plane that denies one key after another, and its head after each entry.
fn history(length: u64) -> (Vec<Entry>, Vec<VerifiedHead>) {
    let (mut chain, mut entries, mut heads) = (Chain::default(), vec![], vec![]);
    for n in 0..length {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_be_bytes());
        let order = Order {
            target: Target::Key(key),
            time: n,
            until: 0,
            reason: String::new(),
        };
        let entry = Entry::after(chain.seq(), *chain.hash(), order).unwrap();
        chain.apply(entry.clone()).unwrap();
        entries.push(entry);
        heads.push(verified(&Head {
            deny_hash: *chain.hash(),
            ..head(1, chain.seq())
        }));
    }
    (entries, heads)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Heads and entries come from anywhere, in any order, some twice, some never, and the agent restarts in between: what
    /// it once denied it denies for ever, and what it holds is always a beginning of the one stream.
    #[test]
    fn a_replay_allows_nothing_again(script in proptest::collection::vec((0usize..8, 0u8..4), 1..60)) {
        let (entries, heads) = history(8);
        let (mut horizon, mut chain) = (Horizon::default(), Chain::default());
        let mut denied = 0;
        for (n, what) in script {
            match what {
                0 => _ = horizon.accept(&heads[n]),
                1 | 2 => {
                    let applied = chain.apply(entries[n].clone());
                    prop_assert!(applied.is_err() || chain.seq() == n as u64 + 1);
                }
                _ => {
                    horizon = Horizon::from_bytes(&horizon.to_bytes()).unwrap();
                    chain = Chain::from_bytes(&chain.to_bytes()).unwrap();
                }
            }
            let now = chain.denied().len();
            prop_assert!(now >= denied, "it forgot");
            denied = now;
            prop_assert_eq!(now as u64, chain.seq());
            prop_assert!(chain.seq() == 0 || *chain.hash() == entries[now - 1].hash());
            // A head that it accepted tells what is missing, however it got here.
            if let Some(mark) = horizon.mark() {
                let seen = &heads[usize::try_from(mark.deny_seq).unwrap() - 1];
                let standing = chain.standing(seen);
                prop_assert_eq!(standing == Standing::Complete, mark.deny_seq == chain.seq());
                prop_assert!(standing != Standing::Forked);
            }
        }
    }
}

#[test]
fn an_entry_that_is_left_out_is_noticed() {
    let (entries, heads) = history(3);
    let mut chain = Chain::default();
    chain.apply(entries[0].clone()).unwrap();
    // The second is held back: the third does not fit, and the head says that something is missing.
    assert_eq!(
        chain.apply(entries[2].clone()),
        Err(Error::DenyGap { have: 1, got: 3 })
    );
    assert_eq!(
        chain.standing(&heads[2]),
        Standing::Missing { from: 2, to: 3 }
    );
    // Another is put in its place: it fits, and the head says that it is not the one.
    let order = Order {
        target: Target::Key([9; 32]),
        time: 0,
        until: 0,
        reason: String::new(),
    };
    chain
        .apply(Entry::after(1, *chain.hash(), order).unwrap())
        .unwrap();
    assert_eq!(chain.standing(&heads[1]), Standing::Forked);
    assert_eq!(
        chain.apply(entries[2].clone()),
        Err(Error::DenyFork { seq: 3 })
    );
}

#[test]
fn a_snapshot_with_a_hole_cannot_pass_for_another_stream() {
    let (entries, heads) = history(3);
    let encoded: Vec<_> = entries.iter().map(Entry::encode).collect();
    let hash = entries[2].hash();
    // What is left out leaves no trace: that is why a snapshot is taken from the control plane alone. But it cannot claim
    // to end where it does not.
    assert!(Chain::restore(3, hash, &encoded[1..]).is_ok());
    assert!(Chain::restore(3, [1; 32], &encoded[1..]).is_err());
    let older = Chain::restore(2, entries[1].hash(), &encoded[..2]).unwrap();
    assert_eq!(
        older.standing(&heads[2]),
        Standing::Missing { from: 3, to: 3 }
    );
    let forged = Chain::restore(3, [1; 32], &encoded[..2]).unwrap();
    assert_eq!(forged.standing(&heads[2]), Standing::Forked);
}
