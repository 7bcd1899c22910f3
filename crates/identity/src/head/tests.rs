use proptest::prelude::*;

use super::*;
use crate::authority::{Authority, Issuer, Lifetimes, Root};
use crate::bundle::Bundle;
use crate::csr::ProvenKey;
use crate::forge::{Forge, Spec};
use crate::id::SpiffeId;
use crate::signer::SoftwareKey;
use crate::testing::{HOUR, NOW, at, authority, credential, host, lab, later, verifier};

pub(super) fn audience() -> Audience {
    Audience {
        trust_domain: lab(),
        cluster: "main".into(),
    }
}

pub(crate) fn head(epoch: u64, deny_seq: u64) -> Head {
    Head {
        epoch,
        deny_seq,
        deny_hash: [u8::try_from(deny_seq % 256).unwrap(); 32],
        bundle: 3,
        policy: 4,
        time: NOW.as_secs(),
        trust_domain: lab(),
        cluster: "main".into(),
        checkpoint: "log.example\n5\nAAAA\n\n— log.example sig\n".into(),
    }
}

fn control(authority: &Authority) -> Credential {
    let id = SpiffeId::control(&lab(), "c1").unwrap();
    authority.issue(&id, &host(), HOUR, NOW).unwrap()
}

/// A head as agents hold it, whoever signed it.
pub(crate) fn verified(head: &Head) -> VerifiedHead {
    let authority = authority();
    let verifier = verifier([authority.bundle().unwrap()]);
    let signed = SignedHead::sign(head, &control(&authority)).unwrap();
    signed.verify(&verifier, &audience(), NOW).unwrap()
}

fn judge(authority: &Authority, signed: SignedHead) -> Result<VerifiedHead, Refusal> {
    let verifier = verifier([authority.bundle().unwrap()]);
    signed.verify(&verifier, &audience(), NOW)
}

fn label(result: Result<VerifiedHead, Refusal>) -> &'static str {
    result.unwrap_err().label()
}

#[test]
fn what_the_control_plane_signs_is_taken_from_whoever_brings_it() {
    let authority = authority();
    let head = head(1, 2);
    let signed = SignedHead::sign(&head, &control(&authority)).unwrap();
    // As it travels over a link.
    let signed = SignedHead::decode(&signed.encode()).unwrap();
    let verified = judge(&authority, signed.clone()).unwrap();
    assert_eq!(verified.head(), &head);
    assert_eq!(verified.signed(), &signed);
    assert_eq!(
        verified.signer().peer.id.as_str(),
        "spiffe://lab.test/skans/control/c1"
    );
    assert_eq!(verified.age(later(7)), Duration::from_secs(7));
    assert_eq!(verified.age(at(NOW.as_secs() - 7)), Duration::ZERO);
}

#[test]
fn only_a_control_plane_signs_heads() {
    let authority = authority();
    let node = credential(&authority, "a");
    assert!(SignedHead::sign(&head(1, 2), &node).is_err());
    // Signed all the same, by a node, an agent, a person.
    let forge = Forge::stolen(&authority).unwrap();
    for path in [
        "cluster/main/ns/n/sa/w/node/a",
        "skans/agent/c1",
        "skans/gateway/c1",
        "skans/user/c1",
        "control/c1",
    ] {
        let spec = Spec::good(&format!("spiffe://lab.test/{path}"), "host-a", NOW);
        let signed = forged(&forge, &spec, &head(1, 2));
        assert_eq!(label(judge(&authority, signed)), "not_control", "{path}");
    }
    let spec = Spec::good("spiffe://lab.test/skans/control/c1", "host-a", NOW);
    assert!(
        judge(&authority, forged(&forge, &spec, &head(1, 2))).is_ok(),
        "so the others fail by their role"
    );
}

/// Signs with a leaf of any kind.
fn forged(forge: &Forge, spec: &Spec, head: &Head) -> SignedHead {
    let leaf = forge.leaf(spec).unwrap();
    let key = SoftwareKey::from_pkcs8(leaf.key.secret_der()).unwrap();
    let encoded = head.encode();
    use crate::signer::Signer as _;
    SignedHead {
        signature: key.sign(&Head::signed_bytes(&encoded)).unwrap(),
        head: encoded,
        chain: leaf.chain,
    }
}

#[test]
fn a_control_plane_of_another_authority_is_refused() {
    let (ours, theirs) = (authority(), authority());
    let signed = SignedHead::sign(&head(1, 2), &control(&theirs)).unwrap();
    assert_eq!(label(judge(&ours, signed)), "untrusted");
    // Or of another trust domain, though we trust that as well.
    let other = Authority::generate(
        &"other.test".parse().unwrap(),
        "main",
        NOW,
        Lifetimes::default(),
    )
    .unwrap();
    let id = SpiffeId::control(other.trust_domain(), "c1").unwrap();
    let credential = other.issue(&id, &host(), HOUR, NOW).unwrap();
    let signed = SignedHead::sign(&head(1, 2), &credential).unwrap();
    let both = verifier([ours.bundle().unwrap(), other.bundle().unwrap()]);
    assert_eq!(label(signed.verify(&both, &audience(), NOW)), "not_control");
}

