//! Structured logs to standard error, and the switch for their level.

mod lines;

use std::io::Write;
use std::sync::OnceLock;

use serde::Deserialize;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt};

use crate::error::BadLevel;
use lines::Lines;

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
    let started = tracing_subscriber::registry()
        .with(filter)
        .with(layer(log.format, std::io::stderr))
        .try_init();
    if started.is_ok() {
        HANDLE.get_or_init(|| handle);
    }
    Ok(())
}

/// Every event as one line. Without colours, in which a peer could write as well.
fn layer<S, W>(
    format: LogFormat,
    to: impl Fn() -> W + Send + Sync + 'static,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    W: Write + 'static,
{
    let layer = fmt::layer()
        .with_writer(move || Lines { to: to(), format })
        .with_target(false)
        .with_ansi(false);
    match format {
        LogFormat::Text => layer.fmt_fields(lines::fields()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
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
