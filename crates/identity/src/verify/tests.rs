use rcgen::{ExtendedKeyUsagePurpose as Eku, KeyUsagePurpose as Ku};

use rustls_pki_types::pem::PemObject as _;
use x509_parser::prelude::FromDer as _;

use super::*;
use crate::forge::{Forge, Forged, Spec};
use crate::testing::{NODE_A, NOW, at, authority, credential, lab, later, node, verifier};
use crate::trust::{DenySet, Trust};

const BOTH: [Usage; 2] = [Usage::Client, Usage::Server];

fn good() -> Spec {
    Spec::good(NODE_A, "host-a", NOW)
}

/// Verifies what a trusted CA signed after `change`, in both roles, which must agree.
fn judge(change: impl FnOnce(&mut Spec)) -> Result<PeerIdentity, Refusal> {
    let forge = Forge::new(&lab(), NOW).unwrap();
    let mut spec = good();
    change(&mut spec);
    let forged = forge.leaf(&spec).unwrap();
    both(&verifier([forge.bundle().unwrap()]), &forged.chain)
}

fn both(verifier: &Verifier, chain: &[CertificateDer<'_>]) -> Result<PeerIdentity, Refusal> {
    let [client, server] = BOTH.map(|usage| verifier.verify(chain, usage, NOW));
    assert_eq!(client, server);
    client
}

fn label(result: Result<PeerIdentity, Refusal>) -> &'static str {
    result.unwrap_err().label()
}

#[test]
fn a_good_certificate_is_taken() {
    let peer = judge(|_| {}).unwrap();
    assert_eq!(peer.id.as_str(), NODE_A);
    assert_eq!(peer.host.unwrap().to_string(), "host-a");
}

#[test]
fn what_our_own_authority_signs_is_taken() {
    let authority = authority();
    let a = credential(&authority, "a");
    let verifier = verifier([authority.bundle().unwrap()]);
    assert_eq!(both(&verifier, a.chain()).unwrap(), *a.identity());
}

#[test]
fn no_certificate_is_refused() {
    assert_eq!(label(both(&verifier([]), &[])), "no_certificate");
}

#[test]
fn another_domains_ca_cannot_sign_our_ids() {
    let (ours, theirs) = (lab(), "other.test".parse().unwrap());
    let (a, b) = (
        Forge::new(&ours, NOW).unwrap(),
        Forge::new(&theirs, NOW).unwrap(),
    );
    let verifier = verifier([a.bundle().unwrap(), b.bundle().unwrap()]);
    // Each for its own domain: taken, so both bundles are trusted.
    let id_b = NODE_A.replace("lab.test", "other.test");
    let own = b.leaf(&Spec::good(&id_b, "host-a", NOW)).unwrap();
    assert!(both(&verifier, &own.chain).is_ok());
    // Each for the other's: refused.
    let stolen = b.leaf(&good()).unwrap();
    assert_eq!(label(both(&verifier, &stolen.chain)), "untrusted");
    let stolen = a.leaf(&Spec::good(&id_b, "host-a", NOW)).unwrap();
    assert_eq!(label(both(&verifier, &stolen.chain)), "untrusted");
}

#[test]
fn a_domain_without_a_bundle_is_refused() {
    for foreign in [
        "spiffe://other.test/a",
        "spiffe://lab.test./a",
        "spiffe://lab.tes/a",
    ] {
        assert_eq!(
            label(judge(|spec| spec.uris = vec![foreign.into()])),
            "unknown_trust_domain"
        );
    }
}

#[test]
fn time_is_checked_to_the_second() {
    let forge = Forge::new(&lab(), NOW).unwrap();
    let forged = forge.leaf(&good()).unwrap();
    let verifier = verifier([forge.bundle().unwrap()]);
    let (first, last) = (NOW.as_secs() - 60, NOW.as_secs() + 3600);
    for usage in BOTH {
        let judge = |seconds| verifier.verify(&forged.chain, usage, at(seconds));
        assert!(judge(first).is_ok());
        assert!(judge(last).is_ok());
        assert_eq!(label(judge(first - 1)), "not_yet_valid");
        assert_eq!(label(judge(last + 1)), "expired");
    }
}

