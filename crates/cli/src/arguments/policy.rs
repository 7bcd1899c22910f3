//! What can be said about policy sets.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::control::{Ask, Plane};
use super::{Output, duration};

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
    /// Let a proposed set take the place of the one in force in steps: compared with it first, then on some agents, then on all; not for whoever wrote it
    Rollout(RollOut),
    /// Go on to the next stage of a roll-out, whatever its gate says; what was told of until now is accepted
    Advance {
        /// The number of the candidate; the one that is under way if not given
        #[arg(value_name = "N")]
        n: Option<u64>,
        /// The stage that you looked at, such as dry-run or cohort-1: if it is in another one by now, nothing happens
        #[arg(long, value_name = "STAGE")]
        from: Option<String>,
        /// How to reach the control plane, and in which form
        #[command(flatten)]
        ask: Ask,
    },
    /// Keep a roll-out where it is until somebody goes on with it or takes it back
    Hold {
        /// The number of the candidate; the one that is under way if not given
        #[arg(value_name = "N")]
        n: Option<u64>,
        /// How to reach the control plane, and in which form
        #[command(flatten)]
        ask: Ask,
    },
    /// Take a candidate back: what was in force is in force again under a new number, with every forbid of the candidate
    Rollback {
        /// The number of the candidate; the one that is under way if not given
        #[arg(value_name = "N")]
        n: Option<u64>,
        /// How to reach the control plane, and in which form
        #[command(flatten)]
        ask: Ask,
    },
    /// Show how far the roll-out is, and what would change for whom
    Status {
        /// Look again every second until it is over
        #[arg(long)]
        watch: bool,
        /// How to reach the control plane, and in which form
        #[command(flatten)]
        ask: Ask,
    },
    /// Forbid something at once, on all agents; one that could touch more than a tenth of the nodes takes a second person
    Forbid(Box<Forbid>),
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
    /// Write the smallest set that permits what agents saw, and a list of what it leaves out
    Learn(Learn),
}

/// From what, and into what.
#[derive(Debug, Args)]
pub struct Learn {
    /// Events of agents, a JSON object on each line; `-` for standard input
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub events: Vec<PathBuf>,
    /// What was seen from then on: 2027-01-31T08:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// For so long, such as 1h or 7d; without --since it ends now
    #[arg(long = "for", value_name = "DURATION")]
    pub length: Option<String>,
    /// The directory that the set is written to; it must be new, or empty
    #[arg(long, value_name = "DIRECTORY")]
    pub out: PathBuf,
    /// What the set is called
    #[arg(long, default_value = "learned", value_name = "NAME")]
    pub name: String,
    /// Permit something that was left out, by its number, after you have looked at it
    #[arg(long, value_name = "N")]
    pub include: Vec<usize>,
    /// Permit messages that carry functions where they were seen, and messages that agents do not see to their end
    #[arg(long)]
    pub functions: bool,
    /// In which form
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
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

/// How a set is to be rolled out.
#[derive(Debug, Args)]
pub struct RollOut {
    /// Its number
    #[arg(value_name = "N")]
    pub n: u64,
    /// Who gets it before all do, one cohort after the other: shares such as 10%, or hosts such as host-a+host-b [default: 10%,50%]
    #[arg(long, value_name = "COHORTS")]
    pub cohort: Option<String>,
    /// How long it is only compared with the set in force; 0s for not at all [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub dry_run: Option<Duration>,
    /// How long each cohort has it before the next one gets it [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub gate: Option<Duration>,
    /// How many decisions of what the set in force permits each stage must have seen [default: 1000]
    #[arg(long, value_name = "COUNT")]
    pub decisions: Option<u64>,
    /// How many good decisions that a cohort denies take it back; one principal counts for a tenth at most [default: 100]
    #[arg(long, value_name = "COUNT")]
    pub trigger: Option<u64>,
    /// How to reach the control plane, and in which form
    #[command(flatten)]
    pub ask: Ask,
}

/// What is to be forbidden.
#[derive(Debug, Args)]
pub struct Forbid {
    /// Forbids in Cedar, each with an @id
    #[arg(value_name = "FILE", conflicts_with_all = ["principal", "action", "resource"])]
    pub file: Option<PathBuf>,
    /// Whom: spiffe://DOMAIN/cluster/C/ns/NS/sa/WORKLOAD/node/NODE, as far as it goes; everybody if not given
    #[arg(long, value_name = "ID")]
    pub principal: Option<String>,
    /// What, such as connect, send, call; everything if not given
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// Of what: an ID of receiving nodes, MODULE:FUNCTION/ARITY, or a registered name; everything if not given
    #[arg(long, value_name = "RESOURCE")]
    pub resource: Option<String>,
    /// Why, for people
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// How to reach the control plane, and in which form
    #[command(flatten)]
    pub ask: Ask,
}

/// What is to be explained.
#[derive(Debug, Args)]
pub struct Explain {
    /// By which set: a directory, a number, or `active`, which it is unless given; of an event of the log, the one that decided it
    #[arg(long, value_name = "SET")]
    pub set: Option<String>,
    /// Events of an agent, a JSON object on each line; `-` for standard input; or the number of an event of the log
    #[arg(long, value_name = "EVENT", conflicts_with_all = ["from", "to", "action", "resource"])]
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
