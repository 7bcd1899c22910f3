//! What can be said to `skans chaos`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Output;

/// `skans chaos`.
#[derive(Debug, Subcommand)]
pub enum Chaos {
    /// Show the experiments: what each breaks, and what is claimed of it
    List {
        /// In which form
        #[arg(long, short, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Break what links two clusters on this machine, under load, and check what is claimed of it
    ///
    /// Exit status: 0 every hypothesis holds, 1 one does not, 3 one could not be tried.
    Run(Run),
}

/// What is run.
#[derive(Debug, Args)]
pub struct Run {
    /// Which experiments, by name; all of them without one
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// In which form; json is one object at the end
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Write the report as a page of HTML, too
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
    /// The `skans` that one side is upgraded to, instead of this one
    #[arg(long, value_name = "BINARY")]
    pub newer: Option<PathBuf>,
    /// An address of this machine for bundle endpoints, which are never at loopback; one is looked for without it
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<IpAddr>,
}
