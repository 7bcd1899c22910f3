//! What people get wrong when they configure Erlang clusters: files, directories and manifests in, findings with places
//! out. Without a cluster and without a network.
//!
//! What lives here: reading what people have ([`Set`]), finding out which files, variables and objects belong to one
//! node ([`units`]), the [`rules`], the [`verdict`] and the [`report`]. What does not: parsing of Erlang's notations
//! (`skans-erlconf`), arguments and exit codes (`skans lint`).
//!
//! ```
//! let files = vec![("vm.args".to_owned(), "-name shop@10.0.0.1\n-setcookie monster\n".to_owned())];
//! let checked = skans_lint::check(files, &skans_lint::Options::default());
//! let ids: Vec<_> = checked.findings.iter().map(|finding| finding.rule.id).collect();
//! assert!(ids.contains(&"ERL012"), "distribution is on and nothing encrypts it");
//! ```
#![deny(clippy::indexing_slicing)]

pub mod collect;
mod dockerfile;
pub mod document;
mod error;
pub mod example;
pub mod kubernetes;
pub mod proof;
pub mod report;
pub mod rule;
pub mod rules;
mod set;
mod setting;
mod source;
mod suppress;
pub mod units;
pub mod verdict;
mod work;
mod yaml;

pub use error::{Error, Result};
pub use rule::{Finding, Profile, Rule, Severity};
pub use set::Set;
pub use setting::{Origin, Setting, Value};
pub use source::{Location, Place, SourceId, Sources};
pub use verdict::Verdict;

/// What to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Which rules.
    pub profile: Profile,
}

/// The outcome of a run.
#[derive(Debug)]
pub struct Checked {
    /// What was looked at.
    pub set: Set,
    /// What was found, the worst first, then by place.
    pub findings: Vec<Finding>,
    /// What was found and is allowed in place, with the reason.
    pub allowed: Vec<(Finding, String)>,
    /// What is really in force on each node.
    pub verdicts: Vec<Verdict>,
}

/// Looks at files: path and text of each.
#[must_use]
pub fn check(files: Vec<(String, String)>, options: &Options) -> Checked {
    let set = Set::read(files);
    let mut findings = rules::run(&set, options.profile);
    let allowed = suppress::apply(&set, &mut findings);
    findings.sort_by(|one, other| {
        let key = |finding: &Finding| {
            let place = set.sources.in_file(finding.place);
            (
                finding.rule.severity,
                place.source,
                place.span.start,
                finding.rule.id,
            )
        };
        key(one).cmp(&key(other))
    });
    findings.dedup_by(|one, other| {
        one.rule.id == other.rule.id && one.place == other.place && one.message == other.message
    });
    let verdicts = verdict::of(&set);
    Checked {
        set,
        findings,
        allowed,
        verdicts,
    }
}
