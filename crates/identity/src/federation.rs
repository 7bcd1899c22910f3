//! Federation: other trust domains, what both sides consented to, and by which roots a foreign identity is judged.
//!
//! Recorded in `docs/decisions/0019-federation.md`. What lives here decides; who fetches a bundle, and over which
//! connection, is said elsewhere. A foreign domain is never pooled with ours: each is judged by its own bundle, as all are
//! ([`crate::verify`]).
//!
//! Sources: SPIFFE Federation; SPIFFE Trust Domain and Bundle.

pub mod endpoint;
pub mod foreign;
pub mod link;
pub mod pattern;
#[cfg(test)]
mod tests;
