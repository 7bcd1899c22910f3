//! Cosignatures: what is signed, and that none passes for another.

use super::*;
use crate::Error;
use crate::note::{Note, Verified};

const TEXT: &str =
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

fn witness() -> Cosigner {
    Cosigner::from_seed("witness.example/w1", &[3; 32]).unwrap()
}

#[test]
fn what_is_signed_is_that_of_the_specification() {
    let wanted = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    assert_eq!(message(TEXT, 1_679_315_147), wanted);
}

#[test]
fn a_cosignature_says_who_and_when() {
    let (witness, mut note) = (witness(), Note::unsigned(TEXT).unwrap());
    note.add(witness.cosign(TEXT, 1_679_315_147)).unwrap();
    let note = Note::parse(note.encode().as_bytes()).unwrap();
    let (key, time) = (witness.verifying_key(), Some(1_679_315_147));
    assert_eq!(note.verify(&[key]).unwrap(), [Verified { key, time }]);
    let [line] = note.signatures() else {
        panic!("one")
    };
    assert_eq!(line.bytes.len(), 72);
    let mut later = line.clone();
    later.bytes[7] ^= 1;
    let mut negative = line.clone();
    negative.bytes[0] |= 0x80;
    let mut short = line.clone();
    short.bytes.truncate(7);
    for changed in [later, negative, short] {
        let mut note = Note::unsigned(TEXT).unwrap();
        note.add(changed).unwrap();
        assert!(matches!(note.verify(&[key]), Err(Error::Forged { .. })));
    }
}

#[test]
fn no_key_passes_for_another_kind() {
    let (witness, log) = (
        witness(),
        SigningKey::from_seed("witness.example/w1", &[3; 32]).unwrap(),
    );
    assert_ne!(witness.verifying_key().id(), log.verifying_key().id());
    assert!(Cosigner::parse_skey(&log.to_skey()).is_err());
    assert!(SigningKey::parse_skey(&witness.to_skey()).is_err());
    let again = Cosigner::parse_skey(&witness.to_skey()).unwrap();
    assert_eq!(again.vkey(), witness.vkey());
    assert_eq!(again.to_seed(), witness.to_seed());
    assert!(Cosigner::generate("a b").is_err());
    // A note that says what a witness signs is not what a witness says.
    let forged = log.sign(&message(TEXT, 9));
    let mut bytes = 9u64.to_be_bytes().to_vec();
    bytes.extend(&forged.bytes);
    let mut note = Note::unsigned(TEXT).unwrap();
    note.add(crate::note::Signature { bytes, ..forged })
        .unwrap();
    assert!(note.verify(&[witness.verifying_key()]).is_err());
}
