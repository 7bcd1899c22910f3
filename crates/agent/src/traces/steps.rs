//! When a link got how far in its set-up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How far a set-up has got.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Somebody wants the link.
    Began,
    /// The other agent is reached, and has proven who it is.
    Dialled,
    /// Trust, names and policy have let it pass.
    Decided,
    /// HELLO and WELCOME were said.
    Greeted,
}

/// What is noted, in nanoseconds since 1970; 0 for what was not.
#[derive(Debug, Default)]
pub struct Steps([AtomicU64; 4]);

impl Steps {
    /// It is there now.
    pub fn pass(&self, step: Step) {
        self.pass_at(step, super::now());
    }

    /// It was there then.
    pub fn pass_at(&self, step: Step, when: u64) {
        if let Some(at) = self.0.get(step as usize) {
            at.store(when, Relaxed);
        }
    }

    /// When it was there, if it was.
    #[must_use]
    pub fn at(&self, step: Step) -> Option<u64> {
        let at = self.0.get(step as usize)?.load(Relaxed);
        (at > 0).then_some(at)
    }

    /// What happened on the way, in the order of time.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        let named = [
            (Step::Dialled, "dialled"),
            (Step::Decided, "decided"),
            (Step::Greeted, "greeted"),
        ];
        let passed = named.into_iter();
        let mut passed: Vec<_> = passed
            .filter_map(|(step, name)| Some((name, self.at(step)?)))
            .collect();
        passed.sort_by_key(|(_, at)| *at);
        passed
    }
}
