//! Who has to go when there are too many.

use super::*;

#[test]
fn a_flood_pushes_out_itself_and_nobody_else() {
    let pending = Pending::new(4);
    let (flood, peer): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let honest = pending.enter(peer);
    let flooding: Vec<_> = (0..100).map(|_| pending.enter(flood)).collect();
    assert_eq!(pending.lock().waiting.len(), 4);
    assert!(!honest.evicted.is_cancelled());
    let left = flooding
        .iter()
        .filter(|w| !w.evicted.is_cancelled())
        .count();
    assert_eq!(left, 3);
    assert!(
        !flooding[99].evicted.is_cancelled(),
        "the oldest goes first"
    );
    drop((honest, flooding));
    assert_eq!(pending.lock().waiting.len(), 0);
    assert!(pending.lock().by_address.is_empty());
}

#[test]
fn a_flood_writes_some_lines_a_second_and_the_next_one_says_how_many_are_missing() {
    let restraint = Restraint::default();
    let start = Instant::now();
    let admitted = (0..1000)
        .filter(|_| restraint.admit("not_tls", start).is_some())
        .count();
    assert_eq!(admitted, LINES as usize);
    // Another reason is not drowned by it.
    assert_eq!(restraint.admit("expired", start), Some(0));
    let later = start + Duration::from_secs(1);
    assert_eq!(
        restraint.admit("not_tls", later),
        Some(1000 - u64::from(LINES))
    );
    assert_eq!(restraint.admit("not_tls", later), Some(0));
}
