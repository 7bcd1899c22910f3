//! Shares at their edges.

use std::time::Duration;

use super::*;

#[test]
fn a_caller_spends_its_own_share() {
    let rates = Rates::new(2);
    let now = Instant::now();
    assert!(rates.take("a", 10, now));
    assert!(!rates.take("a", 1, now));
    assert!(rates.take("b", 1, now));
    assert!(rates.take("a", 2, now + Duration::from_secs(1)));
    assert!(!rates.take("a", 1, now + Duration::from_secs(1)));
    // What is refused costs nothing.
    assert!(rates.take("a", 2, now + Duration::from_secs(2)));
}
