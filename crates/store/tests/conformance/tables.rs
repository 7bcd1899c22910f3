//! What each table promises, one by one.

mod agents;
mod authorities;
mod certificates;
mod deny;
mod events;
mod grants;
mod meta;
mod observed;
mod registrations;
mod tokens;
mod writer;
