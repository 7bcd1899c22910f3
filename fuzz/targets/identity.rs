//! What a peer or an operator hands over as an identity: SPIFFE IDs, hosts, patterns, certificates,
//! requests, bundles.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rustls_pki_types::CertificateDer;
use skans_fuzz as _;
use skans_identity::bundle::Bundle;
use skans_identity::host::Host;
use skans_identity::id::{SpiffeId, TrustDomain};
use skans_identity::pattern::NamePattern;
use skans_identity::peer::PeerIdentity;
use skans_identity::csr;

fuzz_target!(|bytes: &[u8]| {
    let Some((&what, rest)) = bytes.split_first() else {
        return;
    };
    let text = std::str::from_utf8(rest);
    match (what % 6, text) {
        (0, Ok(text)) => {
            if let Ok(id) = SpiffeId::parse(text) {
                assert_eq!(id.as_str(), text, "nothing is normalised");
                let _ = id.role();
            }
        }
        (1, Ok(text)) => {
            if let Ok(host) = Host::parse(text) {
                assert_eq!(host.to_string(), text);
            }
        }
        (2, Ok(text)) => {
            let (pattern, name) = text.split_once(' ').unwrap_or((text, ""));
            if let Ok(pattern) = NamePattern::parse(pattern) {
                let _ = pattern.matches(name);
            }
        }
        (3, _) => {
            let _ = PeerIdentity::from_der(&CertificateDer::from(rest));
        }
        (4, _) => {
            let _ = csr::public_key(rest);
        }
        _ => {
            if let Ok(domain) = TrustDomain::parse("fuzz.test") {
                let _ = Bundle::from_pem(domain, rest);
            }
        }
    }
});
