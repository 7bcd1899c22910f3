use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SignatureAlgorithm};

use super::*;
use crate::authority::{Authority, Lifetimes};
use crate::testing::{NOW, authority, credential, lab, verifier};
use crate::verify::Usage;

fn document(bundle: Bundle) -> Document {
    Document {
        bundle,
        sequence: Some(7),
        refresh_hint: Some(300),
    }
}

fn read(text: &str) -> Result<Document, Error> {
    Document::from_json(lab(), text)
}

fn why(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

/// A root with a key of this kind, which does not say whose it is.
fn root(algorithm: &'static SignatureAlgorithm) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate_for(algorithm).unwrap();
    params.self_signed(&key).unwrap().into()
}

#[test]
fn what_we_publish_is_what_others_verify_by() {
    let authority = authority();
    let text = document(authority.bundle().unwrap()).to_json().unwrap();
    let again = read(&text).unwrap();
    assert_eq!((again.sequence, again.refresh_hint), (Some(7), Some(300)));
    let verifier = verifier([again.bundle]);
    let a = credential(&authority, "a");
    assert!(verifier.verify(a.chain(), Usage::Client, NOW).is_ok());
}

#[test]
fn keys_of_all_kinds_are_written_as_the_standard_says() {
    let roots = [
        (
            root(&rcgen::PKCS_ECDSA_P256_SHA256),
            "EC",
            Some("P-256"),
            32,
        ),
        (
            root(&rcgen::PKCS_ECDSA_P384_SHA384),
            "EC",
            Some("P-384"),
            48,
        ),
        (
            root(&rcgen::PKCS_ECDSA_P521_SHA512),
            "EC",
            Some("P-521"),
            66,
        ),
        (root(&rcgen::PKCS_ED25519), "OKP", Some("Ed25519"), 32),
        (root(&rcgen::PKCS_RSA_SHA256), "RSA", None, 256),
    ];
    for (der, kty, crv, size) in roots {
        let bundle = Bundle::new(lab(), core::slice::from_ref(&der)).unwrap();
        let text = document(bundle).to_json().unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let key = &value["keys"][0];
        assert_eq!((key["kty"].as_str(), key["crv"].as_str()), (Some(kty), crv));
        assert_eq!(key["use"], "x509-svid");
        assert_eq!(key["x5c"].as_array().unwrap().len(), 1);
        assert_eq!(
            STANDARD.decode(key["x5c"][0].as_str().unwrap()).unwrap(),
            *der
        );
        let number = key[if kty == "RSA" { "n" } else { "x" }].as_str().unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(number).unwrap().len(), size, "{kty}");
        if kty == "RSA" {
            assert_eq!(key["e"], "AQAB");
        }
        assert_eq!(read(&text).unwrap().bundle.roots().next(), Some(&der));
    }
}

#[test]
fn what_others_may_add_is_ignored() {
    let authority = authority();
    let text = document(authority.bundle().unwrap()).to_json().unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    let own = value["keys"][0].clone();
    let mut with = |change: &dyn Fn(&mut Value)| {
        let mut key = own.clone();
        change(&mut key);
        value["keys"].as_array_mut().unwrap().push(key);
    };
    with(&|key| key["use"] = "jwt-svid".into());
    with(&|key| key["use"] = "wit-svid".into());
    with(&|key| key["use"] = 1.into());
    with(&|key| key["kty"] = "AKP".into());
    with(&|key| _ = key.as_object_mut().unwrap().remove("kty"));
    with(&|key| _ = key.as_object_mut().unwrap().remove("use"));
    with(&|key| _ = key.as_object_mut().unwrap().remove("x5c"));
    with(&|key| key["x5c"] = Value::Array(vec![]));
    value["something_new"] = serde_json::json!({"a": [1]});
    assert_eq!(read(&value.to_string()).unwrap().bundle.len(), 1);
    // Of several certificates in one key, the first counts.
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value["keys"][0]["x5c"]
        .as_array_mut()
        .unwrap()
        .push("nonsense".into());
    assert_eq!(read(&value.to_string()).unwrap().bundle.len(), 1);
    // Sequence and hint are a SHOULD.
    let bare = serde_json::json!({"keys": [own]}).to_string();
    let bare = read(&bare).unwrap();
    assert_eq!((bare.sequence, bare.refresh_hint), (None, None));
}

#[test]
fn half_a_bundle_is_none() {
    let authority = authority();
    let text = document(authority.bundle().unwrap()).to_json().unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let own = value["keys"][0].clone();
    let with = |key: Value| serde_json::json!({"keys": [own.clone(), key]}).to_string();
    let x5c = |text: &str| serde_json::json!({"kty": "EC", "use": "x509-svid", "x5c": [text]});
    assert!(why(&with(x5c("!"))).contains("key 2: x5c"));
    assert!(why(&with(x5c("AAAA"))).contains("certificate 2"));
    assert!(
        why(&with(
            serde_json::json!({"kty": "EC", "use": "x509-svid", "x5c": [1]})
        ))
        .contains("key 2")
    );
    let leaf = STANDARD.encode(&credential(&authority, "a").chain()[0]);
    assert!(why(&with(x5c(&leaf))).contains("not a CA"));
    for text in ["", "[]", "{}", "null", "{\"keys\": {}}", "{\"keys\": []}"] {
        assert!(read(text).is_err(), "{text}");
    }
    assert!(
        why("{\"keys\": [], \"keys\": []}").contains("JWK Set"),
        "twice the same is ambiguous"
    );
    assert!(why("{\"keys\": [], \"spiffe_sequence\": -1}").contains("JWK Set"));
    assert!(why("{\"keys\": [], \"spiffe_sequence\": 1.5}").contains("JWK Set"));
    assert!(why(&" ".repeat(MAX_DOCUMENT + 1)).contains("512 KiB"));
    assert!(why(&"[".repeat(100_000)).contains("JWK Set"));
    for key in ["null", "1", "[]", "[\"EC\"]"] {
        let text = format!("{{\"keys\": [{own}, {key}]}}");
        assert!(why(&text).contains("JWK Set"), "{key}");
    }
    let list = format!("[1, 300, [{own}]]");
    assert!(why(&list).contains("no object"));
    let many = serde_json::json!({"keys": vec![own; MAX_ROOTS + 1]}).to_string();
    assert!(why(&many).contains("64"));
    let many = serde_json::json!({"keys": vec![serde_json::json!({}); MAX_KEYS + 1]}).to_string();
    assert!(why(&many).contains("256"));
}

