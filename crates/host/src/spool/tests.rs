//! What a spool keeps whatever happens to its files, and how its room is divided.

use std::collections::BTreeMap;
use std::fs::File as OpenFile;

use proptest::prelude::*;

use super::*;

const LIMIT: u64 = 2 * 1024 * 1024;
/// Spools that may be left behind.
const MOST_LEFT: usize = 4;

fn fresh() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events");
    (directory, path)
}

fn body(number: u64, length: usize) -> Vec<u8> {
    let mut text = format!("{{\"n\":{number}").into_bytes();
    text.resize(text.len() + length, b' ');
    text.push(b'}');
    text
}

/// All that can be read, by number.
fn held(spool: &mut Spool) -> BTreeMap<u64, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut from = 1;
    loop {
        let batch = spool.read(from, 7, 4096).unwrap();
        if batch.bodies.is_empty() {
            return all;
        }
        from = batch.first;
        for body in batch.bodies {
            all.insert(from, body);
            from += 1;
        }
    }
}

/// The file that is written to.
fn newest(spool: &Spool) -> PathBuf {
    spool.segments.back().unwrap().path.clone()
}

#[test]
fn numbers_go_on_after_a_restart_and_what_was_kept_is_there() {
    let (_directory, path) = fresh();
    let mut spool = open(&path, LIMIT).unwrap();
    let id = *spool.id();
    for number in 1..=5 {
        assert_eq!(
            spool.put(Room::Share(1), &body(number, 10)).unwrap(),
            number
        );
    }
    assert!(
        held(&mut spool).is_empty(),
        "nothing is read before it is durable"
    );
    spool.sync().unwrap();
    assert_eq!(held(&mut spool).len(), 5);
    drop(spool);
    let mut spool = open(&path, LIMIT).unwrap();
    assert_eq!((*spool.id(), spool.next()), (id, 6));
    assert_eq!(held(&mut spool)[&3], body(3, 10));
    assert_eq!(spool.put(Room::Reserved, b"{}").unwrap(), 6);
}

#[test]
fn another_process_gets_another_spool_and_reads_this_one_when_it_is_left() {
    let (_directory, path) = fresh();
    let mut first = open(&path, LIMIT).unwrap();
    first.put(Room::Share(1), b"{}").unwrap();
    let second = open(&path, LIMIT).unwrap();
    assert_ne!(first.id(), second.id());
    let left = first.directory.clone();
    assert!(remains(&left).unwrap().is_none(), "it is in use");
    drop(first);
    let mut rest = remains(&left).unwrap().unwrap();
    assert_eq!(held(&mut rest).len(), 1);
    rest.taken(1);
    assert!(rest.is_empty());
    remove(rest).unwrap();
    assert_eq!(all(&path).unwrap().len(), 1);
}

#[test]
fn a_machine_that_was_started_anew_gives_no_number_twice() {
    let (_directory, path) = fresh();
    for _ in 0..MOST_LEFT {
        let mut spool = open(&path, LIMIT).unwrap();
        // As if it had been written before.
        spool.boot = [7; 16];
        spool.put(Room::Share(1), b"{}").unwrap();
        let file = newest(&spool);
        let header = Header {
            spool: *spool.id(),
            boot: [7; 16],
            first: 1,
        };
        drop(spool);
        let file = OpenFile::options().write(true).open(file).unwrap();
        file.write_all_at(&header.encode(), 0).unwrap();
    }
    assert_eq!(all(&path).unwrap().len(), MOST_LEFT);
    // There is a bound, and then numbers are left out instead.
    let spool = open(&path, LIMIT).unwrap();
    assert_eq!(all(&path).unwrap().len(), MOST_LEFT);
    assert!(spool.next() > 60_000);
}

#[test]
fn what_was_taken_makes_room() {
    let (_directory, path) = fresh();
    let mut spool = open(&path, LIMIT).unwrap();
    let mut kept = 0;
    while spool.put(Room::Share(0), &body(0, 1000)).is_ok() {
        kept += 1;
    }
    assert!(
        spool.bytes() <= LIMIT && spool.bytes() > LIMIT / 2,
        "{}",
        spool.bytes()
    );
    assert!(spool.is_blocked());
    spool.sync().unwrap();
    spool.taken(kept / 2);
    assert!(spool.put(Room::Share(0), &body(0, 1000)).is_ok());
    assert!(!spool.is_blocked());
    assert_eq!(*held(&mut spool).keys().next_back().unwrap(), kept);
    let restarted = {
        drop(spool);
        open(&path, LIMIT).unwrap()
    };
    assert_eq!(restarted.next(), kept + 2);
}