#[test]
fn exactly_one_uri_name_is_wanted() {
    let second = NODE_A.replace("node/a", "node/b");
    assert_eq!(label(judge(|spec| spec.uris.push(second))), "uri_names");
    assert_eq!(
        label(judge(|spec| spec.uris.push(NODE_A.into()))),
        "uri_names"
    );
    assert_eq!(
        label(judge(|spec| spec.uris.push("https://example.com".into()))),
        "uri_names"
    );
    assert_eq!(label(judge(|spec| spec.uris.clear())), "uri_names");
}

#[test]
fn a_name_outside_the_uri_counts_for_nothing() {
    let none = judge(|spec| {
        spec.uris.clear();
        spec.dns.clear();
        spec.common_name = NODE_A.into();
    });
    assert_eq!(label(none), "uri_names");
    let dns = judge(|spec| {
        spec.uris.clear();
        spec.common_name = NODE_A.into();
    });
    assert_eq!(label(dns), "uri_names");
}

#[test]
fn the_uri_must_be_the_id_of_a_workload() {
    for uri in [
        "https://lab.test/a",
        "spiffe://lab.test",
        "spiffe://LAB.test/a",
        "spiffe://lab.test/a/../b",
        "spiffe://lab.test/a%62",
    ] {
        assert_eq!(
            label(judge(|spec| spec.uris = vec![uri.into()])),
            "spiffe_id",
            "{uri}"
        );
    }
}

#[test]
fn at_most_one_host_is_taken() {
    assert_eq!(
        label(judge(|spec| spec.dns.push("host-b".into()))),
        "host_names"
    );
    assert_eq!(
        label(judge(|spec| spec.ips.push("10.0.0.1".parse().unwrap()))),
        "host_names"
    );
    assert_eq!(
        label(judge(|spec| spec.dns = vec!["*.lab.test".into()])),
        "host_name"
    );
    assert_eq!(
        label(judge(|spec| spec.dns = vec!["10.0.0.1".into()])),
        "host_name"
    );
    let none = judge(|spec| spec.dns.clear()).unwrap();
    assert_eq!(none.host, None);
}

#[test]
fn a_ca_is_not_a_leaf() {
    assert_eq!(label(judge(|spec| spec.ca = true)), "ca_leaf");
    let forge = Forge::new(&lab(), NOW).unwrap();
    let verifier = verifier([forge.bundle().unwrap()]);
    assert_eq!(
        label(both(&verifier, &[forge.certificate().clone()])),
        "spiffe_id"
    );
}

#[test]
fn signing_usages_are_refused() {
    assert_eq!(
        label(judge(|spec| spec.key_usages.push(Ku::KeyCertSign))),
        "key_usage"
    );
    assert_eq!(
        label(judge(|spec| spec.key_usages.push(Ku::CrlSign))),
        "key_usage"
    );
    assert_eq!(
        label(judge(|spec| spec.key_usages = vec![Ku::KeyEncipherment])),
        "key_usage"
    );
    assert_eq!(label(judge(|spec| spec.key_usages.clear())), "key_usage");
    assert!(judge(|spec| spec.key_usages.push(Ku::KeyEncipherment)).is_ok());
}

#[test]
fn each_role_wants_its_extended_usage() {
    let forge = Forge::new(&lab(), NOW).unwrap();
    let verifier = verifier([forge.bundle().unwrap()]);
    let with = |usages: Vec<Eku>| {
        let mut spec = good();
        spec.extended_key_usages = usages;
        let chain = forge.leaf(&spec).unwrap().chain;
        BOTH.map(|usage| {
            verifier
                .verify(&chain, usage, NOW)
                .map_err(|refusal| refusal.label())
                .map(|_| ())
        })
    };
    let no = Err("extended_key_usage");
    assert_eq!(with(vec![Eku::ClientAuth]), [Ok(()), no]);
    assert_eq!(with(vec![Eku::ServerAuth]), [no, Ok(())]);
    assert_eq!(with(vec![Eku::CodeSigning]), [no, no]);
    assert_eq!(with(vec![Eku::Any]), [no, no]);
    // X509-SVID 4.4: without the extension, any use is allowed.
    assert_eq!(with(vec![]), [Ok(()), Ok(())]);
}

