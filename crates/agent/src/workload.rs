//! The SPIFFE Workload API, both ends: `serve` gives the nodes of this host what is theirs, `source` takes certificates
//! from SPIRE and the like.

pub mod serve;
pub mod source;

/// The API as generated from the specification's messages.
mod wire {
    #![allow(missing_docs, clippy::all, clippy::pedantic)]
    tonic::include_proto!("_");
}

/// What every call must carry, so that no web page or proxy can be made to ask (SPIFFE Workload Endpoint 6).
const HEADER: &str = "workload.spiffe.io";
