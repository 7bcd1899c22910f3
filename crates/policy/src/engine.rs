//! The engine: a compiled set, and the pairs of nodes that are judged by it.
//!
//! **A permit has to name what is dangerous.** For a function or process that the catalogue marks as administrative, or as
//! one that applies its arguments, only those permits count whose scope is that very entity (`resource == …`) or a group
//! that has it by its full name. A `forbid` counts however it is written; `monitor`, which has no effect, is free of this.

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use crate::compile::{self, Compiled};
use crate::model;
use crate::model::labels::Labels;
use crate::pair::Pair;
use crate::problem::{Problem, Problems};
use crate::request::Subject;
use crate::slices::Shared;
use crate::source::{Mode, Source, Version};

/// A set, ready to decide.
pub struct Engine {
    version: Version,
    mode: Mode,
    pub(crate) policies: Vec<Compiled>,
    pub(crate) labels: Arc<Labels>,
    pub(crate) shared: Shared,
}

impl Engine {
    /// Parses, expands and strictly validates a set.
    ///
    /// # Errors
    /// [`Problems`] with everything that is wrong, and where.
    pub fn compile(source: &Source) -> Result<Self, Problems> {
        let model = model::model().map_err(|error| Problem::new("", error, "the schema"))?;
        let labels = Arc::new(Labels::new(model, &source.entities));
        Ok(Self {
            version: source.version,
            mode: source.mode,
            policies: compile::compile(source, model, &labels)?,
            labels,
            shared: Shared::default(),
        })
    }

    /// The version of the set.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// What becomes of what it refuses.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// How many policies there are, those of its roles included.
    #[must_use]
    pub const fn policies(&self) -> usize {
        self.policies.len()
    }

    /// Selects what can apply between two nodes. `now`, in seconds since 1970, says whether a dry run still lasts: whoever
    /// holds the pair makes a new one when it ends ([`Mode::DryRun`]), so that no message looks at a clock.
    #[must_use]
    pub fn pair(self: &Arc<Self>, from: &Subject, to: &Subject, now: u64) -> Pair {
        let dry = matches!(self.mode, Mode::DryRun { until } if now < until);
        Pair::new(self, from, to, dry)
    }
}