#[test]
fn an_unknown_critical_extension_is_refused() {
    let refusal = judge(|spec| spec.unknown_critical = true).unwrap_err();
    assert!(
        refusal.to_string().contains("critical extension"),
        "{refusal}"
    );
}

#[test]
fn an_expired_root_in_the_bundle_does_not_anchor() {
    let now = NOW.as_secs();
    let old = Forge::with_validity(&lab(), now - 1000, now - 1).unwrap();
    let early = Forge::with_validity(&lab(), now + 1, now + 1000).unwrap();
    let fresh = Forge::new(&lab(), NOW).unwrap();
    for root in [&old, &early] {
        let chain = root.leaf(&good()).unwrap().chain;
        assert_eq!(
            label(both(&verifier([root.bundle().unwrap()]), &chain)),
            "no_valid_root"
        );
        let both_roots = [root.certificate().clone(), fresh.certificate().clone()];
        let bundle = crate::bundle::Bundle::new(lab(), &both_roots).unwrap();
        let verifier = verifier([bundle]);
        assert_eq!(label(both(&verifier, &chain)), "untrusted");
        assert!(both(&verifier, &fresh.leaf(&good()).unwrap().chain).is_ok());
    }
}

#[test]
fn a_self_signed_leaf_is_refused() {
    let (trusted, other) = (
        Forge::new(&lab(), NOW).unwrap(),
        Forge::new(&lab(), NOW).unwrap(),
    );
    let chain = other.leaf(&good()).unwrap().chain;
    assert_eq!(
        label(both(&verifier([trusted.bundle().unwrap()]), &chain)),
        "untrusted"
    );
    // Sending the root along does not make it trusted.
    let chain = [chain[0].clone(), other.certificate().clone()];
    assert_eq!(
        label(both(&verifier([trusted.bundle().unwrap()]), &chain)),
        "untrusted"
    );
}

fn issuing() -> Spec {
    let mut spec = good();
    spec.uris = vec!["spiffe://lab.test".into()];
    spec.dns.clear();
    spec.common_name = "intermediate".into();
    spec.ca = true;
    spec.key_usages = vec![Ku::KeyCertSign];
    spec.extended_key_usages.clear();
    spec
}

#[test]
fn intermediates_must_be_fit_to_sign() {
    let root = Forge::new(&lab(), NOW).unwrap();
    let verifier = verifier([root.bundle().unwrap()]);
    let under = |change: &dyn Fn(&mut Spec)| {
        let mut spec = issuing();
        change(&mut spec);
        let chain = root
            .intermediate(&spec)
            .unwrap()
            .leaf(&good())
            .unwrap()
            .chain;
        both(&verifier, &chain)
    };
    assert!(under(&|_| {}).is_ok());
    assert_eq!(label(under(&|spec| spec.ca = false)), "untrusted");
    assert_eq!(
        label(under(&|spec| spec.key_usages = vec![Ku::DigitalSignature])),
        "untrusted"
    );
    assert_eq!(
        label(under(&|spec| spec.not_after = NOW.as_secs() - 1)),
        "untrusted"
    );
    assert_eq!(
        label(under(&|spec| spec.unknown_critical = true)),
        "untrusted"
    );
}

#[test]
fn a_leaf_cannot_sign_another() {
    let authority = authority();
    let verifier = verifier([authority.bundle().unwrap()]);
    let a = credential(&authority, "a");
    // A node that acts as a CA with its own leaf.
    let mallory = Forge::with_key(lab(), a.chain(), a.key()).unwrap();
    let chain = mallory.leaf(&good()).unwrap().chain;
    assert_eq!(chain.len(), 3);
    assert_eq!(label(both(&verifier, &chain)), "untrusted");
}

#[test]
fn an_issuing_certificate_cannot_make_another() {
    let authority = authority();
    let thief = Forge::stolen(&authority).unwrap();
    let verifier = verifier([authority.bundle().unwrap()]);
    assert!(
        both(&verifier, &thief.leaf(&good()).unwrap().chain).is_ok(),
        "the key is stolen indeed"
    );
    let below = thief
        .intermediate(&issuing())
        .unwrap()
        .leaf(&good())
        .unwrap();
    assert_eq!(label(both(&verifier, &below.chain)), "untrusted");
}

