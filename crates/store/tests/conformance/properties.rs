//! What holds whatever is asked, in whatever order: the store beside a model that is simple enough to be right.

use std::collections::BTreeMap;
use std::future::Future;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use skans_store::agents::{self, Acknowledged, NewAgent};
use skans_store::certificates::{self, Certificate, Cursor, Page, Which};
use skans_store::tokens::{self, Redeemed};
use skans_store::{Error, Store, deny, grants, registrations, writer};

use crate::harness::{Place, promises};
use crate::make::{NOW, certificate, hash, registration};

promises![
    a_token_behaves_as_its_model,
    acknowledgements_only_rise,
    pages_give_everything_once_in_order,
    the_deny_stream_is_a_chain_whatever_is_forgotten,
    the_last_owner_stays_whoever_asks_at_once,
];

/// How many cases. Each is a few transactions with real syncs; the space of each property is small.
const CASES: u32 = 40;

/// Runs cases against a store, each with a number that no other case has.
async fn cases<S, F>(strategy: S, case: impl Fn(u64, S::Value) -> F)
where
    S: Strategy,
    F: Future<Output = ()>,
{
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        // The store keeps what failed cases wrote.
        max_shrink_iters: 0,
        ..Config::default()
    });
    let number = std::cell::Cell::new(0);
    tokio::task::block_in_place(|| {
        runner
            .run(&strategy, |value| {
                number.set(number.get() + 1);
                tokio::runtime::Handle::current().block_on(case(number.get(), value));
                Ok(())
            })
            .unwrap();
    });
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Redeem { key: u8, later: u64, right: bool },
    Revoke { later: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_u8, 0..700_u64, prop::bool::weighted(0.9))
            .prop_map(|(key, later, right)| Step::Redeem { key, later, right }),
        1 => (0..700_u64).prop_map(|later| Step::Revoke { later }),
    ]
}

async fn a_token_behaves_as_its_model(place: Place) {
    let store = place.open().await;
    store
        .write(|tx| registrations::create(tx, &registration("r")))
        .await
        .unwrap();
    let steps = prop::collection::vec(step(), 1..8);
    cases((1..2000_u64, steps), |number, (life, steps)| {
        let store = store.clone();
        async move { token_case(&store, number, life, &steps).await }
    })
    .await;
}

async fn token_case(store: &Store, number: u64, life: u64, steps: &[Step]) {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    store
        .write(move |tx| {
            tokens::create(
                tx,
                &tokens::NewToken {
                    id: &id,
                    secret_hash: &[1; 32],
                    registration: "id-r",
                    owner: "",
                    expires: NOW + life,
                },
                NOW,
            )
        })
        .await
        .unwrap();
    // The model: by whom and when it was used, and whether it was revoked.
    let (mut used, mut revoked, mut now) = (None, false, NOW);
    for step in steps {
        match *step {
            Step::Redeem { key, later, right } => {
                now += later;
                let secret = if right { [1; 32] } else { [2; 32] };
                let redeemed = store
                    .write(move |tx| {
                        let redeemed = tokens::redeem(tx, &id, &secret, &[key; 32], now)?;
                        if let Redeemed::First(_) = redeemed {
                            tokens::set_result(tx, &id, &[1])?;
                        }
                        Ok(redeemed)
                    })
                    .await
                    .unwrap();
                let wanted = match used {
                    _ if !right => "unknown",
                    _ if revoked => "revoked",
                    Some((by, at)) if by == key && now <= at + 600 => "again",
                    Some(_) => "used",
                    None if now >= NOW + life => "expired",
                    None => {
                        used = Some((key, now));
                        "first"
                    }
                };
                let found = match &redeemed {
                    Redeemed::First(_) => "first",
                    Redeemed::Again(_) => "again",
                    Redeemed::Refused(refusal) => refusal.word(),
                };
                assert_eq!(found, wanted, "{life} {steps:?}");
            }
            Step::Revoke { later } => {
                now += later;
                revoked = true;
                store
                    .write(move |tx| tokens::revoke(tx, &id, now))
                    .await
                    .unwrap();
            }
        }
    }
    // Refusals leave no trace.
    let found = store
        .read(move |tx| tokens::get(tx, &id))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.used_at, used.map(|(_, at)| at));
    assert_eq!(found.revoked_at.is_some(), revoked);
}

