//! Each once, and never more than may be held.

use super::*;

#[test]
fn each_is_reported_once_and_what_could_not_be_is_kept() {
    let observed = Observed::default();
    for leaf in [b"a", b"b", b"a"] {
        observed.saw(leaf);
    }
    let taken = observed.take();
    assert_eq!(taken, [b"a", b"b"]);
    observed.put_back(taken);
    observed.saw(b"c");
    assert_eq!(observed.take(), [b"a", b"b", b"c"]);
    observed.saw(b"b");
    assert!(observed.take().is_empty());
}

#[test]
fn a_flood_costs_no_more_than_the_bound() {
    let observed = Observed::default();
    for number in 0..REMEMBERED + 100 {
        observed.saw(&number.to_be_bytes());
    }
    let inner = observed.lock();
    assert_eq!(inner.waiting.len(), WAITING);
    assert_eq!(inner.known.len(), REMEMBERED);
    assert_eq!(inner.order.len(), REMEMBERED);
    drop(inner);
    assert_eq!(observed.take().len(), BATCH);
}
