//! The control plane: enrolment, issuing, revocation, delivery.
//!
//! ```text
//!  agents --gRPC--+
//!                 +-- listen -- caller -- roles -- one transaction in the store -- event
//!  people --REST--+                                       |
//!                                                        news --> every agent
//! ```

mod acknowledgements;
mod agent_event;
mod approvals;
mod authority;
pub mod backup;
mod caller;
pub mod client;
mod clock;
pub mod config;
mod denial;
mod encryption_key;
mod enrol;
pub mod error;
mod event;
mod federation;
mod gate;
mod grpc;
mod hex;
mod incident;
mod issue;
mod keeper;
pub mod kubernetes;
mod listen;
mod log;
mod metrics;
pub mod network_policies;
mod news;
mod own;
mod pem;
mod policies;
mod problem;
mod rates;
mod recovery;
mod registered;
pub mod rest;
pub mod roles;
mod rollout;
pub mod root;
mod roots;
mod rotation;
mod run;
pub mod scope;
pub mod setup;
mod state;

mod writer;

pub use error::{Blame, Error};
pub use run::{Running, run, start};
