//! What is remembered, across processes and broken disks.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use skans_audit::checkpoint::Checkpoint;
use skans_audit::note::{Note, SigningKey};
use skans_audit::witness::Request;

use super::*;

const ORIGIN: &str = "prod.example/cluster/main/audit/1";

fn key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn open(directory: &Path) -> Result<Store, Error> {
    let cosigner = Cosigner::from_seed("witness.example", &[2; 32]).unwrap();
    let key = key().verifying_key().clone();
    Store::open(
        directory,
        cosigner,
        vec![Log {
            origin: ORIGIN.into(),
            key,
        }],
    )
}

fn body(old: u64, size: u64, root: u8) -> Vec<u8> {
    let note = Checkpoint::new(ORIGIN, size, [root; 32])
        .sign(&key())
        .unwrap();
    let note = Note::parse(note.as_bytes()).unwrap();
    Request {
        old,
        proof: Vec::new(),
        note,
    }
    .encode()
    .into_bytes()
}

fn status(answer: Result<Cosigned, No>) -> u16 {
    match answer {
        Ok(_) => 200,
        Err(No::Refused(refusal)) => refusal.status(),
        Err(No::Disk(_)) => 503,
    }
}

#[test]
fn what_was_cosigned_is_remembered_by_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let store = open(&state).unwrap();
    assert_eq!(status(store.cosign(&body(0, 5, 1), 1)), 200);
    assert!(open(&state).is_err(), "one process at a time");
    drop(store);
    let store = open(&state).unwrap();
    assert_eq!(store.sizes().collect::<Vec<_>>(), [(ORIGIN, Some(5))]);
    assert_eq!(status(store.cosign(&body(0, 5, 2), 1)), 409);
    assert_eq!(status(store.cosign(&body(5, 5, 2), 1)), 409);
    assert_eq!(status(store.cosign(&body(5, 6, 2), 1)), 422);
    assert_eq!(status(store.cosign(&body(5, 5, 1), 1)), 200);
}

#[test]
fn what_cannot_be_written_is_not_cosigned() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let store = open(&state).unwrap();
    // Where the new file would be made is a directory: nobody can replace it, root neither.
    let path = file(&state, ORIGIN).with_extension("checkpoint.new");
    fs::create_dir(&path).unwrap();
    assert_eq!(status(store.cosign(&body(0, 5, 1), 1)), 503);
    assert_eq!(store.sizes().collect::<Vec<_>>(), [(ORIGIN, None)]);
    fs::remove_dir(&path).unwrap();
    assert_eq!(
        status(store.cosign(&body(0, 5, 2), 1)),
        200,
        "the first was never told"
    );
    // Asking again takes no write.
    fs::create_dir(&path).unwrap();
    assert_eq!(status(store.cosign(&body(5, 5, 2), 1)), 200);
}

#[test]
fn what_was_damaged_is_not_built_on() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    drop(open(&state).unwrap().cosign(&body(0, 5, 1), 1));
    let path = file(&state, ORIGIN);
    let good = fs::read(&path).unwrap();
    assert!(open(&state).is_ok());
    for bad in [&b""[..], b"x", &good[..good.len() - 9], &[0xFF]] {
        fs::write(&path, bad).unwrap();
        let error = open(&state).err().expect("it was damaged").to_string();
        assert!(error.contains("checkpoint"), "{error}");
    }
    fs::write(&path, &good).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(open(&state).is_err());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(open(&state).is_ok());
    let other = Cosigner::from_seed("witness.example", &[9; 32]).unwrap();
    let logs = vec![Log {
        origin: ORIGIN.into(),
        key: key().verifying_key().clone(),
    }];
    assert!(
        Store::open(&state, other, logs).is_err(),
        "another witness's"
    );
}

#[test]
fn evidence_is_kept_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let store = open(&state).unwrap();
    assert_eq!(status(store.cosign(&body(0, 5, 1), 1)), 200);
    let count = || fs::read_dir(&state).unwrap().count();
    let before = count();
    for _ in 0..3 {
        assert_eq!(status(store.cosign(&body(5, 5, 2), 1)), 409);
    }
    assert_eq!(count(), before + 1, "the same once");
    for root in 2..60 {
        assert_eq!(status(store.cosign(&body(5, 6, root), 1)), 422);
    }
    assert_eq!(count(), before + 1 + MAX_EVIDENCE);
    let kept = fs::read_to_string(file(&state, ORIGIN).with_extension("forked-0")).unwrap();
    let kept = Checkpoint::open(kept.as_bytes(), key().verifying_key()).unwrap();
    assert_eq!((kept.size, kept.root), (5, [2; 32]));
    // What is merely late is none.
    assert_eq!(status(store.cosign(&body(0, 6, 1), 1)), 409);
    assert_eq!(count(), before + 1 + MAX_EVIDENCE);
}
