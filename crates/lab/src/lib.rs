//! A guarded Erlang cluster on one machine, for `skans up` and for tests, and the proofs it is put to.
//!
//! ```text
//!  Plan --start--> Cluster
//!                    |-- one directory, gone with the cluster
//!                    |-- AgentProcess   a `skans agent` beside each host's nodes
//!                    +-- ErlNode        a real `erl`, driven over its standard input
//! ```
//!
//! Everything that is started here ends with the value that stands for it, and, since it reads a
//! pipe from this process, also when this process is killed.

pub mod agent;
pub mod chaos;
pub mod clock;
pub mod cluster;
pub mod control;
pub mod erl;
mod error;
pub mod plan;
mod process;
pub mod prove;
pub mod relay;
pub mod sockets;
pub mod tls;
pub mod traffic;
pub mod two;
pub mod up;
pub mod view;
mod wait;

pub use agent::AgentProcess;
pub use cluster::Cluster;
pub use control::ControlProcess;
pub use erl::ErlNode;
pub use error::Error;
pub use plan::{HostPlan, NodePlan, Plan, Policy};
pub use wait::until;
