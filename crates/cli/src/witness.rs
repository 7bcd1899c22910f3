//! `skans witness`.

use std::io::Write as _;

use crate::arguments::witness::{Witness, WitnessCommand};
use crate::control::orphaned;
use crate::failure::{FAILED, Failure};

/// Runs one, or makes its key.
pub async fn witness(arguments: Witness) -> Result<(), Failure> {
    match (arguments.command, arguments.config) {
        (Some(WitnessCommand::Key { file, name }), _) => {
            let vkey = skans_witness::key::make(&file, &name)?;
            writeln!(std::io::stdout(), "{vkey}")?;
            Ok(())
        }
        (None, Some(config)) => {
            Ok(skans_witness::run(&config, orphaned(arguments.until_stdin_closes)).await?)
        }
        (None, None) => Err(Failure::new(FAILED, "wanted --config")),
    }
}