#[test]
fn chains_and_certificates_are_bounded() {
    let root = Forge::new(&lab(), NOW).unwrap();
    let verifier = verifier([root.bundle().unwrap()]);
    let mut ca = root.intermediate(&issuing()).unwrap();
    for depth in 3..=6 {
        let mut spec = issuing();
        spec.common_name = format!("intermediate {depth}");
        ca = ca.intermediate(&spec).unwrap();
        let chain = ca.leaf(&good()).unwrap().chain;
        assert_eq!(chain.len(), depth);
        let result = both(&verifier, &chain);
        if depth <= MAX_CHAIN {
            assert!(result.is_ok());
        } else {
            assert_eq!(label(result), "chain_too_long");
        }
    }
    let big = vec![0x30; leaf::MAX_CERTIFICATE + 1];
    let leaf = root.leaf(&good()).unwrap().chain.remove(0);
    assert_eq!(label(both(&verifier, &[big.clone().into()])), "too_large");
    assert_eq!(label(both(&verifier, &[leaf, big.into()])), "too_large");
}

#[test]
fn trailing_bytes_and_garbage_are_refused() {
    let forge = Forge::new(&lab(), NOW).unwrap();
    let verifier = verifier([forge.bundle().unwrap()]);
    let leaf = forge.leaf(&good()).unwrap().chain.remove(0);
    let mut long = leaf.to_vec();
    long.push(0);
    assert_eq!(label(both(&verifier, &[long.into()])), "encoding");
    assert_eq!(label(both(&verifier, &[vec![0; 100].into()])), "encoding");
    // Every bit of a certificate is signed, or has no effect.
    for at in (0..leaf.len()).step_by(7) {
        let mut bent = leaf.to_vec();
        bent[at] ^= 1;
        for usage in BOTH {
            let result = verifier.verify(&[bent.clone().into()], usage, NOW);
            assert!(result.is_err(), "bit in byte {at}");
        }
    }
}

fn key_hash(der: &CertificateDer<'_>) -> [u8; 32] {
    sha256(leaf::parse(der).unwrap().public_key().raw)
}

#[test]
fn the_deny_set_is_obeyed() {
    let authority = authority();
    let bundle = authority.bundle().unwrap();
    let a = credential(&authority, "a");
    let peer = a.identity();
    let denied_by = |change: &dyn Fn(&mut DenySet) -> bool| {
        let verifier = verifier([bundle.clone()]);
        assert!(both(&verifier, a.chain()).is_ok());
        verifier
            .trust()
            .update(|trust| assert!(change(&mut trust.deny)));
        match both(&verifier, a.chain()) {
            Err(Refusal::Denied { by, .. }) => Some(by),
            Ok(_) => None,
            Err(other) => panic!("{other}"),
        }
    };
    let issuer = key_hash(&a.chain()[1]);
    let root = key_hash(&CertificateDer::from_pem_slice(bundle.to_pem().as_bytes()).unwrap());
    let serial = &peer.serial;
    assert_eq!(
        denied_by(&|deny| deny.ids.insert(node("b").id().clone())),
        None
    );
    assert_eq!(
        denied_by(&|deny| deny.ids.insert(peer.id.clone())),
        Some("spiffe id")
    );
    assert_eq!(denied_by(&|deny| deny.keys.insert([7; 32])), None);
    assert_eq!(
        denied_by(&|deny| deny.keys.insert(peer.spki_sha256)),
        Some("key")
    );
    assert_eq!(
        denied_by(&|deny| deny.keys.insert(issuer)),
        Some("issuer key")
    );
    assert_eq!(
        denied_by(&|deny| deny.keys.insert(root)),
        Some("issuer key")
    );
    assert_eq!(
        denied_by(&|deny| deny.serials.insert((issuer, serial.clone()))),
        Some("serial")
    );
    // A serial means nothing without its issuer.
    assert_eq!(
        denied_by(&|deny| deny.serials.insert((root, serial.clone()))),
        None
    );
}

