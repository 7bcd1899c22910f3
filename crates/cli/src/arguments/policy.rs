//! What can be said about policy sets.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Output;
use super::control::{Ask, Plane};

/// Policy sets.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Say what is wrong with the set in a directory, and where
    Check(Directory),
    /// Run the tests of the set in a directory: requests, and the decision that is expected
    Test(Directory),
    /// Propose the set in a directory to the control plane
    Push {
        /// The directory
        #[arg(value_name = "DIRECTORY")]
        directory: PathBuf,
        /// Put it in force as well; without the socket that takes another person (approve)
        #[arg(long)]
        activate: bool,
        /// How to reach the control plane
        #[command(flatten)]
        ask: Ask,
    },
    /// Put a proposed set in force, on all agents; not for whoever wrote it
    Approve {
        /// Its number
        #[arg(value_name = "N")]
        n: u64,
        /// How to reach the control plane
        #[command(flatten)]
        ask: Ask,
    },
    /// Take a proposed set back
    Withdraw {
        /// Its number
        #[arg(value_name = "N")]
        n: u64,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
    /// Show the sets that the control plane remembers
    List(Ask),
    /// Show one set, and on how many agents it is in force
    Show {
        /// Its number, or `active`
        #[arg(value_name = "N", default_value = "active")]
        which: String,
        /// How to reach the control plane, and in which form
        #[command(flatten)]
        ask: Ask,
    },
    /// Show in what two sets differ
    Diff {
        /// A number, `active`, or a directory
        #[arg(value_name = "A")]
        from: String,
        /// The same
        #[arg(value_name = "B")]
        to: String,
        /// How to reach the control plane, and in which form
        #[command(flatten)]
        ask: Ask,
    },
    /// Say what a set decides, and by which of its policies: a request that is typed in, or an event of an agent
    Explain(Box<Explain>),
}

/// A set in a directory.
#[derive(Debug, Args)]
pub struct Directory {
    /// The directory
    #[arg(value_name = "DIRECTORY")]
    pub directory: PathBuf,
    /// In which form
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// What is to be explained.
#[derive(Debug, Args)]
pub struct Explain {
    /// By which set: a directory, a number, or `active`
    #[arg(long, default_value = "active", value_name = "SET")]
    pub set: String,
    /// Events of an agent, a JSON object on each line; `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to", "action", "resource"])]
    pub event: Option<PathBuf>,
    /// Who sends: spiffe://DOMAIN/cluster/C/ns/NS/sa/WORKLOAD/node/NAME@HOST
    #[arg(long, value_name = "NODE", required_unless_present = "event")]
    pub from: Option<String>,
    /// Who receives
    #[arg(long, value_name = "NODE", required_unless_present = "event")]
    pub to: Option<String>,
    /// What is asked, such as connect, send, call
    #[arg(long, value_name = "ACTION", required_unless_present = "event")]
    pub action: Option<String>,
    /// Of what: MODULE:FUNCTION/ARITY, a registered name or, with connect, a service; the receiving node itself if not given
    #[arg(long, value_name = "RESOURCE")]
    pub resource: Option<String>,
    /// The payload has a function in it
    #[arg(long)]
    pub carries_function: bool,
    /// The message goes to a raw pid
    #[arg(long)]
    pub via_pid: bool,
    /// How to reach the control plane, and in which form
    #[command(flatten)]
    pub ask: Ask,
}
