//! What every process of Skans needs of the host it runs on: files that are read and written safely, ports, bounds on what
//! strangers may cost before they are known, logs. Nothing here knows of links, identities or policy.

pub mod backoff;
pub mod duration;
pub mod error;
pub mod files;
pub mod listen;
pub mod logs;
pub mod plain;
pub mod spool;
pub mod strangers;
