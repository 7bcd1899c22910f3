//! What may be put in use, and when it goes.

use std::time::Duration;

use skans_identity::authority::{Authority, Lifetimes};
use skans_identity::host::Host;
use skans_identity::id::NodeId;

use super::*;

fn config() -> Config {
    let text = "apiVersion: skans.io/v1alpha1\ntrustDomain: test.example\nnodes: [{name: a@host}]\nidentity: {authority: {directory: /nowhere}}\n";
    crate::config::parse(text, "test", |_| None).unwrap()
}

fn authority() -> Authority {
    let domain = TrustDomain::parse("test.example").unwrap();
    Authority::generate(&domain, "main", UnixTime::now(), Lifetimes::default()).unwrap()
}

fn credential(authority: &Authority, life: u64, ago: u64) -> Credential {
    let id = NodeId::new(authority.trust_domain(), "main", "default", "a", "a").unwrap();
    let then = UnixTime::now().as_secs() - ago;
    authority
        .issue(
            id.id(),
            &Host::parse("host").unwrap(),
            Duration::from_secs(life),
            UnixTime::since_unix_epoch(Duration::from_secs(then)),
        )
        .unwrap()
}

fn named(credential: Credential) -> [(String, Credential); 1] {
    [("a@host".to_owned(), credential)]
}

#[test]
fn what_nobody_would_accept_is_not_put_in_use_and_the_old_stays() {
    let (ours, theirs) = (authority(), authority());
    let identities = Identities::new(&config()).unwrap();
    let first = credential(&ours, 300, 0);
    assert!(
        identities.install(None, named(first.clone())).is_err(),
        "no bundle yet"
    );
    let bundle = || Some(ours.bundle().unwrap());
    identities.install(bundle(), named(first.clone())).unwrap();
    let stranger = identities.install(None, named(credential(&theirs, 300, 0)));
    assert!(matches!(stranger, Err(Error::Credential { .. })));
    let other_root = identities.install(Some(theirs.bundle().unwrap()), named(first.clone()));
    assert!(other_root.is_err(), "a bundle that does not fit it");
    let kept = identities.credential("a@host").unwrap();
    assert_eq!(kept.chain(), first.chain());
    assert!(
        identities
            .verifier()
            .verify(first.chain(), Usage::Client, UnixTime::now())
            .is_ok(),
        "the old bundle stayed as well"
    );
}

#[test]
fn what_has_expired_is_neither_dialled_with_nor_shown() {
    let ours = authority();
    let identities = Identities::new(&config()).unwrap();
    let settings = Settings::new(config()).unwrap();
    let caller: NodeName = "a@host".parse().unwrap();
    let bundle = Some(ours.bundle().unwrap());
    let credential = credential(&ours, 300, 0);
    let end = credential.identity().not_after;
    identities.install(bundle, named(credential)).unwrap();
    assert!(identities.for_caller(&caller, &settings).is_ok());
    let at = |second| UnixTime::since_unix_epoch(Duration::from_secs(second));
    assert!(identities.retire(at(end), |_| true).unwrap().is_empty());
    assert_eq!(
        identities.retire(at(end + 1), |_| true).unwrap(),
        ["a@host"]
    );
    assert!(matches!(
        identities.for_caller(&caller, &settings),
        Err(Error::NoIdentity { .. })
    ));
    assert!(identities.served.is_empty());
}
