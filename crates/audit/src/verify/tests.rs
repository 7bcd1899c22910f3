//! A log of 600 entries, and everything that can be done to it: each is found, and named.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::cosignature::Cosigner;
use crate::export::Export;
use crate::note::SigningKey;

const ORIGIN: &str = "prod.example/cluster/main/audit/1";
const START: u64 = 1_700_000_000_000;

type Map = BTreeMap<String, Vec<u8>>;

struct Memory<'a>(&'a Map);

impl Files for Memory<'_> {
    fn read(&self, path: &str, limit: usize) -> std::result::Result<Option<Vec<u8>>, String> {
        let cut = |bytes: &Vec<u8>| bytes[..bytes.len().min(limit)].to_vec();
        Ok(self.0.get(path).map(cut))
    }

    fn list(&self) -> std::result::Result<Vec<String>, String> {
        Ok(self.0.keys().cloned().collect())
    }
}

fn key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn entries(count: u64) -> Vec<Vec<u8>> {
    let entry = |i| format!("{{\"time\":{},\"n\":{i}}}", START + i * 10).into_bytes();
    (0..count).map(entry).collect()
}

fn log(entries: &[Vec<u8>]) -> Map {
    let mut export = Export::new();
    let mut files = Map::new();
    for entry in entries {
        files.extend(export.push(entry).unwrap());
    }
    files.extend(export.partial().unwrap());
    let checkpoint = Checkpoint::new(ORIGIN, export.size(), export.root().unwrap());
    files.insert(
        CHECKPOINT.into(),
        checkpoint.sign(&key()).unwrap().into_bytes(),
    );
    files
}

fn wanted(key: &SigningKey) -> Wanted<'_> {
    Wanted {
        key: key.verifying_key(),
        witnesses: &[],
        quorum: 0,
        against: None,
        pruned_before: 0,
    }
}

fn look(files: &Map) -> Result<Report> {
    verify(&Memory(files), &wanted(&key()))
}

fn head(files: &Map) -> Checkpoint {
    Checkpoint::open(&files[CHECKPOINT], key().verifying_key()).unwrap()
}

#[test]
fn a_log_of_any_size_is_what_it_says() {
    for size in [
        0, 1, 2, 255, 256, 257, 511, 512, 513, 600, 65_536, 65_537, 66_000,
    ] {
        let report = look(&log(&entries(size))).unwrap_or_else(|error| panic!("{size}: {error}"));
        assert_eq!((report.entries, report.pruned), (size, 0));
        assert_eq!((report.warnings.len(), report.more_warnings), (0, 0));
        let times = Times {
            first: (size > 0).then_some(START),
            last: size.checked_sub(1).map(|last| START + last * 10),
        };
        assert_eq!(report.times, times);
    }
}

#[test]
fn every_byte_of_every_file_that_is_changed_is_found() {
    let files = log(&entries(600));
    assert_eq!(files.len(), 3 + 3 + 1 + 1);
    let (mut now, mut changed) = (files.clone(), 0);
    for (path, content) in &files {
        for at in 0..content.len() {
            // Another bit for each byte: every one of them is changed somewhere.
            now.get_mut(path).unwrap()[at] ^= 1 << (at % 8);
            let error = look(&now).expect_err(&format!("byte {at} of {path}"));
            assert!(!error.is_unchecked(), "{error}");
            if path.starts_with("tile/") {
                assert!(
                    error.to_string().contains(path.as_str()),
                    "{error} is of byte {at} of {path}"
                );
            }
            now.get_mut(path).unwrap()[at] ^= 1 << (at % 8);
            changed += 1;
        }
    }
    assert_eq!(now, files);
    assert!(changed > 30_000, "{changed}");
}

#[test]
fn every_file_that_is_cut_grown_or_gone_is_found() {
    let files = log(&entries(600));
    for (path, content) in &files {
        let mut gone = files.clone();
        gone.remove(path);
        let error = look(&gone).expect_err(path);
        assert!(error.to_string().contains(path.as_str()), "{error}");
        assert!(
            matches!(error.label(), "missing" | "missing_entries"),
            "{error}"
        );
        let mut lengths: Vec<_> = (0..content.len()).step_by(97).collect();
        lengths.extend([
            1,
            31,
            32,
            33,
            content.len() - 33,
            content.len() - 32,
            content.len() - 1,
        ]);
        for length in lengths {
            let mut cut = files.clone();
            cut.get_mut(path).unwrap().truncate(length);
            assert!(look(&cut).is_err(), "{path} cut to {length}");
        }
        for more in [1, 2, 3, 32, 20_000_000] {
            let mut grown = files.clone();
            grown.get_mut(path).unwrap().extend(vec![0; more]);
            let error = look(&grown).expect_err(path);
            assert!(!error.is_unchecked(), "{path} and {more} bytes: {error}");
        }
    }
}

