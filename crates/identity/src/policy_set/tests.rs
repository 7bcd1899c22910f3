use proptest::prelude::*;

use super::*;
use crate::authority::Authority;
use crate::forge::{Forge, Spec};
use crate::id::SpiffeId;
use crate::signer::{Signer as _, SoftwareKey};
use crate::testing::{HOUR, NOW, authority, credential, host, lab, later, verifier};

const SCHEMA: [u8; 32] = [7; 32];
const WEEK: u64 = 7 * 24 * 3600;

fn audience() -> Audience {
    Audience {
        trust_domain: lab(),
        cluster: "main".into(),
    }
}

fn set(epoch: u64, n: u64) -> PolicySet {
    PolicySet {
        version: Version { epoch, n },
        not_before: NOW.as_secs(),
        not_after: NOW.as_secs() + WEEK,
        accepted: NOW.as_secs() - 5,
        schema_hash: SCHEMA,
        audience: audience(),
        content: format!("content of {n}").into_bytes(),
        authors: Vec::new(),
    }
}

fn control(authority: &Authority) -> Credential {
    let id = SpiffeId::control(&lab(), "c1").unwrap();
    authority.issue(&id, &host(), HOUR, NOW).unwrap()
}

fn author(authority: &Authority, content: &[u8]) -> Author {
    let id = SpiffeId::user(&lab(), "ann").unwrap();
    let ann = authority.issuer().issue(&id, None, HOUR, NOW).unwrap();
    Author::sign(&audience(), content, &ann).unwrap()
}

fn sign(authority: &Authority, set: &PolicySet) -> SignedSet {
    SignedSet::sign(set, &control(authority)).unwrap()
}

fn judge(
    authority: &Authority,
    signed: &SignedSet,
    origin: Origin,
    now: UnixTime,
) -> Result<VerifiedSet, Refusal> {
    let verifier = verifier([authority.bundle().unwrap()]);
    signed.verify(&verifier, &audience(), &[[1; 32], SCHEMA], origin, now)
}

fn on_the_wire(authority: &Authority, set: &PolicySet) -> Result<VerifiedSet, Refusal> {
    judge(authority, &sign(authority, set), Origin::Wire, NOW)
}

fn label(result: Result<VerifiedSet, Refusal>) -> &'static str {
    result.unwrap_err().label()
}

/// As agents hold it.
fn verified(epoch: u64, n: u64) -> VerifiedSet {
    on_the_wire(&authority(), &set(epoch, n)).unwrap()
}

#[test]
fn what_authors_and_control_plane_signed_is_taken_from_whoever_brings_it() {
    let authority = authority();
    let mut set = set(1, 2);
    set.authors = vec![author(&authority, &set.content)];
    let signed = SignedSet::decode(&sign(&authority, &set).encode()).unwrap();
    let taken = judge(&authority, &signed, Origin::Wire, NOW).unwrap();
    assert_eq!(taken.set(), &set);
    assert_eq!(taken.authors(), ["spiffe://lab.test/skans/user/ann"]);
    assert_eq!(
        taken.signer().peer.id.as_str(),
        "spiffe://lab.test/skans/control/c1"
    );
}

#[test]
fn only_a_control_plane_of_our_cluster_signs_sets() {
    let authority = authority();
    assert!(SignedSet::sign(&set(1, 2), &credential(&authority, "a")).is_err());
    let forge = Forge::stolen(&authority).unwrap();
    let forged = |path: &str| {
        let spec = Spec::good(&format!("spiffe://lab.test/{path}"), "host-a", NOW);
        let leaf = forge.leaf(&spec).unwrap();
        let key = SoftwareKey::from_pkcs8(leaf.key.secret_der()).unwrap();
        let encoded = set(1, 2).encode();
        let signed = SignedSet {
            signature: key.sign(&countersigned(&encoded)).unwrap(),
            set: encoded,
            chain: leaf.chain,
        };
        judge(&authority, &signed, Origin::Wire, NOW)
    };
    for path in [
        "cluster/main/ns/n/sa/w/node/a",
        "skans/agent/c1",
        "skans/user/c1",
        "control/c1",
    ] {
        assert_eq!(label(forged(path)), "not_control", "{path}");
    }
    assert!(
        forged("skans/control/c1").is_ok(),
        "so the others fail by their role"
    );
    let signed = sign(&crate::testing::authority(), &set(1, 2));
    assert_eq!(
        label(judge(&authority, &signed, Origin::Wire, NOW)),
        "untrusted"
    );
}