#[test]
fn who_floods_leaves_room_for_everybody_else() {
    let (_directory, path) = fresh();
    let mut spool = open(&path, LIMIT).unwrap();
    let fill = |spool: &mut Spool, whose| {
        let mut kept = 0_u64;
        while spool.put(Room::Share(whose), &body(0, 500)).is_ok() {
            kept += 1;
        }
        kept * 540
    };
    let alone = fill(&mut spool, 1);
    assert!(alone < LIMIT / 4 && alone > LIMIT / 6, "{alone}");
    assert!(matches!(
        spool.put(Room::Share(1), b"{}".repeat(300).as_slice()),
        Err(Refused::Share)
    ));
    assert!(!spool.is_blocked(), "a flood of one is nobody else's");
    for whose in 2..12 {
        let more = fill(&mut spool, whose);
        assert!(more > LIMIT / 100, "{whose}: {more}");
    }
    // Its share is counted after a restart as well.
    drop(spool);
    let mut spool = open(&path, LIMIT).unwrap();
    assert!(spool.put(Room::Share(1), &body(0, 500)).is_err());
    assert!(spool.put(Room::Share(77), &body(0, 500)).is_ok());
}

#[test]
fn what_must_not_be_lost_has_room_in_a_full_spool() {
    let (_directory, path) = fresh();
    let mut spool = open(&path, LIMIT).unwrap();
    while spool.put(Room::Share(0), &body(0, 1000)).is_ok() {}
    let refused = spool.put(Room::Share(9), b"{}".repeat(500).as_slice());
    assert!(refused.is_err());
    let mut kept = 0;
    while spool.put(Room::Reserved, &body(0, 500)).is_ok() {
        kept += 1;
    }
    assert!(kept >= 50, "{kept}");
    // And after all of it was taken there is room as before.
    spool.sync().unwrap();
    spool.taken(spool.next() - 1);
    let next = spool.next();
    assert_eq!(spool.put(Room::Share(0), &body(0, 1000)).unwrap(), next);
}

#[test]
fn losses_are_remembered_until_they_are_told() {
    let (_directory, path) = fresh();
    let mut spool = open(&path, LIMIT).unwrap();
    spool.lose(3, 1000);
    spool.lose(4, 2000);
    spool.sync().unwrap();
    drop(spool);
    let mut spool = open(&path, LIMIT).unwrap();
    let lost = Lost {
        count: 7,
        first: 1000,
        last: 2000,
    };
    assert_eq!(spool.lost(), lost);
    spool.lose(1, 3000);
    spool.told(lost);
    assert_eq!(spool.lost().count, 1);
    spool.told(spool.lost());
    spool.sync().unwrap();
    drop(spool);
    assert_eq!(open(&path, LIMIT).unwrap().lost(), Lost::default());
}

#[test]
fn a_broken_record_costs_what_follows_in_its_file_and_nothing_else() {
    let (_directory, path) = fresh();
    let mut spool = open(&path, LIMIT).unwrap();
    for number in 1..=20 {
        spool.put(Room::Share(0), &body(number, 100)).unwrap();
    }
    spool.sync().unwrap();
    // While it runs, behind its back.
    let file = OpenFile::options()
        .write(true)
        .open(newest(&spool))
        .unwrap();
    file.write_all_at(b"X", HEADER as u64 + 10 * 140).unwrap();
    let before = held(&mut spool).len() as u64;
    assert!((5..15).contains(&before), "{before}");
    // It goes on, in another file.
    assert_eq!(spool.put(Room::Share(0), b"{}").unwrap(), 21);
    spool.sync().unwrap();
    let all = held(&mut spool);
    assert_eq!(all.len() as u64, before + 1);
    assert_eq!(all[&21], b"{}");
    drop(spool);
    let mut spool = open(&path, LIMIT).unwrap();
    assert!(spool.next() >= 22);
    assert_eq!(held(&mut spool).len() as u64, before + 1);
}

#[test]
fn files_are_their_owners_and_no_link_is_followed() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_directory, path) = fresh();
    let spool = open(&path, LIMIT).unwrap();
    for entry in fs::read_dir(&spool.directory).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let (file, target) = (newest(&spool), path.join("elsewhere"));
    drop(spool);
    fs::rename(&file, &target).unwrap();
    std::os::unix::fs::symlink(&target, &file).unwrap();
    assert!(open(&path, LIMIT).is_err());
}

