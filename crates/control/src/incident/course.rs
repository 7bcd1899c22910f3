//! The course of an incident: what comes next, from what is known. Without a store, a clock or a network of its own; whoever
//! drives it hands all of that in.

use std::time::Duration;

use skans_store::incidents::State;

#[cfg(test)]
mod tests;

/// Between the last new certificate and the denial of the old key. Peers move their links to the new one a second after they
/// were told, and try once more a second and a half later: who is honest has nothing on the old key by then.
pub(crate) const SETTLE: Duration = Duration::from_millis(3500);
/// How long whoever has a key is waited for. A renewal takes a tenth of a second; an agent that is connected and does not renew
/// in a hundred times that does not want to, or is not the one that it should be.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long an incident is followed whose keys are denied everywhere, but whose owners have no others: an hour, the longest that
/// an agent is remembered without having been seen.
pub(crate) const FOLLOWED: Duration = Duration::from_secs(3600);

/// When a key that was never denied has run out, with every certificate of it: a leaf lives a day at most.
pub(crate) const RUN_OUT: Duration = Duration::from_secs(25 * 3600);

/// What is known of an incident.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) state: State,
    /// A person opened it, or two agents have reported it that do not speak for each other: the keys go, whoever has them.
    pub(crate) certain: bool,
    /// Since it was opened.
    pub(crate) age: Duration,
    /// Since the last of the owners was found to have another key; `None` while some have none.
    pub(crate) renewed: Option<Duration>,
    /// How many agents that were seen lately have not said that the keys are denied; `None` if they are not.
    pub(crate) lacking: Option<u64>,
    /// That it waits for the owners was told.
    pub(crate) waits: bool,
    /// That the denial holds everywhere was told.
    pub(crate) held: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// Nothing yet, or nothing more.
    Wait,
    /// Deny the keys.
    Cut,
    /// Tell people that the keys still hold, since their owners have no others.
    TellOfWaiting,
    /// Tell that the denial holds everywhere.
    TellOfHeld,
    /// It is over.
    End,
}

/// What comes next.
///
/// The order is the guard rail: a key that was only reported by one agent is never denied before its owner has another one, so that
/// whoever forges a report costs an honest node a renewal, and no link.
pub(crate) fn next(facts: &Facts) -> Next {
    match facts.state {
        State::Watching | State::Over => Next::Wait,
        State::Renewing => match facts.renewed {
            Some(since) if since >= SETTLE => Next::Cut,
            None if facts.age >= PATIENCE && facts.certain => Next::Cut,
            None if facts.age >= RUN_OUT => Next::End,
            None if facts.age >= PATIENCE && !facts.waits => Next::TellOfWaiting,
            _ => Next::Wait,
        },
        State::Cutting => match facts.lacking {
            Some(0) if !facts.held => Next::TellOfHeld,
            Some(0) if facts.renewed.is_some() || facts.age >= FOLLOWED => Next::End,
            // Some are away for good: everybody else has it.
            _ if facts.age >= 2 * FOLLOWED => Next::End,
            _ => Next::Wait,
        },
    }
}
