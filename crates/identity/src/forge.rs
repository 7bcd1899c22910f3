//! Hostile certificates for tests.
