//! Structured logs, and the switch for their level.

use std::sync::OnceLock;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt};

use crate::Error;
use crate::config::{Log, LogFormat};

static HANDLE: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging to standard error. The format stays; the level can be switched.
///
/// # Errors
/// [`Error::Config`] for a level that is none.
pub fn start(log: &Log) -> Result<(), Error> {
    let (filter, handle) = reload::Layer::new(filter(&log.level)?);
    let text = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let started = match log.format {
        LogFormat::Text => tracing_subscriber::registry()
            .with(filter)
            // Colours belong to terminals; a peer's text must not bring its own.
            .with(text.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())))
            .try_init(),
        LogFormat::Json => tracing_subscriber::registry()
            .with(filter)
            .with(text.json().flatten_event(true))
            .try_init(),
    };
    if started.is_ok() {
        HANDLE.get_or_init(|| handle);
    }
    Ok(())
}

/// Whether a level is one.
///
/// # Errors
/// [`Error::Config`] if not.
pub fn check(level: &str) -> Result<(), Error> {
    filter(level).map(drop)
}

/// Switches the level of a running agent.
///
/// # Errors
/// [`Error::Config`] for a level that is none.
pub fn switch(level: &str) -> Result<(), Error> {
    let new = filter(level)?;
    if let Some(handle) = HANDLE.get() {
        handle
            .reload(new)
            .map_err(|error| Error::Internal(format!("cannot switch the log level: {error}")))?;
    }
    Ok(())
}

fn filter(level: &str) -> Result<EnvFilter, Error> {
    EnvFilter::try_new(level)
        .map_err(|error| Error::config("log.level", format!("found {level:?}: {error}")))
}
