use super::*;
use crate::peer::PeerIdentity;
use crate::testing::{HOUR, NOW, authority, credential, host, lab, later, node, verifier};
use crate::verify::Usage;

fn why<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_it_issues_is_verified_by_its_bundle() {
    let authority = authority();
    let a = credential(&authority, "a");
    let verifier = verifier([authority.bundle().unwrap()]);
    for usage in [Usage::Client, Usage::Server] {
        assert_eq!(
            verifier.verify(a.chain(), usage, NOW).unwrap(),
            *a.identity()
        );
    }
}

#[test]
fn keys_and_serials_are_always_fresh() {
    let authority = authority();
    let (one, two) = (credential(&authority, "a"), credential(&authority, "a"));
    assert_ne!(one.identity().spki_sha256, two.identity().spki_sha256);
    assert_ne!(one.identity().serial, two.identity().serial);
    // A renewal with the same key gets another serial.
    let key = ProvenKey::of(&SoftwareKey::generate().unwrap());
    let serial = || {
        let chain = authority
            .sign(node("a").id(), &host(), &key, HOUR, NOW)
            .unwrap();
        PeerIdentity::from_der(&chain[0]).unwrap().serial
    };
    assert_ne!(serial(), serial());
}

#[test]
fn it_comes_back_from_text() {
    let before = authority();
    let after = Authority::from_pem(&before.to_pem()).unwrap();
    assert_eq!(after.trust_domain(), before.trust_domain());
    assert_eq!(after.cluster(), "main");
    assert_eq!(after.issuer_not_after(), before.issuer_not_after());
    let a = credential(&after, "a");
    let verifier = verifier([before.bundle().unwrap()]);
    assert!(verifier.verify(a.chain(), Usage::Client, NOW).is_ok());
}

#[test]
fn certificate_and_key_may_share_a_text() {
    let AuthorityPem {
        root_cert,
        root_key,
        issuer_cert,
        issuer_key,
    } = authority().to_pem();
    let root = root_key.unwrap().to_string() + &root_cert;
    let issuer = issuer_cert + &issuer_key;
    let text = AuthorityPem {
        root_cert: root.clone(),
        root_key: Some(root.into()),
        issuer_cert: issuer.clone(),
        issuer_key: issuer.into(),
    };
    let again = Authority::from_pem(&text).unwrap();
    let _ = credential(&again, "a");
    assert!(again.to_pem().root_key.is_some());
}

#[test]
fn an_offline_root_signs_leaves_but_no_issuer() {
    let mut text = authority().to_pem();
    text.root_key = None;
    let mut authority = Authority::from_pem(&text).unwrap();
    assert!(authority.to_pem().root_key.is_none());
    let _ = credential(&authority, "a");
    assert!(why(authority.renew_issuer(NOW, HOUR)).contains("offline"));
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let (one, two) = (authority(), authority());
    let other = Authority::generate(
        &"other.test".parse().unwrap(),
        "main",
        NOW,
        Lifetimes::default(),
    )
    .unwrap();
    let mix = |change: &dyn Fn(&mut AuthorityPem)| {
        let mut text = one.to_pem();
        change(&mut text);
        why(Authority::from_pem(&text))
    };
    assert!(
        mix(&|t| t.root_key = two.to_pem().root_key).contains("root key: of another certificate")
    );
    assert!(
        mix(&|t| t.issuer_key = two.to_pem().issuer_key)
            .contains("issuing key: of another certificate")
    );
    assert!(mix(&|t| t.root_cert = two.to_pem().root_cert).contains("another key signed"));
    assert!(mix(&|t| t.root_cert = other.to_pem().root_cert).contains("one trust domain"));
    assert!(mix(&|t| t.issuer_cert = "nonsense".into()).contains("issuing certificate: not PEM"));
    assert!(
        mix(&|t| t.issuer_key = "nonsense".to_string().into()).contains("issuing key: not PEM")
    );
    let leaf = credential(&one, "a").chain_pem();
    assert!(mix(&|t| t.issuer_cert.clone_from(&leaf)).contains("not a CA certificate"));
    // The root in the place of the issuing certificate: signed by itself, but of no cluster.
    assert!(mix(&|t| t.issuer_cert.clone_from(&t.root_cert.clone())).contains("name of a cluster"));
}

