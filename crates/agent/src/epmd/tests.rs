//! What the shim says beyond epmd.

use super::*;

#[test]
fn what_the_shim_says_is_read_and_anything_else_says_nothing() {
    let said = Extra::decode(b"SK1\x00\x00\x10\x00\x00\x3c\x04");
    assert_eq!(
        said,
        Extra {
            creation: 4096,
            tick_seconds: 60,
            tells_names: false,
        }
    );
    let newer = Extra::decode(b"SK1\x00\x00\x10\x00\x00\x3c\x04\x01\xff");
    assert_eq!(
        newer,
        Extra {
            tells_names: true,
            ..said
        }
    );
    for other in [
        &b""[..],
        b"SK",
        b"SK1",
        b"SK1\x00\x00",
        b"XX1\x00\x00\x10\x00\x00\x3c",
    ] {
        assert_eq!(Extra::decode(other), Extra::default(), "{other:?}");
    }
}
