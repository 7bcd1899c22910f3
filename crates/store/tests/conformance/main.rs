//! Every promise of the store, over SQLite and over a real PostgreSQL. A promise is a function that gets a place to open
//! stores in; `promises!` makes a test of it for each database.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backup;
mod crash;
mod disk_full;
mod golden;
mod harness;
mod life_cycle;
mod make;
mod properties;
mod server;
mod tables;
