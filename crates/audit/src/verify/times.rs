//! When things happened, as the entries say: a clock that went back is seen.

use serde::Deserialize;

use super::Warning;

/// How far an entry may be behind one before it, in milliseconds. A minute: agents and control planes of one cluster are synchronised,
/// and what they say is logged in batches; Kerberos takes 5 minutes, Google's logging of audits one.
pub const MAX_BACK: u64 = 60_000;

/// The times of all entries that say one, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Times {
    /// The earliest.
    pub first: Option<u64>,
    /// The latest.
    pub last: Option<u64>,
}

#[derive(Deserialize)]
struct Timed {
    time: u64,
}

impl Times {
    /// Looks at one entry.
    pub(super) fn look_at(&mut self, entry: u64, content: &[u8]) -> Option<Warning> {
        // An object: serde would take a list for the same.
        let object = content.first() == Some(&b'{');
        let Some(Timed { time }) = object
            .then(|| serde_json::from_slice(content).ok())
            .flatten()
        else {
            return Some(Warning::NoTime { entry });
        };
        let latest = self.last.map_or(time, |last| last.max(time));
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = Some(latest);
        let by_ms = latest - time;
        (by_ms > MAX_BACK).then_some(Warning::TimeWentBack { entry, by_ms })
    }
}