#[test]
fn two_readers_see_one_key() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let bundle = Bundle::new(lab(), &[root(algorithm)]).unwrap();
        let text = document(bundle).to_json().unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let members = value["keys"][0].as_object().unwrap().clone();
        for name in members.keys() {
            // What tells whether it is one of ours at all is not compared: without it there is no key.
            let mut changed = value.clone();
            changed["keys"][0][name] = "AQAC".into();
            assert!(read(&changed.to_string()).is_err(), "{name} changed");
            let mut without = value.clone();
            without["keys"][0].as_object_mut().unwrap().remove(name);
            assert!(read(&without.to_string()).is_err(), "{name} left out");
            let twice = text.replacen(
                &format!("\"{name}\":"),
                &format!("\"{name}\":\"AQAC\",\"{name}\":"),
                1,
            );
            assert!(why(&twice).contains("JWK Set"), "{name} twice");
        }
        assert!(read(&text).is_ok());
    }
    // One of the two keys is another's.
    let [a, b] = [(); 2].map(|()| root(&rcgen::PKCS_ECDSA_P256_SHA256));
    let [a, b] = [a, b].map(|der| {
        let text = document(Bundle::new(lab(), &[der]).unwrap())
            .to_json()
            .unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    });
    let mut mixed = a.clone();
    mixed["keys"][0]["x5c"] = b["keys"][0]["x5c"].clone();
    assert!(why(&mixed.to_string()).contains("key 1: x"));
}

#[test]
fn a_curve_is_known_by_its_name() {
    // prime239v3 in the place of prime256v1: as long, and another curve.
    let der = root(&rcgen::PKCS_ECDSA_P256_SHA256).to_vec();
    let name = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let at = der.windows(8).position(|bytes| bytes == name).unwrap();
    let mut other = der;
    other[at + 7] = 0x06;
    let bundle = Bundle::new(lab(), &[other.into()]).unwrap();
    let why = document(bundle).to_json().unwrap_err().to_string();
    assert!(why.contains("curve 1.2.840.10045.3.1.6"), "{why}");
}

#[test]
fn the_bundle_of_one_domain_is_not_taken_for_anothers() {
    let other = "other.test".parse().unwrap();
    let other = Authority::generate(&other, "main", NOW, Lifetimes::default()).unwrap();
    let text = document(other.bundle().unwrap()).to_json().unwrap();
    assert!(why(&text).contains("other.test"));
    assert!(Document::from_json(other.trust_domain().clone(), &text).is_ok());
}

/// One root of ours as it is published, made once.
fn published() -> &'static (Bundle, String) {
    static ONE: std::sync::OnceLock<(Bundle, String)> = std::sync::OnceLock::new();
    ONE.get_or_init(|| {
        let bundle = authority().bundle().unwrap();
        let text = document(bundle.clone()).to_json().unwrap();
        (bundle, text)
    })
}

/// Each octet of what is published, by each that is printable, in its place or before it.
#[test]
fn no_change_at_one_place_makes_another_key() {
    let (bundle, text) = published();
    let keys: Vec<_> = bundle.keys().collect();
    let mut odd = Vec::new();
    for at in 0..text.len() {
        for by in (b' '..=b'~')
            .map(char::from)
            .map(String::from)
            .chain([String::new()])
        {
            for inserted in [false, true] {
                let mut changed = text.clone();
                changed.replace_range(at..at + usize::from(!inserted), &by);
                if let Ok(found) = read(&changed)
                    && found.bundle.keys().collect::<Vec<_>>() != keys
                {
                    odd.push((at, by.clone(), inserted));
                }
            }
        }
    }
    assert_eq!(odd, []);
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = read(&text);
    }

    /// Whatever is changed in one place, on the way or by mistake: refused, or still the key that was published.
    #[test]
    fn one_change_makes_no_other_key(at in any::<prop::sample::Index>(), by in "[ -~]?", inserted: bool) {
        let (bundle, text) = published();
        let mut changed = text.clone();
        let at = at.index(text.len());
        changed.replace_range(at..at + usize::from(!inserted), &by);
        if let Ok(found) = read(&changed) {
            prop_assert_eq!(found.bundle.keys().collect::<Vec<_>>(), bundle.keys().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_written_is_read(sequence: Option<u64>, refresh_hint: Option<u64>) {
        let document = Document { bundle: published().0.clone(), sequence, refresh_hint };
        let again = read(&document.to_json().unwrap()).unwrap();
        prop_assert_eq!((again.sequence, again.refresh_hint), (sequence, refresh_hint));
        prop_assert!(again.bundle.roots().eq(document.bundle.roots()));
    }
}
