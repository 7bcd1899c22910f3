use proptest::prelude::*;

use super::*;
use crate::authority::{Authority, Issuer, Root};
use crate::bundle::Bundle;
use crate::csr::ProvenKey;
use crate::signer::SoftwareKey;
use crate::testing::{HOUR, NOW, at, credential, lab, later, verifier};
use std::sync::Arc;

struct World {
    root: Root,
    issuer: Issuer,
    verifier: Arc<Verifier>,
}

fn world() -> World {
    let root = Root::new(&lab(), SoftwareKey::generate().unwrap(), NOW, HOUR * 240).unwrap();
    let key = SoftwareKey::generate().unwrap();
    let signed = root.sign_issuer("main", &ProvenKey::of(&key), HOUR * 240, NOW);
    let bundle = Bundle::new(lab(), core::slice::from_ref(root.certificate())).unwrap();
    World {
        root,
        issuer: Issuer::load(signed.unwrap(), key).unwrap(),
        verifier: verifier([bundle]),
    }
}

fn audience() -> Audience {
    Audience {
        trust_domain: lab(),
        cluster: "main".into(),
    }
}

fn statement(epoch: u64, deny_seq: u64) -> Recovery {
    Recovery {
        epoch,
        deny_seq,
        time: NOW.as_secs(),
        trust_domain: lab(),
        cluster: "main".into(),
    }
}

/// A statement as agents take it.
pub(crate) fn recovered(epoch: u64, deny_seq: u64) -> VerifiedRecovery {
    let world = world();
    let statement = statement(epoch, deny_seq);
    let signature = Signature::by_root(&statement, &world.root).unwrap();
    world.judge(&statement, vec![signature]).unwrap()
}

impl World {
    fn person(&self, name: &str) -> Credential {
        let id = SpiffeId::user(&lab(), name).unwrap();
        self.issuer.issue(&id, None, HOUR / 6, NOW).unwrap()
    }

    fn judge_at(
        &self,
        statement: &Recovery,
        signatures: Vec<Signature>,
        now: UnixTime,
    ) -> Result<VerifiedRecovery, Refusal> {
        let signed = SignedRecovery {
            statement: statement.encode(),
            signatures,
        };
        let signed = SignedRecovery::decode(&signed.encode()).unwrap();
        let owners = [
            "spiffe://lab.test/skans/user/ann",
            "spiffe://lab.test/skans/user/ben",
        ];
        signed.verify(
            &self.verifier,
            &audience(),
            |who| owners.contains(&who.as_str()),
            now,
        )
    }

    fn judge(
        &self,
        statement: &Recovery,
        signatures: Vec<Signature>,
    ) -> Result<VerifiedRecovery, Refusal> {
        self.judge_at(statement, signatures, NOW)
    }
}

fn label(result: Result<VerifiedRecovery, Refusal>) -> &'static str {
    result.unwrap_err().label()
}

#[test]
fn the_root_alone_is_enough_and_does_not_age() {
    let world = world();
    let statement = statement(2, 7);
    let signature = Signature::by_root(&statement, &world.root).unwrap();
    let taken = world.judge(&statement, vec![signature.clone()]).unwrap();
    assert_eq!(taken.statement(), &statement);
    assert!(
        world
            .judge_at(&statement, vec![signature.clone()], later(48 * 3600))
            .is_ok()
    );
    // But it does not come from the future.
    assert_eq!(
        label(world.judge_at(&statement, vec![signature.clone()], at(NOW.as_secs() - 61))),
        "statement"
    );
    // And a root that left the bundle, or is denied, opens nothing.
    let key = world.root.spki_sha256();
    world
        .verifier
        .trust()
        .update(|trust| _ = trust.deny.issuers.insert(key));
    assert_eq!(
        label(world.judge(&statement, vec![signature.clone()])),
        "statement"
    );
    let other = Authority::generate(&lab(), "main", NOW, Default::default()).unwrap();
    world.verifier.trust().replace(crate::trust::Trust {
        bundles: other.bundle().unwrap().into(),
        ..Default::default()
    });
    assert_eq!(label(world.judge(&statement, vec![signature])), "statement");
}

#[test]
fn two_owners_are_enough_and_one_twice_is_not() {
    let world = world();
    let statement = statement(2, 7);
    let sign = |name| Signature::by_owner(&statement, &world.person(name)).unwrap();
    assert!(
        world
            .judge(&statement, vec![sign("ann"), sign("ben")])
            .is_ok()
    );
    assert_eq!(label(world.judge(&statement, vec![])), "statement");
    assert_eq!(
        label(world.judge(&statement, vec![sign("ann")])),
        "statement"
    );
    assert_eq!(
        label(world.judge(&statement, vec![sign("ann"), sign("ann")])),
        "statement"
    );
    assert_eq!(
        label(world.judge(&statement, vec![sign("ann"), sign("eve")])),
        "statement"
    );
    assert_eq!(
        label(world.judge(&statement, vec![sign("eve"), sign("mallory")])),
        "statement"
    );
}

