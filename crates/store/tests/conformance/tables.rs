//! What each table promises, one by one.

mod agents;
mod approvals;
mod authorities;
mod certificates;
mod deny;
mod events;
mod foreign;
mod grants;
pub mod incidents;
pub mod log;
mod meta;
mod observed;
pub mod policies;
mod registrations;
mod requests;
pub mod rollouts;
pub mod shown;
pub mod spools;
mod tokens;
mod writer;
