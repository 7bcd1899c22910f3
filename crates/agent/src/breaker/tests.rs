use std::io;

use proptest::prelude::*;
use skans_link::{Close, Reason};

use super::*;

const PEER: &str = "host-b:4370";
const MS: Duration = Duration::from_millis(1);

fn outage() -> Error {
    Error::LinkLost(io::ErrorKind::ConnectionReset.into())
}

fn fail(breakers: &Breakers, peer: &str, now: Instant) {
    let mut trial = breakers.admit_at(peer, now).unwrap();
    trial.ended_at(Some(&outage()), now);
}

/// The peer's standing, as state and the time until it is tried again.
fn standing(breakers: &Breakers, now: Instant) -> Option<(&'static str, Duration)> {
    let all = breakers.all_at(now);
    all.first().map(|peer| (peer.state, peer.retry_in))
}

/// Opens one, and returns when.
fn opened(breakers: &Breakers) -> Instant {
    let now = Instant::now();
    for _ in 0..3 {
        fail(breakers, PEER, now);
    }
    assert_eq!(standing(breakers, now).unwrap().0, "open");
    now
}

#[test]
fn it_opens_at_the_third_failure_in_a_row() {
    let (breakers, now) = (Breakers::default(), Instant::now());
    fail(&breakers, PEER, now);
    fail(&breakers, PEER, now);
    assert_eq!(standing(&breakers, now).unwrap().0, "failing");
    // One that is reached in between is forgotten.
    breakers.admit_at(PEER, now).unwrap().ended_at(None, now);
    assert_eq!(standing(&breakers, now), None);
    fail(&breakers, PEER, now);
    fail(&breakers, PEER, now);
    assert_eq!(standing(&breakers, now).unwrap().0, "failing");
    fail(&breakers, PEER, now);
    let error = breakers.admit_at(PEER, now).unwrap_err();
    assert_eq!(error.label(), "circuit_open");
    assert!(error.may_retry() && error.is_ordinary() && !error.is_outage());
    assert_eq!(
        breakers.counts(),
        [("opened", 1), ("closed", 0), ("refused", 1)]
    );
    assert!(
        breakers
            .admit_at("host-c:4370", now)
            .is_ok_and(|mut other| {
                other.ended_at(None, now);
                true
            })
    );
}

#[test]
fn failures_far_apart_are_not_in_a_row() {
    let (breakers, now) = (Breakers::default(), Instant::now());
    for minute in 0..10 {
        fail(&breakers, PEER, now + minute * Duration::from_secs(61));
    }
    assert_eq!(breakers.counts()[0], ("opened", 0));
}

#[test]
fn a_refusal_says_that_somebody_is_there() {
    let now = Instant::now();
    let text = String::new;
    let refusals = [
        Error::Closed(Close::new(Reason::NotPermitted, "")),
        Error::Closed(Close::new(Reason::UnknownNode, "")),
        Error::Closed(Close::new(Reason::Draining, "")),
        Error::WrongName(text()),
        Error::NotPermitted {
            from: text(),
            to: text(),
            why: text(),
        },
        Error::Tls {
            address: ([127, 0, 0, 1], 1).into(),
            problem: text(),
            label: "denied",
        },
    ];
    for refusal in refusals {
        let breakers = Breakers::default();
        fail(&breakers, PEER, now);
        for _ in 0..10 {
            let mut trial = breakers.admit_at(PEER, now).unwrap();
            trial.ended_at(Some(&refusal), now);
        }
        assert_eq!(standing(&breakers, now), None, "{refusal:?}");
    }
    for outage in [outage(), Error::TimedOut("TLS with the peer's agent")] {
        assert!(outage.is_outage());
    }
}

#[test]
fn one_attempt_goes_through_and_decides() {
    let breakers = Breakers::default();
    let now = opened(&breakers) + 500 * MS;
    let mut trial = breakers.admit_at(PEER, now).unwrap();
    assert_eq!(standing(&breakers, now).unwrap().0, "half_open");
    assert!(breakers.admit_at(PEER, now).is_err());
    trial.ended_at(Some(&outage()), now);
    let (state, retry_in) = standing(&breakers, now).unwrap();
    assert_eq!(state, "open");
    assert!(
        retry_in >= 500 * MS && retry_in <= 1000 * MS,
        "{retry_in:?}"
    );
    assert!(breakers.admit_at(PEER, now + 499 * MS).is_err());
    let mut trial = breakers.admit_at(PEER, now + 1000 * MS).unwrap();
    trial.ended_at(None, now);
    assert_eq!(standing(&breakers, now), None);
    assert_eq!(
        breakers.counts(),
        [("opened", 1), ("closed", 1), ("refused", 2)]
    );
}

