//! A full disk, on a small one that is really full, with somebody else who takes every byte that becomes free.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use skans_store::certificates::{self, Which};
use skans_store::{Error, Result, SqliteConfig, Store, deny, events, writer};

use crate::harness::root::{SmallDisk, or_skip};
use crate::make::{NOW, certificate, hash};

/// Takes all the space that there is, again and again, until it is told to end; then it gives all of it back.
struct Glutton {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    file: PathBuf,
}

impl Glutton {
    fn new(disk: &Path) -> Self {
        let file = disk.join("somebody-elses");
        let end = Arc::new(AtomicBool::new(false));
        // Full before anything goes on.
        let mut out = File::create(&file).unwrap();
        eat(&mut out);
        let thread = {
            let end = end.clone();
            std::thread::spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    eat(&mut out);
                    std::thread::park_timeout(Duration::from_micros(200));
                }
            })
        };
        Self {
            end,
            thread: Some(thread),
            file,
        }
    }
}

impl Drop for Glutton {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Writes until nothing more can be written, at last byte by byte.
fn eat(out: &mut File) {
    for size in [65536, 4096, 1] {
        while out.write_all(&vec![0x5a; size]).is_ok() {}
    }
}

async fn open(disk: &Path) -> Store {
    let mut config = SqliteConfig::new(disk.join("store.db"));
    config.reserve = 6 << 20;
    Store::sqlite(config).await.unwrap()
}

async fn issue(store: &Store, number: u64) -> Result<()> {
    store
        .write(move |tx| certificates::insert(tx, &certificate(number)))
        .await
}

/// A revocation as the control plane makes it: fence, deny entry, inventory, event.
async fn revoke(store: &Store, number: u64) -> Result<u64> {
    store
        .write_urgent(move |tx| {
            let epoch = writer::claim(tx, "replica", NOW)?;
            let key = certificate(number).spki;
            certificates::revoke(tx, &Which::Key(&key), NOW)?;
            events::append(
                tx,
                &events::NewEvent {
                    time_ms: NOW * 1000,
                    kind: "certificate.revoked",
                    actor: "unix:0",
                    object: "key",
                    body: &format!("{{\"reason\":\"{}\"}}", "x".repeat(500)),
                },
            )?;
            deny::append(tx, epoch, |seq, _| {
                Ok(deny::NewEntry {
                    entry: vec![1; 300],
                    hash: hash(seq),
                    time: NOW,
                    until: NOW + 3600,
                    kind: 1,
                    target: format!("{number}"),
                })
            })
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocations_go_although_the_disk_is_full_and_nothing_acknowledged_is_lost() {
    if !or_skip("revocations on a full disk") {
        return;
    }
    let disk = SmallDisk::new(24);
    let store = open(disk.path()).await;
    for number in 0..100 {
        issue(&store, number).await.unwrap();
    }
    let glutton = Glutton::new(disk.path());

    // Issuing goes on for as long as the log has room, and then fails whole.
    let mut acknowledged = 100;
    let refused = loop {
        let batch = (0..50).map(|more| {
            let store = store.clone();
            let number = acknowledged + more;
            async move { issue(&store, number).await }
        });
        let mut tasks = tokio::task::JoinSet::new();
        for (place, one) in batch.enumerate() {
            tasks.spawn(async move { (place, one.await) });
        }
        let mut answers = tasks.join_all().await;
        answers.sort_by_key(|(place, _)| *place);
        let done = answers
            .iter()
            .take_while(|(_, answer)| answer.is_ok())
            .count();
        // They came in one after the other, so what fails is the end of them.
        acknowledged += u64::try_from(done).unwrap();
        if let Some((_, Err(error))) = answers.into_iter().nth(done) {
            break error;
        }
        assert!(acknowledged < 50_000, "the disk never got full");
    };
    assert!(matches!(refused, Error::DiskFull(_)), "{refused:?}");
    assert!(refused.may_retry());

    for number in 0..50 {
        assert_eq!(revoke(&store, number).await.unwrap(), number + 1);
        let refused = issue(&store, 1_000_000 + number).await.unwrap_err();
        assert!(matches!(refused, Error::DiskFull(_)), "{refused:?}");
    }

    // A restart amid all this.
    store.close().await;
    drop(store);
    let store = open(disk.path()).await;
    for number in 50..100 {
        assert_eq!(revoke(&store, number).await.unwrap(), number + 1);
    }
    let refused = issue(&store, 2_000_000).await.unwrap_err();
    assert!(matches!(refused, Error::DiskFull(_)), "{refused:?}");

    let (kept, told, tail) = store
        .read(|tx| {
            Ok((
                certificates::count_valid(tx, NOW)?,
                events::last(tx)?,
                deny::tail(tx)?,
            ))
        })
        .await
        .unwrap();
    assert!(kept >= acknowledged, "{kept} of {acknowledged}");
    assert_eq!((told, tail.seq), (100, 100));

    // Once there is space again, everything goes on by itself.
    drop(glutton);
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = issue(&store, 3_000_000).await {
        assert!(matches!(error, Error::DiskFull(_)), "{error:?}");
        assert!(Instant::now() < deadline, "it never went on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_store_opens_on_a_full_disk_and_takes_revocations() {
    if !or_skip("opening on a full disk") {
        return;
    }
    let disk = SmallDisk::new(24);
    let store = open(disk.path()).await;
    issue(&store, 1).await.unwrap();
    store.close().await;
    drop(store);
    let _glutton = Glutton::new(disk.path());
    let store = open(disk.path()).await;
    // What the log has beyond the reserve may be used, and no more.
    let mut number = 1;
    let refused = loop {
        number += 1;
        if let Err(error) = issue(&store, number).await {
            break error;
        }
        assert!(number < 50_000, "the disk never got full");
    };
    assert!(matches!(refused, Error::DiskFull(_)), "{refused:?}");
    for number in 1..=100 {
        assert_eq!(revoke(&store, number).await.unwrap(), number);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reserve_is_really_taken_from_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    use std::os::unix::fs::MetadataExt;
    let log = std::fs::metadata(directory.path().join("store.db-wal")).unwrap();
    let blocks = log.blocks() * 512;
    assert!(log.len() < 1 << 20, "{} bytes", log.len());
    assert!(blocks >= 6 << 20, "{blocks} bytes");
    store.close().await;
}
