//! `--proof`: a real `erl` with the reader's own flags and configuration, on loopback and in a scratch directory, and what
//! happens. Which experiment belongs to which rule is here; what is taken from the reader in `taken` and `files`, the
//! experiments in `experiment`, processes and directories in `machine`.
//!
//! What is never run: boot scripts, `-eval`, `-s`, `-run`, modules and evaluated configuration of the reader. A node is
//! bound to loopback, asks no epmd, and is gone after three minutes even if nobody is left to stop it.

mod experiment;
mod files;
mod handshake;
mod machine;
mod taken;
#[cfg(test)]
mod tests;
mod words;

use std::fmt::Write;

use crate::Checked;
use crate::error::{Error, Result};
use crate::rule::{Finding, Rule};
use crate::rules;
use crate::source::Sources;

pub use machine::Erl;

/// What was shown.
#[derive(Debug)]
pub struct Proof {
    /// The rule.
    pub rule: &'static Rule,
    /// What it found.
    pub finding: Finding,
    /// Whether what happened is what the rule says.
    pub shown: bool,
    /// What happened, in one sentence.
    pub consequence: String,
    /// What was seen of it.
    pub evidence: Vec<String>,
    /// The release of OTP.
    pub release: String,
    /// What was started.
    pub ran: Vec<String>,
    /// What of the reader's was not used, and what stood in for it.
    pub notes: Vec<String>,
}

/// What is done to see what a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Experiment {
    /// Does it start?
    Boot,
    /// Does it answer a handshake in clear?
    Plain,
    /// Does it let in who shows no certificate, or tell its name to a server of another authority?
    Stranger,
    /// Can two nodes that are configured alike connect?
    Pair,
    /// Does whoever says the cookie run code?
    Cookie,
    /// Does it start with a cookie file that others may read?
    CookieFile,
    /// Does Elixir start with such a configuration?
    Elixir,
    /// Does it let in whoever has a certificate of its authority, for whatever name?
    Neighbour,
    /// Does the certificate of one node pass for that of another?
    Shared,
    /// What comes of a certificate that was copied, when it has expired?
    Copied,
    /// Does a tool reach it that is not told what its node is told?
    Tool,
    /// Does a listener of TLS answer to plain HTTP?
    Http,
}

const EXPERIMENTS: &[(&str, Experiment)] = &[
    ("ERL001", Experiment::Plain),
    ("ERL002", Experiment::Plain),
    ("ERL012", Experiment::Plain),
    ("ERL013", Experiment::Plain),
    ("ERL014", Experiment::Elixir),
    ("ERL015", Experiment::Cookie),
    ("ERL016", Experiment::Cookie),
    ("ERL023", Experiment::CookieFile),
    ("ERL021", Experiment::Pair),
    ("ERL022", Experiment::Pair),
    ("TLS001", Experiment::Pair),
    ("TLS002", Experiment::Stranger),
    ("TLS006", Experiment::Stranger),
    ("TLS008", Experiment::Pair),
    ("TLS010", Experiment::Pair),
    ("TLS011", Experiment::Pair),
    ("TLS012", Experiment::Pair),
    ("XREF001", Experiment::Pair),
    ("EXS001", Experiment::Boot),
    ("RMQ003", Experiment::Tool),
    ("PRB001", Experiment::Tool),
    ("PRB004", Experiment::Http),
    ("CRT002", Experiment::Shared),
    ("CRT005", Experiment::Neighbour),
    ("CRT010", Experiment::Copied),
    ("VMA001", Experiment::Boot),
    ("VMA009", Experiment::Boot),
    ("VMA010", Experiment::Boot),
    ("CFG000", Experiment::Boot),
    ("CFG001", Experiment::Boot),
    ("CFG002", Experiment::Boot),
    ("CFG006", Experiment::Boot),
];

/// Whether a rule can be proved.
#[must_use]
pub fn is_provable(rule: &Rule) -> bool {
    experiment_of(rule).is_some()
}

fn experiment_of(rule: &Rule) -> Option<Experiment> {
    EXPERIMENTS
        .iter()
        .find_map(|(id, experiment)| (*id == rule.id).then_some(*experiment))
}

/// Shows what comes of the first finding of a rule; none if it found nothing.
///
/// # Errors
/// The rule has no experiment, or `erl` cannot be started or does not end its part in time. What a node does with a bad
/// configuration is no error.
pub fn prove(checked: &Checked, rule: &'static Rule, erl: &Erl) -> Result<Option<Proof>> {
    wanted(rule)?;
    let found = checked.findings.iter().find(|found| found.rule == rule);
    found.map(|finding| of(checked, finding, erl)).transpose()
}

/// Shows what comes of one finding.
///
/// # Errors
/// Those of [`prove`].
pub fn of(checked: &Checked, finding: &Finding, erl: &Erl) -> Result<Proof> {
    experiment::run(checked, finding, wanted(finding.rule)?, erl)
}

fn wanted(rule: &Rule) -> Result<Experiment> {
    experiment_of(rule).ok_or_else(|| Error::NoProof {
        rule: rule.id,
        provable: rules::all()
            .filter(|rule| is_provable(rule))
            .map(|rule| rule.id)
            .collect::<Vec<_>>()
            .join(", "),
    })
}

impl Proof {
    /// For people.
    #[must_use]
    pub fn text(&self, sources: &Sources) -> String {
        let mut out = String::new();
        let at = sources.location(self.finding.place);
        let _ = writeln!(
            out,
            "{} {}: {}\n  --> {}:{}:{}\n",
            self.rule.id, self.rule.name, self.finding.message, at.file, at.line, at.column
        );
        let verdict = if self.shown { "shown" } else { "NOT shown" };
        let _ = writeln!(
            out,
            "{verdict} with OTP {}: {}",
            self.release, self.consequence
        );
        for line in &self.evidence {
            let _ = writeln!(out, "    {line}");
        }
        for line in &self.ran {
            let _ = writeln!(out, "\nran: {line}");
        }
        if !self.notes.is_empty() {
            let _ = writeln!(out, "\nnot as you run it:");
        }
        for note in &self.notes {
            let _ = writeln!(out, "  - {note}");
        }
        let _ = writeln!(
            out,
            "\nright: {}",
            self.finding.fix.as_deref().unwrap_or(self.rule.right)
        );
        out
    }
}
