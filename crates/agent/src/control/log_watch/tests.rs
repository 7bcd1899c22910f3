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

/// An agent that was never enrolled: there is nobody to ask for a proof.
fn control(directory: &std::path::Path) -> Control {
    use std::os::unix::fs::PermissionsExt;
    let address = skans_identity::token::Address::parse("127.0.0.1:8443").unwrap();
    let token = skans_identity::token::JoinToken::draw([7; 32], vec![address]).unwrap();
    let path = directory.join("token");
    std::fs::write(&path, token.to_text().as_bytes()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let at = directory.display();
    let text = format!(
        "apiVersion: skans.io/v1alpha1\ntrustDomain: lab.test\ncluster: main\nnodes: [{{name: a@host}}]\nidentity: {{control: {{joinToken: {at}/token, stateDirectory: {at}/state}}}}\n"
    );
    let config = crate::config::parse(&text, "test", |_| None).unwrap();
    let crate::config::IdentitySource::Control(source) = &config.identity else {
        panic!("{text}");
    };
    Control::open(
        &config,
        source,
        &crate::identities::Identities::new(&config).unwrap(),
        None,
    )
    .unwrap()
}

/// A head of an epoch, with a checkpoint of so many entries under this root.
fn head(epoch: u64, size: u64, root: u8) -> Head {
    let origin = format!("lab.test/cluster/main/audit/{epoch}");
    let key = skans_audit::note::SigningKey::from_seed(&origin, &[9; 32]).unwrap();
    Head {
        epoch,
        deny_seq: 0,
        deny_hash: [0; 32],
        bundle: 1,
        policy: 0,
        time: 1,
        trust_domain: skans_identity::id::TrustDomain::parse("lab.test").unwrap(),
        cluster: "main".to_owned(),
        checkpoint: Checkpoint::new(origin.as_str(), size, [root; 32])
            .sign(&key)
            .unwrap(),
    }
}

#[tokio::test]
async fn what_a_head_says_is_held_against_what_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    let control = control(dir.path());
    assert_eq!(control.look_at_log(&head(1, 5, 1)).await.unwrap(), None);
    assert_eq!(control.log.size(), 5);
    // The same size, with another root.
    let fork = control.look_at_log(&head(1, 5, 2)).await.unwrap().unwrap();
    assert_eq!(fork.remembered, head(1, 5, 1).checkpoint);
    assert_eq!(fork.shown, head(1, 5, 2).checkpoint);
    // What was remembered stays, and is told of once: also if something else is shown.
    assert_eq!(control.look_at_log(&head(1, 5, 3)).await.unwrap(), None);
    assert_eq!(control.log.fork(), Some(fork.clone()));
    let kept = control.log.lock().checkpoint.clone();
    assert_eq!(kept, head(1, 5, 1).checkpoint);
    // The log of a later epoch is another one, and what was found is not forgotten with it.
    assert_eq!(control.look_at_log(&head(2, 3, 4)).await.unwrap(), None);
    assert_eq!((control.log.size(), control.log.fork()), (3, Some(fork)));
    // One that has ended is not gone back to.
    assert_eq!(control.look_at_log(&head(1, 5, 1)).await.unwrap(), None);
    assert_eq!(control.log.size(), 3);
    // Nobody can be asked, and so nothing is believed.
    assert!(control.look_at_log(&head(2, 9, 4)).await.is_err());
    assert_eq!(control.log.size(), 3);
}
