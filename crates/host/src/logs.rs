//! Structured logs to standard error, and the switch for their level.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use serde::Deserialize;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt};

use crate::error::BadLevel;

/// What is logged, and how.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `skans_agent=debug`.
    pub level: String,
    /// `text` for people, `json` for collectors.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// The shape of log lines.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

static HANDLE: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging. The format stays; the level can be switched. Who embeds us may have started already: then that stays.
///
/// # Errors
/// A level that is none.
pub fn start(log: &Log) -> Result<(), BadLevel> {
    let (filter, handle) = reload::Layer::new(filter(&log.level)?);
    let text = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let started = match log.format {
        LogFormat::Text => tracing_subscriber::registry()
            .with(filter)
            // Colours belong to terminals; a peer's text must not bring its own.
            .with(text.with_ansi(std::io::stderr().is_terminal()))
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
/// If not.
pub fn check(level: &str) -> Result<(), BadLevel> {
    filter(level).map(drop)
}

/// Switches the level of a running process; without effect where somebody else started logging.
///
/// # Errors
/// A level that is none.
pub fn switch(level: &str) -> Result<(), BadLevel> {
    let new = filter(level)?;
    if let Some(handle) = HANDLE.get() {
        handle.reload(new).map_err(|error| bad(level, &error))?;
    }
    Ok(())
}

fn filter(level: &str) -> Result<EnvFilter, BadLevel> {
    EnvFilter::try_new(level).map_err(|error| bad(level, &error))
}

fn bad(level: &str, error: &dyn std::error::Error) -> BadLevel {
    BadLevel {
        found: level.to_owned(),
        why: error.to_string(),
    }
}