#[test]
fn a_set_is_meant_for_one_cluster_one_schema_and_one_time() {
    let authority = authority();
    let judge = |change: &dyn Fn(&mut PolicySet)| {
        let mut set = set(1, 2);
        change(&mut set);
        on_the_wire(&authority, &set)
    };
    assert!(judge(&|_| {}).is_ok());
    let other = |set: &mut PolicySet| set.audience.cluster = "other".into();
    assert_eq!(label(judge(&other)), "statement");
    let other = |set: &mut PolicySet| set.audience.trust_domain = "other.test".parse().unwrap();
    assert_eq!(label(judge(&other)), "statement");
    assert_eq!(
        label(judge(&|set| set.schema_hash = [8; 32])),
        "policy_schema"
    );
    // As far into the future as clocks may differ, and not a second more.
    assert!(judge(&|set| set.not_before += 60).is_ok());
    assert_eq!(label(judge(&|set| set.not_before += 61)), "statement");
    let ended = |ago: u64| {
        move |set: &mut PolicySet| {
            (set.not_before, set.not_after) = (NOW.as_secs() - WEEK, NOW.as_secs() - ago);
        }
    };
    assert!(judge(&ended(0)).is_ok(), "its last second");
    assert_eq!(label(judge(&ended(1))), "policy_expired");
}

#[test]
fn parts_of_two_sets_make_none() {
    let authority = authority();
    let (mut first, mut second) = (set(1, 1), set(1, 2));
    first.authors = vec![author(&authority, &first.content)];
    second.authors = vec![author(&authority, &second.content)];
    let (one, two) = (sign(&authority, &first), sign(&authority, &second));
    let judge = |signed: SignedSet| judge(&authority, &signed, Origin::Wire, NOW);
    let splice = SignedSet {
        set: two.set.clone(),
        ..one.clone()
    };
    assert_eq!(label(judge(splice)), "statement");
    let splice = SignedSet {
        chain: two.chain.clone(),
        ..one.clone()
    };
    assert_eq!(label(judge(splice)), "statement");
    assert_eq!(
        label(judge(SignedSet {
            chain: vec![],
            ..one.clone()
        })),
        "no_certificate"
    );
    for at in 0..one.set.len() {
        let mut bent = one.clone();
        bent.set[at] ^= 1;
        assert_eq!(label(judge(bent)), "statement");
    }
    // Countersigned with an author of another content: a control plane that was not careful.
    core::mem::swap(&mut first.authors, &mut second.authors);
    assert_eq!(label(on_the_wire(&authority, &first)), "statement");
    // A signature of a head's or an author's making is none of a set.
    let key = SoftwareKey::generate().unwrap();
    let id = SpiffeId::control(&lab(), "c1").unwrap();
    let spec = Spec::good(id.as_str(), "host-a", NOW);
    let leaf = Forge::stolen(&authority).unwrap().leaf(&spec).unwrap();
    let key = SoftwareKey::from_pkcs8(leaf.key.secret_der()).unwrap_or(key);
    let bare = SignedSet {
        signature: key.sign(&one.set).unwrap(),
        set: one.set,
        chain: leaf.chain,
    };
    assert_eq!(label(judge(bare)), "statement");
}

#[test]
fn an_author_is_a_person_of_this_cluster_when_the_content_arrives() {
    let authority = authority();
    let verifier = verifier([authority.bundle().unwrap()]);
    let content = b"content";
    let signed = author(&authority, content);
    let judge = |author: &Author, content: &[u8], now| {
        author
            .verify(&audience(), content, &verifier, now)
            .map_err(|why| why.label())
    };
    assert!(judge(&signed, content, NOW).is_ok());
    assert_eq!(
        judge(&signed, b"other", NOW).map(drop).unwrap_err(),
        "statement"
    );
    assert_eq!(
        judge(&signed, content, later(3601)).map(drop).unwrap_err(),
        "expired"
    );
    assert!(Author::sign(&audience(), content, &credential(&authority, "a")).is_err());
    assert!(Author::sign(&audience(), content, &control(&authority)).is_err());
    // For another cluster the same content is another statement.
    let elsewhere = Audience {
        cluster: "other".into(),
        ..audience()
    };
    assert!(signed.verify(&elsewhere, content, &verifier, NOW).is_err());
}

