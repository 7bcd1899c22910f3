//! When takeovers are made.

use std::sync::Arc;

use super::*;
use crate::proof::testing::proof;
use crate::registry::NewLink;

fn link_until(not_after: u64) -> Arc<Link> {
    let registry = Arc::new(Registry::default());
    let mut proof = proof("c", "b", Some("there"));
    proof.peer.not_after = not_after;
    let new = NewLink {
        local: "a@here".parse().unwrap(),
        peer: "b@there".parse().unwrap(),
        direction: Direction::Outbound,
        proof,
        across: None,
        service: None,
    };
    Arc::clone(registry.register(new, 1).unwrap().link())
}

#[test]
fn takeovers_come_about_the_middle_of_what_is_left_and_not_all_at_once() {
    let link = link_until(13_599);
    let now = Duration::from_secs(10_000);
    let times: Vec<_> = (0..200).map(|_| next(&link, now).as_secs()).collect();
    assert!(times.iter().all(|at| (11_440..=12_160).contains(at)));
    let spread = times.iter().max().unwrap() - times.iter().min().unwrap();
    assert!(spread > 300, "{spread} s");
}

#[test]
fn a_failed_takeover_is_tried_again_several_times_before_the_end() {
    let link = link_until(13_599);
    let mut now = Duration::from_secs(11_800);
    let mut tries = 0;
    while now < Duration::from_millis(link.ends_at()) {
        let at = again(&link, now);
        let wait = at - now;
        assert!(wait >= Duration::from_millis(500) && wait <= Duration::from_secs(90));
        (now, tries) = (at, tries + 1);
    }
    assert!((25..200).contains(&tries), "{tries}");
    // Also where little is left, and when the time is over.
    assert!(next(&link, now) > now && again(&link, now) > now);
}
