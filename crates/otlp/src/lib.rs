//! OTLP over HTTP (opentelemetry-proto 1, "OTLP/HTTP"), as far as it is sent here: the messages, and how they reach a collector. What is told
//! in them, when, and what becomes of that which did not arrive, is not known here.
#![deny(clippy::indexing_slicing)]

pub mod attribute;
mod endpoint;
mod error;
mod post;

pub use endpoint::{Collector, Otlp, Scheme, Signal};
pub use error::{Error, Result};
pub use post::{Failure, Post};

/// The messages as generated from the specification's.
pub mod wire {
    #![allow(missing_docs, clippy::all, clippy::pedantic)]
    include!(concat!(env!("OUT_DIR"), "/otlp.rs"));
}
