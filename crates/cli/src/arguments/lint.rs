//! What can be said to `skans lint`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use skans_lint::{Profile, Severity};

/// What `lint` looks at, and how it says what it finds.
#[derive(Debug, Args)]
pub struct Lint {
    /// Files and directories; - is standard input
    #[arg(value_name = "PATH", default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// In which form
    #[arg(long, short, value_enum, default_value_t = Form::Text, visible_alias = "format")]
    pub output: Form,
    /// From which severity on the exit status is 1
    #[arg(long, value_enum, default_value_t = FailOn::Medium, value_name = "SEVERITY")]
    pub fail_on: FailOn,
    /// Which rules: beam is what generic scanners do not know
    #[arg(long, value_enum, default_value_t = Rules::Beam)]
    pub profile: Rules,
    /// Say all that is known about a rule, and stop
    #[arg(long, value_name = "RULE", conflicts_with_all = ["rules", "paths"])]
    pub explain: Option<String>,
    /// Boot a real erl with these flags and files, on loopback, and show what a rule says: exit status 1 if it happens, 3 if
    /// it was found and did not happen
    #[arg(long, value_name = "RULE", conflicts_with_all = ["rules", "explain"])]
    pub proof: Option<String>,
    /// Which erl that is
    #[arg(long, value_name = "PATH", default_value = "erl", requires = "proof")]
    pub erl: PathBuf,
    /// List the rules, and stop
    #[arg(long, conflicts_with = "paths")]
    pub rules: bool,
}

/// In which form findings are said.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Form {
    /// For people: a verdict, then excerpts
    Text,
    /// For programs
    Json,
    /// For code scanning
    Sarif,
    /// Annotations of GitHub Actions
    Github,
}

/// From which severity on a run has failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum FailOn {
    /// It does not start, or is rejected
    Blocker,
    /// Security or data is lost
    Critical,
    /// It fails when it matters
    High,
    /// It costs, or will
    Medium,
    /// Anything
    Low,
    /// Nothing
    Never,
}

impl FailOn {
    /// The severity, if there is one.
    pub const fn severity(self) -> Option<Severity> {
        match self {
            Self::Blocker => Some(Severity::Blocker),
            Self::Critical => Some(Severity::Critical),
            Self::High => Some(Severity::High),
            Self::Medium => Some(Severity::Medium),
            Self::Low => Some(Severity::Low),
            Self::Never => None,
        }
    }
}

/// Which rules are asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Rules {
    /// What generic scanners do not know
    Beam,
    /// All of them
    All,
}

impl From<Rules> for Profile {
    fn from(rules: Rules) -> Self {
        match rules {
            Rules::Beam => Self::Beam,
            Rules::All => Self::All,
        }
    }
}
