//! What a rule is, and what it finds. The rules themselves are in `rules`.

use crate::set::Set;
use crate::source::Place;

/// How bad it is. The worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It does not start, or is rejected.
    Blocker,
    /// Security or data is lost.
    Critical,
    /// It fails when it matters.
    High,
    /// It costs, or will.
    Medium,
    /// It is of no use, or misleads.
    Low,
}

impl Severity {
    /// All of them, the worst first.
    pub const ALL: [Self; 5] = [
        Self::Blocker,
        Self::Critical,
        Self::High,
        Self::Medium,
        Self::Low,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocker => "blocker",
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// Which rules are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Profile {
    /// What generic scanners do not know: everything about Erlang, and what matters to it in Kubernetes.
    #[default]
    Beam,
    /// Also what generic scanners of manifests say.
    All,
}

/// A rule. What stands in it is what people read; the documentation is made from it.
#[derive(Debug)]
pub struct Rule {
    /// Its id, which never changes: `ERL001`.
    pub id: &'static str,
    /// Its name: `proto-dist-not-a-flag`.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// From which profile on it is asked.
    pub profile: Profile,
    /// What is wrong, in one sentence.
    pub wrong: &'static str,
    /// What happens because of it.
    pub happens: &'static str,
    /// The right form.
    pub right: &'static str,
    /// A minimal example of it, and of the right form, in the notation of [`crate::example`]. Both are tested.
    pub example: &'static str,
    /// Looks for it.
    pub check: fn(&Context<'_>, &mut Findings<'_>),
}

impl Rule {
    /// Where its page is.
    #[must_use]
    pub fn page(&self) -> String {
        format!(
            "https://github.com/skans/skans/blob/main/docs/lint/rules.md#{}",
            self.id.to_lowercase()
        )
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Rule {}

/// What a rule looks at.
#[derive(Debug)]
pub struct Context<'s> {
    /// Everything of the run.
    pub set: &'s Set,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// By which rule.
    pub rule: &'static Rule,
    /// Where.
    pub place: Place,
    /// What exactly is wrong here.
    pub message: String,
    /// What to write here instead, if it is known.
    pub fix: Option<String>,
    /// Other places that have to do with it.
    pub related: Vec<(Place, String)>,
}

/// Takes what a rule finds.
#[derive(Debug)]
pub struct Findings<'f> {
    rule: &'static Rule,
    all: &'f mut Vec<Finding>,
    count: usize,
}

/// The most findings of one rule in a run: what says the same ten thousand times helps nobody.
const MOST: usize = 1000;

impl<'f> Findings<'f> {
    pub(crate) const fn new(rule: &'static Rule, all: &'f mut Vec<Finding>) -> Self {
        Self {
            rule,
            all,
            count: 0,
        }
    }

    /// Adds a finding, to which more may be added.
    pub fn add(&mut self, place: Place, message: impl Into<String>) -> Adding<'_> {
        if self.count >= MOST {
            return Adding { finding: None };
        }
        self.count += 1;
        self.all.push(Finding {
            rule: self.rule,
            place,
            message: message.into(),
            fix: None,
            related: Vec::new(),
        });
        Adding {
            finding: self.all.last_mut(),
        }
    }
}

/// A finding that was just added.
#[derive(Debug)]
pub struct Adding<'f> {
    finding: Option<&'f mut Finding>,
}

impl Adding<'_> {
    /// What to write instead.
    pub fn fix(self, fix: impl Into<String>) -> Self {
        let Some(finding) = self.finding else {
            return self;
        };
        finding.fix = Some(fix.into());
        Adding {
            finding: Some(finding),
        }
    }

    /// Another place that has to do with it.
    pub fn related(self, place: Place, what: impl Into<String>) -> Self {
        let Some(finding) = self.finding else {
            return self;
        };
        finding.related.push((place, what.into()));
        Adding {
            finding: Some(finding),
        }
    }
}
