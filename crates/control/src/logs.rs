//! Structured logs to standard error.

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Log, LogFormat};
use crate::error::Error;

/// Starts logging. Who embeds us may have started already: then that stays.
///
/// # Errors
/// [`Error::Config`] for a level that is none.
pub(crate) fn start(log: &Log) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&log.level)
        .map_err(|error| Error::config("log.level", format!("found {:?}: {error}", log.level)))?;
    let text = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let _ = match log.format {
        LogFormat::Text => tracing_subscriber::registry()
            .with(filter)
            .with(text.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())))
            .try_init(),
        LogFormat::Json => tracing_subscriber::registry()
            .with(filter)
            .with(text.json().flatten_event(true))
            .try_init(),
    };
    Ok(())
}
