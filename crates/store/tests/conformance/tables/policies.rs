//! Policy sets.

use skans_store::agents::{self, Adoption, NewAgent};
use skans_store::bounds::MAX_PROPOSALS;
use skans_store::policies::{self, Proposal, State};
use skans_store::{Error, Result, Store, Tx, meta, writer};

use crate::harness::{Place, promises};
use crate::make::NOW;

promises![
    what_is_approved_takes_the_place_of_what_was,
    a_number_is_given_once,
    only_what_is_proposed_can_be_decided_on,
    of_two_who_activate_at_once_one_does,
    proposals_and_the_past_are_bounded,
    what_agents_have_in_force_is_counted,
];

pub fn proposal(author: &str) -> Proposal<'_> {
    Proposal {
        name: "web",
        mode: "enforce",
        content: b"{}",
        content_hash: &[1; 32],
        schema_hash: &[2; 32],
        signatures: &[0],
        author,
    }
}

async fn fresh(place: &Place) -> Store {
    let store = place.open().await;
    store
        .write(|tx| meta::init(tx, "example.org", "c", "i", NOW))
        .await
        .unwrap();
    store
}

async fn propose(store: &Store) -> u64 {
    store
        .write(|tx| {
            let epoch = writer::claim(tx, "r", NOW)?;
            policies::propose(tx, epoch, &proposal("ann"), NOW)
        })
        .await
        .unwrap()
}

async fn activate(store: &Store, n: u64) -> Result<()> {
    store
        .write(move |tx| {
            let epoch = writer::claim(tx, "r", NOW)?;
            policies::activate(tx, epoch, n, "ben", NOW + n)
        })
        .await
}

async fn states(store: &Store) -> Vec<(u64, State)> {
    let all = store.read(|tx| policies::list(tx, None, 1000)).await;
    all.unwrap().iter().map(|set| (set.n, set.state)).collect()
}

async fn what_is_approved_takes_the_place_of_what_was(place: Place) {
    let store = fresh(&place).await;
    assert_eq!(store.read(policies::active).await.unwrap(), None);
    assert_eq!((propose(&store).await, propose(&store).await), (1, 2));
    let version = |store: Store| async move { store.read(meta::policy_version).await.unwrap() };
    assert_eq!(version(store.clone()).await, 0, "nothing is in force yet");
    activate(&store, 1).await.unwrap();
    let active = store.read(policies::active).await.unwrap().unwrap();
    assert_eq!(active.content, b"{}");
    let found = active.summary;
    assert_eq!(
        (
            found.n,
            found.author.as_str(),
            found.approver.as_str(),
            found.activated
        ),
        (1, "ann", "ben", NOW + 1)
    );
    activate(&store, 2).await.unwrap();
    assert_eq!(version(store.clone()).await, 2);
    assert_eq!(
        states(&store).await,
        [(2, State::Active), (1, State::Superseded)]
    );
}

async fn a_number_is_given_once(place: Place) {
    let store = fresh(&place).await;
    assert_eq!((propose(&store).await, propose(&store).await), (1, 2));
    store.write(|tx| policies::withdraw(tx, 2)).await.unwrap();
    assert_eq!(propose(&store).await, 3);
    // Whoever proposed before the one that is in force did not know of it.
    activate(&store, 3).await.unwrap();
    let wanted = [
        (3, State::Active),
        (2, State::Withdrawn),
        (1, State::Superseded),
    ];
    assert_eq!(states(&store).await, wanted);
}

async fn only_what_is_proposed_can_be_decided_on(place: Place) {
    let store = fresh(&place).await;
    let unknown = activate(&store, 9).await;
    assert!(
        matches!(unknown, Err(Error::NotFound { .. })),
        "{unknown:?}"
    );
    propose(&store).await;
    propose(&store).await;
    activate(&store, 2).await.unwrap();
    for n in [1, 2] {
        let refused = activate(&store, n).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
        let refused = store.write(move |tx| policies::withdraw(tx, n)).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    }
    assert_eq!(store.read(meta::policy_version).await.unwrap(), 2);
}

async fn of_two_who_activate_at_once_one_does(place: Place) {
    let [one, other] = place.open_two().await;
    one.write(|tx| meta::init(tx, "example.org", "c", "i", NOW))
        .await
        .unwrap();
    propose(&one).await;
    let (first, second) = tokio::join!(activate(&one, 1), activate(&other, 1));
    let done = [first, second].into_iter().filter(Result::is_ok).count();
    assert_eq!(done, 1);
    assert_eq!(states(&other).await, [(1, State::Active)]);
}

async fn proposals_and_the_past_are_bounded(place: Place) {
    let store = fresh(&place).await;
    for _ in 0..MAX_PROPOSALS {
        propose(&store).await;
    }
    let more = store
        .write(|tx| {
            let epoch = writer::claim(tx, "r", NOW)?;
            policies::propose(tx, epoch, &proposal("ann"), NOW)
        })
        .await;
    assert!(matches!(more, Err(Error::Conflict(_))), "{more:?}");
    activate(&store, MAX_PROPOSALS).await.unwrap();
    for _ in 0..100 {
        let n = propose(&store).await;
        activate(&store, n).await.unwrap();
    }
    let all = states(&store).await;
    assert_eq!(all.len(), 100);
    assert_eq!(all[0], (MAX_PROPOSALS + 100, State::Active));
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    let refused = store
        .write(move |tx| {
            let epoch = writer::claim(tx, "r", NOW)?;
            let proposal = Proposal {
                content: &large,
                ..proposal("ann")
            };
            policies::propose(tx, epoch, &proposal, NOW)
        })
        .await;
    assert!(matches!(refused, Err(Error::Bound { .. })), "{refused:?}");
}

async fn what_agents_have_in_force_is_counted(place: Place) {
    let store = fresh(&place).await;
    fn enrol(tx: &mut Tx<'_>, id: &'static str) -> Result<()> {
        let spiffe_id = format!("spiffe://example.org/skans/agent/{id}");
        let new = NewAgent {
            id,
            spiffe_id: &spiffe_id,
            registration: "r",
            host: "h",
        };
        agents::enrol(tx, &new, NOW)
    }
    let (adoption, kept) = store
        .write(|tx| {
            for id in ["a", "b", "c"] {
                enrol(tx, id)?;
            }
            agents::holds_policy(tx, "a", (1, 4))?;
            agents::holds_policy(tx, "b", (1, 5))?;
            agents::holds_policy(tx, "b", (2, 3))?;
            let kept = agents::get(tx, "b")?.and_then(|agent| agent.policy);
            Ok((agents::policy_adoption(tx, (1, 4), NOW)?, kept))
        })
        .await
        .unwrap();
    assert_eq!(adoption, Adoption { seen: 3, have: 2 });
    assert_eq!(kept, Some((2, 3)));
}