#[test]
fn under_a_shared_root_no_cluster_speaks_for_another() {
    let root = Root::new(&lab(), SoftwareKey::generate().unwrap(), NOW, HOUR * 24).unwrap();
    let issuer = |cluster: &str| {
        let key = SoftwareKey::generate().unwrap();
        let signed = root.sign_issuer(cluster, &ProvenKey::of(&key), HOUR * 24, NOW);
        Issuer::load(signed.unwrap(), key).unwrap()
    };
    let bundle = Bundle::new(lab(), core::slice::from_ref(root.certificate())).unwrap();
    let verifier = verifier([bundle]);
    let judge = |cluster| {
        let id = SpiffeId::control(&lab(), "c1").unwrap();
        let credential = issuer(cluster).issue(&id, None, HOUR, NOW).unwrap();
        let signed = SignedHead::sign(&head(1, 2), &credential).unwrap();
        signed.verify(&verifier, &audience(), NOW)
    };
    assert!(judge("main").is_ok());
    assert_eq!(label(judge("other")), "other_cluster");
}

#[test]
fn a_head_is_meant_for_one_cluster() {
    let authority = authority();
    let judge = |change: &dyn Fn(&mut Head)| {
        let mut head = head(1, 2);
        change(&mut head);
        let signed = SignedHead::sign(&head, &control(&authority)).unwrap();
        judge(&authority, signed)
    };
    assert!(judge(&|_| {}).is_ok());
    assert_eq!(
        label(judge(&|head| head.cluster = "other".into())),
        "statement"
    );
    assert_eq!(
        label(judge(
            &|head| head.trust_domain = "other.test".parse().unwrap()
        )),
        "statement"
    );
    // As far into the future as clocks may differ, and not a second more.
    assert!(judge(&|head| head.time += 60).is_ok());
    assert_eq!(label(judge(&|head| head.time += 61)), "statement");
    assert!(
        judge(&|head| head.time = 0).is_ok(),
        "how old it may be is not decided here"
    );
}

#[test]
fn evidence_that_was_checked_is_the_evidence_that_is_used() {
    let authority = authority();
    let sign = |n| SignedHead::sign(&head(1, n), &control(&authority)).unwrap();
    let (one, two) = (sign(1), sign(2));
    // Signature of one, bytes of the other; chain of one, signature of the other.
    let splice = SignedHead {
        head: two.head.clone(),
        ..one.clone()
    };
    assert_eq!(label(judge(&authority, splice)), "statement");
    let splice = SignedHead {
        chain: two.chain.clone(),
        ..one.clone()
    };
    assert_eq!(label(judge(&authority, splice)), "statement");
    // A node's leaf in front of the control plane's.
    let mut chain = credential(&authority, "a").chain().to_vec();
    chain.splice(1..1, one.chain.clone());
    assert_eq!(
        label(judge(
            &authority,
            SignedHead {
                chain,
                ..one.clone()
            }
        )),
        "not_control"
    );
    assert_eq!(
        label(judge(
            &authority,
            SignedHead {
                chain: vec![],
                ..one.clone()
            }
        )),
        "no_certificate"
    );
    for at in 0..one.head.len() {
        let mut bent = one.clone();
        bent.head[at] ^= 1;
        assert_eq!(label(judge(&authority, bent)), "statement");
    }
    // The bytes alone, without what says that they are a head.
    use crate::signer::Signer as _;
    let forge = Forge::stolen(&authority).unwrap();
    let leaf = forge
        .leaf(&Spec::good(
            "spiffe://lab.test/skans/control/c1",
            "host-a",
            NOW,
        ))
        .unwrap();
    let key = SoftwareKey::from_pkcs8(leaf.key.secret_der()).unwrap();
    let bare = SignedHead {
        signature: key.sign(&one.head).unwrap(),
        head: one.head,
        chain: leaf.chain,
    };
    assert_eq!(label(judge(&authority, bare)), "statement");
}

#[test]
fn a_denied_or_expired_control_plane_is_not_believed() {
    let authority = authority();
    let credential = control(&authority);
    let verifier = verifier([authority.bundle().unwrap()]);
    let signed = SignedHead::sign(&head(1, 2), &credential).unwrap();
    let judge = |now| signed.clone().verify(&verifier, &audience(), now);
    let taken = judge(NOW).unwrap();
    assert_eq!(label(judge(later(3601))), "expired");
    let key = credential.identity().spki_sha256;
    verifier
        .trust()
        .update(|trust| _ = trust.deny.keys.insert(key));
    assert_eq!(label(judge(NOW)), "denied");
    assert!(
        verifier.recheck(taken.signer(), NOW).is_err(),
        "nor is what was taken before"
    );
}