#[test]
fn files_in_the_place_of_others_are_found() {
    let files = log(&entries(600));
    for (path, content) in &files {
        for (other, theirs) in &files {
            if content != theirs {
                let mut swapped = files.clone();
                swapped.insert(path.clone(), theirs.clone());
                assert!(look(&swapped).is_err(), "{other} as {path}");
                swapped.insert(other.clone(), content.clone());
                assert!(look(&swapped).is_err(), "{other} and {path}");
            }
        }
    }
}

/// What somebody does who can write the files and has no key: everything but the checkpoint is made anew.
fn forged(entries: &[Vec<u8>]) -> Map {
    let mut files = log(entries);
    files.insert(
        CHECKPOINT.into(),
        log(&self::entries(600))[CHECKPOINT].clone(),
    );
    files
}

#[test]
fn entries_that_are_changed_removed_moved_or_doubled_are_found() {
    for at in [0, 1, 100, 255, 256, 511, 512, 598] {
        let change = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
            let mut entries = entries(600);
            change(&mut entries);
            entries
        };
        let changes = [
            ("changed", change(&|all| all[at].push(b' '))),
            ("removed", change(&|all| drop(all.remove(at)))),
            ("moved", change(&|all| all.swap(at, at + 1))),
            ("doubled", change(&|all| all.insert(at, all[at].clone()))),
            (
                "doubled over another",
                change(&|all| all[at + 1] = all[at].clone()),
            ),
            ("cut off", change(&|all| all.truncate(at + 1))),
        ];
        for (what, entries) in changes {
            let error = look(&forged(&entries)).expect_err(what);
            assert!(!error.is_unchecked(), "{what} at {at}: {error}");
            // In the bundles alone, with the tiles as they were, the first wrong one is named.
            let mut files = log(&self::entries(600));
            let bundles = log(&entries)
                .into_iter()
                .filter(|(path, _)| path.starts_with("tile/entries/"));
            files.retain(|path, _| !path.starts_with("tile/entries/"));
            files.extend(bundles);
            let error = look(&files).expect_err(what);
            let first = (0..600)
                .find(|at| entries.get(*at) != self::entries(600).get(*at))
                .unwrap();
            match error {
                Error::Entry { index, .. } => assert_eq!(index, first as u64, "{what}"),
                Error::MissingEntries {
                    first: from, last, ..
                } => {
                    assert!(
                        (from..=last).contains(&(first as u64)),
                        "{what} at {at}: {from} to {last}"
                    );
                }
                Error::Tile { ref path, .. } => {
                    assert!(path.contains("entries"), "{what}: {error}")
                }
                other => panic!("{what} at {at}: {other}"),
            }
        }
    }
}

#[test]
fn one_who_has_the_key_and_rewrites_is_found_by_an_older_checkpoint() {
    let older = head(&log(&entries(300)));
    let (key, longer) = (key(), log(&entries(600)));
    let against = |files: &Map, older: &Checkpoint| {
        let wanted = Wanted {
            against: Some(older),
            ..wanted(&key)
        };
        verify(&Memory(files), &wanted)
    };
    assert_eq!(against(&longer, &older).unwrap().against, Some(300));
    assert_eq!(against(&longer, &head(&longer)).unwrap().against, Some(600));
    assert_eq!(against(&longer, &head(&log(&[]))).unwrap().against, Some(0));
    let shorter = against(&log(&entries(299)), &older);
    assert_eq!(
        shorter,
        Err(Error::Shorter {
            found: 299,
            wanted: 300
        })
    );
    for at in [0, 150, 299] {
        let mut rewritten = entries(600);
        rewritten[at].push(b' ');
        let files = log(&rewritten);
        assert!(look(&files).is_ok(), "it is whole in itself");
        let error = against(&files, &older).unwrap_err();
        assert!(
            matches!(error, Error::Rewritten { size: 300, .. }),
            "{error}"
        );
    }
    let mut later = entries(600);
    later[300].push(b' ');
    assert!(against(&log(&later), &older).is_ok(), "300 is not in it");
}

