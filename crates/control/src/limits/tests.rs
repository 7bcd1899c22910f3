//! Limits at their edges.

use std::time::Duration;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_flood_pushes_out_itself() {
    let pending = Pending::new(4);
    let honest = pending.enter(ip("10.0.0.1"));
    let flood: Vec<_> = (0..20).map(|_| pending.enter(ip("10.0.0.2"))).collect();
    assert!(!honest.evicted.is_cancelled());
    assert_eq!(
        flood
            .iter()
            .filter(|one| !one.evicted.is_cancelled())
            .count(),
        3
    );
    assert_eq!(pending.len(), 4);
    drop((honest, flood));
    assert_eq!(pending.len(), 0);
}

#[test]
fn a_network_of_ipv6_addresses_is_one_caller() {
    assert_eq!(
        counted(ip("2001:db8:1:2:3::4")),
        counted(ip("2001:db8:1:2:ffff::1"))
    );
    assert_ne!(
        counted(ip("2001:db8:1:2::1")),
        counted(ip("2001:db8:1:3::1"))
    );
    assert_eq!(counted(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
}

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
