//! Certificates that stand one after the other, and bytes that are none.

use proptest::prelude::*;

use super::*;

fn der(content: usize) -> Vec<u8> {
    let mut out = match content {
        0..0x80 => vec![0x30, u8::try_from(content).unwrap()],
        _ => {
            let [high, low] = u16::try_from(content).unwrap().to_be_bytes();
            vec![0x30, 0x82, high, low]
        }
    };
    out.resize(out.len() + content, 7);
    out
}

proptest! {
    #[test]
    fn what_stood_one_after_the_other_comes_apart(sizes in prop::collection::vec(0_usize..2000, 0..10)) {
        let all: Vec<_> = sizes.into_iter().map(der).collect();
        let found = certificates(&all.concat()).unwrap();
        prop_assert_eq!(found.len(), all.len());
        for (found, put) in found.iter().zip(&all) {
            prop_assert_eq!(found.as_ref(), put.as_slice());
        }
    }

    #[test]
    fn anything_else_is_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = certificates(&bytes);
    }
}

#[test]
fn a_length_that_lies_is_refused() {
    assert!(certificates(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0]).is_err());
    assert!(certificates(&[0x30, 0x80]).is_err());
    assert!(certificates(&[0x30, 0x85, 1, 1, 1, 1, 1]).is_err());
    let many = vec![vec![0x30, 0]; MAX_CERTIFICATES + 1].concat();
    assert!(certificates(&many).is_err());
}
