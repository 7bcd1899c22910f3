use std::sync::Arc;

use super::*;
use crate::authority::{Lifetimes, Root};
use crate::csr;
use crate::peer::PeerIdentity;
use crate::testing::{HOUR, NOW, host, lab, later, node};

fn why<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("taken"),
        Err(error) => error.to_string(),
    }
}

fn root() -> Root {
    let key = SoftwareKey::generate().unwrap();
    Root::new(&lab(), key, NOW, Lifetimes::default().root).unwrap()
}

fn issuer(root: &Root) -> Issuer {
    let key = SoftwareKey::generate().unwrap();
    let signed = root.sign_issuer("main", &ProvenKey::of(&key), HOUR * 24, NOW);
    Issuer::load(signed.unwrap(), key).unwrap()
}

fn bundle(root: &Root) -> Bundle {
    Bundle::new(lab(), core::slice::from_ref(root.certificate())).unwrap()
}

/// A key that is elsewhere: all that is here is the trait.
struct Elsewhere(SoftwareKey);

impl Signer for Elsewhere {
    fn public_key(&self) -> &[u8; 65] {
        self.0.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.sign(message)
    }
}

#[test]
fn a_root_signs_for_a_key_that_it_never_sees() {
    let root = root();
    let key: Arc<dyn Signer> = Arc::new(Elsewhere(SoftwareKey::generate().unwrap()));
    // What travels to the offline root is a request, what travels back a certificate.
    let request = csr::request(&key).unwrap();
    let proven = csr::public_key(&request).unwrap();
    let certificate = root.sign_issuer("main", &proven, HOUR, NOW).unwrap();
    let issuer = Issuer::load(certificate, key).unwrap();
    issuer.check_under(&bundle(&root), NOW).unwrap();
    assert_eq!(issuer.cluster(), "main");
    assert_eq!(issuer.not_after(), NOW.as_secs() + 3600);
}

#[test]
fn an_issuer_of_another_root_is_noticed_before_it_signs() {
    let (ours, theirs) = (root(), root());
    let issuer = issuer(&theirs);
    assert!(why(issuer.check_under(&bundle(&ours), NOW)).contains("unknown issuer"));
    assert!(issuer.check_under(&bundle(&theirs), NOW).is_ok());
}

#[test]
fn a_key_that_fails_is_a_typed_error() {
    struct Dead(SoftwareKey);
    impl Signer for Dead {
        fn public_key(&self) -> &[u8; 65] {
            self.0.public_key()
        }
        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
            Err(Error::Crypto {
                doing: "reach the module",
            })
        }
    }
    let root = root();
    let key = Dead(SoftwareKey::generate().unwrap());
    let certificate = root.sign_issuer("main", &ProvenKey::of(&key), HOUR, NOW);
    let issuer = Issuer::load(certificate.unwrap(), key).unwrap();
    let proven = ProvenKey::of(&SoftwareKey::generate().unwrap());
    let error = issuer.sign(node("a").id(), Some(&host()), &proven, HOUR, NOW);
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Crypto { .. }) && error.is_transient());
}

#[test]
fn both_halves_come_back_from_text() {
    let root = root();
    let issuer = issuer(&root);
    let text = root.to_pem();
    let again = Root::from_pem(&text.certificate, &text.key).unwrap();
    assert_eq!(again.spki_sha256(), root.spki_sha256());
    assert_eq!(again.trust_domain(), &lab());
    let text = issuer.to_pem();
    let again = Issuer::from_pem(&text.certificate, &text.key).unwrap();
    assert_eq!(again.serial(), issuer.serial());
    again.check_under(&bundle(&root), NOW).unwrap();
    // Sealed keys come back by their bytes.
    let key = SoftwareKey::from_pkcs8(issuer.key().pkcs8()).unwrap();
    assert!(Issuer::load(issuer.certificate().clone(), key).is_ok());
    let other = SoftwareKey::generate().unwrap();
    assert!(why(Issuer::load(issuer.certificate().clone(), other)).contains("another certificate"));
    let other = SoftwareKey::generate().unwrap();
    assert!(why(Root::load(root.certificate().clone(), other)).contains("another certificate"));
    // One is not the other.
    let key = SoftwareKey::from_pkcs8(root.key().pkcs8()).unwrap();
    assert!(why(Issuer::load(root.certificate().clone(), key)).contains("name of a cluster"));
    let key = SoftwareKey::from_pkcs8(issuer.key().pkcs8()).unwrap();
    assert!(why(Root::load(issuer.certificate().clone(), key)).contains("another key signed"));
}

