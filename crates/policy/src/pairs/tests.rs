//! Pairs are made once while they are wanted, and those that nothing holds do not add up.

use std::sync::Arc;

use super::{Pairs, SPARE};
use crate::engine::tests::{engine, subject};

const ALL: &str = "@id(\"all\") permit(principal, action, resource);";

#[test]
fn a_pair_is_made_once_and_a_dry_one_apart() {
    let engine = engine(ALL);
    let (a, b) = (subject("a", "h"), subject("b", "h"));
    let pairs = Pairs::default();
    let make = || crate::pair::Pair::new(&engine, &a, &b, false);
    let first = pairs.get(&a, &b, false, make);
    let again = pairs.get(&a, &b, false, || unreachable!());
    assert!(Arc::ptr_eq(&first, &again));
    assert!(!Arc::ptr_eq(&first, &pairs.get(&a, &b, true, make)));
    assert!(!Arc::ptr_eq(&first, &pairs.get(&b, &a, false, make)));
}

#[test]
fn what_nothing_holds_does_not_add_up() {
    let engine = engine(ALL);
    let pairs = Pairs::default();
    let me = subject("me", "h");
    let mut held = Vec::new();
    for n in 0..10 * SPARE {
        let peer = subject(&format!("n{n}"), "h");
        let pair = pairs.get(&me, &peer, false, || {
            crate::pair::Pair::new(&engine, &me, &peer, false)
        });
        if n % 10 == 0 {
            held.push(pair);
        }
    }
    let kept = pairs.0.lock().unwrap().made.len();
    assert!(kept <= 2 * held.len() + SPARE, "{kept} for {}", held.len());
    drop(held);
}
