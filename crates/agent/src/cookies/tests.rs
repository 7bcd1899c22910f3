//! What is kept over a restart, and what is not.

use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

const ALIVE: &str = "b";

/// As an agent that runs as root does for nodes of another user; where the tests do not, of its own.
fn user() -> Option<u32> {
    let own = rustix::process::geteuid();
    Some(if own.is_root() { 65_533 } else { own.as_raw() })
}

fn prepare(directory: &Path) -> Cookies {
    Cookies::prepare(directory, &[(ALIVE.to_owned(), user())], user()).unwrap()
}

#[test]
fn an_agent_that_starts_again_keeps_the_cookies_of_its_users() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (prepare(dir.path()), prepare(dir.path()));
    assert_eq!(first.of(ALIVE), second.of(ALIVE));
    assert_eq!(first.of("rem-1-b"), second.of("rem-1-b"));
    assert_ne!(first.of(ALIVE), first.of("rem-1-b"));
    for path in [first.file(ALIVE), first.file("rem-1-b")] {
        let meta = path.metadata().unwrap();
        assert_eq!((meta.mode() & 0o7777, Some(meta.uid())), (0o400, user()));
    }
}

#[test]
fn a_cookie_that_others_could_read_or_that_is_a_link_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let first = prepare(dir.path());
    let (node, tools) = (first.file(ALIVE), first.file("rem-1-b"));
    std::fs::set_permissions(&node, std::fs::Permissions::from_mode(0o444)).unwrap();
    let planted = dir.path().join("planted");
    std::fs::rename(&tools, &planted).unwrap();
    symlink(&planted, &tools).unwrap();
    let second = prepare(dir.path());
    assert_ne!(first.of(ALIVE), second.of(ALIVE));
    assert_ne!(first.of("rem-1-b"), second.of("rem-1-b"));
    assert_eq!(node.metadata().unwrap().mode() & 0o7777, 0o400);
    assert!(!tools.is_symlink());
}

#[test]
fn nothing_in_the_place_of_a_cookie_makes_the_start_wait_or_grow() {
    let dir = tempfile::tempdir().unwrap();
    let tools = prepare(dir.path()).file("rem-1-b");
    std::fs::remove_file(&tools).unwrap();
    symlink("/dev/zero", &tools).unwrap();
    prepare(dir.path());
    std::fs::remove_file(&tools).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o400);
    rustix::fs::mknodat(rustix::fs::CWD, &tools, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    prepare(dir.path());
    assert!(tools.metadata().unwrap().is_file());
}