#[test]
fn witnesses_are_counted_and_none_twice() {
    let cosigner = |seed: u8| Cosigner::from_seed(&format!("w{seed}"), &[seed; 32]).unwrap();
    let (one, two, three) = (cosigner(2), cosigner(3), cosigner(4));
    let mut files = log(&entries(3));
    let mut note = Note::parse(&files[CHECKPOINT]).unwrap();
    let text = note.text().to_owned();
    note.add(one.cosign(&text, 5)).unwrap();
    note.add(two.cosign(&text, 6)).unwrap();
    files.insert(CHECKPOINT.into(), note.encode().into_bytes());
    let key = key();
    let ask = |files: &Map, witnesses: &[&Cosigner], quorum| {
        let keys: Vec<_> = witnesses
            .iter()
            .map(|one| one.verifying_key().clone())
            .collect();
        let wanted = Wanted {
            witnesses: &keys,
            quorum,
            ..wanted(&key)
        };
        verify(&Memory(files), &wanted).map(|report| report.witnesses)
    };
    let both = vec![("w2".to_owned(), 5), ("w3".to_owned(), 6)];
    assert_eq!(ask(&files, &[&one, &two, &three], 2), Ok(both));
    let quorum = ask(&files, &[&one, &two, &three], 3);
    assert_eq!(
        quorum,
        Err(Error::Quorum {
            found: 2,
            wanted: 3
        })
    );
    assert!(matches!(
        ask(&files, &[&one, &one], 2),
        Err(Error::Format { .. })
    ));
    let namesake = Cosigner::from_seed("else", &[2; 32]).unwrap();
    assert!(
        ask(&files, &[&one, &namesake], 1).is_err(),
        "one key under two names is one witness"
    );
    assert_eq!(ask(&files, &[&three], 0), Ok(vec![]));
    // The key of the log is no witness, and that of a witness no log.
    let wanted_log = Wanted {
        witnesses: &[key.verifying_key().clone()],
        quorum: 1,
        ..wanted(&key)
    };
    assert!(verify(&Memory(&files), &wanted_log).is_err());
    let as_log = Wanted {
        key: one.verifying_key(),
        ..wanted(&key)
    };
    assert!(verify(&Memory(&files), &as_log).is_err());
    // A cosignature of another checkpoint.
    let mut note = Note::parse(&files[CHECKPOINT]).unwrap();
    note.add(three.cosign("other\n", 7)).unwrap();
    files.insert(CHECKPOINT.into(), note.encode().into_bytes());
    assert!(matches!(
        ask(&files, &[&one, &two, &three], 2),
        Err(Error::Forged { .. })
    ));
    assert!(
        ask(&files, &[&one, &two], 2).is_ok(),
        "nobody asked for the third"
    );
}

#[test]
fn the_key_of_another_log_verifies_nothing() {
    let files = log(&entries(3));
    let other = SigningKey::from_seed(ORIGIN, &[9; 32]).unwrap();
    let error = verify(&Memory(&files), &wanted(&other)).unwrap_err();
    assert!(matches!(error, Error::Unsigned { .. }), "{error}");
}

#[test]
fn what_was_pruned_is_bound_and_what_was_not_is_missed() {
    let mut files = log(&entries(600));
    files.remove("tile/entries/000");
    let error = look(&files).unwrap_err();
    assert!(
        matches!(
            error,
            Error::MissingEntries {
                first: 0,
                last: 255,
                ..
            }
        ),
        "{error}"
    );
    let key = key();
    let pruned = |files: &Map, before| {
        let wanted = Wanted {
            pruned_before: before,
            ..wanted(&key)
        };
        verify(&Memory(files), &wanted)
    };
    assert!(pruned(&files, 255).is_err());
    let report = pruned(&files, 256).unwrap();
    assert_eq!((report.entries, report.pruned), (344, 256));
    // Their hashes are looked at still.
    let mut changed = files.clone();
    changed.get_mut("tile/0/000").unwrap()[40] ^= 1;
    assert!(
        pruned(&changed, 256)
            .unwrap_err()
            .to_string()
            .contains("tile/0/000")
    );
    changed.remove("tile/0/000");
    assert!(pruned(&changed, 256).is_err());
    // A partial bundle is never pruned: it will grow.
    files.remove("tile/entries/001");
    files.remove("tile/entries/002.p/88");
    let error = pruned(&files, 600).unwrap_err();
    assert!(
        matches!(
            error,
            Error::MissingEntries {
                first: 512,
                last: 599,
                ..
            }
        ),
        "{error}"
    );
    // What is there is looked at, pruned or not.
    let mut files = log(&entries(600));
    files.get_mut("tile/entries/000").unwrap()[5] ^= 1;
    assert!(pruned(&files, 600).is_err());
}

