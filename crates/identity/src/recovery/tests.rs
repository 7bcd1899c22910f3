use proptest::prelude::*;

use super::*;
use crate::authority::{Authority, Issuer, Root};
use crate::bundle::Bundle;
use crate::csr::ProvenKey;
use crate::id::SpiffeId;
use crate::signer::SoftwareKey;
use crate::testing::{HOUR, NOW, at, lab, later, verifier};
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
    /// The signature of somebody whom the issuer vouches for.
    fn sign_as(&self, id: &SpiffeId, statement: &Recovery) -> Signature {
        let leaf = self.issuer.issue(id, None, HOUR / 6, NOW).unwrap();
        let key = SoftwareKey::from_pkcs8(leaf.key().secret_der()).unwrap();
        Signature {
            chain: leaf.chain().to_vec(),
            signature: key.sign(&signed_bytes(&statement.encode())).unwrap(),
        }
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
        signed.verify(&self.verifier, &audience(), now)
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

/// Whoever plays an old database again has its issuing authority, and so any two people, owners or not.
#[test]
fn people_open_no_epoch_however_many_and_the_root_beside_them_does() {
    let world = world();
    let statement = statement(2, 7);
    let sign = |name| world.sign_as(&SpiffeId::user(&lab(), name).unwrap(), &statement);
    assert_eq!(label(world.judge(&statement, vec![])), "statement");
    let people = || vec![sign("ann"), sign("ben"), sign("eve")];
    let refusal = world.judge(&statement, people()).unwrap_err();
    assert!(
        refusal.to_string().contains("signed by a person"),
        "{refusal}"
    );
    let mut all = people();
    all.push(Signature::by_root(&statement, &world.root).unwrap());
    assert!(world.judge(&statement, all).is_ok());
}

#[test]
fn nobody_else_signs() {
    let world = world();
    let statement = statement(2, 7);
    // The control plane itself, whose database it is; with its chain, and as if its leaf were a root.
    let id = SpiffeId::control(&lab(), "c1").unwrap();
    let mut by_control = world.sign_as(&id, &statement);
    assert_eq!(
        label(world.judge(&statement, vec![by_control.clone()])),
        "statement"
    );
    by_control.chain.truncate(1);
    assert_eq!(
        label(world.judge(&statement, vec![by_control])),
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
