//! What a direction remembers of what it permitted, so that a message that is like another is neither read nor asked about
//! again: the marks that a gate keeps ([`skans_dist::gate::Judge::lasting`]), and how long they hold.
//!
//! A message is marked only if all that was found out about it follows from what it is like, and nothing was taken note of
//! but the numbers in the counters:
//!
//! - the policy permitted it, in one question about whom it is for, that has nothing to do with time or with the message's
//!   contents; not what was handed out, which is forgotten some time, and whose use is noted; and not a dry run, in which each
//!   message is told;
//! - the other direction does not have to know what it hands out;
//! - it brings no atom along, neither in its header nor literally.
//!
//! One thing is taken note of all the same: which monitor on a name a process has set last ([`super::monitors`]). Where that is
//! kept stands in the mark.
//!
//! A mark is of one *epoch* of its direction. There is another one whenever the rules are made anew, because a set has come,
//! has run out, or is no dry run any more; and, where the names of pids are known, whenever there is another table of
//! these. All else that decides stays as long as the link does: the two nodes, their identities, what was negotiated, and the
//! limits. Rates and counters are no part of it: they see each message ([`skans_dist::gate::Judge::seen`]).

use skans_dist::gate::Mark;
use skans_dist::operation::{Found, Operation};
use skans_policy::Action;

use super::monitors::Place;
use crate::names::Names;

/// What is remembered in one direction.
#[derive(Debug, Default)]
pub struct Memory {
    epoch: u64,
    /// [`Names::changes`] of this epoch.
    names: u64,
    /// Of the last message, if it passed in a way that others may, what was asked about it, if anything was.
    last: Option<Option<Action>>,
}

/// Stands for no action in a mark.
const NOTHING: u8 = u8::MAX;

impl Memory {
    /// Nothing that is remembered holds any longer.
    pub fn forget(&mut self) {
        self.epoch += 1;
    }

    /// Before a message is judged.
    pub const fn begin(&mut self) {
        self.last = None;
    }

    /// The names of pids may be others than before.
    pub fn follow(&mut self, names: Option<&Names>) {
        let changes = names.map_or(0, Names::changes);
        if changes != self.names {
            self.names = changes;
            self.forget();
        }
    }

    /// The message passes; `asked` was permitted for it, if anything was asked. Of what messages these are, the gate takes care.
    pub const fn passed(&mut self, found: &Found<'_>, asked: Option<Action>) {
        if found.literal_atoms > 0 || found.carries_function || found.also.is_some() {
            return;
        }
        self.last = match (&found.operation, asked) {
            (Operation::Housekeeping, None) => Some(None),
            (Operation::Send { .. }, Some(action @ (Action::Send | Action::SendPid)))
            | (Operation::Monitor { .. }, Some(action @ Action::Monitor)) => Some(Some(action)),
            _ => None,
        };
    }

    /// Whether the last message passed so.
    pub const fn has_passed(&self) -> bool {
        self.last.is_some()
    }

    /// The mark of the last message, and of where its monitor is kept, if it sets one that is.
    pub fn mark(&self, monitor: Option<Place>) -> Option<Mark> {
        let action = self.last?.map_or(NOTHING, |action| action as u8);
        let place = monitor.map_or(0, Place::number);
        Some(Mark(self.epoch << 8 | u64::from(action), place))
    }

    /// What was asked about the message that was marked so, if anything was; `None` if the mark does not hold.
    pub fn recall(&self, mark: Mark) -> Option<Option<Action>> {
        if mark.0 >> 8 != self.epoch {
            return None;
        }
        let [action, ..] = mark.0.to_le_bytes();
        if action == NOTHING {
            return Some(None);
        }
        Action::ALL.get(usize::from(action)).copied().map(Some)
    }
}