#[test]
fn what_is_beside_the_log_is_told_from_what_claims_to_be_of_it() {
    let mut files = log(&entries(600));
    files.insert("README".into(), Vec::new());
    files.insert("tilexyz".into(), Vec::new());
    let warnings = look(&files).unwrap().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for path in [
        "tile/0/003",
        "tile/0/002",
        "tile/entries/003",
        "tile/0/002.p/89",
        "tile/2/000.p/1",
        "tile/x",
        "tile/0/0",
    ] {
        let mut files = files.clone();
        files.insert(path.into(), files["tile/0/000"].clone());
        let error = look(&files).expect_err(path);
        assert!(matches!(error, Error::Stray { .. }), "{path}: {error}");
    }
    // Whoever made the copy may write what he likes there, and not on somebody's screen.
    let mut odd = files.clone();
    odd.insert("tile/a\n\u{1b}[2Kentries".into(), Vec::new());
    let error = look(&odd).unwrap_err().to_string();
    assert!(
        error.starts_with("\"tile/a\\n\\u{1b}[2Kentries\": found"),
        "{error}"
    );
    // Partial ones of older checkpoints may stay, if they are the beginning of what there is.
    let older = log(&entries(300));
    let mut both = files.clone();
    both.extend(
        older
            .iter()
            .filter(|(path, _)| path.contains(".p/"))
            .map(|(a, b)| (a.clone(), b.clone())),
    );
    assert_eq!(look(&both).unwrap().warnings.len(), 2);
    for path in older.keys().filter(|path| path.contains(".p/")) {
        let mut changed = both.clone();
        let bytes = changed.get_mut(path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(
            look(&changed)
                .unwrap_err()
                .to_string()
                .contains(path.as_str())
        );
    }
}

#[test]
fn a_clock_that_went_back_is_told() {
    let mut entries = entries(5);
    entries[3] = format!("{{\"time\":{}}}", START + 20 - MAX_BACK).into_bytes();
    assert_eq!(look(&log(&entries)).unwrap().warnings, []);
    entries[3] = format!("{{\"time\":{}}}", START + 19 - MAX_BACK).into_bytes();
    let back = Warning::TimeWentBack {
        entry: 3,
        by_ms: MAX_BACK + 1,
    };
    assert_eq!(look(&log(&entries)).unwrap().warnings, [back]);
    for odd in [
        "",
        "{}",
        "[1]",
        "{\"time\":-1}",
        "{\"time\":\"now\"}",
        "{\"time\":1}x",
    ] {
        entries[3] = odd.into();
        let report = look(&log(&entries)).unwrap();
        assert_eq!(report.warnings, [Warning::NoTime { entry: 3 }], "{odd}");
    }
    let many = look(&log(&vec![b"x".to_vec(); 300])).unwrap();
    assert_eq!(
        (many.warnings.len(), many.more_warnings),
        (MAX_WARNINGS, 200)
    );
}

struct Broken;

impl Files for Broken {
    fn read(&self, _: &str, _: usize) -> std::result::Result<Option<Vec<u8>>, String> {
        Err("cannot read: the disk is on fire".into())
    }

    fn list(&self) -> std::result::Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

#[test]
fn what_cannot_be_read_is_not_said_to_be_wrong() {
    assert!(verify(&Broken, &wanted(&key())).unwrap_err().is_unchecked());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_done_to_a_file_is_found(size in 1u64..700, file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), with in prop::collection::vec(any::<u8>(), 0..40), cut in 0usize..40) {
        let files = log(&entries(size));
        let path = file.get(&files.keys().cloned().collect::<Vec<_>>()).clone();
        let mut changed = files.clone();
        let content = changed.get_mut(&path).unwrap();
        let at = at.index(content.len());
        let end = (at + cut).min(content.len());
        content.splice(at..end, with);
        prop_assert_eq!(look(&changed).is_ok(), changed == files);
    }
}
