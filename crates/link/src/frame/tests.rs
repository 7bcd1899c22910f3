//! Types, lengths and limits.

use super::*;

#[test]
fn a_frame_type_of_no_version_is_refused() {
    for byte in [0, 14, 255] {
        assert_eq!(FrameType::from_byte(byte), Err(Error::UnknownFrame(byte)));
    }
    for byte in 1..=12 {
        assert_eq!(FrameType::from_byte(byte).unwrap() as u8, byte);
    }
}

#[test]
fn a_data_header_says_its_length_with_the_offset_counted() {
    assert_eq!(
        data_header(0x0102_0304_0506_0708, 5),
        [4, 0, 0, 13, 1, 2, 3, 4, 5, 6, 7, 8]
    );
}
