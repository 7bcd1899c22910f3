//! The gRPC contract `skans.v1` between agents and the control plane, and nothing else.
//!
//! The contract is `proto/skans/v1/*.proto`; comments there are the documentation.

/// Version 1 of the contract, as generated.
pub mod v1 {
    #![allow(missing_docs, clippy::all, clippy::pedantic)]
    tonic::include_proto!("skans.v1");
}
