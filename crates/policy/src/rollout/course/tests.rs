use proptest::prelude::*;

use super::*;

fn plan() -> Plan {
    Plan {
        trigger: 100,
        ..Plan::default()
    }
}

fn facts() -> Facts {
    Facts {
        stage: Stage::Cohort(1),
        relation: Relation::Mixed,
        held: false,
        emergency: false,
        way_back: true,
        age: Duration::from_secs(3600),
        agents: 5,
        decisions: 10_000,
        found: Found::default(),
    }
}

/// So many principals, each told of by two agents, so often by each.
fn told(principals: usize, count: u64) -> Found {
    let names: Vec<String> = (0..principals).map(|n| format!("p{n}")).collect();
    let reports = names.iter().flat_map(|principal| {
        ["a", "b"].map(|agent| Report {
            agent,
            principal,
            holders: &[],
            count,
            forbidden: false,
        })
    });
    Found::weigh(reports, plan().trigger)
}

#[test]
fn it_goes_from_stage_to_stage() {
    let plan = plan();
    assert_eq!(plan.first(), Stage::DryRun);
    assert_eq!(plan.after(Stage::DryRun), Stage::Cohort(1));
    assert_eq!(plan.after(Stage::Cohort(1)), Stage::Cohort(2));
    assert_eq!(plan.after(Stage::Cohort(2)), Stage::All);
    assert_eq!(plan.after(Stage::Over), Stage::Over);
    assert_eq!(next(&plan, &facts()), Next::Advance);
    let young = Facts {
        age: Duration::from_secs(599),
        ..facts()
    };
    assert_eq!(next(&plan, &young), Next::Wait);
    let few = Facts {
        decisions: 999,
        ..facts()
    };
    assert_eq!(next(&plan, &few), Next::Wait);
    let held = Facts {
        held: true,
        ..facts()
    };
    assert_eq!(next(&plan, &held), Next::Wait);
    let nobody = Facts {
        agents: 0,
        ..facts()
    };
    assert_eq!(next(&plan, &nobody), Next::Hold(Why::Nobody));
    for stage in [Stage::All, Stage::Over] {
        assert_eq!(
            next(
                &plan,
                &Facts {
                    stage,
                    found: told(20, 1000),
                    ..facts()
                }
            ),
            Next::Wait
        );
    }
}

#[test]
fn ten_principals_take_it_back_and_nine_hold_it() {
    let with = |found| next(&plan(), &Facts { found, ..facts() });
    assert_eq!(with(told(10, 5)), Next::GoBack);
    assert_eq!(with(told(10, 4)), Next::Hold(Why::Denied));
    assert_eq!(with(told(9, 1_000_000)), Next::Hold(Why::Denied));
    assert_eq!(with(told(1, u64::MAX)), Next::Hold(Why::Denied));
    let held = Facts {
        held: true,
        found: told(10, 5),
        ..facts()
    };
    assert_eq!(
        next(&plan(), &held),
        Next::GoBack,
        "also if it stood still already"
    );
}

#[test]
fn one_agent_alone_takes_nothing_back() {
    let names: Vec<String> = (0..1000).map(|n| format!("p{n}")).collect();
    let reports = names.iter().map(|principal| Report {
        agent: "liar",
        principal,
        holders: &[],
        count: u64::MAX,
        forbidden: false,
    });
    let found = Found::weigh(reports, 100);
    assert_eq!(
        (found.weight, found.principals, found.any),
        (50, 1000, true)
    );
}

#[test]
fn whoever_holds_one_host_takes_nothing_back_with_all_its_nodes() {
    let names: Vec<String> = (0..20).map(|n| format!("p{n}")).collect();
    // Honest agents tell of what these ask; the first so many have certificates on one host, some of them elsewhere too.
    let weight = |of_one: usize| {
        let both = ["host-1".to_owned(), "host-2".to_owned()];
        let own: Vec<_> = (0..20).map(|n| [format!("own-{n}")]).collect();
        let reports = names.iter().enumerate().flat_map(|(n, principal)| {
            let holders = if n < of_one {
                &both[..1 + n % 2]
            } else {
                &own[n][..]
            };
            ["a", "b"].map(|agent| Report {
                agent,
                principal,
                holders,
                count: 1_000,
                forbidden: false,
            })
        });
        Found::weigh(reports, 100).weight
    };
    assert_eq!((weight(20), weight(16)), (50, 90));
    assert_eq!((weight(15), weight(0)), (100, 100));
}

