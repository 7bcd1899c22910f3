use super::*;
use crate::testing::{authority, credential};

#[test]
fn a_reader_keeps_what_it_began_with() {
    let authority = authority();
    let peer = credential(&authority, "a").identity().clone();
    let shared = SharedTrust::default();
    let before = shared.load();
    shared.clone().update(|trust| {
        trust.deny.ids.insert(peer.id.clone());
        trust.bundles = authority.bundle().unwrap().into();
    });
    assert_eq!(before.deny.denies(&peer, &[]), None);
    assert!(before.bundles.get(peer.id.trust_domain()).is_none());
    let after = shared.load();
    assert_eq!(after.deny.denies(&peer, &[]), Some("spiffe id"));
    assert!(after.bundles.get(peer.id.trust_domain()).is_some());
}

#[test]
fn readers_never_see_half_a_change() {
    let authority = authority();
    let peer = credential(&authority, "a").identity().clone();
    let shared = SharedTrust::default();
    let with = Trust {
        bundles: authority.bundle().unwrap().into(),
        deny: DenySet {
            ids: [peer.id.clone()].into(),
            ..DenySet::default()
        },
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..2000 {
                shared.replace(if n % 2 == 0 {
                    with.clone()
                } else {
                    Trust::default()
                });
            }
        });
        for _ in 0..20_000 {
            let trust = shared.load();
            let has_bundle = trust.bundles.get(peer.id.trust_domain()).is_some();
            assert_eq!(has_bundle, trust.deny.ids.contains(&peer.id));
        }
    });
}
