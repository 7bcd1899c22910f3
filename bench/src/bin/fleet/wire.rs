//! What the parent and its workers say to each other: an order is a line of JSON on a worker's standard input, the answer to
//! it one on its standard output. There is never more than one order under way.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a worker is to do with all of its agents.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Order {
    /// Get ready: what it needs to know.
    Prepare(Share),
    /// Use the tokens.
    Enrol,
    /// Open a stream each, and hear the first head.
    Watch,
    /// Wait until each has heard of so many denials since it enrolled.
    Hear {
        /// In all.
        denials: u64,
    },
    /// Ask for certificates again and again.
    Renew {
        /// For how long.
        seconds: u64,
        /// How many certificates in one call.
        nodes: u32,
        /// Go on when a call fails: the control plane is being killed.
        in_spite: bool,
    },
    /// Name every certificate that they hold.
    Show,
}

/// The agents of one worker.
#[derive(Clone, Default, Deserialize, Serialize)]
pub struct Share {
    /// The number of the first.
    pub first: u32,
    /// How many calls are under way at once.
    pub at_once: u32,
    /// One for each.
    pub tokens: Vec<String>,
}

/// Tokens are secrets.
impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} agents from {} on", self.tokens.len(), self.first)
    }
}

/// What a worker says when an order is carried out.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is.
    Done(Done),
    /// It is not: why.
    Failed(String),
}

/// What was measured by the worker itself.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Done {
    /// Agents, or certificates that came.
    pub count: u64,
    /// How long it took.
    pub seconds: f64,
    /// Processor time that the worker itself took for it.
    pub cpu_seconds: f64,
    /// Serial numbers, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<String>,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare(_) => "get ready",
            Self::Enrol => "enrol",
            Self::Watch => "open streams",
            Self::Hear { .. } => "hear of a revocation",
            Self::Renew { .. } => "renew",
            Self::Show => "show what they hold",
        })
    }
}
