//! The schedule on a clock of the test's own.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const START: Duration = Duration::from_secs(1_800_000_000);

fn one(chance: f64) -> Schedule {
    let mut schedule = Schedule::default();
    schedule.obtained("a", "1", START, START + HOUR, Chance::new(chance));
    schedule
}

#[test]
fn five_sixths_of_a_life_remain_as_outage_budget() {
    assert_eq!(one(0.0).next(), Some(START + 10 * MINUTE));
    let latest = one(1.0).next().unwrap();
    assert_eq!(latest, START + 10 * MINUTE + HOUR / 24);
    assert!(START + HOUR - latest >= 47 * MINUTE);
}

#[test]
fn nothing_is_due_before_its_time_and_all_of_a_host_comes_at_once() {
    let mut schedule = one(0.0);
    schedule.obtained("b", "1", START, START + HOUR, Chance::new(1.0));
    schedule.obtained("c", "1", START + 5 * MINUTE, START + HOUR, Chance::new(1.0));
    let first = START + 10 * MINUTE;
    assert!(schedule.due(first - Duration::from_millis(1)).is_empty());
    assert_eq!(schedule.due(first), ["a", "b"]);
}

#[test]
fn waits_double_up_to_a_minute_and_a_success_forgets_them() {
    let mut schedule = one(0.0);
    let now = START + 10 * MINUTE;
    let mut waits = Vec::new();
    for _ in 0..10 {
        schedule.failed("a", now, Chance::new(1.0));
        waits.push((schedule.next().unwrap() - now).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
    schedule.failed("a", now, Chance::new(0.0));
    assert_eq!(schedule.next(), Some(now + MINUTE / 2), "half is chance");
    schedule.obtained("a", "1", now, now + HOUR, Chance::new(0.0));
    schedule.failed("a", now, Chance::new(1.0));
    assert_eq!(schedule.next(), Some(now + FIRST_WAIT));
}

#[test]
fn a_short_life_is_not_slept_away() {
    let mut schedule = Schedule::default();
    schedule.obtained("a", "1", START, START + MINUTE, Chance::new(0.0));
    for _ in 0..10 {
        schedule.failed("a", START + MINUTE / 2, Chance::new(1.0));
    }
    assert_eq!(
        schedule.next(),
        Some(START + MINUTE / 2 + Duration::from_secs(2))
    );
}

#[test]
fn what_failed_does_not_ride_along_before_its_time() {
    let mut schedule = one(0.0);
    schedule.obtained("b", "1", START, START + HOUR, Chance::new(0.0));
    let now = START + 10 * MINUTE;
    schedule.failed("b", now, Chance::new(1.0));
    assert_eq!(schedule.due(now), ["a"]);
}

#[test]
fn renew_now_is_spread_and_never_later_than_planned() {
    let mut schedule = one(0.0);
    schedule.hasten("a", START + MINUTE, Chance::new(0.5), HOUR / 24);
    assert_eq!(schedule.next(), Some(START + MINUTE + HOUR / 48));
    schedule.hasten("a", START + 30 * MINUTE, Chance::new(0.0), HOUR);
    assert_eq!(schedule.next(), Some(START + MINUTE + HOUR / 48));
    schedule.missing("new", START);
    assert_eq!(schedule.next(), Some(START));
}

#[test]
fn a_life_from_the_past_is_due_at_once_and_one_of_no_length_does_not_spin() {
    let mut schedule = Schedule::default();
    schedule.obtained("a", "1", START, START - HOUR, Chance::new(1.0));
    assert_eq!(schedule.due(START), ["a"]);
    schedule.failed("a", START, Chance::new(0.0));
    assert!(schedule.next().unwrap() >= START + FIRST_WAIT / 2);
}

/// A hundred thousand agents that start in one minute, at a control plane that gives 400 certificates a second and is then
/// away for ten minutes just when all of them are due: they do not come all at once, and nobody's certificate runs out.
#[test]
fn pitfall_10_a_cold_start_of_all_is_no_stampede_and_nobody_runs_out() {
    const AGENTS: u32 = 100_000;
    const CAPACITY: u32 = 400;
    let mut seed = 7u64;
    let mut chance = || {
        // xorshift: a run is the same each time.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        Chance::new(f64::from(u32::try_from(seed >> 32).unwrap()) / f64::from(u32::MAX))
    };
    let mut at: BTreeMap<Duration, Vec<(Schedule, Duration)>> = BTreeMap::new();
    for number in 0..AGENTS {
        let since = START + MINUTE * number / AGENTS;
        let mut one = Schedule::default();
        one.obtained("a", "1", since, since + HOUR, chance());
        at.entry(one.next().unwrap())
            .or_default()
            .push((one, since + HOUR));
    }
    let away = START + 10 * MINUTE..START + 20 * MINUTE;
    let second = Duration::from_secs(1);
    let (mut now, mut renewed, mut busiest) = (START, 0, 0);
    while now < START + HOUR {
        now += second;
        let later = at.split_off(&now);
        let asking: Vec<_> = std::mem::replace(&mut at, later)
            .into_values()
            .flatten()
            .collect();
        busiest = busiest.max(asking.len());
        let mut left = if away.contains(&now) { 0 } else { CAPACITY };
        for (mut one, end) in asking {
            assert!(
                now < end,
                "a certificate ran out {:?} after the start",
                now - START
            );
            if left == 0 {
                one.failed("a", now, chance());
                at.entry(one.next().unwrap()).or_default().push((one, end));
            } else {
                left -= 1;
                renewed += 1;
            }
        }
        if renewed == AGENTS {
            break;
        }
    }
    assert_eq!(renewed, AGENTS);
    // Without chance in the schedule and in the waits it would be all of them in one second; found: 5,442.
    assert!(busiest < 10_000, "{busiest} in one second");
}
