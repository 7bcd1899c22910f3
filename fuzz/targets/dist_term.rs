//! External terms: passing over one and reading it agree, and what is read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skans_dist::term::{Reader, Writer};
use skans_fuzz as _;

fuzz_target!(|data: &[u8]| {
    let (Ok(mut over), Ok(mut reader)) = (Reader::new(data), Reader::new(data)) else {
        return;
    };
    let skipped = over.skip();
    let Ok(term) = reader.term() else { return };
    assert_eq!(skipped, Ok(0..reader.position()));
    let mut writer = Writer::new();
    writer.term(&term);
    let written = writer.finish().expect("what has been read can be said");
    assert_eq!(
        Reader::new(&written).and_then(|mut reader| reader.term()),
        Ok(term)
    );
});
