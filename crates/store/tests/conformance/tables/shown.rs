//! Where keys were shown, and what their owners say of it.

use skans_store::Error;
use skans_store::bounds::MAX_ASKED;
use skans_store::shown::{self, Answer, Shown};

use crate::harness::{Place, promises};
use crate::make::{NOW, hash};

promises![
    an_owner_is_asked_once_for_each_address_that_it_has_not_confirmed,
    only_who_was_asked_answers_and_only_once,
    suspicions_are_added_up_by_who_has_them,
    one_agent_fills_neither_the_table_nor_the_queue,
    what_is_old_is_forgotten,
];

pub fn seen(reporter: &str, session: u8, address: [u8; 4]) -> Shown {
    Shown {
        spki: hash(1),
        address: address.to_vec(),
        reporter: reporter.into(),
        session: hash(session.into()),
        owner: "owner".into(),
        asked: NOW,
        answer: Answer::Open,
    }
}

async fn an_owner_is_asked_once_for_each_address_that_it_has_not_confirmed(place: Place) {
    let store = place.open().await;
    let found = store.write(|tx| {
        let mut asked = vec![
            shown::note(tx, &seen("b", 1, [1; 4]))?,
            // The same reporter and address again, whatever the link.
            shown::note(tx, &seen("b", 2, [1; 4]))?,
            shown::note(tx, &seen("c", 3, [1; 4]))?,
        ];
        let open = shown::open(tx, NOW)?.len();
        // One of them may lie about where it was: two have to be confirmed.
        shown::answer(tx, "owner", &hash(1), &hash(1), Answer::Mine)?;
        asked.push(shown::note(tx, &seen("e", 6, [1; 4]))?);
        shown::answer(tx, "owner", &hash(1), &hash(3), Answer::Mine)?;
        asked.push(shown::note(tx, &seen("d", 4, [1; 4]))?);
        asked.push(shown::note(tx, &seen("d", 5, [2; 4]))?);
        Ok::<_, Error>((asked, open, shown::open(tx, NOW + 1)?.len()))
    });
    let (asked, open, later) = found.await.unwrap();
    assert_eq!(asked, [true, false, true, true, false, true]);
    assert_eq!((open, later), (2, 0));
}

async fn only_who_was_asked_answers_and_only_once(place: Place) {
    let store = place.open().await;
    let found = store.write(|tx| {
        shown::note(tx, &seen("b", 1, [1; 4]))?;
        let mut counts = Vec::new();
        for (owner, spki, session) in [
            ("other", 1, 1),
            ("owner", 2, 1),
            ("owner", 1, 2),
            ("owner", 1, 1),
            ("owner", 1, 1),
        ] {
            let about = shown::answer(tx, owner, &hash(spki), &hash(session), Answer::NotMine)?;
            counts.push(about.len());
            for one in about {
                assert_eq!((one.answer, one.reporter.as_str()), (Answer::NotMine, "b"));
            }
        }
        Ok::<_, Error>(counts)
    });
    assert_eq!(found.await.unwrap(), [0, 0, 0, 1, 0]);
}

async fn suspicions_are_added_up_by_who_has_them(place: Place) {
    let store = place.open().await;
    let found = store.write(|tx| {
        let about = ("name-spoofed", "spiffe://example.org/a", "host-a");
        let mut all = Vec::new();
        for (reporter, now) in [("b", 10), ("b", 20), ("c", 30), ("d", 2000)] {
            all.push(shown::suspect(
                tx,
                about,
                reporter,
                (now, now.saturating_sub(100)),
            )?);
        }
        let other = ("denial-burst", "spiffe://example.org/a", "host-a");
        all.push(shown::suspect(tx, other, "b", (30, 0))?);
        Ok::<_, Error>(all)
    });
    let found = found.await.unwrap();
    let wanted: [&[&str]; 5] = [&["b"], &["b"], &["b", "c"], &["d"], &["b"]];
    assert_eq!(found, wanted);
}

async fn one_agent_fills_neither_the_table_nor_the_queue(place: Place) {
    let store = place.open().await;
    let found = store.write(|tx| {
        let mut noted = 0;
        for number in 0..MAX_ASKED + 50 {
            let number = u32::try_from(number).unwrap();
            let new = seen("b", 1, number.to_be_bytes());
            noted += usize::from(shown::note(tx, &new)?);
        }
        Ok::<_, Error>((noted, shown::note(tx, &seen("c", 2, [9; 4]))?))
    });
    assert_eq!(found.await.unwrap(), (MAX_ASKED, true));
}

async fn what_is_old_is_forgotten(place: Place) {
    let store = place.open().await;
    let found = store.write(|tx| {
        shown::note(tx, &seen("b", 1, [1; 4]))?;
        shown::suspect(
            tx,
            ("name-spoofed", "spiffe://example.org/a", ""),
            "b",
            (NOW * 1000, 0),
        )?;
        let kept = shown::prune(tx, NOW, 100)?;
        Ok::<_, Error>((kept, shown::prune(tx, NOW + 1, 100)?))
    });
    assert_eq!(found.await.unwrap(), (0, 2));
}
