//! A copy of a log is checked offline by `skans audit verify`, as docs/audit.md has it: whatever was changed, removed, moved, doubled or
//! signed anew since is found, and the status says which of done, wrong, misused and not looked at it was.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use skans_audit::checkpoint::Checkpoint;
use skans_audit::cosignature::Cosigner;
use skans_audit::export::{CHECKPOINT, Export};
use skans_audit::note::{Note, SigningKey};
use skans_lab::plan::find_skans;
use tokio::process::Command;

const PAGE: &str = include_str!("../../docs/audit.md");
const ORIGIN: &str = "prod.example/cluster/main/audit/1";

fn key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn witness() -> Cosigner {
    Cosigner::from_seed("witness.example/w1", &[2; 32]).unwrap()
}

fn entries(count: u64) -> Vec<String> {
    let entry = |n| format!(r#"{{"time":{},"n":{n}}}"#, 1_700_000_000_000 + n * 1000);
    (0..count).map(entry).collect()
}

/// The files of a log, signed and cosigned.
fn log(entries: &[String]) -> BTreeMap<String, Vec<u8>> {
    let mut export = Export::new();
    let mut files = BTreeMap::new();
    for entry in entries {
        files.extend(export.push(entry.as_bytes()).unwrap());
    }
    files.extend(export.partial().unwrap());
    let checkpoint = Checkpoint::new(ORIGIN, export.size(), export.root().unwrap());
    let mut note = Note::parse(checkpoint.sign(&key()).unwrap().as_bytes()).unwrap();
    let cosignature = witness().cosign(note.text(), 1_700_001_000);
    note.add(cosignature).unwrap();
    files.insert(CHECKPOINT.into(), note.encode().into_bytes());
    files
}

struct Copy {
    directory: tempfile::TempDir,
}

impl Copy {
    fn of(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        Self { directory }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// The command of the page that begins with this comment, and what it said.
    async fn ask(&self, first: &str, more: &[&str]) -> (Option<i32>, String, String) {
        let older = self.directory.path().with_extension("older");
        let command = command(first)
            .replace("COPY", &self.directory.path().display().to_string())
            .replace("LOG-KEY", &key().vkey())
            .replace("WITNESS-KEY", &witness().vkey())
            .replace("OLDER", &older.display().to_string());
        let mut words = command.split_whitespace();
        assert_eq!(words.next(), Some("skans"));
        fs::write(&older, &log(&entries(300))[CHECKPOINT]).unwrap();
        let said = Command::new(find_skans().unwrap())
            .args(words)
            .args(more)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        fs::remove_file(&older).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (said.status.code(), text(said.stdout), text(said.stderr))
    }

    async fn verify(&self) -> (Option<i32>, String) {
        let (status, out, err) = self.ask("Check a copy of the log", &[]).await;
        (status, out + &err)
    }
}

/// The line below a comment of the page.
fn command(first: &str) -> String {
    let mut lines = PAGE.lines();
    assert!(
        lines.any(|line| line == format!("# {first}")),
        "the page has no {first:?}"
    );
    lines.next().unwrap().to_owned()
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_log_that_is_what_it_says_is_told_so() {
    let copy = Copy::of(&log(&entries(600)));
    let (status, said) = copy.verify().await;
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("600, each as it was logged") && said.contains(ORIGIN),
        "{said}"
    );
    let others = "Check it against what others know";
    let (status, out, err) = copy.ask(others, &[]).await;
    assert_eq!(status, Some(0), "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["verified"], true);
    assert_eq!(
        (&report["size"], &report["against"]),
        (&600.into(), &300.into())
    );
    assert_eq!(report["witnesses"][0]["name"], "witness.example/w1");
    assert_eq!(report["warnings"], serde_json::json!([]));
}

#[tokio::test]
async fn what_was_done_to_it_is_found_and_named() {
    let files = log(&entries(600));
    type Deed = (&'static str, fn(&Copy), &'static str);
    let deeds: [Deed; 9] = [
        (
            "an entry changed",
            |copy| {
                change(&copy.path("tile/entries/001"), |bytes| {
                    let at = bytes
                        .windows(7)
                        .position(|seven| seven == b"\"n\":300")
                        .unwrap();
                    bytes[at + 6] = b'1';
                })
            },
            "entry 300 (tile/entries/001)",
        ),
        (
            "a hash changed",
            |copy| change(&copy.path("tile/0/000"), |bytes| bytes[32 * 7] ^= 1),
            "tile/0/000",
        ),
        (
            "a partial tile changed",
            |copy| change(&copy.path("tile/0/002.p/88"), |bytes| bytes[3] ^= 1),
            "tile/0/002.p/88",
        ),
        (
            "a file removed",
            |copy| fs::remove_file(copy.path("tile/entries/001")).unwrap(),
            "entries 256 to 511",
        ),
        (
            "the checkpoint removed",
            |copy| fs::remove_file(copy.path(CHECKPOINT)).unwrap(),
            "checkpoint",
        ),
        (
            "two files in each other's place",
            |copy| {
                fs::rename(copy.path("tile/entries/000"), copy.path("x")).unwrap();
                fs::rename(copy.path("tile/entries/001"), copy.path("tile/entries/000")).unwrap();
                fs::rename(copy.path("x"), copy.path("tile/entries/001")).unwrap();
            },
            "entry 0 (tile/entries/000)",
        ),
        (
            "the end cut off",
            |copy| {
                change(&copy.path("tile/entries/002.p/88"), |bytes| {
                    bytes.truncate(bytes.len() - 1)
                })
            },
            "tile/entries/002.p/88",
        ),
        (
            "something added",
            |copy| {
                let _ =
                    fs::copy(copy.path("tile/entries/000"), copy.path("tile/entries/003")).unwrap();
            },
            "tile/entries/003",
        ),
        (
            "the size changed",
            |copy| {
                change(&copy.path(CHECKPOINT), |bytes| {
                    let at = bytes.windows(4).position(|four| four == b"\n600").unwrap();
                    bytes[at + 1] = b'5';
                })
            },
            ORIGIN,
        ),
    ];
    for (what, deed, wanted) in deeds {
        let copy = Copy::of(&files);
        deed(&copy);
        let (status, said) = copy.verify().await;
        assert_eq!(status, Some(1), "{what}: {said}");
        assert!(said.contains(wanted), "{what}: {said}");
    }
}

#[tokio::test]
async fn a_log_that_was_signed_anew_is_found_by_what_others_kept() {
    let mut rewritten = entries(600);
    rewritten[20] = rewritten[20].replace("20}", "21}");
    let copy = Copy::of(&log(&rewritten));
    let (status, said) = copy.verify().await;
    assert_eq!(status, Some(0), "in itself it is whole: {said}");
    let others = "Check it against what others know";
    let (status, out, err) = copy.ask(others, &[]).await;
    assert_eq!(status, Some(1), "{out}{err}");
    assert!(err.contains("the log was rewritten"), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&report["verified"], &report["error"]["kind"]),
        (&false.into(), &"rewritten".into())
    );
    // Without its witness it is not believed either.
    let copy = Copy::of(&log(&entries(600)));
    change(&copy.path(CHECKPOINT), |bytes| {
        let note = Note::parse(bytes).unwrap();
        *bytes = format!("{}\n{}", note.text(), note.signatures()[0].line()).into_bytes();
    });
    let (status, _, err) = copy.ask(others, &[]).await;
    assert_eq!(status, Some(1), "{err}");
    assert!(err.contains("found 0 cosignatures"), "{err}");
}

#[tokio::test]
async fn what_was_not_looked_at_is_not_said_to_be_wrong() {
    let first = "Check a copy of the log";
    let copy = Copy::of(&log(&entries(300)));
    let (status, _, err) = copy.ask(first, &["--quorum", "1"]).await;
    assert_eq!(status, Some(2), "{err}");
    let key = witness().vkey();
    let (status, _, err) = copy.ask(first, &["--witness", &key, "--quorum", "2"]).await;
    assert_eq!(status, Some(2), "{err}");
    let (status, _, err) = copy.ask(first, &["--witness", "nonsense"]).await;
    assert_eq!(status, Some(2), "{err}");
    let (status, _, err) = copy.ask(first, &["--against", "/nowhere"]).await;
    assert_eq!(status, Some(3), "{err}");
    // A link leads elsewhere: what is there is no part of this copy.
    fs::rename(copy.path("tile/0/000"), copy.path("moved")).unwrap();
    symlink(copy.path("moved"), copy.path("tile/0/000")).unwrap();
    let (status, out, err) = copy.ask(first, &["--output", "json"]).await;
    assert_eq!(status, Some(3), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["verified"], Value::Null);
    let gone = Copy::of(&BTreeMap::new());
    fs::remove_dir(gone.directory.path()).unwrap();
    let (status, said) = gone.verify().await;
    assert_eq!(status, Some(3), "{said}");
}

#[tokio::test]
async fn what_was_removed_by_age_is_told_from_what_was_deleted() {
    let copy = Copy::of(&log(&entries(600)));
    fs::remove_file(copy.path("tile/entries/000")).unwrap();
    assert_eq!(copy.verify().await.0, Some(1));
    let first = "Check a copy of the log";
    let (status, out, err) = copy.ask(first, &["--pruned-before", "256"]).await;
    assert_eq!(status, Some(0), "{err}");
    assert!(
        out.contains("256 more, of which the hashes are there"),
        "{out}"
    );
    fs::remove_file(copy.path("tile/entries/001")).unwrap();
    let (status, _, err) = copy.ask(first, &["--pruned-before", "256"]).await;
    assert_eq!(status, Some(1), "{err}");
}