#[test]
fn a_swap_of_trust_is_seen_at_once() {
    let (old, new) = (
        Forge::new(&lab(), NOW).unwrap(),
        Forge::new(&lab(), NOW).unwrap(),
    );
    let verifier = verifier([old.bundle().unwrap()]);
    let chain = old.leaf(&good()).unwrap().chain;
    assert!(both(&verifier, &chain).is_ok());
    verifier.trust().replace(Trust {
        bundles: new.bundle().unwrap().into(),
        ..Trust::default()
    });
    assert_eq!(label(both(&verifier, &chain)), "untrusted");
}

#[test]
fn refusals_travel_through_tls_errors() {
    let error = rustls::Error::from(Refusal::Resumed);
    assert_eq!(Refusal::of(&error), Some(&Refusal::Resumed));
    let io = std::io::Error::other(error);
    assert_eq!(Refusal::of_io(&io), Some(&Refusal::Resumed));
    assert_eq!(Refusal::of(&rustls::Error::DecryptError), None);
    assert_eq!(Refusal::of_io(&std::io::Error::other("else")), None);
}

#[test]
fn a_long_content_keeps_its_length() {
    for size in [0, 1, 127, 128, 255, 256, 70_000] {
        let der = sequence(&vec![7; size]);
        let (rest, any) = x509_parser::asn1_rs::Any::from_der(&der).unwrap();
        assert!(rest.is_empty());
        assert_eq!(any.data.len(), size);
    }
}

#[test]
fn a_renewed_bundle_outlives_the_old_leaf() {
    let forge = Forge::new(&lab(), NOW).unwrap();
    let Forged { chain, .. } = forge.leaf(&good()).unwrap();
    let verifier = verifier([forge.bundle().unwrap()]);
    assert_eq!(
        label(verifier.verify(&chain, Usage::Client, later(4000))),
        "expired"
    );
}

#[test]
fn a_live_peer_is_judged_again_without_its_chain() {
    let authority = authority();
    let a = credential(&authority, "a");
    let verifier = verifier([authority.bundle().unwrap()]);
    let evidence = verifier.evidence(a.chain(), Usage::Client, NOW).unwrap();
    assert_eq!(evidence.peer, *a.identity());
    assert_eq!(evidence.cluster.as_deref(), Some("main"));
    assert_eq!(evidence.signers.len(), 2);
    assert_eq!(evidence.signers[0], authority.issuer().spki_sha256());
    assert_eq!(evidence.not_after, a.identity().not_after);
    let again = |now| {
        verifier
            .recheck(&evidence, now)
            .map_err(|refusal| refusal.label())
    };
    assert_eq!(again(NOW), Ok(()));
    assert_eq!(again(later(3600)), Ok(()));
    assert_eq!(again(later(3601)), Err("expired"));
    assert_eq!(again(at(NOW.as_secs() - 61)), Err("not_yet_valid"));
    let denied = |change: &dyn Fn(&mut DenySet)| {
        let before = Trust::clone(&verifier.trust().load());
        verifier.trust().update(|trust| change(&mut trust.deny));
        let verdict = again(NOW);
        verifier.trust().replace(before);
        verdict
    };
    let name = evidence.peer.node_name().unwrap();
    for change in [
        &(|deny: &mut DenySet| _ = deny.ids.insert(evidence.peer.id.clone()))
            as &dyn Fn(&mut DenySet),
        &|deny| _ = deny.keys.insert(evidence.peer.spki_sha256),
        &|deny| _ = deny.nodes.insert(name.clone()),
        &|deny| _ = deny.issuers.insert(evidence.signers[0]),
        &|deny| _ = deny.issuers.insert(evidence.signers[1]),
        &|deny| {
            _ = deny
                .serials
                .insert((evidence.signers[0], evidence.peer.serial.clone()))
        },
    ] {
        assert_eq!(denied(change), Err("denied"));
    }
    assert_eq!(
        denied(&|deny| _ = deny.issuers.insert(evidence.peer.spki_sha256)),
        Ok(())
    );
    assert_eq!(again(NOW), Ok(()));
    // The root leaves the bundle; then the bundle goes.
    let other = crate::testing::authority();
    verifier
        .trust()
        .update(|trust| trust.bundles = other.bundle().unwrap().into());
    assert_eq!(again(NOW), Err("untrusted"));
    verifier.trust().replace(Trust::default());
    assert_eq!(again(NOW), Err("unknown_trust_domain"));
}

