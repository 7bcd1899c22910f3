//! Join tokens are used once.

use skans_store::tokens::{self, Redeemed, Refusal};
use skans_store::{Error, Result, Tx, certificates};

use crate::harness::{Place, promises};
use crate::make::{NOW, certificate, token};

promises![
    of_256_concurrent_redemptions_one_succeeds,
    a_lost_answer_is_given_again_to_the_same_key_for_ten_minutes,
    a_token_opens_nothing_without_its_secret_or_after_its_time,
    a_revoked_token_opens_nothing,
    a_redemption_that_fails_later_uses_nothing_up,
    tokens_are_listed_and_pruned,
];

/// Redeems a token for a certificate, as enrolment does.
fn enrol(tx: &mut Tx<'_>, id: u8, key: u64, now: u64) -> Result<Redeemed> {
    let redeemed = tokens::redeem(tx, &[id; 16], &[id; 32], &certificate(key).spki, now)?;
    if let Redeemed::First(_) = redeemed {
        certificates::insert(tx, &certificate(key))?;
        tokens::set_result(tx, &[id; 16], &certificate(key).serial)?;
    }
    Ok(redeemed)
}

async fn of_256_concurrent_redemptions_one_succeeds(place: Place) {
    let stores = place.open_two().await;
    stores[0].write(|tx| token(tx, 1)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for key in 0..256_u64 {
        let store = stores[usize::from(key % 2 == 0)].clone();
        tasks.spawn(async move {
            loop {
                match store.write(move |tx| enrol(tx, 1, key, NOW)).await {
                    Ok(redeemed) => return redeemed,
                    Err(error) => assert!(error.may_retry(), "{error}"),
                }
            }
        });
    }
    let answers = tasks.join_all().await;
    let first = answers
        .iter()
        .filter(|answer| matches!(answer, Redeemed::First(_)))
        .count();
    let refused = answers
        .iter()
        .filter(|answer| matches!(answer, Redeemed::Refused(Refusal::Used(_))))
        .count();
    assert_eq!((first, refused), (1, 255));
    let issued = stores[0]
        .read(|tx| certificates::count_valid(tx, NOW))
        .await
        .unwrap();
    assert_eq!(issued, 1);
}

async fn a_lost_answer_is_given_again_to_the_same_key_for_ten_minutes(place: Place) {
    let store = place.open().await;
    store.write(|tx| token(tx, 1)).await.unwrap();
    let first = store.write(|tx| enrol(tx, 1, 1, NOW)).await.unwrap();
    assert!(matches!(first, Redeemed::First(_)));
    let again = store.write(|tx| enrol(tx, 1, 1, NOW + 600)).await.unwrap();
    let Redeemed::Again(again) = again else {
        panic!("{again:?}");
    };
    assert_eq!(again.result, Some(certificate(1).serial));
    let late = store.write(|tx| enrol(tx, 1, 1, NOW + 601)).await.unwrap();
    assert!(matches!(late, Redeemed::Refused(Refusal::Used(_))));
    let other_key = store.write(|tx| enrol(tx, 1, 2, NOW + 1)).await.unwrap();
    assert!(matches!(other_key, Redeemed::Refused(Refusal::Used(_))));
}

async fn a_token_opens_nothing_without_its_secret_or_after_its_time(place: Place) {
    let store = place.open().await;
    store.write(|tx| token(tx, 1)).await.unwrap();
    let wrong_secret = store
        .write(|tx| tokens::redeem(tx, &[1; 16], &[2; 32], &[0; 32], NOW))
        .await
        .unwrap();
    assert_eq!(wrong_secret, Redeemed::Refused(Refusal::Unknown));
    let wrong_id = store
        .write(|tx| tokens::redeem(tx, &[2; 16], &[1; 32], &[0; 32], NOW))
        .await
        .unwrap();
    assert_eq!(wrong_id, Redeemed::Refused(Refusal::Unknown));
    let late = store.write(|tx| enrol(tx, 1, 1, NOW + 3600)).await.unwrap();
    assert!(matches!(late, Redeemed::Refused(Refusal::Expired(_))));
    let in_time = store.write(|tx| enrol(tx, 1, 1, NOW + 3599)).await.unwrap();
    assert!(matches!(in_time, Redeemed::First(_)));
}

async fn a_revoked_token_opens_nothing(place: Place) {
    let store = place.open().await;
    store
        .write(|tx| {
            token(tx, 1)?;
            token(tx, 2)
        })
        .await
        .unwrap();
    // Also not for the second time, to the same key.
    store.write(|tx| enrol(tx, 2, 2, NOW)).await.unwrap();
    for id in [1, 2] {
        store
            .write(move |tx| tokens::revoke(tx, &[id; 16], NOW))
            .await
            .unwrap();
        let refused = store
            .write(move |tx| enrol(tx, id, u64::from(id), NOW))
            .await
            .unwrap();
        assert!(matches!(refused, Redeemed::Refused(Refusal::Revoked(_))));
    }
    let unknown = store
        .write(|tx| tokens::revoke(tx, &[9; 16], NOW))
        .await
        .unwrap_err();
    assert!(matches!(unknown, Error::NotFound { .. }));
}

async fn a_redemption_that_fails_later_uses_nothing_up(place: Place) {
    let store = place.open().await;
    store.write(|tx| token(tx, 1)).await.unwrap();
    let failed = store
        .write(|tx| {
            enrol(tx, 1, 1, NOW)?;
            Err::<(), _>(Error::Internal("signing failed".into()))
        })
        .await;
    assert!(failed.is_err());
    let second = store.write(|tx| enrol(tx, 1, 2, NOW)).await.unwrap();
    assert!(matches!(second, Redeemed::First(_)));
}

async fn tokens_are_listed_and_pruned(place: Place) {
    let store = place.open().await;
    store
        .write(|tx| (1..=3).try_for_each(|id| token(tx, id)))
        .await
        .unwrap();
    let page = store
        .read(|tx| tokens::list(tx, Some(&[1; 16]), 10))
        .await
        .unwrap();
    let ids: Vec<_> = page.iter().map(|token| token.id[0]).collect();
    assert_eq!(ids, [2, 3]);
    let pruned = store
        .write(|tx| tokens::prune(tx, NOW + 3601, 2))
        .await
        .unwrap();
    assert_eq!(pruned, 2);
    let left = store.read(|tx| tokens::list(tx, None, 10)).await.unwrap();
    assert_eq!(left.len(), 1);
}
