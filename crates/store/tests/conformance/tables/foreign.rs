//! What is believed of other trust domains.

use skans_store::bounds::MAX_FOREIGN_STATE;
use skans_store::{Error, foreign, writer};

use crate::harness::{Place, promises};
use crate::make::NOW;

promises![
    what_is_kept_last_is_there_under_a_higher_version,
    only_the_writer_replaces_it,
];

async fn what_is_kept_last_is_there_under_a_higher_version(place: Place) {
    let store = place.open().await;
    let before = store.read(|tx| Ok((foreign::version(tx)?, foreign::get(tx)?)));
    assert_eq!(before.await.unwrap(), (0, None));
    for (n, state) in [
        (1, vec![1; 10]),
        (2, vec![2; MAX_FOREIGN_STATE]),
        (3, vec![3]),
    ] {
        let wanted = state.clone();
        let found = store.write(move |tx| {
            let epoch = writer::claim(tx, "replica", NOW)?;
            let version = foreign::set(tx, epoch, &state)?;
            Ok::<_, Error>((version, foreign::version(tx)?, foreign::get(tx)?))
        });
        let (version, read, kept) = found.await.unwrap();
        assert_eq!((version, read), (n, n));
        assert_eq!(kept.unwrap().state, wanted);
    }
    let large = store.write(|tx| {
        let epoch = writer::claim(tx, "replica", NOW)?;
        foreign::set(tx, epoch, &vec![0; MAX_FOREIGN_STATE + 1])
    });
    assert!(matches!(large.await, Err(Error::Bound { .. })));
}

async fn only_the_writer_replaces_it(place: Place) {
    let store = place.open().await;
    let old = store
        .write(|tx| writer::claim(tx, "one", NOW))
        .await
        .unwrap();
    store
        .write(|tx| writer::claim(tx, "other", NOW))
        .await
        .unwrap();
    let set = store.write(move |tx| foreign::set(tx, old, &[1])).await;
    assert!(matches!(set, Err(Error::Fenced { .. })), "{set:?}");
    let kept = store.read(foreign::get).await.unwrap();
    assert_eq!(kept, None);
}
