use rcgen::{KeyPair, SignatureAlgorithm};

use super::*;
use crate::forge::{ExtendedKeyUsagePurpose as Eku, Forge, Spec};
use crate::testing::{HOUR, NODE_A, NOW, authority, credential, host, lab, later, node, verifier};

fn why(chain: &str, key: &str) -> String {
    Credential::from_pem(chain.as_bytes(), key.as_bytes(), NOW)
        .unwrap_err()
        .to_string()
}

#[test]
fn it_comes_back_from_text() {
    let a = credential(&authority(), "a");
    let again =
        Credential::from_pem(a.chain_pem().as_bytes(), a.key_pem().as_bytes(), NOW).unwrap();
    assert_eq!(again.identity(), a.identity());
    assert_eq!(again.chain(), a.chain());
    assert_eq!(again.key(), a.key());
}

#[test]
fn it_renews_after_a_sixth_of_its_life() {
    let a = credential(&authority(), "a");
    assert_eq!(a.renew_at(), NOW.as_secs() + 600);
    // The same after a restart in the middle of its life.
    let (chain, key) = (a.chain_pem(), a.key_pem());
    let load = |now| Credential::from_pem(chain.as_bytes(), key.as_bytes(), now).unwrap();
    assert_eq!(load(later(1800)).renew_at(), a.renew_at());
    // A clock that lags behind the authority's makes it a little earlier, not due at once.
    let lagging = crate::testing::at(NOW.as_secs() - 5);
    assert_eq!(load(lagging).renew_at(), NOW.as_secs() - 5 + 3605 / 6);
}

#[test]
fn a_life_of_a_minute_is_not_over_when_it_begins() {
    let lifetime = core::time::Duration::from_secs(60);
    let a = authority().issue(node("a").id(), &host(), lifetime, NOW);
    assert_eq!(a.unwrap().renew_at(), NOW.as_secs() + 10);
}