#[test]
fn a_trial_that_nobody_decides_has_failed() {
    let breakers = Breakers::default();
    let now = opened(&breakers) + 500 * MS;
    drop(breakers.admit_at(PEER, now).unwrap());
    assert_eq!(
        standing(&breakers, Instant::now()).unwrap().0,
        "open",
        "it does not wait for ever"
    );
}

#[test]
fn attempts_from_before_say_nothing_new() {
    let (breakers, now) = (Breakers::default(), Instant::now());
    let mut late: Vec<_> = (0..10)
        .map(|_| breakers.admit_at(PEER, now).unwrap())
        .collect();
    for trial in &mut late[..8] {
        trial.ended_at(Some(&outage()), now);
    }
    let (state, retry_in) = standing(&breakers, now).unwrap();
    assert_eq!(state, "open");
    assert!(retry_in <= 500 * MS, "counted once: {retry_in:?}");
    let then = now + 500 * MS;
    let mut trial = breakers.admit_at(PEER, then).unwrap();
    late[8].ended_at(Some(&outage()), then);
    assert_eq!(standing(&breakers, then).unwrap().0, "half_open");
    trial.ended_at(None, then);
    assert_eq!(standing(&breakers, then), None);
    late[9].ended_at(None, then);
}

#[test]
fn a_sign_of_life_closes_it() {
    let breakers = Breakers::default();
    let now = opened(&breakers);
    breakers.alive("somebody else");
    assert!(breakers.admit_at(PEER, now).is_err());
    breakers.alive(PEER);
    breakers.admit_at(PEER, now).unwrap().ended_at(None, now);
    assert_eq!(breakers.counts()[1], ("closed", 1));
}

#[test]
fn no_more_peers_are_remembered_than_there_may_be() {
    let breakers = Breakers {
        limits: Limits {
            peers: 3,
            ..Limits::default()
        },
        ..Breakers::default()
    };
    let now = Instant::now();
    for (number, peer) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let then = now + Duration::from_secs(number as u64);
        fail(&breakers, peer, then);
    }
    let known = |now| -> Vec<_> {
        let all = breakers.all_at(now);
        all.iter().map(|peer| peer.peer.to_string()).collect()
    };
    let then = now + Duration::from_secs(3);
    assert_eq!(known(then), ["b", "c", "d"], "the oldest went");
    assert_eq!(known(now + Duration::from_secs(62)), ["c", "d"]);
}

/// What happens to a breaker.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes, in milliseconds.
    Wait(u64),
    /// An attempt begins.
    Begin,
    /// One of those under way ends, well or not.
    End(prop::sample::Index, bool),
    /// The peer dials us.
    Alive,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u64..3000).prop_map(Step::Wait),
        4 => Just(Step::Begin),
        4 => (any::<prop::sample::Index>(), prop::bool::weighted(0.2))
            .prop_map(|(which, well)| Step::End(which, well)),
        1 => Just(Step::Alive),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// Whatever happens: nobody is refused for longer than may be, a peer that has answered is dialled at once, and while
    /// one attempt decides no other goes through.
    #[test]
    fn it_never_shuts_a_peer_out(steps in steps()) {
        let (breakers, limits) = (Breakers::default(), Limits::default());
        let mut now = Instant::now();
        let mut under_way: Vec<Trial<'_>> = Vec::new();
        let (mut failures, mut refused_since) = (0, None);
        let mut deciding = None;
        for step in steps {
            match step {
                Step::Wait(ms) => now += Duration::from_millis(ms),
                Step::Begin => match breakers.admit_at(PEER, now) {
                    Ok(trial) => {
                        prop_assert!(deciding.is_none(), "a second one while one decides");
                        if failures >= limits.failures {
                            deciding = Some(trial.number);
                        }
                        refused_since = None;
                        under_way.push(trial);
                    }
                    Err(Error::CircuitOpen { retry_in, .. }) => {
                        prop_assert!(failures >= limits.failures, "after {failures} failures");
                        prop_assert!(retry_in <= limits.most);
                        if deciding.is_none() {
                            let since = *refused_since.get_or_insert(now);
                            prop_assert!(now - since <= limits.most);
                        }
                    }
                    Err(error) => prop_assert!(false, "{error}"),
                },
                Step::End(which, well) => {
                    if under_way.is_empty() {
                        continue;
                    }
                    let mut trial = under_way.swap_remove(which.index(under_way.len()));
                    if deciding == Some(trial.number) {
                        deciding = None;
                        refused_since = None;
                    }
                    if well {
                        trial.ended_at(None, now);
                        (failures, deciding, refused_since) = (0, None, None);
                    } else {
                        trial.ended_at(Some(&outage()), now);
                        failures += 1;
                    }
                }
                Step::Alive => {
                    breakers.alive(PEER);
                    (failures, deciding, refused_since) = (0, None, None);
                }
            }
        }
        for mut trial in under_way {
            trial.ended_at(None, now);
        }
    }
}
