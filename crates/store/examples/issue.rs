//! How many certificates a second the store takes, beside how often the disk can sync:
//!
//!     cargo run --release -p skans-store --example issue -- [--seconds 5] [--callers 256] [--directory DIR | --postgres URL]
//!
//! What is measured is the store alone: a certificate of 700 bytes and its event in one unit of work, answered when both are
//! durable. Nothing is signed.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use skans_store::certificates::{self, Certificate};
use skans_store::{PostgresConfig, SqliteConfig, Store, events};

struct Args {
    seconds: u64,
    callers: u64,
    directory: PathBuf,
    postgres: Option<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("issue: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let args = args()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let time = Duration::from_secs(args.seconds);
    let place = tempfile::tempdir_in(&args.directory)?;
    println!(
        "disk: {:.0} syncs/s of 8 KiB",
        syncs(place.path(), time / 2)?
    );
    let store = runtime.block_on(async {
        match &args.postgres {
            Some(url) => Store::postgres(PostgresConfig::new(url)).await,
            None => Store::sqlite(SqliteConfig::new(place.path().join("store.db"))).await,
        }
    })?;
    for callers in [1, args.callers] {
        let before = processor_time()?;
        let (done, waits) = runtime.block_on(issue(&store, callers, time))?;
        let used = processor_time()? - before;
        let rate = done as f64 / time.as_secs_f64();
        println!(
            "{callers} callers: {rate:.0} certificates/s, {:.0} per second of processor time; answered after {:.2} ms (median), {:.2} ms (p99)",
            done as f64 / used.as_secs_f64(),
            part(&waits, 50),
            part(&waits, 99),
        );
    }
    runtime.block_on(store.close());
    println!(
        "disk: {:.0} syncs/s of 8 KiB",
        syncs(place.path(), time / 2)?
    );
    Ok(())
}

fn args() -> Result<Args, Box<dyn Error>> {
    let mut args = Args {
        seconds: 5,
        callers: 256,
        directory: PathBuf::from("."),
        postgres: None,
    };
    let mut given = std::env::args().skip(1);
    while let Some(key) = given.next() {
        let value = given.next().ok_or(format!("{key} wants a value"))?;
        match key.as_str() {
            "--seconds" => args.seconds = value.parse()?,
            "--callers" => args.callers = value.parse()?,
            "--directory" => args.directory = value.into(),
            "--postgres" => args.postgres = Some(value),
            _ => return Err(format!("{key} is not known").into()),
        }
    }
    Ok(args)
}

/// How often a second the disk takes what a small commit appends, each time waited for.
fn syncs(directory: &Path, time: Duration) -> Result<f64, Box<dyn Error>> {
    let mut file = File::create(directory.join("sync"))?;
    let block = [0x5a; 8192];
    let start = Instant::now();
    let mut done = 0_u32;
    while start.elapsed() < time {
        file.write_all(&block)?;
        file.sync_data()?;
        done += 1;
    }
    Ok(f64::from(done) / start.elapsed().as_secs_f64())
}

/// Issues for a while. Gives how many were answered, and how long each waited, in order.
async fn issue(
    store: &Store,
    callers: u64,
    time: Duration,
) -> Result<(usize, Vec<Duration>), Box<dyn Error>> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let end = Instant::now() + time;
    let failed = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let (store, failed) = (store.clone(), failed.clone());
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while Instant::now() < end {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                let new = certificate(number);
                let asked = Instant::now();
                let answer = store
                    .write(move |tx| {
                        certificates::insert(tx, &new)?;
                        events::append(
                            tx,
                            &events::NewEvent {
                                time_ms: 1_800_000_000_000,
                                kind: "certificate.issued",
                                actor: "spiffe://example.org/skans/agent/a",
                                object: &new.spiffe_id,
                                body: EVENT,
                            },
                        )
                    })
                    .await;
                match answer {
                    Ok(()) => waits.push(asked.elapsed()),
                    Err(_) => {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            waits
        });
    }
    let mut waits = tasks.join_all().await.concat();
    waits.sort_unstable();
    let failed = failed.load(Ordering::Relaxed);
    if failed > 0 {
        println!("{failed} failed");
    }
    Ok((waits.len(), waits))
}

/// As long as an event of OCSF is.
const EVENT: &str = r#"{"class_uid":3004,"activity_id":1,"time":1800000000000,"actor":{"user":{"uid":"spiffe://example.org/skans/agent/a"}},"entity":{"type":"certificate","uid":"00112233445566778899aabbccddeeff","name":"spiffe://example.org/cluster/c/ns/n/sa/w/node/n1@host-1"},"metadata":{"product":{"name":"Skans"},"version":"1.9.0"},"severity_id":1,"status_id":1}"#;

fn certificate(number: u64) -> Certificate {
    let part = |salt: u64| {
        let mut bytes = [0; 32];
        for (place, chunk) in (0..).zip(bytes.chunks_mut(8)) {
            // SplitMix64: spread as hashes are, so that the indexes are hit everywhere.
            let mut mixed = (number ^ (salt << 56))
                .wrapping_add(place)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_be_bytes());
        }
        bytes
    };
    let serial = part(1);
    Certificate {
        serial: serial.iter().copied().take(16).collect(),
        leaf_hash: part(2),
        spki: part(3),
        spiffe_id: format!(
            "spiffe://example.org/cluster/c/ns/n/sa/w/node/n{}@host-{}",
            number % 10_000,
            number % 1000
        ),
        host: format!("host-{}", number % 1000),
        issuer_spki: [7; 32],
        not_before: 1_800_000_000,
        not_after: 1_800_003_600 + number / 1000,
        agent: format!("agent-{}", number % 1000),
        owner: "team".into(),
        issued_at: 1_800_000_000,
        revoked_at: None,
        der: vec![0x30; 700],
    }
}

/// What this process has used of the processors, with all its threads.
fn processor_time() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no process name")?;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<u64>)
        .sum::<Result<_, _>>()?;
    // A hundred a second, on every Linux that there is.
    Ok(Duration::from_millis(ticks * 10))
}

fn part(sorted: &[Duration], percent: usize) -> f64 {
    sorted
        .get(sorted.len() * percent / 100)
        .map_or(f64::NAN, |wait| wait.as_secs_f64() * 1000.0)
}