#[test]
fn what_tightens_is_held_and_never_widened() {
    for relation in [Relation::Tighten, Relation::Relax, Relation::Same] {
        let facts = Facts {
            relation,
            found: told(50, 1000),
            ..facts()
        };
        assert_eq!(next(&plan(), &facts), Next::Hold(Why::Denied));
        assert_eq!(
            next(
                &plan(),
                &Facts {
                    held: true,
                    ..facts
                }
            ),
            Next::Wait
        );
    }
    for facts in [
        Facts {
            way_back: false,
            ..facts()
        },
        Facts {
            stage: Stage::DryRun,
            ..facts()
        },
        Facts {
            found: Found {
                forbidden: true,
                ..told(50, 1000)
            },
            ..facts()
        },
    ] {
        let found = Found {
            forbidden: facts.found.forbidden,
            ..told(50, 1000)
        };
        assert_eq!(
            next(&plan(), &Facts { found, ..facts }),
            Next::Hold(Why::Denied)
        );
    }
    let emergency = Facts {
        emergency: true,
        found: told(50, 1000),
        ..facts()
    };
    assert_eq!(next(&plan(), &emergency), Next::Wait);
}

#[test]
fn a_plan_has_bounds() {
    assert_eq!(plan().check(), Ok(()));
    let none = Plan {
        dry_run: Duration::ZERO,
        cohorts: Cohorts::default(),
        ..plan()
    };
    for wrong in [
        none,
        Plan {
            trigger: 9,
            ..plan()
        },
        Plan {
            trigger: MAX_TRIGGER + 1,
            ..plan()
        },
        Plan {
            time: MAX_TIME + Duration::from_secs(1),
            ..plan()
        },
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
}

/// What may happen to a report on its way.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Told,
    Lost,
    Doubled,
    /// It comes so many rounds later, perhaps in another stage.
    Late(usize),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Told),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Doubled),
        1 => (1_usize..20).prop_map(Fate::Late),
    ]
}

/// A roll-out in a world in which reports get lost, come twice and late, agents forget, and some of them lie.
#[derive(Clone, Debug)]
struct World {
    relation: Relation,
    emergency: bool,
    way_back: bool,
    /// How many principals the candidate denies something good, and each how often in a round.
    broken: (usize, u64),
    /// How many honest agents tell of it.
    honest: usize,
    /// What one agent makes up: principals, and how often.
    lies: (usize, u64),
    fates: Vec<Fate>,
    /// In which rounds an agent starts anew, and has told of nothing that it saw since the last.
    restarts: Vec<bool>,
}

fn world() -> impl Strategy<Value = World> {
    let relation = prop::sample::select(Relation::ALL.to_vec());
    (
        (relation, any::<bool>(), any::<bool>()),
        (0_usize..15, 0_u64..50),
        0_usize..4,
        (0_usize..40, 0_u64..1_000_000),
        prop::collection::vec(fate(), 40),
        prop::collection::vec(any::<bool>(), 40),
    )
        .prop_map(
            |((relation, emergency, way_back), broken, honest, lies, fates, restarts)| World {
                relation,
                emergency,
                way_back,
                broken,
                honest,
                lies,
                fates,
                restarts,
            },
        )
}

/// Every stage that it was in, and whether it was held and taken back.
struct Ran {
    stages: Vec<Stage>,
    held: bool,
    back: bool,
    /// The largest weight that was ever seen.
    weight: u64,
}

