//! What every promise test needs.