#[test]
fn the_bytes_are_those_of_the_record() {
    let mut head = head(1, 2);
    (head.cluster, head.checkpoint) = ("c".into(), "p".into());
    let mut wanted = b"SKH1\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02".to_vec();
    wanted.extend([2; 32]);
    wanted.extend(b"\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04");
    wanted.extend(NOW.as_secs().to_be_bytes());
    wanted.extend(b"\0\x08lab.test\0\x01c\0\x01p");
    assert_eq!(head.encode(), wanted);
}

#[test]
fn fields_are_bounded() {
    let bad = |change: &dyn Fn(&mut Head)| {
        let mut head = head(1, 2);
        change(&mut head);
        let decoded = Head::decode(&head.encode());
        let signed = SignedHead::sign(&head, &control(&authority()));
        assert!(signed.is_err() && decoded.is_err());
    };
    bad(&|head| head.epoch = 0);
    bad(&|head| head.cluster = String::new());
    bad(&|head| head.cluster = "a/b".into());
    bad(&|head| head.checkpoint = "x".repeat(MAX_CHECKPOINT + 1));
    bad(&|head| head.checkpoint = "\u{1b}[2J".into());
    let mut largest = head(1, 2);
    largest.trust_domain = TrustDomain::parse(&"a".repeat(255)).unwrap();
    largest.cluster = "c".repeat(63);
    largest.checkpoint = "x".repeat(MAX_CHECKPOINT);
    assert_eq!(largest.encode().len(), MAX_HEAD);
    assert_eq!(Head::decode(&largest.encode()).unwrap(), largest);
    let bytes = head(1, 2).encode();
    for end in 0..bytes.len() {
        assert!(Head::decode(&bytes[..end]).is_err());
    }
    assert!(Head::decode(&[bytes, vec![0]].concat()).is_err());
}

#[test]
fn a_signed_head_fits_a_link_frame() {
    let signed = SignedHead::sign(&head(1, 2), &control(&authority())).unwrap();
    let size = signed.encode().len();
    assert!(
        size < 2048,
        "{size} bytes, of the 4096 that a link frame carries (0002)"
    );
}

#[test]
fn the_newest_is_told_by_mark_and_time() {
    let of = |epoch, seq, time| {
        let mut head = head(epoch, seq);
        head.time = time;
        verified(&head)
    };
    let order = [of(1, 9, 5), of(1, 10, 4), of(1, 10, 5), of(2, 0, 1)];
    for (a, one) in order.iter().enumerate() {
        for (b, other) in order.iter().enumerate() {
            assert_eq!(one.is_newer_than(other), a > b);
        }
    }
}

#[test]
fn a_chain_knows_where_it_stands() {
    use crate::deny::{Chain, Entry, Order, Standing, Target};
    let mut chain = Chain::default();
    let mut hashes = vec![[0; 32]];
    for n in 1..=4 {
        let order = Order {
            target: Target::Key([n; 32]),
            time: 0,
            until: 0,
            reason: String::new(),
        };
        chain
            .apply(Entry::after(chain.seq(), *chain.hash(), order).unwrap())
            .unwrap();
        hashes.push(*chain.hash());
    }
    let at = |seq: u64, hash| {
        let mut head = head(1, seq);
        head.deny_hash = hash;
        verified(&head)
    };
    assert_eq!(chain.standing(&at(4, hashes[4])), Standing::Complete);
    assert_eq!(chain.standing(&at(4, hashes[3])), Standing::Forked);
    assert_eq!(chain.standing(&at(3, hashes[3])), Standing::Ahead);
    assert_eq!(chain.standing(&at(3, hashes[2])), Standing::Forked);
    assert_eq!(chain.standing(&at(0, hashes[0])), Standing::Ahead);
    assert_eq!(
        chain.standing(&at(6, [9; 32])),
        Standing::Missing { from: 5, to: 6 }
    );
}

proptest! {
    #[test]
    fn a_head_survives_its_encoding(
        epoch in 1u64.., deny_seq: u64, deny_hash: [u8; 32], bundle: u64, policy: u64, time: u64,
        cluster in "[a-zA-Z0-9_-]{1,63}", checkpoint in "[^\\p{Cc}]{0,200}",
    ) {
        let head = Head { epoch, deny_seq, deny_hash, bundle, policy, time, trust_domain: lab(), cluster, checkpoint };
        prop_assert_eq!(Head::decode(&head.encode()).unwrap(), head);
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for magic in [&b""[..], b"SKH1", b"SKG1"] {
            let bytes = [magic, &bytes].concat();
            if let Ok(head) = Head::decode(&bytes) {
                prop_assert_eq!(head.encode(), bytes.clone());
            }
            if let Ok(signed) = SignedHead::decode(&bytes) {
                prop_assert_eq!(signed.encode(), bytes);
            }
        }
    }
}