#[test]
fn a_kept_set_outlives_the_leaf_that_signed_it_but_not_its_denial() {
    let authority = authority();
    let credential = control(&authority);
    let signed = SignedSet::sign(&set(1, 2), &credential).unwrap();
    let hours = later(5 * 3600);
    assert_eq!(
        label(judge(&authority, &signed, Origin::Wire, hours)),
        "expired"
    );
    assert!(judge(&authority, &signed, Origin::Kept, hours).is_ok());
    assert_eq!(
        label(judge(&authority, &signed, Origin::Kept, later(WEEK + 1))),
        "policy_expired"
    );
    let verifier = verifier([authority.bundle().unwrap()]);
    let key = credential.identity().spki_sha256;
    verifier
        .trust()
        .update(|trust| _ = trust.deny.keys.insert(key));
    let judged = signed.verify(&verifier, &audience(), &[SCHEMA], Origin::Kept, hours);
    assert_eq!(label(judged), "denied");
}

#[test]
fn an_author_that_left_takes_no_set_along() {
    let authority = authority();
    let mut set = set(1, 2);
    set.authors = vec![author(&authority, &set.content)];
    let signed = sign(&authority, &set);
    let verifier = verifier([authority.bundle().unwrap()]);
    let id = SpiffeId::user(&lab(), "ann").unwrap();
    verifier
        .trust()
        .update(|trust| _ = trust.deny.ids.insert(id.clone()));
    let judged = signed.verify(&verifier, &audience(), &[SCHEMA], Origin::Wire, NOW);
    assert!(judged.is_ok(), "{judged:?}");
}

#[test]
fn the_order_never_goes_back_and_a_restart_does_not_forget() {
    let mut horizon = Horizon::default();
    let refused = |result: Result<Step, Refusal>| result.unwrap_err().label();
    assert_eq!(horizon.accept(&verified(1, 5), None), Ok(Step::Forward));
    let mut restarted = Horizon::from_bytes(&horizon.to_bytes()).unwrap();
    for horizon in [&mut horizon, &mut restarted] {
        let rolled = horizon.accept(&verified(1, 4), None);
        assert_eq!(refused(rolled), "policy_rolled_back");
        assert_eq!(horizon.accept(&verified(1, 5), None), Ok(Step::Same));
        let mut other = set(1, 5);
        other.content = b"something else".to_vec();
        let other = on_the_wire(&authority(), &other).unwrap();
        assert_eq!(refused(horizon.accept(&other, Some(1))), "policy_forked");
        // A later epoch: only where a recovery has opened it.
        assert_eq!(
            refused(horizon.accept(&verified(2, 1), None)),
            "policy_epoch"
        );
        assert_eq!(
            refused(horizon.accept(&verified(3, 1), Some(2))),
            "policy_epoch"
        );
        assert_eq!(horizon.accept(&verified(2, 1), Some(2)), Ok(Step::Forward));
        let rolled = horizon.accept(&verified(1, 9), Some(2));
        assert_eq!(refused(rolled), "policy_rolled_back");
        assert_eq!(horizon.version(), Some(Version { epoch: 2, n: 1 }));
    }
    let none = Horizon::default();
    assert_eq!(Horizon::from_bytes(&none.to_bytes()), Ok(none));
    assert!(Horizon::from_bytes(b"").is_err());
}