#[test]
fn what_was_issued_is_checked_before_it_is_used() {
    let authority = authority();
    let verifier = verifier([authority.bundle().unwrap()]);
    let (key, request) = crate::csr::fresh().unwrap();
    let proven = crate::csr::public_key(&request).unwrap();
    let (id, host) = (node("a"), host());
    let chain = authority.sign(id.id(), &host, &proven, HOUR, NOW).unwrap();
    let take = |key: &SoftwareKey, id: &SpiffeId, host: Option<&Host>, verifier: &Verifier| {
        match Credential::from_issued(chain.clone(), key, id, host, verifier, NOW) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(take(&key, id.id(), Some(&host), &verifier), "");
    let other = SoftwareKey::generate().unwrap();
    assert!(take(&other, id.id(), Some(&host), &verifier).contains("not the key"));
    assert!(take(&key, node("b").id(), Some(&host), &verifier).contains("the ID asked for"));
    let elsewhere = Host::parse("host-b").unwrap();
    assert!(take(&key, id.id(), Some(&elsewhere), &verifier).contains("the host asked for"));
    assert!(take(&key, id.id(), None, &verifier).contains("the host asked for"));
    let stranger = crate::testing::verifier([crate::testing::authority().bundle().unwrap()]);
    assert!(take(&key, id.id(), Some(&host), &stranger).contains("unknown issuer"));
    let deny = proven.spki_sha256();
    verifier
        .trust()
        .update(|trust| _ = trust.deny.keys.insert(deny));
    assert!(take(&key, id.id(), Some(&host), &verifier).contains("denied"));
}

#[test]
fn an_issued_life_is_bounded() {
    let forge = Forge::new(&lab(), NOW).unwrap();
    let verifier = verifier([forge.bundle().unwrap()]);
    let take = |life: u64| {
        let key = SoftwareKey::generate().unwrap();
        let mut spec = Spec::good(NODE_A, "host-a", NOW);
        spec.not_after = NOW.as_secs() + life;
        let proven = crate::csr::ProvenKey::of(&key);
        let chain = vec![forge.certificate_for(&spec, &proven).unwrap()];
        let id = SpiffeId::parse(NODE_A).unwrap();
        Credential::from_issued(chain, &key, &id, Some(&host()), &verifier, NOW)
    };
    assert!(take(24 * 3600).is_ok());
    assert!(
        take(24 * 3600 + 1)
            .unwrap_err()
            .to_string()
            .contains("24 h")
    );
}

#[test]
fn a_person_has_a_credential_that_only_dials() {
    let authority = authority();
    let verifier = verifier([authority.bundle().unwrap()]);
    let (key, request) = crate::csr::fresh().unwrap();
    let id = SpiffeId::user(&lab(), "ann").unwrap();
    let proven = crate::csr::public_key(&request).unwrap();
    let issued = authority
        .issuer()
        .sign(&id, None, &proven, HOUR / 6, NOW)
        .unwrap();
    assert!(Credential::from_issued(issued.chain, &key, &id, None, &verifier, NOW).is_ok());
}

#[test]
fn the_key_is_never_shown() {
    let a = credential(&authority(), "a");
    let shown = format!("{a:?} {a:#?}");
    assert!(shown.contains("node/a") && shown.contains("not shown"));
    let der = a.key().secret_der();
    assert!(!shown.contains(&format!("{der:?}")) && !shown.contains(&crate::keys::hex(der)));
}

#[test]
fn what_is_wrong_is_said() {
    let authority = authority();
    let (a, b) = (credential(&authority, "a"), credential(&authority, "b"));
    let key = a.key_pem();
    assert!(why(&a.chain_pem(), &b.key_pem()).contains("not the key of the first certificate"));
    assert!(why("", &key).contains("chain: 0 certificates"));
    assert!(why("nonsense", &key).contains("chain: 0 certificates"));
    assert!(why(&a.chain_pem(), "").contains("key: no PRIVATE KEY"));
    assert!(why(&a.chain_pem(), &a.chain_pem()).contains("key: no PRIVATE KEY"));
    assert!(
        why(
            &a.chain_pem(),
            "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n"
        )
        .contains("key: not PEM")
    );
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(why(&a.chain_pem(), locked).contains("unencrypted"));
    assert!(why(&a.chain_pem().repeat(3), &key).contains("6 certificates"));
    assert!(why(&"#".repeat(MAX_PEM + 1), &key).contains("chain: 98305 bytes"));
    let reversed: String = a
        .chain()
        .iter()
        .rev()
        .map(|der| to_pem("CERTIFICATE", der))
        .collect();
    assert!(why(&reversed, &key).contains("first certificate"));
    let mixed = to_pem("CERTIFICATE", &a.chain()[0]) + &to_pem("CERTIFICATE", &b.chain()[0]);
    assert!(why(&mixed, &key).contains("certificate 2 did not issue"));
}

#[test]
fn an_issuer_of_the_same_name_does_not_do() {
    let (one, two) = (
        Forge::new(&lab(), NOW).unwrap(),
        Forge::new(&lab(), NOW).unwrap(),
    );
    let forged = one.leaf(&Spec::good(NODE_A, "host-a", NOW)).unwrap();
    let chain = |root: &Forge| forged.chain_pem() + &to_pem("CERTIFICATE", root.certificate());
    assert!(Credential::from_pem(chain(&one).as_bytes(), forged.key_pem().as_bytes(), NOW).is_ok());
    assert!(why(&chain(&two), &forged.key_pem()).contains("chain:"));
}

#[test]
fn an_expired_or_early_one_is_refused() {
    let a = credential(&authority(), "a");
    let load = |now| Credential::from_pem(a.chain_pem().as_bytes(), a.key_pem().as_bytes(), now);
    assert!(load(later(3600)).is_ok());
    assert!(
        load(later(3601))
            .unwrap_err()
            .to_string()
            .contains("valid now")
    );
    assert!(load(crate::testing::at(NOW.as_secs() - 61)).is_err());
}

#[test]
fn a_leaf_for_one_role_alone_is_refused() {
    let forge = Forge::new(&lab(), NOW).unwrap();
    let mut spec = Spec::good(NODE_A, "host-a", NOW);
    spec.extended_key_usages = vec![Eku::ClientAuth];
    let forged = forge.leaf(&spec).unwrap();
    for chain in [
        forged.chain_pem(),
        forged.chain_pem() + &to_pem("CERTIFICATE", forge.certificate()),
    ] {
        let found = why(&chain, &forged.key_pem());
        assert!(found.contains("serverAuth"), "{found}");
    }
}

#[test]
fn two_ids_are_refused() {
    let forge = Forge::new(&lab(), NOW).unwrap();
    let mut spec = Spec::good(NODE_A, "host-a", NOW);
    spec.uris.push("spiffe://lab.test/b".into());
    let forged = forge.leaf(&spec).unwrap();
    assert!(why(&forged.chain_pem(), &forged.key_pem()).contains("2 URI names"));
}

#[test]
fn keys_of_other_authorities_are_taken() {
    let forge = Forge::new(&lab(), NOW).unwrap();
    let load = |algorithm: &'static SignatureAlgorithm| {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let leaf = forge
            .certificate_for(&Spec::good(NODE_A, "host-a", NOW), &pair)
            .unwrap();
        let chain = to_pem("CERTIFICATE", &leaf);
        Credential::from_pem(chain.as_bytes(), pair.serialize_pem().as_bytes(), NOW)
    };
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        assert!(load(algorithm).is_ok(), "{algorithm:?}");
    }
    assert!(
        load(&rcgen::PKCS_ECDSA_P521_SHA512)
            .unwrap_err()
            .to_string()
            .contains("P-384")
    );
}
