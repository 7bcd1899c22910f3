//! Modes and owners, whatever the umask; one agent at a time.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use proptest::prelude::*;

use super::*;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

fn loosen(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_umask_of_nothing_opens_nothing() {
    let above = tempfile::tempdir().unwrap();
    let old = rustix::process::umask(rustix::fs::Mode::empty());
    let directory = above.path().join("lib/agent");
    let state = State::open(&directory);
    let written = state
        .as_ref()
        .map(|state| state.write(Item::Node("a@host"), b"key"));
    rustix::process::umask(old);
    written.unwrap().unwrap();
    let state = state.unwrap();
    for inside in [&directory, &directory.join("nodes")] {
        assert_eq!(mode(inside), 0o700, "{}", inside.display());
    }
    assert_eq!(mode(&state.path(Item::Node("a@host"))), 0o600);
    assert_eq!(mode(&directory.join("lock")), 0o600);
    assert_eq!(mode(&above.path().join("lib")), 0o755);
}

#[test]
fn what_others_may_read_or_have_put_there_is_not_taken() {
    let above = tempfile::tempdir().unwrap();
    let directory = above.path().join("agent");
    let state = State::open(&directory).unwrap();
    assert!(state.read(Item::Agent).unwrap().is_none());
    state.write(Item::Agent, b"key").unwrap();
    assert_eq!(**state.read(Item::Agent).unwrap().unwrap(), *b"key");
    loosen(&state.path(Item::Agent), 0o640);
    let error = state.read(Item::Agent).unwrap_err().to_string();
    assert!(error.contains("0640") && error.contains("0600"), "{error}");

    std::fs::rename(state.path(Item::Agent), above.path().join("key")).unwrap();
    loosen(&above.path().join("key"), 0o600);
    symlink(above.path().join("key"), state.path(Item::Agent)).unwrap();
    assert!(state.read(Item::Agent).is_err(), "a link");
    drop(state);
    loosen(&directory, 0o750);
    let error = State::open(&directory).unwrap_err().to_string();
    assert!(error.contains("0750") && error.contains("0700"), "{error}");
}

#[test]
fn two_agents_cannot_share_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent");
    let first = State::open(&path).unwrap();
    let error = State::open(&path).unwrap_err().to_string();
    assert!(error.contains("another process"), "{error}");
    drop(first);
    State::open(&path).unwrap();
}

proptest! {
    #[test]
    fn pitfall_9_a_name_steers_no_path(
        name in prop_oneof![
            ".{0,60}",
            "(\\.\\./){1,9}[a-z]{0,9}",
            prop::sample::select(vec!["/etc/passwd", "a\0b", "", "a@host", "a\nb", "\u{1b}[31m", "\u{202e}a", "."]).prop_map(str::to_owned),
            (0usize..10_000).prop_map(|length| "x".repeat(length)),
        ],
    ) {
        let directory = Path::new("/state");
        let path = Item::Node(&name).path(directory);
        let nodes = directory.join("nodes");
        prop_assert_eq!(path.parent(), Some(nodes.as_path()));
        let file = path.file_name().unwrap().to_str().unwrap();
        prop_assert!(file.len() == 36 && file.ends_with(".pem"), "{}", file);
        prop_assert!(file[..32].bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", file);
    }
}