#[test]
fn only_ids_of_its_own_are_signed() {
    let authority = authority();
    let refused = |id: &str| {
        let id = SpiffeId::parse(id).unwrap();
        why(authority.issue(&id, &host(), HOUR, NOW))
    };
    assert!(refused("spiffe://other.test/cluster/main/ns/n/sa/w/node/a").contains("trust domain"));
    assert!(refused("spiffe://lab.test/cluster/other/ns/n/sa/w/node/a").contains("cluster"));
    assert!(refused("spiffe://lab.test/ns/n/sa/w").contains("a part of Skans"));
    assert!(refused("spiffe://lab.test/cluster/main/ns/n/sa/w/node/a.b").contains("node"));
    assert!(refused("spiffe://lab.test").contains("a part of Skans"));
    let agent = SpiffeId::agent(&lab(), "host-a").unwrap();
    assert!(authority.issue(&agent, &host(), HOUR, NOW).is_ok());
}

#[test]
fn no_leaf_outlives_its_issuer() {
    let lifetimes = Lifetimes {
        root: HOUR * 2,
        issuer: HOUR,
    };
    let authority = Authority::generate(&lab(), "main", NOW, lifetimes).unwrap();
    let end = NOW.as_secs() + 3600;
    assert_eq!(authority.issuer_not_after(), end);
    let leaf = authority
        .issue(node("a").id(), &host(), HOUR * 24, later(3000))
        .unwrap();
    assert_eq!(leaf.identity().not_after, end);
    assert!(why(authority.issue(node("a").id(), &host(), HOUR, later(3600))).contains("expired"));
}

#[test]
fn no_issuer_outlives_its_root() {
    let lifetimes = Lifetimes {
        root: HOUR,
        issuer: HOUR * 24,
    };
    let mut authority = Authority::generate(&lab(), "main", NOW, lifetimes).unwrap();
    let end = NOW.as_secs() + 3600;
    assert_eq!(authority.issuer_not_after(), end);
    authority.renew_issuer(later(1800), HOUR).unwrap();
    assert_eq!(authority.issuer_not_after(), end);
    assert!(why(authority.renew_issuer(later(3600), HOUR)).contains("expired"));
}

#[test]
fn a_new_issuer_leaves_old_leaves_valid() {
    let mut authority = authority();
    let old = credential(&authority, "a");
    assert!(!authority.issuer_due(later(3 * 24 * 3600)));
    assert!(authority.issuer_due(later(4 * 24 * 3600)));
    authority.renew_issuer(NOW, HOUR).unwrap();
    let new = credential(&authority, "a");
    assert_ne!(old.chain()[1], new.chain()[1]);
    let verifier = verifier([authority.bundle().unwrap()]);
    for leaf in [&old, &new] {
        assert!(verifier.verify(leaf.chain(), Usage::Client, NOW).is_ok());
    }
}

#[test]
fn life_times_are_bounded() {
    let authority = authority();
    let issue = |lifetime, now| authority.issue(node("a").id(), &host(), lifetime, now);
    assert!(issue(MAX_LEAF, NOW).is_ok());
    assert!(why(issue(MAX_LEAF + Duration::from_secs(1), NOW)).contains("24 h"));
    assert!(why(issue(Duration::ZERO, NOW)).contains("at least 1 s"));
    let before = crate::testing::at(NOW.as_secs() - 61);
    assert!(why(issue(HOUR, before)).contains("clock"));
    let forever = Lifetimes {
        root: Duration::MAX,
        issuer: Duration::MAX,
    };
    assert!(Authority::generate(&lab(), "main", NOW, forever).is_err());
}

#[test]
fn a_cluster_name_is_checked() {
    for cluster in ["", "a/b", "..", &"a".repeat(64)] {
        assert!(
            why(Authority::generate(
                &lab(),
                cluster,
                NOW,
                Lifetimes::default()
            ))
            .starts_with("cluster")
        );
    }
}