fn run(world: &World) -> Ran {
    let plan = plan();
    let mut ran = Ran {
        stages: vec![plan.first()],
        held: false,
        back: false,
        weight: 0,
    };
    let (mut began, mut told, mut late) = (0, Vec::<(String, String, u64)>::new(), Vec::new());
    let mut decisions = 0;
    for round in 0..40 {
        let stage = *ran.stages.last().unwrap();
        let mut fresh = Vec::new();
        for agent in 0..world.honest {
            if world.restarts[(round + agent) % 40] {
                continue;
            }
            for principal in 0..world.broken.0 {
                fresh.push((format!("h{agent}"), format!("p{principal}"), world.broken.1));
            }
            decisions += 100;
        }
        for principal in 0..world.lies.0 {
            fresh.push(("liar".to_owned(), format!("x{principal}"), world.lies.1));
        }
        for (at, report) in fresh.into_iter().enumerate() {
            match world.fates[(round + at) % 40] {
                Fate::Lost => {}
                Fate::Told => told.push(report),
                Fate::Doubled => told.extend([report.clone(), report]),
                Fate::Late(by) => late.push((round + by, report)),
            }
        }
        told.extend(
            late.iter()
                .filter(|(at, _)| *at == round)
                .map(|(_, report)| report.clone()),
        );
        let reports = told.iter().map(|(agent, principal, count)| Report {
            agent,
            principal,
            holders: &[],
            count: *count,
            forbidden: false,
        });
        let found = Found::weigh(reports, plan.trigger);
        ran.weight = ran.weight.max(found.weight);
        let facts = Facts {
            stage,
            relation: world.relation,
            held: ran.held,
            emergency: world.emergency,
            way_back: world.way_back,
            age: Duration::from_secs(200 * (round - began) as u64),
            agents: world.honest as u64 + 1,
            decisions,
            found,
        };
        match next(&plan, &facts) {
            Next::Wait => {}
            Next::Advance => {
                ran.stages.push(plan.after(stage));
                (began, decisions) = (round, 0);
                told.clear();
            }
            Next::Hold(_) => ran.held = true,
            Next::GoBack => {
                ran.back = true;
                break;
            }
        }
    }
    ran
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_happens_to_reports_the_guard_rails_hold(world in world()) {
        let ran = run(&world);
        let good = if world.broken.1 > 0 && world.honest > 0 { world.broken.0 } else { 0 };
        let lied = if world.lies.1 > 0 { world.lies.0 } else { 0 };
        if ran.back {
            prop_assert!(world.relation == Relation::Mixed && world.way_back && !world.emergency);
            prop_assert!(good + lied >= 10, "fewer than ten principals");
            prop_assert!(world.honest > 0 && good > 0, "a liar alone");
            prop_assert!(matches!(ran.stages.last(), Some(Stage::Cohort(_))), "from nobody but a cohort");
        }
        // One after the other, none left out.
        for (n, stage) in ran.stages.iter().enumerate() {
            let wanted = (0..n).fold(plan().first(), |stage, _| plan().after(stage));
            prop_assert_eq!(*stage, wanted);
        }
        if good + lied == 0 {
            prop_assert!(!ran.back && !ran.held, "nothing good was denied, however often somebody knocked");
        }
        if world.emergency {
            prop_assert!(ran.stages.len() == 1 && !ran.held);
        }
    }

    #[test]
    fn no_principal_and_no_agent_counts_for_more_than_its_part(counts in prop::collection::vec((0_u8..4, 0_u8..20, any::<u32>()), 0..60), trigger in 10_u64..1000) {
        let owned: Vec<_> = counts.iter().map(|(agent, principal, count)| (format!("a{agent}"), format!("p{principal}"), u64::from(*count))).collect();
        let reports = owned.iter().map(|(agent, principal, count)| Report { agent, principal, holders: &[], count: *count, forbidden: false });
        let found = Found::weigh(reports, trigger);
        let agents: BTreeSet<_> = owned.iter().filter(|one| one.2 > 0).map(|one| &one.0).collect();
        prop_assert!(found.weight <= found.principals * (trigger / 10));
        prop_assert!(found.weight <= agents.len() as u64 * trigger.div_ceil(2));
    }
}
