//! Who may do what between Erlang nodes, message by message: the Cedar model, policy sets, decisions and their cache, and
//! the catalogue of what OTP's functions and processes mean.
//!
//! What lives here: texts and questions in, verdicts out. What does not: bytes of the distribution protocol, sockets, files
//! and clocks. The way in is [`Source::read`], [`Engine::compile`], [`Engine::pair`], [`Cache::decide`].
#![deny(clippy::indexing_slicing)]

mod action;
mod bounds;
pub mod cache;
pub mod catalogue;
mod compile;
mod decision;
pub mod engine;
pub mod explain;
pub mod learn;
mod model;
pub mod name;
mod nodes;
mod pair;
mod pairs;
mod problem;
mod request;
pub mod role;
pub mod rollout;
mod set;
mod slices;
pub mod source;
pub mod test;

pub use action::Action;
pub use cache::Cache;
pub use decision::{Decision, Verdict};
pub use engine::Engine;
pub use model::SCHEMA;
pub use pair::{Pair, Reach};
pub use problem::{Problem, Problems};
pub use request::{CLI, Request, Resource, Subject};
pub use source::{Binding, Entities, File, Home, Mode, Selector, Source, Version};