/// What happens to a spool.
#[derive(Clone, Debug)]
enum Step {
    Put(u64, usize),
    Sync,
    Taken(u64),
    /// The process is killed: what was written is there, up to somewhere in the last record.
    Kill(usize),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..3_u64, 0..3000_usize).prop_map(|(whose, length)| Step::Put(whose, length)),
        2 => Just(Step::Sync),
        1 => any::<u64>().prop_map(Step::Taken),
        1 => (0..200_usize).prop_map(Step::Kill),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever happens in between, what was durable and not taken is there, as it was, and no number was given twice.
    #[test]
    fn nothing_durable_is_lost_and_no_number_is_given_twice(steps in steps()) {
        let (_directory, path) = fresh();
        let mut spool = open(&path, LIMIT).unwrap();
        let mut kept: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let (mut durable, mut taken) = (0, 0);
        for step in steps {
            match step {
                Step::Put(whose, length) => {
                    let text = body(kept.len() as u64, length);
                    if let Ok(number) = spool.put(Room::Share(whose), &text) {
                        prop_assert!(number > durable);
                        kept.insert(number, text);
                    }
                }
                Step::Sync => durable = spool.sync().unwrap(),
                Step::Taken(some) => {
                    taken = taken.max(if durable == 0 { 0 } else { some % (durable + 1) });
                    spool.taken(taken);
                }
                Step::Kill(cut) => {
                    let file = newest(&spool);
                    let last = spool.next() - 1;
                    std::mem::forget(std::mem::replace(&mut spool, open(&path.join("x"), LIMIT).unwrap()));
                    // Its lock goes with the process, in earnest.
                    let length = fs::metadata(&file).unwrap().len();
                    let cut = cut as u64;
                    let at = kept.get(&last).filter(|_| last > durable).map_or(0, |body| (body.len() + RECORD) as u64);
                    if at > cut {
                        kept.remove(&last);
                        OpenFile::options().write(true).open(&file).unwrap().set_len(length - at + cut).unwrap();
                    }
                    let copy = path.with_extension("copy");
                    copy_all(&path, &copy);
                    fs::rename(&path, path.with_extension(format!("old{}", spool_count(&path)))).unwrap();
                    fs::rename(&copy, &path).unwrap();
                    spool = open(&path, LIMIT).unwrap();
                    durable = spool.next() - 1;
                }
                Step::Restart => {
                    drop(spool);
                    spool = open(&path, LIMIT).unwrap();
                    durable = spool.next() - 1;
                }
            }
        }
        durable = spool.sync().unwrap();
        let found = held(&mut spool);
        for (number, body) in kept.iter().filter(|(number, _)| (taken + 1..=durable).contains(*number)) {
            prop_assert_eq!(found.get(number), Some(body));
        }
        for (number, body) in &found {
            prop_assert_eq!(kept.get(number), Some(body));
        }
    }

    /// A file that was cut anywhere, or with any byte changed: what is whole before it is kept, the rest is not made up, and nothing
    /// panics. Numbers that may have been used are not used again, unless nothing is left that could say so.
    #[test]
    fn any_damage_costs_only_what_it_touches(
        lengths in prop::collection::vec(0..300_usize, 1..30),
        damage in prop_oneof![
            any::<prop::sample::Index>().prop_map(|at| (at, None)),
            (any::<prop::sample::Index>(), 1..=255_u8).prop_map(|(at, change)| (at, Some(change))),
        ],
    ) {
        let (_directory, path) = fresh();
        let mut spool = open(&path, LIMIT).unwrap();
        let bodies: Vec<_> = lengths.iter().map(|&length| body(7, length)).collect();
        for body in &bodies {
            spool.put(Room::Share(3), body).unwrap();
        }
        let (file, id) = (newest(&spool), *spool.id());
        drop(spool);
        let mut bytes = fs::read(&file).unwrap();
        let (at, change) = damage;
        let at = at.index(bytes.len());
        match change {
            None => bytes.truncate(at),
            Some(change) => bytes[at] ^= change,
        }
        fs::write(&file, &bytes).unwrap();
        let mut whole = 0;
        let mut end = HEADER;
        for body in &bodies {
            end += RECORD + body.len();
            if end > at {
                break;
            }
            whole += 1;
        }
        if at < HEADER {
            whole = 0;
        }
        let mut spool = open(&path, LIMIT).unwrap();
        let found = held(&mut spool);
        prop_assert_eq!(found.len(), whole);
        for (number, found) in found {
            prop_assert_eq!(&found, &bodies[usize::try_from(number).unwrap() - 1]);
        }
        drop(spool);
        let mut spool = open(&path, LIMIT).unwrap();
        let next = spool.put(Room::Share(3), b"{}").unwrap();
        if change.is_some() && *spool.id() == id {
            prop_assert!(next > bodies.len() as u64);
        }
        spool.sync().unwrap();
        let found = held(&mut spool);
        prop_assert_eq!(found.get(&next).map(Vec::as_slice), Some(b"{}".as_slice()));
    }

    #[test]
    fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Header::decode(&bytes);
        let _ = record(&[0; 16], 1, &bytes);
        let _ = Entry::decode(&[0; 16], &bytes);
    }
}

fn copy_all(from: &Path, to: &Path) {
    files::private_directory(to).unwrap();
    for directory in all(from).unwrap() {
        let into = to.join(directory.file_name().unwrap());
        files::private_directory(&into).unwrap();
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), into.join(entry.file_name())).unwrap();
        }
    }
}

fn spool_count(path: &Path) -> usize {
    fs::read_dir(path.parent().unwrap()).unwrap().count()
}
