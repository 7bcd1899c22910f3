use proptest::prelude::*;

use super::*;
use crate::frame::Frame;

/// A frame whose header has these references: slot, and the atom it brings along.
fn frame(refs: &[(u16, Option<&str>)]) -> Vec<u8> {
    let long = refs
        .iter()
        .any(|(_, new)| new.is_some_and(|text| text.len() > 255));
    let mut bytes = vec![131, 68, u8::try_from(refs.len()).unwrap()];
    let mut nibbles = refs
        .iter()
        .map(|(slot, new)| u8::try_from(slot >> 8).unwrap() | if new.is_some() { 8 } else { 0 })
        .collect::<Vec<_>>();
    nibbles.push(u8::from(long));
    nibbles.resize(nibbles.len().next_multiple_of(2), 0);
    if !refs.is_empty() {
        bytes.extend(nibbles.chunks(2).map(|pair| pair[0] | pair[1] << 4));
    }
    for (slot, new) in refs {
        bytes.push(u8::try_from(slot & 255).unwrap());
        if let Some(text) = new {
            let length = u16::try_from(text.len()).unwrap().to_be_bytes();
            bytes.extend_from_slice(if long { &length } else { &length[1..] });
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

fn apply(cache: &mut AtomCache, refs: &[(u16, Option<&str>)]) -> Result<Vec<String>> {
    let bytes = frame(refs);
    let Ok(Frame::Message { header, .. }) = Frame::decode(&bytes) else {
        panic!("not a message")
    };
    let mut atoms = vec!["of the message before".into()];
    cache.apply(&header, &mut atoms)?;
    Ok(atoms.iter().map(ToString::to_string).collect())
}

#[test]
fn entries_are_kept_and_overwritten() {
    let mut cache = AtomCache::new();
    assert_eq!(apply(&mut cache, &[]).unwrap(), Vec::<String>::new());
    assert_eq!(
        apply(&mut cache, &[(2047, Some("a")), (0, Some("b"))]).unwrap(),
        ["a", "b"]
    );
    assert_eq!(
        apply(&mut cache, &[(0, None), (2047, None), (0, None)]).unwrap(),
        ["b", "a", "b"]
    );
    assert_eq!(
        apply(&mut cache, &[(0, Some("c")), (0, None)]).unwrap(),
        ["c", "c"]
    );
    let long = "å".repeat(255);
    assert_eq!(
        apply(&mut cache, &[(7, Some(&long)), (8, Some("d"))]).unwrap(),
        [&long, "d"]
    );
    assert_eq!(cache.filled(), 4);
}

#[test]
fn refusals() {
    let mut cache = AtomCache::new();
    assert!(matches!(
        apply(&mut cache, &[(3, None)]),
        Err(Error::Invalid { .. })
    ));
    assert!(matches!(
        apply(&mut cache, &[(3, Some(&"å".repeat(256)))]),
        Err(Error::TooLarge { found: 256, .. })
    ));
    let bytes = [131, 68, 1, 8, 0, 1, 255];
    let Ok(Frame::Message { header, .. }) = Frame::decode(&bytes) else {
        panic!("not a message")
    };
    assert!(matches!(
        cache.apply(&header, &mut Vec::new()),
        Err(Error::Invalid { .. })
    ));
}

proptest! {
    /// Against the plainest model: an array that is written to and read from.
    #[test]
    fn as_an_array_would(
        messages in proptest::collection::vec(proptest::collection::vec((0..2048_u16, proptest::option::of("[a-zå]{0,300}")), 0..40), 0..20),
    ) {
        let mut cache = AtomCache::new();
        let mut model = vec![None; SLOTS];
        for message in &messages {
            let mut wanted = Vec::new();
            for (slot, new) in message {
                if let Some(text) = new {
                    model[usize::from(*slot)] = Some(text.clone());
                }
                wanted.push(model[usize::from(*slot)].clone());
            }
            let refs = message.iter().map(|(slot, new)| (*slot, new.as_deref())).collect::<Vec<_>>();
            let too_long = message.iter().any(|(_, new)| new.as_ref().is_some_and(|text| text.chars().count() > 255));
            match apply(&mut cache, &refs) {
                Ok(atoms) => prop_assert_eq!(atoms.into_iter().map(Some).collect::<Vec<_>>(), wanted),
                Err(_) => {
                    prop_assert!(too_long || wanted.contains(&None));
                    return Ok(());
                }
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn a_header_that_brings_nothing_is_read_as_any_other(
        slots in proptest::collection::vec((0_u16..4, proptest::bool::weighted(0.1)), 0..12),
        high in proptest::num::u8::ANY,
    ) {
        // Two refer to what is there, one to what is not.
        let mut cache = AtomCache::new();
        for (slot, name) in [(0, "a"), (1, "b"), (258, "c")] {
            assert!(cache.fill(slot, name.into()));
        }
        let slots: Vec<(u16, bool)> = slots.iter().map(|&(slot, new)| (if slot == 2 { 258 } else { slot }, new)).collect();
        let count = slots.len();
        let mut flags = vec![0_u8; if count == 0 { 0 } else { count / 2 + 1 }];
        let mut body = Vec::new();
        for (at, (slot, new)) in slots.iter().enumerate() {
            flags[at / 2] |= (u8::try_from(slot >> 8).unwrap() | u8::from(*new) << 3) << (4 * (at % 2));
            body.push(u8::try_from(slot & 0xff).unwrap());
            if *new {
                body.extend([1, b'n']);
            }
        }
        // Whatever stands behind the last reference, but for the bit that says how long lengths are.
        if let Some(last) = flags.last_mut() {
            *last |= if count.is_multiple_of(2) { high & 0xfe } else { high & 0xe0 };
        }
        let bytes = [&[131, 68, u8::try_from(count).unwrap()], &flags[..], &body, &[106]].concat();
        let crate::frame::Frame::Message { header, terms } = crate::frame::Frame::decode(&bytes).unwrap() else {
            panic!("it is a message");
        };
        assert_eq!(terms, [106]);
        assert_eq!(header.new_atoms(), slots.iter().filter(|(_, new)| *new).count());
        assert_eq!(header.bytes().len(), bytes.len() - 3);
        // The long way, reference by reference.
        let (mut slow, mut wanted, mut refs) = (cache.clone(), Vec::new(), header.refs());
        let mut known = true;
        while let Some(found) = refs.next_ref().unwrap() {
            if let Some(new) = found.new {
                assert!(slow.fill(found.slot, std::str::from_utf8(new).unwrap().into()));
            }
            match slow.get(usize::from(found.slot)) {
                Some(atom) if known => wanted.push(atom.clone()),
                _ => known = false,
            }
        }
        let mut atoms = vec!["left over".into(), "b".into()];
        let applied = cache.apply(&header, &mut atoms);
        assert_eq!(applied.is_ok(), known);
        if known {
            assert_eq!(atoms, wanted);
        }
    }
}
