//! Frames, atom cache, fragments and control messages, as one direction of a connection brings them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skans_dist::atom_cache::AtomCache;
use skans_dist::control::{Control, Message};
use skans_dist::fragment::Assembler;
use skans_dist::frame::{self, Frame};
use skans_dist::term::Reader;
use skans_fuzz as _;

fuzz_target!(|data: &[u8]| {
    let (mut cache, mut atoms, mut assembler) =
        (AtomCache::new(), Vec::new(), Assembler::new(16, 1 << 20));
    let mut rest = data;
    while let Ok(Some((bytes, used))) = frame::split(rest, 1 << 20) {
        rest = &rest[used..];
        let Ok(frame) = Frame::decode(bytes) else {
            return;
        };
        match &frame {
            Frame::Tick => continue,
            Frame::NextFragment {
                sequence,
                fragment,
                bytes,
            } => match assembler.next(*sequence, *fragment, bytes) {
                Ok(Some(payload)) => drop(Reader::new(&payload).map(|mut reader| reader.skip())),
                Ok(None) => {}
                Err(_) => return,
            },
            Frame::PassThrough { .. } => atoms.clear(),
            Frame::Message { header, .. } | Frame::FirstFragment { header, .. } => {
                if cache.apply(header, &mut atoms).is_err() {
                    return;
                }
                assert_eq!(atoms.len(), usize::from(header.count()));
            }
        }
        let Ok(Some(message)) = Message::of(&frame, &atoms) else {
            continue;
        };
        let written = message
            .control
            .encode()
            .expect("what has been read can be said");
        let read = Reader::new(&written).expect("a frame is within bounds");
        assert_eq!(
            Control::read(&mut read.with_atoms(&atoms)),
            Ok(message.control)
        );
        if let Frame::FirstFragment {
            sequence, fragment, ..
        } = frame
            && assembler
                .first(sequence, fragment, message.payload)
                .is_err()
        {
            return;
        }
    }
});
