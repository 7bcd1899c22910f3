//! The data plane beside each Erlang node: a local epmd, stand-in ports, links to other agents.
//!
//! ```text
//!  node --epmd protocol--> epmd     who is registered, which port stands for whom
//!  node --distribution--> outbound --+
//!                                    +-- relay == TLS 1.3 ==> another agent's inbound --> its node
//!  node <--distribution-- inbound  --+
//! ```
//!
//! Start with `run`, which opens everything, then follow one connection through `outbound` or
//! `inbound` into `relay`.

pub mod admin;
mod agent;
mod authority_files;
pub mod config;
#[allow(dead_code, reason = "its parts meet when links can be cut")]
mod control;
mod cookies;
mod dial;
mod environment;
mod epmd;
mod error;
mod files;
#[allow(dead_code, reason = "its parts meet when links can be cut")]
mod gossip;
#[allow(dead_code, reason = "its parts meet when links can be cut")]
mod identities;
mod inbound;
mod keeper;
mod lifecycle;
mod limits;
mod listen;
mod live;
mod locals;
pub mod logs;
mod loopback;
mod metrics;
mod native;
mod node_io;
mod node_pattern;
mod outbound;
mod outcomes;
mod proof;
#[allow(dead_code, reason = "its parts meet when links can be cut")]
mod registry;
mod relay;
#[allow(dead_code, reason = "its parts meet when links can be cut")]
mod renewal;
#[allow(dead_code, reason = "its parts meet when links can be cut")]
mod revocation;
mod run;
mod settings;
mod setup;

#[allow(dead_code, reason = "its parts meet when links can be cut")]
mod standing;
mod standins;
mod subjects;
mod takeover;
mod users;
mod wire;
mod workers;
mod workload;

pub use error::{Blame, Error};
pub use run::{Lifetime, run};

/// Random bytes from the system.
fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Error::Internal("the system gave no random bytes".to_owned()))?;
    Ok(bytes)
}
