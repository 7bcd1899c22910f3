//! Who trusts two domains must not let either speak for the other: everything is judged by the bundle of the domain that it
//! claims, in every role.

use std::sync::Arc;

use crate::authority::{Authority, Lifetimes, Root};
use crate::bundle::Bundle;
use crate::bundle::document::Document;
use crate::first_trust::FirstTrust;
use crate::forge::{Forge, Spec};
use crate::head::{Audience, Head, SignedHead};
use crate::id::{SpiffeId, TrustDomain};
use crate::recovery::{Recovery, Signature, SignedRecovery};
use crate::signer::SoftwareKey;
use crate::testing::{HOUR, NOW, host, verifier};
use crate::verify::{Usage, Verifier};

const DOMAINS: [&str; 3] = ["a.test", "b.test", "a.test.b.test"];

fn domain(name: &str) -> TrustDomain {
    name.parse().unwrap()
}

/// One authority for each domain, and a verifier that trusts them all.
fn world() -> (Vec<(TrustDomain, Authority)>, Arc<Verifier>) {
    let authorities: Vec<_> = DOMAINS
        .map(|name| {
            let domain = domain(name);
            let made = Authority::generate(&domain, "main", NOW, Lifetimes::default());
            (domain, made.unwrap())
        })
        .into();
    let bundles: Vec<_> = authorities
        .iter()
        .map(|(_, a)| a.bundle().unwrap())
        .collect();
    (authorities, verifier(bundles))
}

#[test]
fn a_ca_vouches_for_its_own_domain_in_every_role() {
    let (authorities, verifier) = world();
    for (signs, authority) in &authorities {
        // Somebody who stole the issuing key, and writes what he likes.
        let forge = Forge::stolen(authority).unwrap();
        for (claimed, _) in &authorities {
            for path in [
                "cluster/main/ns/n/sa/w/node/x",
                "skans/control/x",
                "skans/agent/x",
                "skans/user/x",
                "foreign",
            ] {
                let spec = Spec::good(&format!("spiffe://{claimed}/{path}"), "host-a", NOW);
                let chain = forge.leaf(&spec).unwrap().chain;
                for usage in [Usage::Client, Usage::Server] {
                    let verdict = verifier.verify(&chain, usage, NOW);
                    assert_eq!(
                        verdict.is_ok(),
                        signs == claimed,
                        "{signs} signs {claimed}/{path}: {verdict:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn our_own_authority_signs_for_nobody_else() {
    let (authorities, _) = world();
    for (signs, authority) in &authorities {
        for (claimed, _) in &authorities {
            let id = SpiffeId::agent(claimed, "x").unwrap();
            let issued = authority.issue(&id, &host(), HOUR, NOW);
            assert_eq!(issued.is_ok(), signs == claimed);
        }
    }
}

#[test]
fn what_looks_like_a_trusted_domain_is_not_one() {
    let (authorities, verifier) = world();
    let forge = Forge::stolen(&authorities[0].1).unwrap();
    for id in [
        "spiffe://A.test/x",
        "spiffe://a.test./x",
        "spiffe://a.test:443/x",
        "spiffe://user@a.test/x",
        "spiffe://a%2etest/x",
        "spiffe://xn--a-test/x",
        "spiffe://.a.test/x",
        "spiffe:///a.test/x",
        "SPIFFE://a.test/x",
        "spiffe://a.test//x",
        "https://a.test/x",
    ] {
        let chain = forge.leaf(&Spec::good(id, "host-a", NOW)).unwrap().chain;
        for usage in [Usage::Client, Usage::Server] {
            assert!(verifier.verify(&chain, usage, NOW).is_err(), "{id}");
        }
    }
}

#[test]
fn a_bundle_is_the_bundle_of_one_domain() {
    let (authorities, _) = world();
    for (of, authority) in &authorities {
        let bundle = authority.bundle().unwrap();
        let (pem, roots) = (bundle.to_pem(), bundle.roots().cloned().collect::<Vec<_>>());
        let document = Document {
            bundle,
            sequence: None,
            refresh_hint: None,
        }
        .to_json()
        .unwrap();
        for (as_of, _) in &authorities {
            let right = of == as_of;
            assert_eq!(Bundle::new(as_of.clone(), &roots).is_ok(), right);
            assert_eq!(
                Bundle::from_pem(as_of.clone(), pem.as_bytes()).is_ok(),
                right
            );
            assert_eq!(Document::from_json(as_of.clone(), &document).is_ok(), right);
        }
    }
}

#[test]
fn what_a_control_plane_says_counts_in_its_own_domain() {
    let (authorities, verifier) = world();
    for (of, authority) in &authorities {
        let id = SpiffeId::control(of, "c1").unwrap();
        let control = authority.issue(&id, &host(), HOUR, NOW).unwrap();
        for (meant, _) in &authorities {
            let head = Head {
                epoch: 1,
                deny_seq: 0,
                deny_hash: [0; 32],
                bundle: 1,
                policy: 1,
                time: NOW.as_secs(),
                trust_domain: meant.clone(),
                cluster: "main".into(),
                checkpoint: String::new(),
            };
            for (ours, _) in &authorities {
                let audience = Audience {
                    trust_domain: ours.clone(),
                    cluster: "main".into(),
                };
                let signed = SignedHead::sign(&head, &control).unwrap();
                let verdict = signed.verify(&verifier, &audience, NOW);
                assert_eq!(
                    verdict.is_ok(),
                    of == meant && meant == ours,
                    "{of} {meant} {ours}"
                );
            }
        }
    }
}

#[test]
fn a_root_recovers_its_own_domain() {
    let roots: Vec<Root> = DOMAINS
        .map(|name| Root::new(&domain(name), SoftwareKey::generate().unwrap(), NOW, HOUR).unwrap())
        .into();
    let bundle = |root: &Root| {
        Bundle::new(
            root.trust_domain().clone(),
            core::slice::from_ref(root.certificate()),
        )
    };
    let verifier = verifier(roots.iter().map(|root| bundle(root).unwrap()));
    for signs in &roots {
        for ours in &roots {
            let audience = Audience {
                trust_domain: ours.trust_domain().clone(),
                cluster: "main".into(),
            };
            let statement = Recovery {
                epoch: 2,
                deny_seq: 0,
                time: NOW.as_secs(),
                trust_domain: ours.trust_domain().clone(),
                cluster: "main".into(),
            };
            let signature = Signature::by_root(&statement, signs).unwrap();
            let signed = SignedRecovery {
                statement: statement.encode(),
                signatures: vec![signature],
            };
            let verdict = signed.verify(&verifier, &audience, NOW);
            assert_eq!(verdict.is_ok(), signs.trust_domain() == ours.trust_domain());
        }
    }
}

#[test]
fn a_first_connection_learns_the_root_of_the_domain_that_answers() {
    let (authorities, _) = world();
    for (named, by) in &authorities {
        let root = by.bundle().unwrap().roots().next().unwrap().clone();
        let key = by.root().unwrap().spki_sha256();
        for (answers, authority) in &authorities {
            let id = SpiffeId::control(answers, "c1").unwrap();
            let mut chain = authority
                .issue(&id, &host(), HOUR, NOW)
                .unwrap()
                .chain()
                .to_vec();
            chain.push(root.clone());
            let verdict = FirstTrust::new(key, None).judge(&chain, NOW);
            assert_eq!(verdict.is_ok(), named == answers, "{named} {answers}");
        }
    }
}
