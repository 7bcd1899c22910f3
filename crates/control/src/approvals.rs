//! What takes two people: the first asks, the second asks for the very same within the hour.
//!
//! Kept in memory, on the replica that was asked: what a restart forgets is asked for again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For how long a first wish waits for the second. Long enough to call somebody, too short to be forgotten.
const WAIT: Duration = Duration::from_secs(3600);
/// Most wishes that wait.
const MOST: usize = 1000;

/// Wishes that wait for a second person.
#[derive(Debug, Default)]
pub(crate) struct Approvals(Mutex<HashMap<(String, String), (String, Instant)>>);

impl Approvals {
    /// Whether somebody else asked for the same before. Otherwise this is remembered as the first.
    pub(crate) fn ask(&self, action: &str, what: &str, actor: &str) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, (_, since)| since.elapsed() < WAIT);
        let key = (action.to_owned(), what.to_owned());
        if waiting.get(&key).is_some_and(|(first, _)| first != actor) {
            waiting.remove(&key);
            return true;
        }
        if waiting.len() < MOST {
            waiting.insert(key, (actor.to_owned(), Instant::now()));
        }
        false
    }
}
