//! The engine: a compiled set, and the pairs of nodes that are judged by it.
//!
//! **A permit has to name what is dangerous.** For a function or process that the catalogue marks as administrative, or as
//! one that applies its arguments, only those permits count whose scope is that very entity (`resource == …`) or a group
//! that has it by its full name. A `forbid` counts however it is written; `monitor`, which has no effect, is free of this.

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use crate::action::Action;
use crate::bounds::Bounds;
use crate::compile::{self, Compiled};
use crate::model;
use crate::model::labels::Labels;
use crate::nodes::Nodes;
use crate::pair::Pair;
use crate::pairs::Pairs;
use crate::problem::{Problem, Problems};
use crate::request::Subject;
use crate::slices::Shared;
use crate::source::{Home, Homes, Mode, Source, Version};

/// A set, ready to decide.
pub struct Engine {
    version: Version,
    mode: Mode,
    pub(crate) policies: Vec<Compiled>,
    pub(crate) labels: Arc<Labels>,
    pub(crate) shared: Shared,
    pub(crate) nodes: Nodes,
    pub(crate) bounds: Bounds,
    pairs: Pairs,
    unpublished: Option<String>,
}

impl Engine {
    /// Parses, expands and strictly validates a set.
    ///
    /// # Errors
    /// [`Problems`] with everything that is wrong, and where.
    pub fn compile(source: &Source) -> Result<Self, Problems> {
        Self::compiled(source, None)
    }

    /// The same of a set that is for one cluster: one that speaks of nodes elsewhere is wrong.
    ///
    /// # Errors
    /// As [`Engine::compile`].
    pub fn compile_for(source: &Source, home: &Home) -> Result<Self, Problems> {
        Self::compiled(source, Some(home))
    }

    fn compiled(source: &Source, home: Option<&Home>) -> Result<Self, Problems> {
        let model = model::model().map_err(|error| Problem::new("", error, "the schema"))?;
        let labels = Arc::new(Labels::new(model, &source.entities));
        let homes = home.map(|own| Homes::new(own, &source.links));
        let bounds = Bounds::of(source.links.iter());
        let policies = compile::compile(source, &bounds, model, &labels, homes.as_ref())?;
        Ok(Self {
            version: source.version,
            mode: source.mode,
            unpublished: unpublished(source, &policies),
            policies,
            labels,
            shared: Shared::default(),
            nodes: Nodes::default(),
            bounds,
            pairs: Pairs::default(),
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

    /// All that decides which nodes may not publish themselves, as one text; `None` where nothing forbids it to any, or the dry run
    /// still lasts. Two sets of the same text hide the same nodes.
    #[must_use]
    pub fn unpublished(&self, now: u64) -> Option<&str> {
        let dry = matches!(self.mode, Mode::DryRun { until } if now < until);
        self.unpublished.as_deref().filter(|_| !dry)
    }

    /// How many policies there are, those of its roles included.
    #[must_use]
    pub const fn policies(&self) -> usize {
        self.policies.len()
    }

    /// Selects what can apply between two nodes. `now`, in seconds since 1970, says whether a dry run still lasts: whoever
    /// holds the pair makes a new one when it ends ([`Mode::DryRun`]), so that no message looks at a clock.
    #[must_use]
    pub fn pair(&self, from: &Subject, to: &Subject, now: u64) -> Arc<Pair> {
        let dry = matches!(self.mode, Mode::DryRun { until } if now < until);
        // Nothing passes between clusters that was not consented to, not even to try it.
        let dry = dry && self.bounds.between(from, to).is_none();
        self.pairs
            .get(from, to, dry, || Pair::new(self, from, to, dry))
    }
}

fn unpublished(source: &Source, policies: &[Compiled]) -> Option<String> {
    let bit = 1 << Action::Publish.index();
    let forbids = policies
        .iter()
        .filter(|compiled| !compiled.permits && compiled.actions & bit != 0);
    let mut texts: Vec<&str> = forbids.map(|compiled| &*compiled.text).collect();
    if texts.is_empty() {
        return None;
    }
    texts.sort_unstable();
    // Labels and groups decide as well.
    let entities = serde_json::to_string(&source.entities).unwrap_or_default();
    Some(texts.join("\n") + "\n" + &entities)
}
