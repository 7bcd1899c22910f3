//! What a witness cosigns, and what it never does: in whichever order requests come, and whenever it forgets what it did not write
//! down yet.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::note::{self, SigningKey};
use crate::proof::consistency;
use crate::testing::{Leaves, at, tree_hash};

const ORIGIN: &str = "prod.example/cluster/main/audit/1";

fn log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn cosigner() -> Cosigner {
    Cosigner::from_seed("witness.example/w1", &[2; 32]).unwrap()
}

fn logs() -> Vec<Log> {
    vec![Log {
        origin: ORIGIN.into(),
        key: log_key().verifying_key().clone(),
    }]
}

fn signed(tree: &Leaves, size: u64) -> Note {
    let root = tree_hash(&tree.0[..at(size)]);
    let note = Checkpoint::new(ORIGIN, size, root)
        .sign(&log_key())
        .unwrap();
    Note::parse(note.as_bytes()).unwrap()
}

fn request(tree: &Leaves, old: u64, size: u64) -> Request {
    let Ok(proof) = consistency(tree, old, size);
    Request {
        old,
        proof,
        note: signed(tree, size),
    }
}

/// Reads, decides, and remembers if it was right.
fn ask(body: &str, last: &mut Option<Remembered>) -> Result<String, Refusal> {
    let logs = logs();
    let asked = Asked::read(body.as_bytes(), &logs)?;
    let cosigned = asked.decide(last.as_ref(), &cosigner(), 1_700_000_000)?;
    *last = Some(cosigned.remember);
    Ok(cosigned.answer)
}

/// The same log with one entry changed.
fn rewritten(count: u64, changed: usize) -> Leaves {
    let mut tree = Leaves::count(count);
    tree.0[changed] = [9; 32];
    tree
}

#[test]
fn what_grows_is_cosigned() {
    let tree = Leaves::count(600);
    let mut last = None;
    let mut old = 0;
    for size in [0, 1, 2, 3, 255, 256, 256, 257, 600, 600] {
        let request = request(&tree, old, size);
        let line = ask(&request.encode(), &mut last).unwrap();
        let mut note = request.note.clone();
        for signature in note::signatures(&line).unwrap() {
            note.add(signature).unwrap();
        }
        let verified = note
            .verify(&[cosigner().verifying_key()])
            .map(|v| v[0].time);
        assert_eq!(verified, Ok(Some(1_700_000_000)));
        let kept = last.clone().unwrap();
        assert_eq!(
            (kept.size, kept.note.as_str()),
            (size, note.encode().as_str())
        );
        assert_eq!(
            Remembered::from_note(&kept.note, ORIGIN, cosigner().verifying_key()),
            Ok(kept)
        );
        old = size;
    }
}

#[test]
fn every_refusal_has_the_status_of_the_specification() {
    let tree = Leaves::count(20);
    let mut last = None;
    ask(&request(&tree, 0, 10).encode(), &mut last).unwrap();
    let cosigned = last.clone();
    let mut refused = |body: &str| {
        let refusal = ask(body, &mut last).unwrap_err();
        assert_eq!(last, cosigned, "nothing is remembered of {refusal}");
        (refusal.status(), refusal.label(), refusal.last_size())
    };
    let body = |request: Request| request.encode();
    assert_eq!(
        refused(&body(request(&tree, 9, 12))),
        (409, "not_the_last", Some(10))
    );
    assert_eq!(
        refused(&body(request(&tree, 0, 12))),
        (409, "not_the_last", Some(10))
    );
    assert_eq!(
        refused(&body(request(&tree, 12, 12))),
        (409, "not_the_last", Some(10))
    );
    let forked = rewritten(20, 3);
    assert_eq!(
        refused(&body(request(&forked, 10, 10))),
        (409, "forked", Some(10))
    );
    assert_eq!(
        refused(&body(request(&forked, 10, 20))),
        (422, "inconsistent", None)
    );
    let mut longer = request(&tree, 10, 10);
    longer.proof.push([0; 32]);
    assert_eq!(refused(&body(longer)), (422, "inconsistent", None));
    let mut shorter = request(&tree, 10, 20);
    shorter.proof.pop();
    assert_eq!(refused(&body(shorter)), (422, "inconsistent", None));
    let mut backwards = request(&tree, 10, 10);
    backwards.note = signed(&tree, 9);
    assert_eq!(refused(&body(backwards)), (400, "backwards", None));
    let other = SigningKey::from_seed(ORIGIN, &[7; 32]).unwrap();
    let mut stranger = request(&tree, 10, 20);
    let text = stranger.note.text().to_owned();
    stranger.note = Note::parse(note::sign(&text, &[&other]).unwrap().as_bytes()).unwrap();
    assert_eq!(refused(&body(stranger)), (403, "not_the_log", None));
    let elsewhere = SigningKey::from_seed("else.example", &[1; 32]).unwrap();
    let text = Checkpoint::new("else.example", 20, [0; 32])
        .sign(&elsewhere)
        .unwrap();
    assert_eq!(
        refused(&format!("old 10\n\n{text}")),
        (404, "unknown_log", None)
    );
    assert_eq!(refused("old 10\n"), (400, "malformed", None));
    // A log's key under the name of a witness is none of a log.
    let odd = vec![Log {
        origin: ORIGIN.into(),
        key: cosigner().verifying_key().clone(),
    }];
    let asked = Asked::read(request(&tree, 10, 20).encode().as_bytes(), &odd);
    assert_eq!(asked.unwrap_err().status(), 403);
}