async fn acknowledgements_only_rise(place: Place) {
    let store = place.open().await;
    let said = prop::collection::vec((1..4_u64, 0..5_u64, 0..5_u64), 1..10);
    cases(said, |number, said| {
        let store = store.clone();
        async move {
            let id = format!("agent-{number}");
            let agent = id.clone();
            store
                .write(move |tx| {
                    agents::enrol(
                        tx,
                        &NewAgent {
                            id: &agent,
                            spiffe_id: &format!("spiffe://example.org/skans/agent/{agent}"),
                            registration: "",
                            host: "",
                        },
                        NOW,
                    )
                })
                .await
                .unwrap();
            let mut wanted = Acknowledged::default();
            for (epoch, deny_seq, bundle) in said {
                let agent = id.clone();
                let what = Acknowledged {
                    epoch,
                    deny_seq,
                    bundle,
                };
                store
                    .write(move |tx| agents::acknowledge(tx, &agent, &what, NOW))
                    .await
                    .unwrap();
                if epoch > wanted.epoch {
                    wanted = what;
                } else if epoch == wanted.epoch {
                    wanted.deny_seq = wanted.deny_seq.max(deny_seq);
                    wanted.bundle = wanted.bundle.max(bundle);
                }
                let agent = id.clone();
                let found = store
                    .read(move |tx| agents::get(tx, &agent))
                    .await
                    .unwrap()
                    .unwrap();
                assert_eq!(found.acknowledged, wanted);
            }
        }
    })
    .await;
}

async fn pages_give_everything_once_in_order(place: Place) {
    let store = place.open().await;
    let expiries = prop::collection::vec(0..4_u64, 0..30);
    cases((expiries, 1..12_usize), |number, (expiries, limit)| {
        let store = store.clone();
        async move {
            let owner = format!("owner-{number}");
            let mut wanted: Vec<Certificate> = (0..)
                .zip(expiries)
                .map(|(place, expiry)| Certificate {
                    not_after: NOW + expiry,
                    owner: owner.clone(),
                    ..certificate(number * 1000 + place)
                })
                .collect();
            let new = wanted.clone();
            store
                .write(move |tx| new.iter().try_for_each(|new| certificates::insert(tx, new)))
                .await
                .unwrap();
            wanted.sort_by(|a, b| (a.not_after, &a.serial).cmp(&(b.not_after, &b.serial)));
            // Of these are given what is valid after NOW and runs out before NOW + 3.
            wanted.retain(|one| (NOW + 1..NOW + 3).contains(&one.not_after));
            let mut found: Vec<Certificate> = Vec::new();
            loop {
                let last = found
                    .last()
                    .map(|last| (last.not_after, last.serial.clone()));
                let owner = owner.clone();
                let page = store
                    .read(move |tx| {
                        let after = last.as_ref().map(|(not_after, serial)| Cursor {
                            not_after: *not_after,
                            serial,
                        });
                        let part = Page {
                            valid_after: NOW,
                            expiring_before: Some(NOW + 3),
                            after,
                            limit,
                        };
                        certificates::list(tx, &Which::Owner(&owner), &part)
                    })
                    .await
                    .unwrap();
                assert!(page.len() <= limit);
                if page.is_empty() {
                    break;
                }
                found.extend(page);
            }
            assert_eq!(found, wanted);
        }
    })
    .await;
}

