use super::*;

const ORIGIN: &str = "lab.test/cluster/main/audit/1";

fn seen(size: u64, root: u8) -> Seen {
    Seen {
        key: 7,
        size,
        root: [root; 32],
    }
}

#[test]
fn what_no_log_has_both_of_is_a_fork() {
    let known = seen(5, 1);
    assert_eq!(step(None, &known), Step::Remember);
    assert_eq!(step(Some(&known), &known), Step::Known);
    assert_eq!(step(Some(&known), &seen(5, 2)), Step::Forked);
    // With another key, everything could be signed.
    let other = Seen {
        key: 8,
        ..seen(9, 1)
    };
    assert_eq!(step(Some(&known), &other), Step::Forked);
}

#[test]
fn what_is_longer_or_shorter_has_to_be_proved() {
    let (five, nine) = (seen(5, 1), seen(9, 2));
    let (old, new) = ((5, [1; 32]), (9, [2; 32]));
    assert_eq!(
        step(Some(&five), &nine),
        Step::Prove {
            old,
            new,
            forward: true
        }
    );
    assert_eq!(
        step(Some(&nine), &five),
        Step::Prove {
            old,
            new,
            forward: false
        }
    );
    assert_eq!(step(Some(&seen(0, 0)), &nine), Step::Remember);
    assert_eq!(step(Some(&nine), &seen(0, 0)), Step::Known);
}

#[test]
fn a_checkpoint_is_of_the_log_that_it_is_shown_for() {
    let key = skans_audit::note::SigningKey::generate(ORIGIN).unwrap();
    let signed = Checkpoint::new(ORIGIN, 3, [4; 32]).sign(&key).unwrap();
    let read = Seen::read(&signed, ORIGIN).unwrap();
    assert_eq!((read.size, read.root), (3, [4; 32]));
    for (note, origin) in [
        (signed.as_str(), "lab.test/cluster/main/audit/2"),
        ("", ORIGIN),
        ("lab.test/cluster/main/audit/1\n3\nAAAA\n\n", ORIGIN),
    ] {
        assert!(Seen::read(note, origin).is_err(), "{note:?}");
    }
}

#[test]
fn what_was_seen_is_remembered_by_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(&dir.path().join("state")).unwrap();
    let watch = LogWatch::open(&state).unwrap();
    assert_eq!((watch.size(), watch.fork()), (0, None));
    let fork = Fork {
        time: 1,
        remembered: "a".to_owned(),
        shown: "b".to_owned(),
    };
    let kept = Kept {
        epoch: 2,
        checkpoint: format!("{ORIGIN}\n41\nroot\n\nsignature\n"),
        fork: Some(fork.clone()),
    };
    watch.keep(&state, kept).unwrap();
    let again = LogWatch::open(&state).unwrap();
    assert_eq!((again.size(), again.fork()), (41, Some(fork)));
}
