//! Segments of a spool, as a crash or a bad disk may have left them: what decodes, encodes to what was read, and reading comes to an end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skans_fuzz as _;
use skans_host::spool::{Found, HEADER, Header, record};

fuzz_target!(|data: &[u8]| {
    let Some(header) = Header::decode(data) else {
        // A segment of a spool that the input names, so that records are reached without a right header.
        if let Some((spool, rest)) = data.split_first_chunk() {
            all(spool, 1, rest);
        }
        return;
    };
    assert_eq!(header.encode(), &data[..HEADER]);
    all(&header.spool, header.first, &data[HEADER..]);
});

fn all(spool: &[u8; 16], first: u64, mut bytes: &[u8]) {
    let mut number = first;
    while let Found::Record(record) = record(spool, number, bytes) {
        assert_eq!(record.encode(spool), &bytes[..record.length()]);
        bytes = &bytes[record.length()..];
        let Some(next) = number.checked_add(1) else {
            return;
        };
        number = next;
    }
}