async fn the_deny_stream_is_a_chain_whatever_is_forgotten(place: Place) {
    let store = place.open().await;
    let epoch = store
        .write(|tx| writer::claim(tx, "replica", NOW))
        .await
        .unwrap();
    // What was ever appended: until when it counts, by number.
    let model = std::cell::RefCell::new(BTreeMap::<u64, u64>::new());
    let steps = prop::collection::vec((0..6_u64, 0..5_u64, any::<bool>()), 1..8);
    cases(steps, |_, steps| {
        let (store, model) = (store.clone(), &model);
        async move {
            for (until, keep, forget) in steps {
                if forget {
                    store
                        .write(move |tx| deny::forget(tx, epoch, NOW + 3, keep))
                        .await
                        .unwrap();
                } else {
                    let until = if until == 0 { 0 } else { NOW + until };
                    let seq = store
                        .write(move |tx| {
                            deny::append(tx, epoch, |seq, previous| {
                                let mut entry = seq.to_be_bytes().to_vec();
                                entry.extend(previous);
                                Ok::<_, Error>(deny::NewEntry {
                                    entry,
                                    hash: hash(seq),
                                    time: NOW,
                                    until,
                                    kind: 1,
                                    target: "t".into(),
                                })
                            })
                        })
                        .await
                        .unwrap();
                    model.borrow_mut().insert(seq, until);
                }
            }
            let (tail, all) = store
                .read(|tx| deny::snapshot(tx, NOW + 3, 10_000))
                .await
                .unwrap();
            let model = model.borrow().clone();
            assert_eq!(tail.seq, u64::try_from(model.len()).unwrap());
            // A snapshot has exactly what still counts.
            let found: Vec<u64> = all.iter().map(|entry| entry.seq).collect();
            let wanted: Vec<u64> = model
                .iter()
                .filter(|(_, until)| **until == 0 || **until > NOW + 3)
                .map(|(seq, _)| *seq)
                .collect();
            assert_eq!(found, wanted);
            // A delta, where there is one, has no hole and ends at the tail.
            for after in 0..=tail.seq {
                let delta = store
                    .read(move |tx| deny::since(tx, after, 1000))
                    .await
                    .unwrap();
                let Some(delta) = delta else {
                    assert!(after < tail.floor);
                    continue;
                };
                let numbers: Vec<u64> = delta.iter().map(|entry| entry.seq).collect();
                assert_eq!(numbers, (after + 1..=tail.seq).collect::<Vec<_>>());
                for entry in &delta {
                    let previous = match entry.seq {
                        1 => [0; 32],
                        seq => hash(seq - 1),
                    };
                    assert_eq!(entry.entry[8..], previous);
                }
            }
        }
    })
    .await;
}

/// Units run as if each were alone: two that both look first and then change something cannot both have looked before.
async fn the_last_owner_stays_whoever_asks_at_once(place: Place) {
    let stores = place.open_two().await;
    for round in 0..25 {
        let scope = format!("scope-{round}");
        for user in ["ann", "bob"] {
            let new = grants::Grant {
                user: user.into(),
                role: "owner".into(),
                scope: scope.clone(),
                granted_by: String::new(),
                granted_at: NOW,
            };
            stores[0]
                .write(move |tx| grants::add(tx, &new))
                .await
                .unwrap();
        }
        let leave = |store: &Store, user: &'static str| {
            let (store, scope) = (store.clone(), scope.clone());
            tokio::spawn(async move {
                store
                    .write(move |tx| {
                        if grants::holders(tx, "owner", &scope)? < 2 {
                            return Ok(false);
                        }
                        grants::remove(tx, user, "owner", &scope)
                    })
                    .await
                    .unwrap()
            })
        };
        let (ann, bob) = (leave(&stores[0], "ann"), leave(&stores[1], "bob"));
        let gone = [ann.await.unwrap(), bob.await.unwrap()];
        assert_eq!(
            gone.iter().filter(|gone| **gone).count(),
            1,
            "round {round}"
        );
    }
}
