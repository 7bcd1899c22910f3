//! What a flood writes.

use super::*;

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
