//! Modes, links and bounds.

use super::*;
use std::os::unix::fs::symlink;

const OURS: Access = Access {
    mode: 0o600,
    owner: None,
};

#[test]
fn a_key_with_a_loose_mode_is_refused_and_the_mode_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    for mode in [0o644, 0o604, 0o620, 0o602] {
        write(&path, b"secret", Access { mode, owner: None }).unwrap();
        let error = read_secret(&path, 100).unwrap_err().to_string();
        assert!(error.contains(&format!("{mode:04o}")), "{error}");
    }
    write(&path, b"secret", OURS).unwrap();
    assert_eq!(read_secret(&path, 100).unwrap(), "secret");
    write(
        &path,
        b"secret",
        Access {
            mode: 0o440,
            owner: None,
        },
    )
    .unwrap();
    assert_eq!(
        read_secret(&path, 100).unwrap(),
        "secret",
        "our own group may"
    );
}

#[test]
fn a_file_over_the_bound_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    write(&path, &[b'x'; 11], OURS).unwrap();
    assert!(read_text(&path, 10).is_err());
    assert!(read_text(&path, 11).is_ok());
}

#[test]
fn a_link_is_replaced_and_its_target_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    fs::write(&target, "theirs").unwrap();
    symlink(&target, &link).unwrap();
    symlink(&target, dir.path().join("link.new")).unwrap();
    write(&link, b"ours", OURS).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "theirs");
    assert_eq!(fs::read_to_string(&link).unwrap(), "ours");
    assert!(!link.symlink_metadata().unwrap().is_symlink());
}

#[test]
fn a_directory_that_others_write_to_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = dir.path().join("open");
    directory(&open, 0o777).unwrap();
    assert!(directory(&open, 0o700).is_err());
    let closed = dir.path().join("a/b");
    directory(&closed, 0o700).unwrap();
    directory(&closed, 0o700).unwrap();
    assert_eq!(closed.metadata().unwrap().mode() & 0o777, 0o700);
    symlink(&closed, dir.path().join("c")).unwrap();
    assert!(directory(&dir.path().join("c"), 0o700).is_err());
}

#[test]
fn the_group_of_a_kubernetes_volume_is_ours() {
    let (user, group, volume) = (1000, 1000, 2000);
    assert!(is_our_group(0, volume, group, &[volume]), "fsGroup");
    assert!(is_our_group(user, group, group, &[]));
    assert!(!is_our_group(user, volume, group, &[volume]), "not root's");
    assert!(!is_our_group(0, volume, group, &[]));
}
