//! The impersonation matrix: two domains that trust each other by a link, and everybody who wants to be somebody of the
//! other. (Of certificates alone: `pitfalls::pitfall_4_trust_domains_are_not_confused`.)

use std::sync::Arc;

use super::foreign::tests::{by_spiffe, document, theirs};
use super::foreign::{Channel, Foreign};
use super::link::tests::{GATEWAY, NODE, audience, link, links, one, own};
use crate::authority::Authority;
use crate::credential::Credential;
use crate::forge::{Forge, Spec};
use crate::head::{Audience, check_control};
use crate::id::{SpiffeId, TrustDomain};
use crate::policy_set::{Author, Horizon, Origin, PolicySet, SignedSet, Version};
use crate::refusal::Refusal;
use crate::testing::{HOUR, NOW, authority, host, verifier};
use crate::verify::{Evidence, Usage, Verifier};

/// Ours, theirs, and a verifier of ours that federates with them.
fn world() -> (Authority, Forge, Arc<Verifier>) {
    let (ours, theirs) = (authority(), Forge::new(&theirs(), NOW).unwrap());
    let links = by_spiffe(&theirs);
    let own = ours.bundle().unwrap();
    let mut foreign = Foreign::default();
    foreign.follow(&links, &own, NOW).unwrap();
    let bundles: Vec<_> = foreign.in_force(&links, NOW).cloned().collect();
    assert_eq!(bundles.len(), 1);
    (ours, theirs, verifier(bundles.into_iter().chain([own])))
}

fn verified(verifier: &Verifier, by: &Forge, id: &str, usage: Usage) -> Result<Evidence, Refusal> {
    let chain = by.leaf(&Spec::good(id, "host-a", NOW)).unwrap().chain;
    verifier.evidence(&chain, usage, NOW)
}

