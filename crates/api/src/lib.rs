//! The gRPC contract `skans.v1` between agents and the control plane, and nothing else.
//!
//! The contract is `proto/skans/v1/*.proto`; comments there are the documentation.

/// Version 1 of the contract, as generated.
pub mod v1 {
    #![allow(missing_docs, clippy::all, clippy::pedantic)]
    tonic::include_proto!("skans.v1");
}

/// Every method, as `package.Service/Method`: what roles are decided about.
pub const METHODS: &[&str] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// What others depend on, a line for each method and field. `docs/api/skans.v1.txt` is a copy, compared by a test, so that
/// a change of the contract is seen as one.
pub const CONTRACT: &str = include_str!(concat!(env!("OUT_DIR"), "/contract.txt"));

#[cfg(test)]
mod tests {
    #[test]
    fn the_contract_is_the_one_that_was_agreed_on() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api/skans.v1.txt");
        if std::env::var_os("SKANS_UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(path, super::CONTRACT).unwrap();
        }
        let agreed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            agreed == super::CONTRACT,
            "the contract changed; if that is meant and N-1 still understands it: \
             SKANS_UPDATE_SNAPSHOTS=1 cargo test -p skans-api"
        );
    }
}
