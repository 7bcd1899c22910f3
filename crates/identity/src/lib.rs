//! Who a peer is, and what proves it: SPIFFE IDs, certificate templates, trust bundles, the verifier, TLS settings.
//!
//! What lives here: strings and bytes in, decisions and bytes out. What does not: files, sockets, clocks (the time is
//! always handed in) and policy. The way in for a peer's certificate is [`verify::Verifier`]; the only way to a
//! certificate of ours is [`authority`], through the template wall.
//!
//! Sources: SPIFFE-ID, X509-SVID and Trust Domain and Bundle specifications (spiffe/spiffe), RFC 5280, RFC 8446.
#![deny(clippy::indexing_slicing)]

pub mod authority;
pub mod bundle;
pub mod control_tls;
pub mod credential;
pub mod csr;
pub mod deny;
mod error;
pub mod federation;
pub mod first_trust;
#[cfg(any(test, feature = "forge"))]
#[doc(hidden)]
pub mod forge;
pub mod head;
pub mod host;
pub mod id;
mod keys;
mod leaf;
pub mod node_name;
pub mod pattern;
pub mod peer;
#[cfg(test)]
mod pitfalls;
pub mod policy_set;
pub mod recovery;
mod refusal;
pub mod seal;
pub mod signer;
pub mod sni;
mod template;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod token;
pub mod trust;
pub mod verify;
mod wire;

pub use error::Error;
pub use refusal::Refusal;

/// The time, as every function here takes it: seconds since the Unix epoch, handed in by the caller.
pub use rustls_pki_types::UnixTime;
