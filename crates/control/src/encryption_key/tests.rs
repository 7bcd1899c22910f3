//! Keys in files.

use skans_host::files::Access;

use super::*;

fn config(file: &Path) -> Config {
    let text = format!(
        "apiVersion: skans.io/v1alpha1\ntrustDomain: a\nname: c\nencryptionKey: {{ file: {} }}\n",
        file.display()
    );
    crate::config::parse(&text, "x", |_| None).unwrap()
}

#[test]
fn what_was_made_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir.path().join("key"));
    assert!(load(&config).is_err());
    let made = load_or_make(&config).unwrap();
    assert_eq!(made.as_bytes(), load_or_make(&config).unwrap().as_bytes());
    assert_ne!(made.as_bytes(), &[0; 32]);
}

#[test]
fn raw_bytes_do_and_anything_else_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let config = config(&path);
    files::write(&path, &[7; 32], Access::PRIVATE).unwrap();
    assert_eq!(load(&config).unwrap().as_bytes(), &[7; 32]);
    for wrong in [
        "",
        "secret",
        &"0".repeat(63),
        &"g".repeat(64),
        &"A".repeat(64),
    ] {
        files::write(&path, wrong.as_bytes(), Access::PRIVATE).unwrap();
        let error = load(&config).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