#[test]
fn each_side_speaks_for_itself_in_every_role() {
    let (ours, theirs, verifier) = world();
    let ours = Forge::stolen(&ours).unwrap();
    for (by, speaks_for) in [(&ours, "lab.test"), (&theirs, "theirs.test")] {
        for claimed in [
            "lab.test",
            "theirs.test",
            "Lab.test",
            "Theirs.test",
            "lab.test.",
            "theirs.test.",
            "theirs%2etest",
            "xn--thirs-dsa.test",
            "lab.test.theirs.test",
            "theirs.test.lab.test",
            "theirs.test:443",
            "theirs.test@lab.test",
            "*",
        ] {
            for path in [
                "cluster/main/ns/shop/sa/web/node/a",
                "skans/control/c1",
                "skans/gateway/g1",
                "skans/user/alice",
                "ns/shop/sa/web",
            ] {
                let id = format!("spiffe://{claimed}/{path}");
                for usage in [Usage::Client, Usage::Server] {
                    let verdict = verified(&verifier, by, &id, usage);
                    let right = claimed == speaks_for;
                    assert_eq!(
                        verdict.is_ok(),
                        right,
                        "{speaks_for} signs {id}: {verdict:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_letter_that_looks_like_another_is_no_domain_of_a_link() {
    let text = link().to_string();
    for lookalike in [
        "thеirs.test",
        "ｔheirs.test",
        "theırs.test",
        "THEIRS.test",
        "theirs.test\u{200b}",
    ] {
        let text = format!("[{}]", text.replace("theirs.test", lookalike));
        let refused = super::link::Links::parse(&own(), &text);
        assert!(refused.is_err(), "{lookalike}");
    }
}

#[test]
fn a_bundle_at_the_wrong_place_is_nobodys() {
    let (ours, theirs_root, _) = world();
    let links = links(&[link()]).unwrap();
    let own = ours.bundle().unwrap();
    let mut foreign = Foreign::default();
    // Ours at their place, and theirs for us: by the names in the roots, and by the keys.
    let served_ours = crate::bundle::document::Document {
        bundle: own.clone(),
        sequence: Some(1),
        refresh_hint: None,
    };
    let served_ours = served_ours.to_json().unwrap();
    let mut take = |domain: &TrustDomain, text: &str| {
        foreign.accept(domain, text, Channel::Web, &links, &own, NOW)
    };
    let why = take(&theirs(), &served_ours).unwrap_err().to_string();
    assert!(why.contains("lab.test"), "{why}");
    let text = document(&[&theirs_root], 1);
    assert!(
        take(own.trust_domain(), &text).is_err(),
        "we follow nobody for ourselves"
    );
    assert!(take(own.trust_domain(), &served_ours).is_err());
    assert!(
        take(&"other.test".parse().unwrap(), &text).is_err(),
        "no link"
    );
    assert!(take(&theirs(), &text).is_ok());
    // Nothing of that has made us trust anybody for our own names.
    assert!(
        foreign
            .in_force(&links, NOW)
            .all(|bundle| *bundle.trust_domain() == theirs())
    );
}

#[test]
fn a_foreign_name_is_never_one_that_rules_here() {
    let (_, theirs, verifier) = world();
    let here = own();
    for path in [
        "skans/control/c1",
        "skans/user/alice",
        "skans/agent/a",
        "skans/gateway/g1",
    ] {
        let id = format!("spiffe://theirs.test/{path}");
        let them = verified(&verifier, &theirs, &id, Usage::Server).unwrap();
        // In their own domain they are somebody; here they neither sign heads and policies nor carry a node.
        assert!(check_control(&them, &here).is_err(), "{id}");
        assert!(them.peer.may_carry("a", "host-a", &[]).is_err(), "{id}");
        let link = one(link());
        let gateway = verified(&verifier, &theirs, GATEWAY, Usage::Client).unwrap();
        assert!(link.may_forward(&gateway, &them, NOW).is_err(), "{id}");
        let node = verified(&verifier, &theirs, NODE, Usage::Client).unwrap();
        assert!(link.may_forward(&gateway, &node, NOW).is_ok());
    }
    let alice = theirs
        .leaf(&Spec {
            dns: vec![],
            ..Spec::good("spiffe://theirs.test/skans/user/alice", "host-a", NOW)
        })
        .unwrap();
    let alice = Credential::new(alice.chain, alice.key, NOW).unwrap();
    let author = Author::sign(&here, b"permit all", &alice).unwrap();
    assert!(author.verify(&here, b"permit all", &verifier, NOW).is_err());
}

#[test]
fn consent_travels_as_policy_sets_do() {
    let ours = authority();
    let verifier = verifier([ours.bundle().unwrap()]);
    let id = SpiffeId::control(ours.trust_domain(), "c1").unwrap();
    let control = ours.issue(&id, &host(), HOUR, NOW).unwrap();
    let sign = |n, content: String| {
        let set = PolicySet {
            version: Version { epoch: 1, n },
            not_before: NOW.as_secs(),
            not_after: NOW.as_secs() + 3600,
            accepted: NOW.as_secs(),
            schema_hash: [7; 32],
            audience: own(),
            content: content.into_bytes(),
            authors: vec![],
        };
        SignedSet::sign(&set, &control).unwrap()
    };
    let verify = |signed: &SignedSet, of: &Audience| {
        signed.verify(&verifier, of, &[[7; 32]], Origin::Wire, NOW)
    };
    let consented = sign(1, serde_json::Value::from(vec![link()]).to_string());
    let withdrawn = sign(2, "[]".into());
    let content = verify(&consented, &own()).unwrap();
    let text = String::from_utf8(content.set().content.clone()).unwrap();
    assert_eq!(
        super::link::Links::parse(&own(), &text)
            .unwrap()
            .iter()
            .count(),
        1
    );
    // Consent that was taken back is not played again; nor does another cluster's count here.
    let mut horizon = Horizon::default();
    horizon.accept(&content, None).unwrap();
    horizon
        .accept(&verify(&withdrawn, &own()).unwrap(), None)
        .unwrap();
    let mut horizon = Horizon::from_bytes(&horizon.to_bytes()).unwrap();
    assert!(horizon.accept(&content, None).is_err());
    assert!(verify(&consented, &audience("theirs.test", "main")).is_err());
}
