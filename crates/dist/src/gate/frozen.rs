//! A gate as bytes, and back: what another process has to know to follow the same stream from where this one stopped. The
//! bytes that are undecided are the caller's, as always.
//!
//! ```text
//! state:8 left:64
//! count:16 { slot:16 length:16 atom }*       the atom cache
//! count:16 { length:16 atom }*               the atoms of the message that is undecided
//! count:16 { sequence:64 next:64 rest:8 length:64 }*
//! flags:8 shown:64 retry:64
//! ```

use std::sync::Arc;

use super::{Gate, HOLD, MOST_HELD, Pending, Rest, State, UnderWay};
use crate::atom_cache::{AtomCache, checked};
use crate::bytes::{Input, put_run_u16};
use crate::error::{Error, Result};
use crate::fragment::{MAX_OPEN, Sequences};

const WHAT: &str = "frozen gate";

/// The longest text of an atom: 255 characters of four bytes.
const MAX_TEXT: usize = 255 * 4;

const APPLIED: u8 = 1;
const SEEN: u8 = 2;
const SHOWN: u8 = 4;

impl Gate {
    /// All of it but the limit of frames.
    ///
    /// # Errors
    /// Why the stream was given up, if it was: then there is nothing to follow.
    pub fn freeze(&self) -> Result<Vec<u8>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let mut out = Vec::with_capacity(4096);
        let (state, left) = match self.state {
            State::Border => (0, 0),
            State::Pass(left) => (1, left),
            State::Swallow(left) => (2, left),
        };
        out.push(state);
        out.extend(left.to_be_bytes());
        put_count(&mut out, self.cache.filled());
        for (slot, atom) in self.cache.entries() {
            out.extend(slot.to_be_bytes());
            put_run_u16(&mut out, atom.as_bytes());
        }
        // Those of a message that is decided are of no use to the next one.
        let atoms = if self.pending.applied {
            self.atoms.as_slice()
        } else {
            &[]
        };
        put_count(&mut out, atoms.len());
        for atom in atoms {
            put_run_u16(&mut out, atom.as_bytes());
        }
        put_count(&mut out, self.sequences.len());
        for (sequence, next, under_way) in self.sequences.entries() {
            out.extend(sequence.to_be_bytes());
            out.extend(next.to_be_bytes());
            out.push(u8::from(under_way.rest == Rest::Swallow));
            out.extend(under_way.length.to_be_bytes());
        }
        let pending = &self.pending;
        let flags = [
            (pending.applied, APPLIED),
            (pending.seen, SEEN),
            (pending.shown.is_some(), SHOWN),
        ];
        let set = flags.iter().filter(|(is_set, _)| *is_set);
        out.push(set.fold(0, |all, (_, flag)| all | flag));
        out.extend((pending.shown.unwrap_or_default() as u64).to_be_bytes());
        out.extend((pending.retry as u64).to_be_bytes());
        Ok(out)
    }

    /// The gate that [`Gate::freeze`] was of, for frames of up to `max_frame` bytes. It is to be shown the bytes that the
    /// former one left undecided, with more behind them.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::TooLarge`], [`Error::Unexpected`] and [`Error::Invalid`] for what no gate freezes to.
    pub fn thaw(bytes: &[u8], max_frame: u32) -> Result<Self> {
        let mut input = Input::new(WHAT, bytes);
        let mut gate = Self::new(max_frame);
        let tag = input.u8()?;
        let left = input.u64()?;
        at_most(left, 4 + u64::from(u32::MAX))?;
        gate.state = match (tag, left) {
            (0, 0) => State::Border,
            (1, _) => State::Pass(left),
            (2, _) => State::Swallow(left),
            _ => {
                return Err(Error::Unexpected {
                    what: WHAT,
                    found: tag,
                    wanted: "state 0 (with nothing left), 1 or 2",
                });
            }
        };
        gate.cache = cache(&mut input)?;
        let count = input.u16()?;
        at_most(count.into(), 255)?;
        for _ in 0..count {
            gate.atoms.push(atom(&mut input)?);
        }
        gate.sequences = sequences(&mut input)?;
        gate.pending = pending(&mut input)?;
        if input.rest().is_empty() {
            Ok(gate)
        } else {
            Err(invalid("bytes follow"))
        }
    }
}

fn cache(input: &mut Input<'_>) -> Result<AtomCache> {
    let mut cache = AtomCache::new();
    for _ in 0..input.u16()? {
        let slot = input.u16()?;
        let atom = atom(input)?;
        if !cache.fill(slot, atom) {
            return Err(invalid("there is no such entry of the cache"));
        }
    }
    Ok(cache)
}

fn sequences(input: &mut Input<'_>) -> Result<Sequences<UnderWay>> {
    let mut sequences = Sequences::new(MAX_OPEN);
    for _ in 0..input.u16()? {
        let (sequence, next) = (input.u64()?, input.u64()?);
        let rest = match input.u8()? {
            0 => Rest::Forward,
            1 => Rest::Swallow,
            found => {
                return Err(Error::Unexpected {
                    what: WHAT,
                    found,
                    wanted: "verdict 0 or 1",
                });
            }
        };
        let length = input.u64()?;
        // As if its first fragment were the one before.
        let first = next
            .checked_add(1)
            .filter(|_| next > 0)
            .ok_or_else(|| invalid("no fragment has that number"))?;
        sequences.first(sequence, first, UnderWay { rest, length })?;
    }
    Ok(sequences)
}

fn pending(input: &mut Input<'_>) -> Result<Pending> {
    let flags = input.u8()?;
    let (shown, retry) = (input.u64()?, input.u64()?);
    if flags & !(APPLIED | SEEN | SHOWN) != 0 {
        return Err(Error::Unexpected {
            what: WHAT,
            found: flags,
            wanted: "flags 0 to 7",
        });
    }
    at_most(shown, HOLD as u64)?;
    // Or it would wait for more than it may.
    at_most(retry, MOST_HELD as u64)?;
    let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
    Ok(Pending {
        applied: flags & APPLIED != 0,
        seen: flags & SEEN != 0,
        shown: (flags & SHOWN != 0).then(|| size(shown)),
        retry: size(retry),
    })
}

fn atom(input: &mut Input<'_>) -> Result<Arc<str>> {
    Ok(checked(input.run_u16(MAX_TEXT)?)?.into())
}

/// There are no more than 4,096 of anything here.
fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend(u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
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
