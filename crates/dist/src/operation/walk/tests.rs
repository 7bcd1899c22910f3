//! The short ways say what the long ones say, of whatever stands there.

use proptest::prelude::*;

use super::*;

/// One term after another as the long way takes them: how many are left, and where it stands.
fn long_way(bytes: &[u8], mut open: u64) -> (u64, usize) {
    let mut walk = Walk::over(bytes, &[]);
    while open > 0 && !walk.rest().is_empty() {
        let before = walk;
        match walk.step() {
            Ok(step) if step.atoms == 0 && !matches!(step.tag, tag::NEW_FUN | tag::EXPORT) => {
                open = (open - 1).saturating_add(step.children);
            }
            // What the short way leaves to it.
            _ => return (open, before.rest().len()),
        }
    }
    (open, walk.rest().len())
}

/// Terms as they come, and noise among them.
fn terms() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(vec![82, 0]),
        Just(vec![82, 9]),
        Just(vec![97, 7]),
        Just(vec![98, 0, 0, 1, 2]),
        Just(vec![104, 2]),
        Just(vec![106]),
        Just(vec![108, 0, 0, 0, 1]),
        Just(vec![108, 0, 0, 0, 0]),
        Just(vec![116, 0, 0, 0, 1]),
        Just(vec![109, 0, 0, 0, 2, 1, 1]),
        Just(vec![109, 255, 255, 255, 255]),
        Just([&[88, 82, 0][..], &[7; 12]].concat()),
        Just([&[88, 119, 1, b'a'][..], &[7; 12]].concat()),
        Just([&[90, 0, 3, 82, 0][..], &[7; 16]].concat()),
        Just([&[90, 0, 1, 119, 1, b'a'][..], &[7; 8]].concat()),
        Just(vec![119, 1, b'a']),
        Just(vec![107, 0, 1, 7]),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    (prop::collection::vec(piece, 0..12), 0..4_usize).prop_map(|(pieces, less)| {
        let mut bytes = pieces.concat();
        bytes.truncate(bytes.len().saturating_sub(less));
        bytes
    })
}

proptest! {
    #[test]
    fn what_is_passed_over_quickly_is_passed_over_rightly(bytes in terms(), open in 0_u64..5) {
        let mut walk = Walk::over(&bytes, &[]);
        let left = walk.pass_plain(open);
        // As far as it goes, it is the long way; what it leaves, the long way goes on with.
        let (mut slow, mut still) = (Walk::over(&bytes, &[]), open);
        while still > 0 && slow.rest().len() > walk.rest().len() {
            let step = slow.step().unwrap();
            prop_assert_eq!(step.atoms, 0);
            prop_assert!(!matches!(step.tag, tag::NEW_FUN | tag::EXPORT));
            still = (still - 1).saturating_add(step.children);
        }
        prop_assert_eq!((left, walk.rest().len()), (still, slow.rest().len()));
        // It goes at least as far as nothing else stands in the way.
        prop_assert!(walk.rest().len() >= long_way(&bytes, open).1);
    }

    #[test]
    fn what_is_read_quickly_is_read_rightly(bytes in terms(), known in 0_usize..3) {
        let atoms: Vec<Arc<str>> = ["a@host", "b"].iter().take(known).map(|&a| a.into()).collect();
        let (mut quick, mut slow) = (Walk::over(&bytes, &atoms), Walk::over(&bytes, &atoms));
        let (a, b) = (quick.head(), slow.any_head());
        prop_assert_eq!(&a, &b);
        if a.is_ok() {
            prop_assert_eq!(quick.rest(), slow.rest());
        }
        let (mut quick, mut slow) = (Walk::over(&bytes, &atoms), Walk::over(&bytes, &atoms));
        let (a, b) = (quick.children(), slow.step().map(|step| step.children));
        prop_assert_eq!(&a, &b);
        if a.is_ok() {
            prop_assert_eq!(quick.rest(), slow.rest());
        }
    }
}