#[test]
fn what_was_kept_is_ours_and_of_this_log() {
    let mut last = None;
    ask(&request(&Leaves::count(5), 0, 5).encode(), &mut last).unwrap();
    let note = last.unwrap().note;
    let key = cosigner();
    assert!(Remembered::from_note(&note, ORIGIN, key.verifying_key()).is_ok());
    assert!(Remembered::from_note(&note, "else.example", key.verifying_key()).is_err());
    let other = Cosigner::generate("witness.example/w1").unwrap();
    assert!(Remembered::from_note(&note, ORIGIN, other.verifying_key()).is_err());
    for byte in 0..note.len() {
        let mut changed = note.clone().into_bytes();
        changed[byte] ^= 1;
        let Ok(changed) = String::from_utf8(changed) else {
            continue;
        };
        // What the log signed is not looked at again: our own signature stands for it.
        if let Ok(kept) = Remembered::from_note(&changed, ORIGIN, key.verifying_key()) {
            assert_eq!((kept.size, kept.root), (5, tree_hash(&Leaves::count(5).0)));
        }
    }
}

#[test]
fn bodies_have_bounds() {
    let tree = Leaves::count(3);
    let body = request(&tree, 2, 3).encode();
    assert_eq!(
        Request::parse(body.as_bytes()).unwrap(),
        request(&tree, 2, 3)
    );
    let note = signed(&tree, 3).encode();
    let line = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    assert!(Request::parse(format!("old 2\n{}\n{note}", line.repeat(63)).as_bytes()).is_ok());
    let wrong = [
        String::new(),
        "\n\n".into(),
        "old 2".into(),
        note.clone(),
        format!("old 2\n{note}"),
        format!("old 02\n\n{note}"),
        format!("old -2\n\n{note}"),
        format!("old  2\n\n{note}"),
        format!("old 2 \n\n{note}"),
        format!("old 2\r\n\n{note}"),
        format!("new 2\n\n{note}"),
        format!("old 9223372036854775808\n\n{note}"),
        format!("old 2\nAAAA\n\n{note}"),
        format!("old 2\n{}\n{note}", line.repeat(64)),
        "x".repeat(MAX_BODY + 1),
    ];
    for body in wrong {
        assert!(Request::parse(body.as_bytes()).is_err(), "{body:?}");
    }
    assert!(Request::parse(b"old 2\n\xFF\n\n").is_err());
}

proptest! {
    /// Two logs under one key take turns at random, honest and not, with any proof there is; the process dies at random before or
    /// after it wrote. Whatever was answered is one line of history.
    #[test]
    fn no_two_roots_of_one_size_and_no_two_histories_are_cosigned(
        steps in prop::collection::vec((any::<bool>(), 0u64..12, 0u64..40, any::<bool>(), any::<bool>()), 1..60),
        changed in 0usize..40,
    ) {
        let trees = [Leaves::count(40), rewritten(40, changed)];
        let mut disk: Option<Remembered> = None;
        let mut answered: BTreeMap<u64, Hash> = BTreeMap::new();
        for (other, back, size, dies_before, knows) in steps {
            let tree = &trees[usize::from(other)];
            let last = disk.as_ref().map_or(0, |last| last.size);
            let old = if knows { last } else { last.saturating_sub(back) };
            let body = request(tree, old.min(size), size).encode();
            let logs = logs();
            let Ok(asked) = Asked::read(body.as_bytes(), &logs) else { continue };
            let Ok(cosigned) = asked.decide(disk.as_ref(), &cosigner(), 1) else { continue };
            if dies_before {
                continue;
            }
            let kept = Remembered::from_note(&cosigned.remember.note, ORIGIN, cosigner().verifying_key());
            disk = Some(kept.unwrap());
            let root = asked.checkpoint.root;
            prop_assert_eq!(*answered.entry(size).or_insert(root), root);
        }
        // Whatever was cosigned, one of both trees has all of it.
        let fits = |tree: &Leaves| answered.iter().all(|(size, root)| tree_hash(&tree.0[..at(*size)]) == *root);
        prop_assert!(trees.iter().any(fits));
    }

    #[test]
    fn no_body_is_a_panic(body in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..400, byte in any::<u8>()) {
        let _ = Request::parse(&body);
        let mut whole = request(&Leaves::count(9), 5, 9).encode().into_bytes();
        if let Some(one) = whole.get_mut(cut) {
            *one = byte;
        }
        if let Ok(read) = Request::parse(&whole) {
            prop_assert_eq!(read.encode().into_bytes(), whole);
        }
    }
}
