//! The table of what fails and what follows, on a virtual clock.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const START: Moment = Moment {
    wall: Duration::from_secs(1_800_000_000),
    steady: Duration::from_secs(100),
};

fn after(time: Duration) -> Moment {
    Moment {
        wall: START.wall + time,
        steady: START.steady + time,
    }
}

#[test]
fn each_class_does_what_the_table_says_at_each_age() {
    //          age                   step         new, live of strict
    let rows = [
        (Duration::ZERO, Age::Fresh, true, true),
        (30 * SECOND - SECOND / 1000, Age::Fresh, true, true),
        (30 * SECOND, Age::Late, true, true),
        (300 * SECOND - SECOND / 1000, Age::Late, true, true),
        (300 * SECOND, Age::Old, false, true),
        (900 * SECOND - SECOND / 1000, Age::Old, false, true),
        (900 * SECOND, Age::Lapsed, false, false),
        (90_000 * SECOND, Age::Lapsed, false, false),
    ];
    for (age, step, opens, holds) in rows {
        for class in [Class::Available, Class::Strict] {
            let standing = Standing::new(class, Some(START.wall), START);
            let now = after(age);
            assert_eq!(standing.step(now), step, "{age:?}");
            let strict = class == Class::Strict;
            assert_eq!(standing.opens(now), !strict || opens, "{class:?} {age:?}");
            assert_eq!(standing.holds(now), !strict || holds, "{class:?} {age:?}");
        }
    }
}

#[test]
fn a_head_makes_young_again_and_an_old_one_does_not() {
    let mut standing = Standing::new(Class::Strict, Some(START.wall), START);
    let now = after(1000 * SECOND);
    assert!(!standing.holds(now));
    assert!(
        !standing.hear(START.wall, now),
        "the same head again proves nothing"
    );
    assert!(!standing.hear(START.wall - SECOND, now));
    assert!(!standing.holds(now));
    assert!(standing.hear(now.wall - SECOND, now));
    assert!(standing.opens(now));
}

#[test]
fn a_head_that_was_held_back_is_as_old_as_it_is() {
    let mut standing = Standing::new(Class::Strict, Some(START.wall), START);
    let now = after(400 * SECOND);
    assert!(standing.hear(START.wall + 10 * SECOND, now), "newer it is");
    assert_eq!(standing.step(now), Age::Old, "but 390 s old");
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_young() {
    let standing = Standing::new(Class::Strict, Some(START.wall), START);
    let now = Moment {
        wall: START.wall - 3600 * SECOND,
        steady: START.steady + 900 * SECOND,
    };
    assert!(!standing.holds(now));
}

#[test]
fn a_head_from_the_future_is_not_taken() {
    let mut standing = Standing::new(Class::Strict, None, START);
    assert!(!standing.hear(START.wall + SKEW + SECOND, START));
    assert!(standing.hear(START.wall + SKEW, START));
}

#[test]
fn an_agent_that_never_heard_counts_from_its_start() {
    let standing = Standing::new(Class::Strict, None, START);
    assert!(standing.opens(after(299 * SECOND)));
    assert!(!standing.opens(after(300 * SECOND)));
}

#[test]
fn a_restart_does_not_make_young() {
    let standing = Standing::new(Class::Strict, Some(START.wall - 1000 * SECOND), START);
    assert!(!standing.holds(START));
}

#[test]
fn the_next_step_is_waited_for_exactly() {
    let standing = Standing::new(Class::Strict, Some(START.wall), START);
    let mut at = Duration::ZERO;
    for step in [Age::Late, Age::Old, Age::Lapsed] {
        at += standing.next(after(at)).unwrap();
        assert_eq!(standing.step(after(at)), step);
    }
    assert_eq!(standing.next(after(at)), None);
}