#[test]
fn owners_of_another_cluster_are_not_ours() {
    let world = world();
    let key = SoftwareKey::generate().unwrap();
    let signed = world
        .root
        .sign_issuer("other", &ProvenKey::of(&key), HOUR * 240, NOW);
    let other = Issuer::load(signed.unwrap(), key).unwrap();
    let statement = statement(2, 7);
    let signatures = ["ann", "ben"].map(|name| {
        let id = SpiffeId::user(&lab(), name).unwrap();
        let person = other.issue(&id, None, HOUR / 6, NOW).unwrap();
        Signature::by_owner(&statement, &person).unwrap()
    });
    let verdict = world.judge(&statement, signatures.into());
    assert_eq!(label(verdict), "other_cluster");
}

#[test]
fn owners_sign_for_a_day() {
    let world = world();
    let statement = statement(2, 7);
    let sign = |name| Signature::by_owner(&statement, &world.person(name)).unwrap();
    let both = || vec![sign("ann"), sign("ben")];
    // Their leaves have run out since; an agent that was away for an hour still takes it.
    assert!(world.judge_at(&statement, both(), later(3600)).is_ok());
    assert!(world.judge_at(&statement, both(), later(24 * 3600)).is_ok());
    assert_eq!(
        label(world.judge_at(&statement, both(), later(24 * 3600 + 1))),
        "statement"
    );
    // A leaf that had run out when the statement says it was signed.
    let mut late = statement.clone();
    late.time += 3600;
    let sign = |name| Signature::by_owner(&late, &world.person(name)).unwrap();
    assert_eq!(
        label(world.judge_at(&late, vec![sign("ann"), sign("ben")], later(3600))),
        "expired"
    );
    // Who was denied since does not count.
    let ben = SpiffeId::user(&lab(), "ben").unwrap();
    let signatures = both();
    world
        .verifier
        .trust()
        .update(|trust| _ = trust.deny.ids.insert(ben.clone()));
    assert_eq!(label(world.judge(&statement, signatures)), "denied");
}

#[test]
fn nobody_else_signs() {
    let world = world();
    let statement = statement(2, 7);
    let authority = crate::testing::authority();
    assert!(Signature::by_owner(&statement, &credential(&authority, "a")).is_err());
    // The control plane itself, whose database it is.
    let id = SpiffeId::control(&lab(), "c1").unwrap();
    let control = world.issuer.issue(&id, None, HOUR, NOW).unwrap();
    let key = SoftwareKey::from_pkcs8(control.key().secret_der()).unwrap();
    let by_control = Signature {
        chain: control.chain().to_vec(),
        signature: key.sign(&signed_bytes(&statement.encode())).unwrap(),
    };
    assert_eq!(
        label(world.judge(&statement, vec![by_control.clone(), by_control])),
        "statement"
    );
    // The issuing key, shown as if it were a root.
    let by_issuer = Signature {
        chain: vec![world.issuer.certificate().clone()],
        signature: world
            .issuer
            .key()
            .sign(&signed_bytes(&statement.encode()))
            .unwrap(),
    };
    assert_eq!(label(world.judge(&statement, vec![by_issuer])), "statement");
}

#[test]
fn a_statement_is_meant_for_one_cluster_and_signed_as_it_is() {
    let world = world();
    let good = statement(2, 7);
    let signature = Signature::by_root(&good, &world.root).unwrap();
    for change in [
        |s: &mut Recovery| s.cluster = "other".into(),
        |s: &mut Recovery| s.trust_domain = "other.test".parse().unwrap(),
    ] {
        let mut other = good.clone();
        change(&mut other);
        let signature = Signature::by_root(&other, &world.root).unwrap();
        assert_eq!(label(world.judge(&other, vec![signature])), "statement");
    }
    let mut other = good.clone();
    other.epoch += 1;
    assert_eq!(
        label(world.judge(&other, vec![signature.clone()])),
        "statement"
    );
    assert_eq!(
        label(
            world
                .judge(&good, vec![signature; 4])
                .and_then(|_| world.judge(&other, vec![]))
        ),
        "statement"
    );
}

proptest! {
    #[test]
    fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for magic in [&b""[..], b"SKR1", b"SKT1"] {
            let bytes = [magic, &bytes].concat();
            if let Ok(statement) = Recovery::decode(&bytes) {
                prop_assert_eq!(statement.encode(), bytes.clone());
            }
            if let Ok(signed) = SignedRecovery::decode(&bytes) {
                prop_assert_eq!(signed.encode(), bytes);
            }
        }
    }
}
