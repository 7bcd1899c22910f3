use proptest::prelude::*;

use super::*;

#[test]
fn as_strict_as_the_receiver() {
    let mut open = Sequences::new(2);
    assert_eq!(
        open.first(1, 1, 'a'),
        Ok(Some('a')),
        "a message of one fragment is over at once"
    );
    assert!(matches!(open.first(1, 0, 'a'), Err(Error::Invalid { .. })));
    assert_eq!(open.first(1, 3, 'b'), Ok(None));
    assert!(
        matches!(open.first(1, 3, 'c'), Err(Error::Invalid { .. })),
        "begun twice"
    );
    assert!(
        matches!(open.next(2, 1), Err(Error::Invalid { .. })),
        "never begun"
    );
    assert!(
        matches!(open.next(1, 3), Err(Error::Invalid { .. })),
        "out of order"
    );
    assert!(
        matches!(open.next(1, 1), Err(Error::Invalid { .. })),
        "out of order"
    );
    assert_eq!(open.next(1, 2), Ok(Progress::More(&mut 'b')));
    assert_eq!(open.first(2, u64::MAX, 'd'), Ok(None));
    assert!(matches!(
        open.first(3, 2, 'e'),
        Err(Error::TooLarge {
            found: 3,
            limit: 2,
            ..
        })
    ));
    assert_eq!(open.next(1, 1), Ok(Progress::Last('b')));
    assert_eq!(open.len(), 1);
    assert_eq!(open.first(1, 2, 'f'), Ok(None), "the number is free again");
}

#[test]
fn what_is_held_is_bounded() {
    let mut assembler = Assembler::new(10, 10);
    assert_eq!(assembler.first(1, 2, b"12345"), Ok(None));
    assert!(matches!(
        assembler.first(2, 2, b"123456"),
        Err(Error::TooLarge {
            found: 11,
            limit: 10,
            ..
        })
    ));
    assert_eq!(
        assembler.next(1, 1, b"67890").unwrap().unwrap(),
        b"1234567890"
    );
    assert_eq!(
        assembler.first(2, 1, b"1234567890").unwrap().unwrap(),
        b"1234567890"
    );
    assert!(assembler.is_empty());
}

proptest! {
    #[test]
    fn interleaved_messages_come_out_whole(
        messages in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 1..6), 1..8),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 50),
    ) {
        let mut assembler = Assembler::new(8, 1000);
        let mut at = vec![0; messages.len()];
        let mut order = order.into_iter();
        let mut done = 0;
        while done < messages.len() {
            let under_way = (0..messages.len()).filter(|i| at[*i] < messages[*i].len()).collect::<Vec<_>>();
            let pick = order.next().map_or(under_way[0], |index| under_way[index.index(under_way.len())]);
            let (fragments, place) = (&messages[pick], at[pick]);
            let number = (fragments.len() - place) as u64;
            let whole = if place == 0 { assembler.first(pick as u64, number, &fragments[0]) } else { assembler.next(pick as u64, number, &fragments[place]) };
            at[pick] += 1;
            if number == 1 {
                prop_assert_eq!(whole, Ok(Some(fragments.concat())));
                done += 1;
            } else {
                prop_assert_eq!(whole, Ok(None));
            }
        }
        prop_assert!(assembler.is_empty());
    }
}