#[test]
fn the_bytes_are_those_of_the_record() {
    let mut set = set(1, 2);
    set.audience.cluster = "c".into();
    set.content = b"{}".to_vec();
    set.authors = vec![Author {
        signature: vec![9; 3],
        chain: vec![vec![8; 2].into()],
    }];
    let mut wanted = b"SKP1\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02".to_vec();
    for time in [set.not_before, set.not_after, set.accepted] {
        wanted.extend(time.to_be_bytes());
    }
    wanted.extend(SCHEMA);
    wanted.extend(b"\0\x08lab.test\0\x01c\0\0\0\x02{}\x01\0\x03\x09\x09\x09\x01\0\x02\x08\x08");
    assert_eq!(set.encode(), wanted);
    let signed = SignedSet {
        set: b"set".to_vec(),
        signature: vec![5],
        chain: vec![vec![6].into()],
    };
    assert_eq!(
        signed.encode(),
        b"SKQ1\0\0\0\x03set\0\x01\x05\x01\0\x01\x06"
    );
    let message = authored(&audience(), b"{}");
    assert_eq!(
        message,
        b"skans-policy-author-v1\0\0\x08lab.test\0\x04main\0\0\0\x02{}"
    );
}

#[test]
fn fields_are_bounded() {
    let authority = authority();
    let bad = |change: &dyn Fn(&mut PolicySet)| {
        let mut set = set(1, 2);
        change(&mut set);
        assert!(PolicySet::decode(&set.encode()).is_err());
        assert!(SignedSet::sign(&set, &control(&authority)).is_err());
    };
    bad(&|set| set.version.epoch = 0);
    bad(&|set| set.version.n = 0);
    bad(&|set| set.audience.cluster = "a/b".into());
    bad(&|set| set.not_after = set.not_before);
    bad(&|set| set.not_after = set.not_before + MAX_LIFE + 1);
    bad(&|set| set.content = vec![b' '; MAX_CONTENT + 1]);
    bad(&|set| set.authors = vec![author(&authority, b""); MAX_AUTHORS + 1]);
    // A length that promises more than is there costs nothing.
    let huge = [b"SKQ1".as_slice(), &u32::MAX.to_be_bytes()].concat();
    assert!(SignedSet::decode(&huge).is_err());
    let mut largest = set(1, 2);
    largest.content = vec![b' '; MAX_CONTENT];
    largest.authors = vec![
        Author {
            signature: vec![0; MAX_SIGNATURE],
            chain: vec![vec![0; MAX_CERTIFICATE].into(); MAX_CHAIN],
        };
        MAX_AUTHORS
    ];
    let signed = SignedSet {
        set: largest.encode(),
        signature: vec![0; MAX_SIGNATURE],
        chain: vec![vec![0; MAX_CERTIFICATE].into(); MAX_CHAIN],
    };
    assert_eq!(PolicySet::decode(&signed.set).unwrap(), largest);
    let encoded = signed.encode();
    assert!(encoded.len() <= MAX_SIGNED, "{}", encoded.len());
    assert_eq!(SignedSet::decode(&encoded).unwrap(), signed);
    let bytes = sign(&authority, &set(1, 2)).encode();
    for end in 0..bytes.len() {
        assert!(SignedSet::decode(&bytes[..end]).is_err());
    }
    assert!(SignedSet::decode(&[bytes, vec![0]].concat()).is_err());
}

proptest! {
    #[test]
    fn a_set_survives_its_encoding(
        epoch in 1u64.., n in 1u64.., not_before in 0..u64::MAX - MAX_LIFE, life in 1..=MAX_LIFE, accepted: u64, schema_hash: [u8; 32],
        cluster in "[a-zA-Z0-9_-]{1,63}", content in proptest::collection::vec(any::<u8>(), 0..300),
        signature in proptest::collection::vec(any::<u8>(), 0..=72),
    ) {
        let set = PolicySet {
            version: Version { epoch, n }, not_before, not_after: not_before + life, accepted, schema_hash,
            audience: Audience { trust_domain: lab(), cluster }, content,
            authors: vec![Author { signature, chain: vec![vec![1, 2].into()] }],
        };
        prop_assert_eq!(PolicySet::decode(&set.encode()).unwrap(), set);
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for magic in [&b""[..], b"SKP1", b"SKQ1", b"SKY1"] {
            let bytes = [magic, &bytes].concat();
            if let Ok(set) = PolicySet::decode(&bytes) {
                prop_assert_eq!(set.encode(), bytes.clone());
            }
            if let Ok(signed) = SignedSet::decode(&bytes) {
                prop_assert_eq!(signed.encode(), bytes.clone());
            }
            if let Ok(horizon) = Horizon::from_bytes(&bytes) {
                prop_assert_eq!(horizon.to_bytes(), bytes);
            }
        }
    }
}
