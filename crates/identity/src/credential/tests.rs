use rcgen::{KeyPair, SignatureAlgorithm};

use super::*;
use crate::forge::{ExtendedKeyUsagePurpose as Eku, Forge, Spec};
use crate::testing::{NODE_A, NOW, authority, credential, lab, later};

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
    assert_eq!(a.renew_at(), NOW.as_secs() - 60 + 3660 / 6);
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
