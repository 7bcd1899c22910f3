//! What the tests of this crate share: a fixed time, a trust domain, an authority. Not compiled otherwise.

use core::time::Duration;
use std::sync::Arc;

use crate::UnixTime;
use crate::authority::{Authority, Lifetimes};
use crate::bundle::Bundle;
use crate::credential::Credential;
use crate::host::Host;
use crate::id::{NodeId, TrustDomain};
use crate::trust::{SharedTrust, Trust};
use crate::verify::Verifier;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const NODE_A: &str = "spiffe://lab.test/cluster/main/ns/default/sa/web/node/a";

/// 2026-11-20 12:00 UTC: tests never ask the clock.
pub(crate) const NOW: UnixTime = at(1_795_176_000);

pub(crate) const fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

pub(crate) fn later(seconds: u64) -> UnixTime {
    at(NOW.as_secs() + seconds)
}

pub(crate) fn lab() -> TrustDomain {
    TrustDomain::parse("lab.test").unwrap()
}

pub(crate) fn host() -> Host {
    Host::parse("host-a").unwrap()
}

pub(crate) fn authority() -> Authority {
    Authority::generate(&lab(), "main", NOW, Lifetimes::default()).unwrap()
}

pub(crate) fn node(name: &str) -> NodeId {
    NodeId::new(&lab(), "main", "default", "web", name).unwrap()
}

pub(crate) fn credential(authority: &Authority, name: &str) -> Credential {
    authority
        .issue(node(name).id(), &host(), HOUR, NOW)
        .unwrap()
}

pub(crate) fn trusting(bundles: impl IntoIterator<Item = Bundle>) -> SharedTrust {
    let mut trust = Trust::default();
    for bundle in bundles {
        trust.bundles.insert(bundle).unwrap();
    }
    SharedTrust::new(trust)
}

pub(crate) fn verifier(bundles: impl IntoIterator<Item = Bundle>) -> Arc<Verifier> {
    Verifier::new(trusting(bundles))
}
