//! The terms of a message, frame by frame: which of them go on in each, and what is to be changed there.

use std::borrow::Cow;

use super::names::Names;
use super::skipper::Skipper;
use super::splice::Splices;
use crate::error::{Error, Result};
use crate::fragment::{Progress, Sequences};
use crate::term::VERSION;

/// A message whose terms go on in another fragment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UnderWay {
    pub(super) skipper: Skipper,
    /// What was taken off the end of the last fragment, since it is a part that goes on in the next: less than
    /// [`super::skipper::MAX_PART`] bytes.
    pub(super) carried: Vec<u8>,
}

/// The terms of a frame that have been passed over.
pub(super) struct Walked<'a, 'n> {
    /// With what was carried here before them.
    terms: Cow<'a, [u8]>,
    /// How many bytes of them go on in this frame.
    end: usize,
    splices: Splices<'n>,
}

impl Walked<'_, '_> {
    pub(super) fn is_unchanged(&self) -> bool {
        let is_whole = self.end == self.terms.len() && matches!(self.terms, Cow::Borrowed(_));
        is_whole && self.splices.is_empty()
    }

    /// Puts what goes on behind `out`, changed.
    pub(super) fn apply(&self, out: &mut Vec<u8>) {
        let terms = self.terms.get(..self.end).unwrap_or_default();
        self.splices.apply(terms, out);
    }
}

/// Passes over the terms of a message that its only frame has, or its first one if it `goes_on`: a control message, and a payload
/// if anything is behind it.
///
/// # Errors
/// What is wrong with a term; [`Error::Truncated`] if the control message is not whole, or the payload though this is all of it;
/// [`Error::Invalid`] if more follows.
pub(super) fn begin<'a, 'n>(
    terms: &'a [u8],
    with_version: bool,
    goes_on: bool,
    names: &'n Names,
) -> Result<(Walked<'a, 'n>, UnderWay)> {
    let mut under_way = UnderWay::default();
    let mut splices = Splices::default();
    let skipper = &mut under_way.skipper;
    skipper.begin();
    let start = if with_version { version(terms, 0)? } else { 0 };
    let mut at = skipper.run(terms, start, names, &mut splices)?;
    if !skipper.is_over() {
        return Err(Error::Truncated {
            what: "control message",
            missing: 1,
        });
    }
    if at < terms.len() || goes_on {
        skipper.begin();
        let start = if with_version {
            version(terms, at)?
        } else {
            at
        };
        at = skipper.run(terms, start, names, &mut splices)?;
    }
    let walked = under_way.walked(Cow::Borrowed(terms), at, goes_on, splices)?;
    Ok((walked, under_way))
}

/// Passes over what a further fragment has of the payload of its message.
///
/// # Errors
/// As [`begin`], and as [`Sequences::next`].
pub(super) fn go_on<'a, 'n>(
    sequences: &mut Sequences<UnderWay>,
    sequence: u64,
    fragment: u64,
    bytes: &'a [u8],
    names: &'n Names,
) -> Result<Walked<'a, 'n>> {
    let mut last;
    let (under_way, goes_on) = match sequences.next(sequence, fragment)? {
        Progress::More(under_way) => (under_way, true),
        Progress::Last(under_way) => {
            last = under_way;
            (&mut last, false)
        }
    };
    let terms = if under_way.carried.is_empty() {
        Cow::Borrowed(bytes)
    } else {
        let mut terms = std::mem::take(&mut under_way.carried);
        terms.extend_from_slice(bytes);
        Cow::Owned(terms)
    };
    let mut splices = Splices::default();
    let at = under_way.skipper.run(&terms, 0, names, &mut splices)?;
    under_way.walked(terms, at, goes_on, splices)
}

impl UnderWay {
    /// What a frame has, whose terms have been passed over as far as `at`; what is behind that is carried.
    fn walked<'a, 'n>(
        &mut self,
        terms: Cow<'a, [u8]>,
        at: usize,
        goes_on: bool,
        mut splices: Splices<'n>,
    ) -> Result<Walked<'a, 'n>> {
        let rest = terms.get(at..).unwrap_or_default();
        match (self.skipper.is_over(), goes_on) {
            (true, _) if !rest.is_empty() => {
                return Err(Error::Invalid {
                    what: "message",
                    reason: "bytes follow its terms",
                });
            }
            (false, false) => {
                return Err(Error::Truncated {
                    what: "message",
                    missing: 1,
                });
            }
            _ => {}
        }
        self.carried = rest.to_vec();
        splices.settle();
        Ok(Walked {
            terms,
            end: at,
            splices,
        })
    }
}

/// Where a term begins whose version byte stands at `at`.
fn version(terms: &[u8], at: usize) -> Result<usize> {
    match terms.get(at) {
        Some(&VERSION) => Ok(at + 1),
        Some(&found) => Err(Error::Unexpected {
            what: "term",
            found,
            wanted: "131",
        }),
        None => Err(Error::Truncated {
            what: "term",
            missing: 1,
        }),
    }
}
