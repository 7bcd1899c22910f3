use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

use super::{MAX_FILE, collect};

#[test]
fn directories_are_walked_and_what_others_wrote_is_not() {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("rel/vm.args", "-x"),
        ("deps/a/sys.config", "[]."),
        (".git/sys.config", "[]."),
        ("src/a.erl", ""),
        ("config/sys.config", "[]."),
    ] {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(root.path(), root.path().join("loop")).unwrap();
    let collected = collect(&[root.path().to_owned()], &mut Cursor::new(""));
    assert!(collected.errors.is_empty());
    let names: Vec<_> = collected
        .files
        .iter()
        .map(|(name, _)| name.strip_prefix(root.path().to_str().unwrap()).unwrap())
        .collect();
    assert_eq!(names, ["/config/sys.config", "/rel/vm.args"]);
}

#[test]
fn standard_input_and_named_files_are_read_whatever_their_name() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("anything");
    fs::write(&path, "a").unwrap();
    let collected = collect(&[PathBuf::from("-"), path], &mut Cursor::new("b"));
    let texts: Vec<_> = collected
        .files
        .iter()
        .map(|(_, text)| text.as_str())
        .collect();
    assert_eq!(texts, ["b", "a"]);
}

#[test]
fn what_is_too_large_or_no_text_or_missing_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let large = root.path().join("large.config");
    let length = usize::try_from(MAX_FILE).unwrap() + 1;
    fs::write(&large, vec![b'a'; length]).unwrap();
    let binary = root.path().join("binary.config");
    fs::write(&binary, b"a\xff\xfe").unwrap();
    let missing = root.path().join("missing");
    let collected = collect(&[large, binary, missing], &mut Cursor::new(""));
    assert!(collected.files.is_empty());
    let labels: Vec<_> = collected.errors.iter().map(crate::Error::label).collect();
    assert_eq!(labels, ["too_large", "not_text", "read"]);
}
