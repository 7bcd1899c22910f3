//! A witness of logs: the process that cosigns what it saw grow, and refuses what was rewritten. What it decides is
//! [`skans_audit::witness`]; here are its port, its disk and its key.
//!
//! It knows neither agents nor control planes: whoever it watches has no say in it.
#![deny(clippy::indexing_slicing)]

pub mod config;
mod error;
pub mod key;
mod metrics;
mod run;
mod serve;
mod store;
mod tls;

pub use error::Error;
pub use run::{Running, run, start};
