use std::collections::HashSet;

use super::*;

#[test]
fn codes_indices_and_names_are_consistent() {
    assert_eq!(Op::COUNT, 31);
    for (place, op) in Op::ALL.iter().enumerate() {
        assert_eq!(op.index(), place, "{op}");
        assert_eq!(Op::from_code(op.code()), Some(*op));
        assert_eq!(
            (0..=255).filter(|arity| op.has_arity(*arity)).count(),
            if *op == Op::AltactSigSend { 2 } else { 1 }
        );
    }
    assert_eq!(
        Op::ALL
            .iter()
            .map(|op| op.name())
            .collect::<HashSet<_>>()
            .len(),
        Op::COUNT
    );
    assert_eq!((0..=255).filter_map(Op::from_code).count(), Op::COUNT);
    for gap in [0, 9, 10, 11, 14, 15, 17, 38, 97, 255] {
        assert_eq!(Op::from_code(gap), None);
    }
}

#[test]
fn operations_are_checked_with_their_arity() {
    assert_eq!(Op::checked(6, 4), Ok(Op::RegSend));
    assert_eq!(Op::checked(37, 5), Ok(Op::AltactSigSend));
    assert!(matches!(Op::checked(6, 3), Err(Error::Invalid { .. })));
    assert!(matches!(
        Op::checked(38, 4),
        Err(Error::Unexpected { found: 38, .. })
    ));
}
