//! What the control plane remembers, in SQLite or PostgreSQL.
//!
//! [`Store::write`] and [`Store::read`] take a closure, the *unit of work*, that gets a [`Tx`]; the modules are what can be
//! done with one, a module for each kind of thing. What a unit changes and the events that tell of it ([`events::append`])
//! commit together, or not at all, and nobody is answered before the disk has them.
//!
//! Nothing here knows what a certificate means: it keeps bytes, texts and numbers, each with a bound ([`bounds`]). Times are
//! whole seconds since 1970 unless a name says otherwise, and are always given: the store has no clock.

mod backup;
mod error;
mod postgres;
mod queue;
mod schema;
mod sqlite;
mod store;
mod tx;
mod unit;
mod value;

pub mod agents;
pub mod approvals;
pub mod authorities;
pub mod bounds;
pub mod bundle;
pub mod certificates;
pub mod deny;
pub mod events;
pub mod foreign;
pub mod grants;
pub mod incidents;
pub mod log;
pub mod meta;
pub mod observed;
pub mod policies;
pub mod registrations;
pub mod requests;
pub mod rollouts;
pub mod shown;
pub mod spools;
pub mod tokens;
pub mod writer;

pub use backup::Summary;
pub use error::{Blame, Error, Result};
pub use postgres::PostgresConfig;
pub use schema::SCHEMA_VERSION;
pub use sqlite::SqliteConfig;
pub use store::Store;
pub use tx::Tx;
