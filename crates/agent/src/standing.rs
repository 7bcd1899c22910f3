//! Whether this agent still knows enough to let its nodes talk: how old the newest signed head is, and what follows from
//! that in each class (docs/decisions/0012). A state machine; the clocks are handed in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// From this age on it is said in the log and in the metrics: a head comes every 10 s, so three are missing.
pub const WARN: Duration = Duration::from_secs(30);
/// From this age on an agent of class `strict` opens no new link. Teleport calls its locks stale after the same time.
pub const OLD: Duration = Duration::from_secs(5 * 60);
/// From this age on the live links of an agent of class `strict` end: whoever cut the agent off has had this long.
pub const LEASE: Duration = Duration::from_secs(15 * 60);
/// How far a head may lie ahead of our clock. The same minute by which certificates are backdated.
pub const SKEW: Duration = Duration::from_secs(60);

/// What counts more when the control plane is out of reach.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Links go on with what was known last, until the certificates run out. The default: a control plane that is away
    /// must not stop a cluster. Teleport's `best_effort`.
    #[default]
    Available,
    /// After 5 minutes no new links, after 15 the live ones end. Teleport's `strict`.
    Strict,
}

impl Class {
    /// As it is written in configurations.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Strict => "strict",
        }
    }
}

/// How old the newest head is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Age {
    /// Below [`WARN`], or nobody sends heads to this agent.
    Fresh,
    /// From [`WARN`] on.
    Late,
    /// From [`OLD`] on.
    Old,
    /// From [`LEASE`] on.
    Lapsed,
}

/// Two clocks at one moment. The wall clock may jump and stands still in nobody's sleep; the other only goes forward.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Since the Unix epoch.
    pub wall: Duration,
    /// Since any fixed moment in the life of this process.
    pub steady: Duration,
}

/// What is known of the newest head.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    class: Class,
    /// Its time, as signed.
    head: Option<Duration>,
    /// When it was heard of; the start of the agent until one was.
    heard: Duration,
}

impl Standing {
    /// At the start: `head` is the time of the one that was remembered.
    #[must_use]
    pub const fn new(class: Class, head: Option<Duration>, now: Moment) -> Self {
        Self {
            class,
            head,
            heard: now.steady,
        }
    }

    /// What counts more.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// What counts more, from now on.
    pub const fn set_class(&mut self, class: Class) {
        self.class = class;
    }

    /// Takes a verified head. Says whether it is newer than what was known: an old one proves nothing.
    pub fn hear(&mut self, time: Duration, now: Moment) -> bool {
        if self.head.is_some_and(|known| time <= known) || time > now.wall + SKEW {
            return false;
        }
        self.head = Some(time);
        self.heard = now.steady;
        true
    }

    /// How long ago the newest head was signed: by its own time, or since it was heard, whichever is longer, so that a
    /// clock that is set back makes nothing young again.
    #[must_use]
    pub fn age(&self, now: Moment) -> Duration {
        let since_heard = now.steady.saturating_sub(self.heard);
        self.head.map_or(since_heard, |time| {
            now.wall.saturating_sub(time).max(since_heard)
        })
    }

    /// The same in steps.
    #[must_use]
    pub fn step(&self, now: Moment) -> Age {
        match self.age(now) {
            age if age < WARN => Age::Fresh,
            age if age < OLD => Age::Late,
            age if age < LEASE => Age::Old,
            _ => Age::Lapsed,
        }
    }

    /// Whether new links may be opened.
    #[must_use]
    pub fn opens(&self, now: Moment) -> bool {
        self.class == Class::Available || self.step(now) < Age::Old
    }

    /// Whether live links may go on.
    #[must_use]
    pub fn holds(&self, now: Moment) -> bool {
        self.class == Class::Available || self.step(now) < Age::Lapsed
    }

    /// How long until the step changes, if nothing is heard. `None` once it is the last.
    #[must_use]
    pub fn next(&self, now: Moment) -> Option<Duration> {
        let age = self.age(now);
        [WARN, OLD, LEASE]
            .into_iter()
            .find(|&step| step > age)
            .map(|step| step - age)
    }
}

#[cfg(test)]
mod tests;
