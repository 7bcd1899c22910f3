//! Roll-outs, and what agents tell of them.

use skans_store::bounds::MAX_DIFFERENCES_OF_AGENT;
use skans_store::rollouts::{self, Difference, Report, Rollout};
use skans_store::{Error, writer};

use crate::harness::{Place, promises};
use crate::make::{NOW, hash};

promises![
    one_is_under_way_at_a_time,
    what_agents_tell_is_added_up_by_stage,
    one_agent_takes_no_more_than_its_share_of_differences,
    who_is_not_the_writer_changes_none,
];

pub fn rollout(id: u64) -> Rollout {
    Rollout {
        id,
        n: id,
        base: 2,
        stage: "cohort-1".into(),
        held: String::new(),
        emergency: false,
        relation: "mixed".into(),
        changes: "relax: permit added (x)".into(),
        way_back: String::new(),
        plan: "{}".into(),
        started_by: "ben".into(),
        started: NOW,
        stage_began_ms: NOW * 1000,
        ended: 0,
        outcome: String::new(),
        result: 0,
    }
}

pub fn report(agent: &str) -> Report {
    Report {
        stage: "cohort-1".into(),
        agent: agent.into(),
        decisions: 10,
        unlisted: 1,
        seen: NOW,
    }
}

pub fn difference(number: u64) -> Difference {
    Difference {
        stage: "cohort-1".into(),
        agent: "a".into(),
        hash: hash(number),
        principal: "spiffe://example.org/p".into(),
        target: "spiffe://example.org/t".into(),
        action: "send".into(),
        resource: String::new(),
        active: "permit".into(),
        candidate: "deny".into(),
        forbidden: false,
        accepted: false,
        times: 2,
    }
}

async fn one_is_under_way_at_a_time(place: Place) {
    let store = place.open().await;
    let found = store.write(|tx| {
        let epoch = writer::claim(tx, "replica", NOW)?;
        rollouts::open(tx, epoch, &rollout(3))?;
        let second = rollouts::open(tx, epoch, &rollout(4));
        assert!(matches!(second, Err(Error::Conflict(_))), "{second:?}");
        let over = Rollout {
            n: 5,
            held: "because".into(),
            ended: NOW + 1,
            outcome: "over".into(),
            result: 6,
            ..rollout(3)
        };
        rollouts::change(tx, epoch, &over)?;
        assert_eq!(rollouts::under_way(tx)?, None);
        assert_eq!(rollouts::latest(tx)?, Some(over));
        rollouts::open(tx, epoch, &rollout(4))?;
        // The same once more, with nothing of what was told before.
        rollouts::tell(tx, 4, &report("a"), &[difference(1)])?;
        rollouts::change(
            tx,
            epoch,
            &Rollout {
                ended: NOW,
                ..rollout(4)
            },
        )?;
        rollouts::open(tx, epoch, &rollout(4))?;
        Ok::<_, Error>((rollouts::under_way(tx)?, rollouts::differences(tx, 4)?))
    });
    assert_eq!(found.await.unwrap(), (Some(rollout(4)), Vec::new()));
}

