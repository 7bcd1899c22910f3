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

mod accepting;
mod across;
pub mod admin;
mod agent;
mod authority_files;
mod brake;
mod breaker;
mod buffered;
pub mod config;
mod control;
mod cookies;
#[cfg(test)]
mod counts;
mod dial;
mod enforce;
mod environment;
mod epmd;
mod error;
mod events;
mod foreign;
mod gateway;
mod gossip;
mod handover;
mod identities;
mod inbound;
mod keeper;
mod lifecycle;
mod live;
mod locals;
mod loopback;
mod metrics;
mod names;
mod native;
mod node_io;
mod node_pattern;
mod notify;
mod outbound;
mod outcomes;
mod passage;
mod policies;
mod proof;
mod pulse;
mod registry;
mod relay;
mod renewal;
mod restraint;
mod resume;
mod revocation;
mod revoking;
mod run;
mod services;
mod settings;
mod setup;
#[cfg(test)]
mod sizes;
mod standing;
mod standins;
mod subjects;
mod takeover;
mod told;
mod traces;
mod users;
mod wire;
mod workers;
mod workload;

pub use error::{Blame, Error};
pub use run::{Lifetime, Origin, Part, run};

/// Random bytes from the system.
fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Error::Internal("the system gave no random bytes".to_owned()))?;
    Ok(bytes)
}
