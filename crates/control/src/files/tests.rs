//! Files with modes, links and owners that are not as they should be.

use std::os::unix::fs::symlink;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    write(&path, b"secret", 0o600).unwrap();
    assert_eq!(&**read_secret(&path, 10).unwrap(), b"secret");
    for wrong in [0o644, 0o604, 0o660, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(wrong)).unwrap();
        let error = read_secret(&path, 10).unwrap_err().to_string();
        assert!(error.contains(&format!("{wrong:04o}")), "{error}");
    }
}

#[test]
fn what_is_too_long_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    write(&path, &[b'x'; 11], 0o600).unwrap();
    assert!(read_secret(&path, 10).is_err());
    assert!(read_text(&path, 10).is_err());
    assert!(read_text(&path, 11).is_ok());
}

#[test]
fn a_key_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    write_new(&path, b"first", 0o600).unwrap();
    assert!(write_new(&path, b"second", 0o600).is_err());
    assert_eq!(&**read_secret(&path, 10).unwrap(), b"first");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn no_link_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, "theirs").unwrap();
    symlink(&elsewhere, dir.path().join("key.new")).unwrap();
    symlink(&elsewhere, dir.path().join("key")).unwrap();
    write(&dir.path().join("key"), b"ours", 0o600).unwrap();
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "theirs");
    symlink(&elsewhere, dir.path().join("other")).unwrap();
    assert!(write_new(&dir.path().join("other"), b"ours", 0o600).is_err());
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "theirs");
}

#[test]
fn a_directory_that_others_can_enter_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    private_directory(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    private_directory(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
    assert!(private_directory(&path).is_err());
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(private_directory(&link).is_err());
}