#[test]
fn each_role_gets_the_host_that_goes_with_it() {
    let root = root();
    let issuer = issuer(&root);
    let sign = |id: &SpiffeId, host: Option<&Host>| {
        let key = ProvenKey::of(&SoftwareKey::generate().unwrap());
        let issued = issuer.sign(id, host, &key, HOUR, NOW)?;
        let peer = PeerIdentity::from_der(&issued.chain[0]).unwrap();
        assert_eq!((&peer.id, peer.host.as_ref()), (id, host));
        assert_eq!(peer.serial, issued.serial);
        assert_eq!(
            (peer.not_before, peer.not_after),
            (issued.not_before, issued.not_after)
        );
        assert_eq!(peer.spki_sha256, issued.spki_sha256);
        Ok(issued)
    };
    let here = host();
    let (control, agent) = (
        SpiffeId::control(&lab(), "c1"),
        SpiffeId::agent(&lab(), "host-a"),
    );
    for id in [control.unwrap(), agent.unwrap()] {
        assert!(sign(&id, Some(&here)).is_ok());
        assert!(sign(&id, None).is_ok());
    }
    let user = SpiffeId::user(&lab(), "ann").unwrap();
    assert!(why(sign(&user, Some(&here))).contains("no host for a person"));
    assert!(why(sign(node("a").id(), None)).contains("half of its name"));
    assert!(sign(node("a").id(), Some(&here)).is_ok());
}

#[test]
fn a_persons_certificate_is_no_servers() {
    let root = root();
    let issuer = issuer(&root);
    let user = SpiffeId::user(&lab(), "ann").unwrap();
    let key = ProvenKey::of(&SoftwareKey::generate().unwrap());
    let chain = issuer.sign(&user, None, &key, HOUR, NOW).unwrap().chain;
    let verifier = crate::testing::verifier([bundle(&root)]);
    assert!(verifier.verify(&chain, Usage::Client, NOW).is_ok());
    let refusal = verifier.verify(&chain, Usage::Server, NOW).unwrap_err();
    assert_eq!(refusal.label(), "extended_key_usage");
}

#[test]
fn a_revocation_list_is_read_by_others() {
    let root = root();
    let issuer = issuer(&root);
    let key = ProvenKey::of(&SoftwareKey::generate().unwrap());
    let sign = |name| {
        issuer
            .sign(node(name).id(), Some(&host()), &key, HOUR, NOW)
            .unwrap()
    };
    let (revoked, kept) = (sign("a"), sign("b"));
    let entry = Revoked {
        serial: revoked.serial.clone(),
        at: NOW.as_secs(),
    };
    let der = issuer
        .revocation_list(7, NOW, later(3600), &[entry])
        .unwrap();
    let crl = webpki::BorrowedCertRevocationList::from_der(&der).unwrap();
    // A path builder that asks for revocation finds the same, and by the signature.
    let crl = webpki::CertRevocationList::from(crl.to_owned().unwrap());
    let crls = [&crl];
    let options = webpki::RevocationOptionsBuilder::new(&crls)
        .unwrap()
        .with_depth(webpki::RevocationCheckDepth::EndEntity)
        .build();
    let anchor = [webpki::anchor_from_trusted_cert(root.certificate()).unwrap()];
    let judge = |issued: &Issued| {
        let leaf = webpki::EndEntityCert::try_from(&issued.chain[0]).unwrap();
        let verdict = leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchor,
            &issued.chain[1..],
            NOW,
            webpki::KeyUsage::client_auth(),
            Some(options),
            None,
        );
        verdict.map(|_| ())
    };
    assert_eq!(judge(&revoked), Err(webpki::Error::CertRevoked));
    assert_eq!(judge(&kept), Ok(()));
}

#[test]
fn a_revocation_list_is_bounded_and_in_order() {
    let issuer = issuer(&root());
    let entry = |serial: &str| Revoked {
        serial: serial.into(),
        at: 0,
    };
    let list = |end, revoked: &[Revoked]| issuer.revocation_list(1, NOW, end, revoked);
    assert!(list(later(1), &[]).is_ok());
    assert!(why(list(NOW, &[])).contains("next update"));
    for bad in ["", "xy", "AB", "0", &"00".repeat(21)] {
        assert!(why(list(later(1), &[entry(bad)])).contains("hex"), "{bad}");
    }
    let many = vec![entry("01"); MAX_REVOKED + 1];
    assert!(why(list(later(1), &many)).contains("at most"));
}
