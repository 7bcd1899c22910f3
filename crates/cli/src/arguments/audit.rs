//! What can be asked of the log.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use skans_audit::note::VerifyingKey;

use super::Output;
use super::control::{Ask, Plane};

/// The log.
#[derive(Debug, Args)]
pub struct Audit {
    /// What to do
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What can be done with the log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Show events as they come: a JSON object on each line, as OCSF
    Tail {
        /// Those after this number; only new ones unless given
        #[arg(long, value_name = "N")]
        after: Option<u64>,
        /// End when there are no more for now
        #[arg(long)]
        no_follow: bool,
        /// What does not leave
        #[command(flatten)]
        redact: Redact,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
    /// Find events, newest first
    Query {
        /// From this time on: a moment such as 2026-11-20T08:00:00Z, or so long ago, such as 2h
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Before this time
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// What happened, such as policy.activated
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
        /// Who did it: a SPIFFE ID, or unix:UID
        #[arg(long, value_name = "WHO")]
        actor: Option<String>,
        /// What it was done to
        #[arg(long, value_name = "WHAT")]
        object: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// What does not leave
        #[command(flatten)]
        redact: Redact,
        /// How to reach the control plane, and in which form
        #[command(flatten)]
        ask: Ask,
    },
    /// Check a copy of a log, offline: that nothing in it was changed, removed, moved or added since it was signed
    ///
    /// Exit status: 0 it is what it says, 1 it is not, 2 usage, 3 it could not be looked at.
    Verify(Verify),
    /// Copy the log, or add to a copy: files that can be verified anywhere
    Export {
        /// Where to
        #[arg(value_name = "DIRECTORY")]
        directory: PathBuf,
        /// The log of this epoch; the newest unless given
        #[arg(long, value_name = "EPOCH")]
        epoch: Option<u64>,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
        /// In which form
        #[arg(long, short, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

/// What of events does not leave.
#[derive(Debug, Args)]
pub struct Redact {
    /// Rules that say which fields are erased or hashed, YAML
    #[arg(long, value_name = "FILE")]
    pub redact: Option<PathBuf>,
    /// The key that fields are hashed under: at least 16 bytes, readable by nobody else
    #[arg(long, value_name = "FILE", requires = "redact")]
    pub redact_key: Option<PathBuf>,
}

/// What is checked, and whom it is believed.
#[derive(Debug, Args)]
pub struct Verify {
    /// The copy: checkpoint and tile/, as C2SP tlog-tiles has them
    #[arg(value_name = "DIRECTORY")]
    pub directory: PathBuf,
    /// The public key of the log, NAME+ID+BASE64. Not from the copy, and not from whoever made it
    #[arg(long, value_name = "KEY", value_parser = VerifyingKey::parse)]
    pub key: VerifyingKey,
    /// The public key of a witness; may be given several times
    #[arg(long, value_name = "KEY", value_parser = VerifyingKey::parse)]
    pub witness: Vec<VerifyingKey>,
    /// How many of the witnesses must have cosigned; all, unless given
    #[arg(long, value_name = "N", requires = "witness")]
    pub quorum: Option<usize>,
    /// An older checkpoint of the same log: what was logged by then must be there still
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Entries before this number may be missing: they were removed when they were old. Their hashes are checked all the same
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub pruned_before: u64,
    /// In which form
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}
