//! The short ways of a reader give what the long ones give, and stop where they stop.

use core::fmt::Debug;

use proptest::prelude::*;

use super::*;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(vec![88, 82, 0]),
        Just(vec![88, 82, 1]),
        Just(vec![88, 119, 1, b'a']),
        Just(vec![103, 82, 0]),
        Just(vec![90, 0, 3, 82, 0]),
        Just(vec![90, 0, 3, 119, 1, b'a']),
        Just(vec![90, 0, 2, 82, 1]),
        Just(vec![90, 0, 0, 82, 0]),
        Just(vec![82, 0]),
        Just(vec![82, 1]),
        Just(vec![119, 1, b'a']),
        Just(vec![97, 200]),
        Just(vec![110, 1, 0, 200]),
        Just(vec![104, 1]),
        Just(vec![104, 200]),
        Just(vec![7; 12]),
        Just(vec![7; 16]),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// Both read the same, or both refuse; what is read is equally long.
fn same<'a, T: PartialEq + Debug>(
    reader: &Reader<'a>,
    short: impl Fn(&mut Reader<'a>) -> Result<T>,
    long: impl Fn(&mut Reader<'a>) -> Result<T>,
) {
    let (mut a, mut b) = (reader.clone(), reader.clone());
    let (short, long) = (short(&mut a), long(&mut b));
    assert_eq!(short, long);
    if short.is_ok() {
        assert_eq!(a.rest(), b.rest());
        assert_eq!(a.literal_atoms(), b.literal_atoms());
    }
}

proptest! {
    #[test]
    fn short_ways_lead_where_long_ones_lead(bytes in bytes(), known in 0_usize..3, limit in 0_u32..2, resolves in any::<bool>()) {
        let atoms: Vec<Arc<str>> = ["a@host", "b"].iter().take(known).map(|&a| a.into()).collect();
        let limits = Limits { count: limit, ..Limits::DEFAULT };
        let mut reader = Reader::with_limits(&bytes, limits).unwrap();
        if resolves {
            reader = reader.with_atoms(&atoms);
        }
        same(&reader, Reader::pid, Reader::any_pid);
        same(&reader, Reader::reference, Reader::any_reference);
        same(&reader, Reader::atom, |reader| {
            let tag = reader.input.u8()?;
            reader.atom_body(tag)
        });
        same(&reader, Reader::tuple, |reader| {
            let found = reader.peek()?;
            match reader.token()? {
                Token::Tuple(arity) => Ok(arity),
                _ => Err(Error::Unexpected { what: "term", found, wanted: "a tuple (104 or 105)" }),
            }
        });
        if reader.peek() == Ok(tag::SMALL_INTEGER) {
            same(&reader, Reader::unsigned, |reader| match reader.token()? {
                Token::Integer(value) => Ok(u64::try_from(value).unwrap()),
                other => panic!("{other:?}"),
            });
        }
        same(&reader, Reader::skip, |reader| {
            let (start, mut open) = (reader.position(), 1);
            while open > 0 {
                open += reader.token()?.children();
                open -= 1;
            }
            Ok(start..reader.position())
        });
    }
}
