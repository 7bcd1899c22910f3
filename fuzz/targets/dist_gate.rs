//! The gate with what a message asks for: bounded, the same in every cut, and a receiver can read all that comes out.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use skans_dist::Error;
use skans_dist::answer;
use skans_dist::atom_cache::AtomCache;
use skans_dist::control::Message;
use skans_dist::fragment::{MAX_OPEN, Sequences};
use skans_dist::frame::{self, Frame};
use skans_dist::gate::{Gate, Judge, MOST_HELD, Shown, Verdict};
use skans_dist::operation::{self, Operation, Read, To};
use skans_fuzz as _;

const MAX_FRAME: u32 = 1 << 20;

/// Refuses what goes to names that begin with one half of the letters, and all else that is not a message.
struct Half(u8);

impl Judge for Half {
    type Error = Error;

    fn judge(&mut self, message: &Shown<'_>) -> Result<Verdict, Error> {
        let found = match operation::read(message)? {
            Read::Whole(found) => found,
            Read::More => {
                assert!(message.may_grow(), "more is asked for where there is more");
                return Ok(Verdict::More);
            }
        };
        if let Some(caller) = &found.caller {
            answer::refusal_like(caller, message.frame)?;
        }
        let mut handles = 0;
        operation::handed_out(message, &mut |_| handles += 1)?;
        assert!(handles <= operation::MAX_HANDLES);
        let refused = match found.operation {
            Operation::Housekeeping => false,
            Operation::Send { to: To::Name(name) } => {
                name.bytes().next().unwrap_or(0) & 1 == self.0 & 1
            }
            Operation::Send { .. } => self.0 & 2 == 0,
            _ => self.0 & 4 == 0,
        };
        Ok(if refused {
            Verdict::Refuse
        } else {
            Verdict::Forward
        })
    }
}

fn relay(stream: &[u8], cut: usize, half: u8) -> Result<Vec<u8>, Error> {
    let (mut gate, mut judge, mut edits) = (Gate::new(MAX_FRAME), Half(half), Vec::new());
    let (mut held, mut out) = (Vec::new(), Vec::new());
    for chunk in stream.chunks(cut) {
        held.extend_from_slice(chunk);
        let decided = gate.feed(&held, &mut judge, &mut edits)?;
        let mut at = 0;
        for edit in &edits {
            out.extend_from_slice(&held[at..edit.range.start]);
            out.extend_from_slice(&edit.with);
            at = edit.range.end;
        }
        out.extend_from_slice(&held[at..decided]);
        held.drain(..decided);
        assert!(held.len() < MOST_HELD);
    }
    Ok(out)
}

/// Whether the stream ends between two frames.
fn ended(mut stream: &[u8]) -> bool {
    while let Ok(Some((_, used))) = frame::split(stream, MAX_FRAME) {
        stream = &stream[used..];
    }
    stream.is_empty()
}

/// What comes out can be read up to where the stream was cut off.
fn receive(mut stream: &[u8]) {
    let (mut cache, mut atoms) = (AtomCache::new(), Vec::<Arc<str>>::new());
    let mut sequences = Sequences::new(MAX_OPEN);
    while let Some((bytes, used)) = frame::split(stream, MAX_FRAME).expect("within the limit") {
        stream = &stream[used..];
        let frame = Frame::decode(bytes).expect("a frame");
        match &frame {
            Frame::Tick => {}
            Frame::PassThrough { .. } => atoms.clear(),
            Frame::Message { header, .. } => cache.apply(header, &mut atoms).expect("in step"),
            Frame::FirstFragment {
                header,
                sequence,
                fragment,
                ..
            } => {
                cache.apply(header, &mut atoms).expect("in step");
                sequences.first(*sequence, *fragment, ()).expect("in order");
            }
            Frame::NextFragment {
                sequence, fragment, ..
            } => {
                sequences.next(*sequence, *fragment).expect("in order");
            }
        }
        Message::of(&frame, &atoms).expect("a control message");
    }
}

fuzz_target!(|data: &[u8]| {
    // The first byte says how the rest is cut, the second what is refused.
    let [cut, half, stream @ ..] = data else {
        return;
    };
    let at_once = relay(stream, usize::MAX, *half);
    let in_parts = relay(stream, usize::from(*cut) + 1, *half);
    if let Ok(out) = &in_parts {
        receive(out);
    }
    if let Ok(at_once) = at_once {
        let in_parts = in_parts.expect("no part is worse than the whole");
        // Of a frame that has not ended, less may have been decided: the gate waits for more than one byte.
        assert!(at_once.starts_with(&in_parts));
        if ended(stream) {
            assert_eq!(in_parts, at_once);
        }
    }
});
