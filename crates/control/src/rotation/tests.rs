//! When which step is due.

use skans_store::authorities::Slot;

use super::*;

fn authority(state: State, not_before: u64, not_after: u64) -> Authority {
    Authority {
        id: "x".into(),
        kind: Kind::Issuer,
        slot: Slot::A,
        state,
        certificate: Vec::new(),
        sealed_key: None,
        spki: [0; 32],
        not_before,
        not_after,
        created: not_before,
        changed: not_before,
    }
}

#[test]
fn each_step_in_its_time() {
    const HOUR: u64 = 3600;
    let active = authority(State::Active, 0, 168 * HOUR);
    let next = authority(State::Prepared, 84 * HOUR, 252 * HOUR);
    let at = |prepared, hour: u64| due(&active, prepared, HOUR, hour * HOUR);
    assert_eq!(at(None, 83), Due::Nothing);
    assert_eq!(at(None, 84), Due::Prepare);
    assert_eq!(at(None, 167), Due::Prepare);
    assert_eq!(at(Some(&next), 111), Due::Nothing);
    assert_eq!(at(Some(&next), 112), Due::Cohort);
    assert_eq!(at(Some(&next), 140), Due::Activate);
    assert_eq!(at(Some(&next), 166), Due::Activate);
    assert_eq!(at(Some(&next), 167), Due::Must);
}

#[test]
fn one_that_came_late_still_goes_to_the_cohort_first() {
    const HOUR: u64 = 3600;
    let active = authority(State::Active, 0, 168 * HOUR);
    let late = authority(State::Prepared, 145 * HOUR, 300 * HOUR);
    let at = |hour: u64| due(&active, Some(&late), HOUR, hour * HOUR);
    assert_eq!(at(146), Due::Cohort);
    assert_eq!(at(159), Due::Activate);
}

#[test]
fn the_cohort_is_a_small_and_stable_part_and_never_nobody() {
    let places =
        |count: u32| -> Vec<u64> { (0..count).map(|n| place(&format!("host-{n}"))).collect() };
    let part = |count| {
        let all = places(count);
        let last = last_of_cohort(all.clone()).unwrap();
        all.into_iter().filter(|one| *one <= last).count()
    };
    assert_eq!(last_of_cohort(Vec::new()), None);
    assert_eq!((part(1), part(3), part(16), part(17)), (1, 1, 1, 2));
    assert_eq!(part(10_000), 625);
    assert_eq!(place("host-1"), place("host-1"));
}

#[test]
fn half_of_those_seen_are_enough_and_fewer_are_not() {
    let well = |seen, have| Cohort { seen, have }.is_well();
    assert!(well(0, 0) && well(1, 1) && well(2, 1) && well(600, 300));
    assert!(!well(1, 0) && !well(3, 1) && !well(600, 299));
}

#[test]
fn the_cohort_that_was_settled_is_counted_while_somebody_of_it_is_there() {
    let (old, next) = (Some([1; 32]), Some([2; 32]));
    let count = |seen: &[(u64, Option<[u8; 32]>)], known| {
        let cohort = Cohort::count(seen, known, &[2; 32]);
        (cohort.seen, cohort.have)
    };
    let seen = [(1, next), (5, old), (7, None), (9, next)];
    assert_eq!(count(&seen, Some(7)), (3, 1));
    assert_eq!(count(&seen, None), (1, 1), "one in sixteen, one at least");
    assert_eq!(count(&seen[1..], Some(3)), (1, 0), "nobody of it is left");
    assert_eq!(count(&[], Some(3)), (0, 0));
}
