//! What a shim, or whoever plays one, may send.

use proptest::prelude::*;

use super::*;

fn table(creation: u32, entries: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![b'N'];
    bytes.extend(creation.to_be_bytes());
    for (id, serial, name) in entries {
        bytes.extend(id.to_be_bytes());
        bytes.extend(serial.to_be_bytes());
        bytes.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
        bytes.extend(*name);
    }
    bytes
}

#[test]
fn a_pid_is_found_by_its_name_however_it_is_written() {
    let names = Names::new(7);
    names
        .replace(&table(7, &[(53, 0, b"rex"), (4, 2, "späť".as_bytes())]))
        .unwrap();
    assert_eq!(names.of(53, 0).as_deref(), Some("rex"));
    assert_eq!(names.of(4, 2).as_deref(), Some("späť"));
    // The same process for a VM: the serial begins where the fifteen bits of the id end.
    assert_eq!(names.of(4 | 2 << 15, 0).as_deref(), Some("späť"));
    assert_eq!(names.of(53, 1), None);
    names.replace(&table(7, &[])).unwrap();
    assert_eq!((names.of(53, 0), names.count()), (None, 0));
}

#[test]
fn a_table_that_is_none_changes_nothing() {
    let names = Names::new(7);
    names.replace(&table(7, &[(53, 0, b"rex")])).unwrap();
    let long = vec![b'x'; MAX_NAME + 1];
    let many: Vec<_> = (0..=u32::try_from(MAX_NAMES).unwrap())
        .map(|id| (id, 0, &b"x"[..]))
        .collect();
    for wrong in [
        Vec::new(),
        b"N".to_vec(),
        b"X\x00\x00\x00\x07".to_vec(),
        table(8, &[]),
        table(7, &[(1, 0, &long)]),
        table(7, &[(1, 0, b"\xff")]),
        table(7, &many),
        table(7, &[(1, 0, b"cut")])[..17].to_vec(),
    ] {
        assert!(names.replace(&wrong).is_err(), "{} bytes", wrong.len());
        assert_eq!(names.of(53, 0).as_deref(), Some("rex"));
    }
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let names = Names::new(0);
        let mut framed = b"N\x00\x00\x00\x00".to_vec();
        framed.extend(&bytes);
        let _ = names.replace(&bytes);
        let _ = names.replace(&framed);
        prop_assert!(names.count() <= bytes.len() / 10);
    }
}
