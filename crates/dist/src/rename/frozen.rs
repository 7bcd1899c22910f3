//! A renamer as bytes, and back: what another process has to know to follow the same stream from where this one stopped. The bytes
//! that are undecided are the caller's, as always, and so are the names.
//!
//! ```text
//! left:64 sequence:64                        what is left of a frame that is cut; 0 0 if none is
//! count:16 { sequence:64 next:64 open:64 skip:64 step:8 tail:8 length:16 carried }*
//! ```

use super::skipper::{MAX_PART, Skipper, Step};
use super::walk::UnderWay;
use super::{Cut, Names, Renamer};
use crate::bytes::{Input, put_run_u16};
use crate::error::{Error, Result};
use crate::fragment::{MAX_OPEN, Sequences};
use crate::term::MAX_REFERENCE_WORDS;

const WHAT: &str = "frozen renamer";

impl Renamer {
    /// All of it but the names and the limit of frames.
    ///
    /// # Errors
    /// Why the stream was given up, if it was: then there is nothing to follow.
    pub fn freeze(&self) -> Result<Vec<u8>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let mut out = Vec::with_capacity(64);
        let (left, sequence) = self.cut.map_or((0, 0), |cut| (cut.left, cut.sequence));
        out.extend(left.to_be_bytes());
        out.extend(sequence.to_be_bytes());
        // There are no more than 4,096.
        let count = u16::try_from(self.sequences.len()).unwrap_or(u16::MAX);
        out.extend(count.to_be_bytes());
        for (sequence, next, under_way) in self.sequences.entries() {
            let skipper = &under_way.skipper;
            for number in [sequence, next, skipper.open, skipper.skip] {
                out.extend(number.to_be_bytes());
            }
            let step = Step::ALL.iter().position(|step| *step == skipper.step);
            out.push(step.and_then(|step| u8::try_from(step).ok()).unwrap_or(0));
            out.push(skipper.tail);
            put_run_u16(&mut out, &under_way.carried);
        }
        Ok(out)
    }

    /// The renamer that [`Renamer::freeze`] was of, with its names, for frames of up to `max_frame` bytes. It is to be shown the
    /// bytes that the former one left undecided, with more behind them.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::TooLarge`], [`Error::Unexpected`] and [`Error::Invalid`] for what no renamer freezes to.
    pub fn thaw(bytes: &[u8], names: Names, max_frame: u32) -> Result<Self> {
        let mut input = Input::new(WHAT, bytes);
        let mut renamer = Self::new(names, max_frame);
        let (left, sequence) = (input.u64()?, input.u64()?);
        at_most(left, u32::MAX.into())?;
        renamer.sequences = sequences(&mut input)?;
        renamer.cut = (left > 0).then_some(Cut { left, sequence });
        if left > 0 && !renamer.sequences.is_open(sequence) {
            return Err(invalid("the message that is cut is not under way"));
        }
        if input.rest().is_empty() {
            Ok(renamer)
        } else {
            Err(invalid("bytes follow"))
        }
    }
}

fn sequences(input: &mut Input<'_>) -> Result<Sequences<UnderWay>> {
    let mut sequences = Sequences::new(MAX_OPEN);
    for _ in 0..input.u16()? {
        let (sequence, next) = (input.u64()?, input.u64()?);
        let (open, skip) = (input.u64()?, input.u64()?);
        // A sign and digits.
        at_most(skip, u64::from(u32::MAX) + 1)?;
        let step = input.u8()?;
        let step = Step::ALL
            .get(usize::from(step))
            .copied()
            .ok_or(Error::Unexpected {
                what: WHAT,
                found: step,
                wanted: "step 0 to 10",
            })?;
        let tail = input.u8()?;
        at_most(tail.into(), 4 + 4 * MAX_REFERENCE_WORDS as u64)?;
        let carried = input.run_u16(MAX_PART)?.to_vec();
        let skipper = Skipper {
            open,
            skip,
            step,
            tail,
        };
        // As if its first fragment were the one before.
        let first = next
            .checked_add(1)
            .filter(|_| next > 0)
            .ok_or_else(|| invalid("no fragment has that number"))?;
        sequences.first(sequence, first, UnderWay { skipper, carried })?;
    }
    Ok(sequences)
}

const fn at_most(found: u64, limit: u64) -> Result<()> {
    if found > limit {
        return Err(Error::TooLarge {
            what: WHAT,
            found,
            limit,
        });
    }
    Ok(())
}

const fn invalid(reason: &'static str) -> Error {
    Error::Invalid { what: WHAT, reason }
}
