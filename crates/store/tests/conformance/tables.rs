//! What each table promises, one by one.

mod agents;
mod approvals;
mod authorities;
mod certificates;
mod deny;
mod events;
mod foreign;
mod grants;
mod meta;
mod observed;
pub mod policies;
mod registrations;
mod requests;
mod tokens;
mod writer;