async fn what_agents_tell_is_added_up_by_stage(place: Place) {
    let store = place.open().await;
    let found = store.write(|tx| {
        let epoch = writer::claim(tx, "replica", NOW)?;
        rollouts::open(tx, epoch, &rollout(3))?;
        rollouts::tell(tx, 3, &report("a"), &[difference(1), difference(2)])?;
        rollouts::tell(tx, 3, &report("a"), &[difference(1)])?;
        rollouts::tell(tx, 3, &report("b"), &[])?;
        let later = Report {
            stage: "cohort-2".into(),
            ..report("a")
        };
        rollouts::tell(tx, 3, &later, &[difference(1)])?;
        let accepted = rollouts::accept(tx, 3)?;
        // What was accepted stays so, and what is new is not.
        rollouts::tell(tx, 3, &later, &[difference(1), difference(7)])?;
        Ok::<_, Error>((
            rollouts::reports(tx, 3, "cohort-1", "", 10)?,
            rollouts::reports(tx, 3, "cohort-1", "a", 10)?.len(),
            accepted,
            rollouts::differences(tx, 3)?,
        ))
    });
    let (reports, after, accepted, differences) = found.await.unwrap();
    let doubled = Report {
        decisions: 20,
        unlisted: 2,
        ..report("a")
    };
    assert_eq!(
        (reports, after, accepted),
        (vec![doubled, report("b")], 1, 3)
    );
    let kept: Vec<_> = differences
        .iter()
        .map(|one| (&*one.stage, one.hash, one.accepted, one.times))
        .collect();
    let mut wanted = vec![
        ("cohort-1", hash(1), true, 4),
        ("cohort-2", hash(1), true, 4),
        ("cohort-1", hash(2), true, 2),
        ("cohort-2", hash(7), false, 2),
    ];
    wanted.sort_by_key(|one| (u64::MAX - one.3, one.0, one.1));
    assert_eq!(kept, wanted);
}

async fn one_agent_takes_no_more_than_its_share_of_differences(place: Place) {
    const HALF: u64 = MAX_DIFFERENCES_OF_AGENT / 2;
    let store = place.open().await;
    let found = store.write(|tx| {
        let epoch = writer::claim(tx, "replica", NOW)?;
        rollouts::open(tx, epoch, &rollout(3))?;
        // Whatever else it tells of takes no room from what is denied of what was permitted.
        let relaxed = |number| Difference {
            active: "deny".into(),
            candidate: "permit".into(),
            ..difference(number + 10_000)
        };
        let many: Vec<_> = (0..HALF + 5).map(relaxed).collect();
        rollouts::tell(tx, 3, &report("a"), &many)?;
        let many: Vec<_> = (0..HALF + 5).map(difference).collect();
        rollouts::tell(tx, 3, &report("a"), &many)?;
        // What is there already is counted on.
        rollouts::tell(tx, 3, &report("a"), &[difference(0)])?;
        rollouts::tell(tx, 3, &report("b"), &[difference(0)])?;
        // Nor does it take any from the next stage.
        let next = Report {
            stage: "cohort-2".into(),
            ..report("a")
        };
        let later = Difference {
            stage: "cohort-2".into(),
            ..difference(1)
        };
        rollouts::tell(tx, 3, &next, &[later])?;
        let all = rollouts::differences(tx, 3)?;
        let first = all.first().map(|one| (one.hash, one.times));
        let reports = rollouts::reports(tx, 3, "cohort-1", "", 10)?;
        Ok::<_, Error>((all.len(), first, reports))
    });
    let (kept, first, reports) = found.await.unwrap();
    assert_eq!(kept as u64, 2 * HALF + 2);
    assert_eq!(first, Some((hash(0), 4)));
    let unlisted: Vec<_> = reports.iter().map(|one| one.unlisted).collect();
    assert_eq!(unlisted, [1 + 10 + 1 + 10 + 1, 1]);
}

async fn who_is_not_the_writer_changes_none(place: Place) {
    let store = place.open().await;
    let old = store
        .write(|tx| {
            let old = writer::claim(tx, "old", NOW)?;
            rollouts::open(tx, old, &rollout(3))?;
            writer::claim(tx, "new", NOW)?;
            Ok::<_, Error>(old)
        })
        .await
        .unwrap();
    let changed = store.write(move |tx| {
        let over = Rollout {
            ended: 1,
            ..rollout(3)
        };
        rollouts::change(tx, old, &over)
    });
    assert!(matches!(changed.await, Err(Error::Fenced { .. })));
    let opened = store.write(move |tx| {
        rollouts::open(
            tx,
            old,
            &Rollout {
                ended: 1,
                ..rollout(4)
            },
        )
    });
    assert!(matches!(opened.await, Err(Error::Fenced { .. })));
    assert_eq!(
        store.read(rollouts::under_way).await.unwrap(),
        Some(rollout(3))
    );
}
