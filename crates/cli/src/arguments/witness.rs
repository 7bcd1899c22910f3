//! What can be said to `skans witness`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// A witness of logs.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Witness {
    /// Run it with this configuration, YAML
    #[arg(long, value_name = "FILE", required = true)]
    pub config: Option<PathBuf>,
    /// Stop when standard input ends, too: for whoever starts it as a child
    #[arg(long)]
    pub until_stdin_closes: bool,
    /// What else to do
    #[command(subcommand)]
    pub command: Option<WitnessCommand>,
}

/// What can be done with a witness beside running it.
#[derive(Debug, Subcommand)]
pub enum WitnessCommand {
    /// Make its key, in a file that is not there yet, and print the public half, which those give who verify
    Key {
        /// Where to write it
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// What it is called in each cosignature, such as witness.example/w1: no spaces, no plus
        #[arg(long, value_name = "NAME")]
        name: String,
    },
}