#[test]
fn what_was_opened_does_not_outlive_an_issuer_that_ends_first() {
    let forge = Forge::new(&lab(), NOW).unwrap();
    let mut spec = issuing();
    spec.not_after = NOW.as_secs() + 60;
    let intermediate = forge.intermediate(&spec).unwrap();
    let verifier = verifier([forge.bundle().unwrap()]);
    let chain = intermediate.leaf(&good()).unwrap().chain;
    let evidence = verifier.evidence(&chain, Usage::Client, NOW).unwrap();
    assert_eq!(evidence.not_after, NOW.as_secs() + 60);
    assert!(verifier.recheck(&evidence, later(60)).is_ok());
    assert_eq!(
        verifier.recheck(&evidence, later(61)).unwrap_err().label(),
        "untrusted"
    );
}

#[test]
fn an_expired_root_ends_what_hangs_on_it() {
    let forge = Forge::with_validity(&lab(), NOW.as_secs() - 60, NOW.as_secs() + 60).unwrap();
    let verifier = verifier([forge.bundle().unwrap()]);
    let chain = forge.leaf(&good()).unwrap().chain;
    let evidence = verifier.evidence(&chain, Usage::Client, NOW).unwrap();
    assert!(verifier.recheck(&evidence, later(60)).is_ok());
    assert_eq!(
        verifier.recheck(&evidence, later(61)).unwrap_err().label(),
        "untrusted"
    );
}

#[test]
fn the_issuer_of_one_cluster_makes_no_nodes_of_another() {
    let authority = authority();
    let verifier = verifier([authority.bundle().unwrap()]);
    let forge = Forge::stolen(&authority).unwrap();
    let judge = |cluster: &str| {
        let id = NODE_A.replace("cluster/main", &format!("cluster/{cluster}"));
        both(
            &verifier,
            &forge.leaf(&Spec::good(&id, "host-a", NOW)).unwrap().chain,
        )
    };
    assert!(judge("main").is_ok());
    assert_eq!(label(judge("other")), "other_cluster");
}

/// What was verified once is taken from memory, and memory never overrules time, roots or the deny set.
#[test]
fn a_chain_that_was_seen_is_judged_by_the_trust_of_the_day() {
    let authority = authority();
    let a = credential(&authority, "a");
    let bundle = authority.bundle().unwrap();
    let verifier = verifier([bundle.clone()]);
    let good = verifier.evidence(a.chain(), Usage::Client, NOW).unwrap();
    assert_eq!(verifier.evidence(a.chain(), Usage::Client, NOW), Ok(good));

    let forged = {
        let mut chain = a.chain().to_vec();
        let mut leaf = chain[0].to_vec();
        *leaf.last_mut().unwrap() ^= 1;
        chain[0] = leaf.into();
        chain
    };
    assert_eq!(
        label(verifier.verify(&forged, Usage::Client, NOW)),
        "untrusted",
        "a signature that differs by a bit"
    );

    let deny = DenySet {
        ids: [a.identity().id.clone()].into(),
        ..DenySet::default()
    };
    verifier.trust().update(|trust| trust.deny = deny.clone());
    assert_eq!(
        label(verifier.verify(a.chain(), Usage::Client, NOW)),
        "denied"
    );
    verifier.trust().replace(Trust::default());
    assert_eq!(
        label(verifier.verify(a.chain(), Usage::Client, NOW)),
        "unknown_trust_domain"
    );
    verifier.trust().update(|trust| {
        trust.bundles.insert(bundle.clone()).unwrap();
    });
    assert!(verifier.verify(a.chain(), Usage::Client, NOW).is_ok());
    let end = at(a.identity().not_after + 1);
    assert_eq!(
        label(verifier.verify(a.chain(), Usage::Client, end)),
        "expired"
    );
}
