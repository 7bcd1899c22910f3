//! Files with modes, links and owners that are not as they should be; bounds.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::read::is_our_group;
use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_key_with_a_loose_mode_is_refused_and_the_mode_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    for mode in [0o644, 0o604, 0o620, 0o602, 0o601] {
        write(&path, b"secret", Access { mode, owner: None }).unwrap();
        let error = read_secret(&path, 100).unwrap_err().to_string();
        assert!(error.contains(&format!("{mode:04o}")), "{error}");
    }
    for (mode, who) in [(0o600, "we"), (0o440, "our own group")] {
        write(&path, b"secret", Access { mode, owner: None }).unwrap();
        assert_eq!(&**read_secret(&path, 100).unwrap(), b"secret", "{who} may");
    }
    assert_eq!(&**read_secret_text(&path, 100).unwrap(), "secret");
}

#[test]
fn a_file_over_the_bound_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    write(&path, &[b'x'; 11], Access::PRIVATE).unwrap();
    assert!(read_text(&path, 10).is_err());
    assert!(read_secret(&path, 10).is_err());
    assert!(read_private(&path, 10).is_err());
    assert!(read_text(&path, 11).is_ok());
    assert!(read_private(&path, 11).unwrap().is_some());
}

#[test]
fn what_is_no_text_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    write(&path, &[0xFF], Access::PRIVATE).unwrap();
    assert!(read_text(&path, 10).is_err());
    assert!(read_secret_text(&path, 10).is_err());
    assert_eq!(read_own(&path, Access::PRIVATE, 10), None);
}

#[test]
fn a_link_is_replaced_and_its_target_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    fs::write(&target, "theirs").unwrap();
    symlink(&target, &link).unwrap();
    symlink(&target, dir.path().join("link.new")).unwrap();
    write(&link, b"ours", Access::PRIVATE).unwrap();
    assert_eq!(fs::read_to_string(&link).unwrap(), "ours");
    assert!(!link.symlink_metadata().unwrap().is_symlink());
    let other = dir.path().join("other");
    symlink(&target, &other).unwrap();
    assert!(write_new(&other, b"ours").is_err());
    assert!(read_private(&other, 10).is_err());
    assert_eq!(fs::read_to_string(&target).unwrap(), "theirs");
}

#[test]
fn a_key_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    write_new(&path, b"first").unwrap();
    assert!(write_new(&path, b"second").is_err());
    assert!(New::beside(&path).is_err());
    assert_eq!(&**read_secret(&path, 10).unwrap(), b"first");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_is_not_finished_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup");
    let mut new = New::beside(&path).unwrap();
    new.put(b"half").unwrap();
    drop(new);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let mut new = New::beside(&path).unwrap();
    new.put(b"who").unwrap();
    new.put(b"le").unwrap();
    new.finish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
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
    assert_eq!(mode(&closed), 0o700);
    symlink(&closed, dir.path().join("c")).unwrap();
    assert!(directory(&dir.path().join("c"), 0o700).is_err());
}

#[test]
fn a_directory_of_keys_that_others_can_enter_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    private_directory(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    private_directory(&path).unwrap();
    set_mode(&path, 0o750);
    assert!(private_directory(&path).is_err());
    set_mode(&path, 0o700);
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(private_directory(&link).is_err());
}

#[test]
fn one_process_at_a_time_holds_a_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let held = lock(&path, false).unwrap();
    assert!(lock(&path, false).is_err());
    drop(held);
    lock(&path, true).unwrap();
}

#[test]
fn the_group_of_a_kubernetes_volume_is_ours() {
    let (user, group, volume) = (1000, 1000, 2000);
    assert!(is_our_group(0, volume, group, &[volume]), "fsGroup");
    assert!(is_our_group(user, group, group, &[]));
    assert!(!is_our_group(user, volume, group, &[volume]), "not root's");
    assert!(!is_our_group(0, volume, group, &[]));
}
