use proptest::prelude::*;

use super::super::tests::{head, verified};
use super::*;
use crate::recovery::tests::recovered;

fn label(result: Result<Step, Refusal>) -> &'static str {
    result.unwrap_err().label()
}

#[test]
fn it_never_goes_back_and_a_restart_does_not_forget() {
    let mut horizon = Horizon::default();
    assert_eq!(horizon.mark(), None);
    assert_eq!(horizon.accept(&verified(&head(1, 5))), Ok(Step::Forward));
    let mut restarted = Horizon::from_bytes(&horizon.to_bytes()).unwrap();
    for horizon in [&mut horizon, &mut restarted] {
        assert_eq!(label(horizon.accept(&verified(&head(1, 4)))), "rolled_back");
        assert_eq!(horizon.accept(&verified(&head(1, 5))), Ok(Step::Same));
        assert_eq!(horizon.accept(&verified(&head(1, 6))), Ok(Step::Forward));
        assert_eq!(label(horizon.accept(&verified(&head(1, 5)))), "rolled_back");
        assert_eq!(
            horizon.mark(),
            Some(Mark {
                epoch: 1,
                deny_seq: 6
            })
        );
    }
}

#[test]
fn two_streams_under_one_number_are_noticed() {
    let mut horizon = Horizon::default();
    horizon.accept(&verified(&head(1, 5))).unwrap();
    let mut other = head(1, 5);
    other.deny_hash = [99; 32];
    assert_eq!(label(horizon.accept(&verified(&other))), "forked");
    let mut restarted = Horizon::from_bytes(&horizon.to_bytes()).unwrap();
    assert_eq!(label(restarted.accept(&verified(&other))), "forked");
}

#[test]
fn a_new_epoch_needs_a_recovery() {
    let mut horizon = Horizon::default();
    horizon.accept(&verified(&head(3, 50))).unwrap();
    assert_eq!(label(horizon.accept(&verified(&head(4, 60)))), "new_epoch");
    assert_eq!(
        label(horizon.accept(&verified(&head(2, 99)))),
        "rolled_back"
    );
    // The backup knew 20 entries. It begins there, and not before.
    horizon.recover(&recovered(4, 20)).unwrap();
    let mut horizon = Horizon::from_bytes(&horizon.to_bytes()).unwrap();
    assert_eq!(
        label(horizon.accept(&verified(&head(3, 51)))),
        "rolled_back"
    );
    assert_eq!(
        label(horizon.accept(&verified(&head(4, 19)))),
        "rolled_back"
    );
    assert_eq!(horizon.accept(&verified(&head(4, 20))), Ok(Step::Forward));
    assert_eq!(horizon.accept(&verified(&head(4, 20))), Ok(Step::Same));
    // The statement opens its epoch once.
    let again = horizon.recover(&recovered(4, 20)).unwrap_err();
    assert_eq!(again.label(), "rolled_back");
    assert!(horizon.recover(&recovered(3, 99)).is_err());
}

#[test]
fn a_damaged_file_is_not_an_empty_one() {
    let mut horizon = Horizon::default();
    assert_eq!(Horizon::from_bytes(&horizon.to_bytes()), Ok(horizon));
    horizon.accept(&verified(&head(1, 5))).unwrap();
    let bytes = horizon.to_bytes();
    assert_eq!(Horizon::from_bytes(&bytes), Ok(horizon));
    for end in (0..bytes.len()).filter(|end| *end != 4) {
        assert!(Horizon::from_bytes(&bytes[..end]).is_err(), "{end}");
    }
    assert!(Horizon::from_bytes(&[bytes, vec![0]].concat()).is_err());
}

proptest! {
    #[test]
    fn no_order_of_heads_lowers_it(marks in proptest::collection::vec((1u64..4, 0u64..6), 1..12)) {
        let heads: Vec<_> = marks.iter().map(|&(epoch, seq)| verified(&head(epoch, seq))).collect();
        let mut horizon = Horizon::default();
        let mut highest = None;
        for head in heads {
            let accepted = horizon.accept(&head).is_ok();
            let mark = head.head().mark();
            let fits = highest.is_none_or(|highest: Mark| mark.epoch == highest.epoch && mark >= highest);
            prop_assert_eq!(accepted, fits);
            if accepted {
                highest = Some(mark);
            }
            prop_assert_eq!(horizon.mark(), highest);
        }
    }
}
