//! A serial number that comes twice makes revocation by serial hit the wrong one: so do counters that start anew with the
//! process, and numbers derived from the key.

use std::collections::HashSet;

use crate::authority::Authority;
use crate::csr::ProvenKey;
use crate::signer::SoftwareKey;
use crate::testing::{HOUR, NOW, authority, host, node};

#[test]
fn a_hundred_thousand_certificates_for_one_key_have_as_many_serials() {
    const EACH: usize = 25_000;
    // One authority, read back four times, as by a process that restarts or by four replicas.
    let text = authority().to_pem();
    let key = ProvenKey::of(&SoftwareKey::generate().unwrap());
    let issue = || {
        let authority = Authority::from_pem(&text).unwrap();
        let (id, host) = (node("a"), host());
        let sign = |_| {
            authority
                .issuer()
                .sign(id.id(), Some(&host), &key, HOUR, NOW)
        };
        (0..EACH)
            .map(|n| sign(n).unwrap().serial)
            .collect::<Vec<_>>()
    };
    let mut seen = HashSet::new();
    std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(issue));
        for thread in threads {
            for serial in thread.join().unwrap() {
                assert!(seen.insert(serial), "a serial came twice");
            }
        }
    });
    assert_eq!(seen.len(), 4 * EACH);
}
