//! What the log carries: how many events a second become durable and get their place, and how long a question over all of them takes. The
//! store and the control plane themselves, on the disk of this machine.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::Value;
use skans_control::client::Client;
use skans_control::config::{self, Config};
use skans_control::root;
use skans_control::setup::{self, RootIs};
use skans_store::{SqliteConfig, Store, events};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::{Doing, Error, Result};

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many events there are in the end.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    events: u64,
    /// Bytes of each: a denial has about 900.
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u16).range(100..=60_000))]
    bytes: u16,
}

/// Events in one unit of work: what an agent tells at once.
const AT_ONCE: u64 = 256;
/// Agents that tell beside each other.
const BESIDE: u64 = 8;
/// Each question is asked so often; the slowest counts.
const TIMES: usize = 5;

/// Measures, and gives a report in Markdown.
pub async fn measure(args: &Args, directory: &Path) -> Result<String> {
    let config = init(directory).await?;
    let (wall, work) = fill(&config, args).await?;
    let size = std::fs::metadata(config.sqlite())
        .doing("look at the database")?
        .len();
    let stop = CancellationToken::new();
    let before = work_of_this_process()?;
    let began = Instant::now();
    let running = skans_control::start(config.clone(), stop.clone())
        .await
        .doing("start the control plane")?;
    let client = Client::Socket(config.socket());
    placed(&client, args.events).await?;
    let place_wall = began.elapsed();
    let place_work = work_of_this_process()?.saturating_sub(before);
    let mut text = String::new();
    let rate = |wall: Duration| rate(args.events, wall);
    let _ = writeln!(
        text,
        "{} events of {} bytes, {BESIDE} at once, {AT_ONCE} in a unit of work, on SQLite ({:.1} GiB).\n\n\
         | | events a second | events a second of a core |\n|---|---:|---:|\n\
         | durable | {} | {} |\n| given their place in the log, and signed | {} | {} |\n| both | | {} |\n",
        args.events,
        args.bytes,
        gibibytes(size),
        rate(wall),
        rate(work),
        rate(place_wall),
        rate(place_work),
        rate(work + place_work),
    );
    text += "| question over all of them | events found | slowest of five |\n|---|---:|---:|\n";
    let middle = START + args.events / 2;
    for (what, query) in [
        ("the newest 100", String::new()),
        (
            "the newest 100 of a rare actor",
            "actor=spiffe%3A%2F%2Fprod.example%2Frare".to_owned(),
        ),
        (
            "the newest 100 of one of 1,000 objects",
            "object=node-500".to_owned(),
        ),
        (
            "the newest 100 of a kind that is half of all",
            "kind=agent.denied".to_owned(),
        ),
        (
            "a second in the middle",
            format!("since={middle}&until={}", middle + 1000),
        ),
        (
            "one of 1,000 objects, the first half alone",
            format!("object=node-500&until={middle}"),
        ),
        ("somebody who is not there", "actor=nobody".to_owned()),
    ] {
        let (found, slowest) = ask(&client, &query).await?;
        let _ = writeln!(
            text,
            "| {what} | {found} | {:.1} ms |",
            slowest.as_secs_f64() * 1e3
        );
    }
    stop.cancel();
    running.ended().await;
    Ok(text)
}

/// The time of the first event, in milliseconds since 1970; each is a millisecond after the one before.
const START: u64 = 1_790_000_000_000;

async fn init(directory: &Path) -> Result<Config> {
    let at = directory.join("root");
    let life = Duration::from_secs(30 * 86_400);
    root::init(&at, "prod.example", life).doing("make a root")?;
    let text = format!(
        "apiVersion: {}\ntrustDomain: prod.example\nname: bench\ndirectory: {}\nlisten: 127.0.0.1:0\n\
         admin: {{ listen: 127.0.0.1:0 }}\nevents: {{ atMost: 1000000000, retention: 3650d }}\n",
        config::API_VERSION,
        directory.join("control").display()
    );
    let config = config::parse(&text, "bench", |_| None).doing("read the configuration")?;
    setup::init(&config, &RootIs::Here(at))
        .await
        .doing("make a control plane")?;
    Ok(config)
}

/// Writes them. Gives how long it took, and how much work it was.
async fn fill(config: &Config, args: &Args) -> Result<(Duration, Duration)> {
    let store = Store::sqlite(SqliteConfig::new(config.sqlite()));
    let store = store.await.doing("open the store")?;
    let padding = Arc::new("x".repeat(usize::from(args.bytes)));
    let next = Arc::new(AtomicU64::new(0));
    let (total, bytes) = (args.events, usize::from(args.bytes));
    let (began, before) = (Instant::now(), work_of_this_process()?);
    let mut writers = JoinSet::new();
    for _ in 0..BESIDE {
        let (store, padding, next) = (store.clone(), Arc::clone(&padding), Arc::clone(&next));
        writers.spawn(async move {
            loop {
                let from = next.fetch_add(AT_ONCE, Relaxed);
                if from >= total {
                    return Ok(());
                }
                let padding = Arc::clone(&padding);
                let write = store.write(move |tx| {
                    for n in from..(from + AT_ONCE).min(total) {
                        let mut body = format!("{{\"n\":{n},\"x\":\"");
                        let left = bytes.saturating_sub(body.len() + 2);
                        body.push_str(padding.get(..left).unwrap_or_default());
                        body.push_str("\"}");
                        events::append(
                            tx,
                            &events::NewEvent {
                                time_ms: START + n,
                                kind: if n % 2 == 0 {
                                    "agent.denied"
                                } else {
                                    "agent.connection"
                                },
                                actor: if n % 100_000 == 7 {
                                    "spiffe://prod.example/rare"
                                } else {
                                    "spiffe://prod.example/often"
                                },
                                object: &format!("node-{}", n % 1000),
                                body: &body,
                            },
                        )?;
                    }
                    Ok(())
                });
                write.await?;
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        let done: skans_store::Result<()> = done.doing("write events")?;
        done.doing("write events")?;
    }
    let took = (
        began.elapsed(),
        work_of_this_process()?.saturating_sub(before),
    );
    store.close().await;
    Ok(took)
}

/// Waits until all of them have their place, and that is signed.
async fn placed(client: &Client, wanted: u64) -> Result<()> {
    loop {
        let logs: Value = client
            .get("/v1/audit/logs")
            .await
            .doing("ask for the log")?;
        let signed = logs.pointer("/items/0/signed").and_then(Value::as_u64);
        if signed.is_some_and(|signed| signed >= wanted) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many events were found, and the longest that it took.
async fn ask(client: &Client, query: &str) -> Result<(usize, Duration)> {
    let (mut found, mut slowest) = (0, Duration::ZERO);
    let path = format!("/v1/audit/events?limit=100&{query}");
    for _ in 0..TIMES {
        let began = Instant::now();
        let page: Value = client
            .get(path.trim_end_matches('&'))
            .await
            .doing("ask for events")?;
        slowest = slowest.max(began.elapsed());
        found = page["items"].as_array().map_or(0, Vec::len);
    }
    Ok((found, slowest))
}

/// User and system time of this process so far, by the kernel (proc_pid_stat(5)), to a hundredth of a second.
fn work_of_this_process() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat").doing("read /proc/self/stat")?;
    // Behind the name, which may hold anything: fields 14 and 15, of which 3 is the first here.
    let fields = text.rsplit(')').next().unwrap_or_default();
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok());
    match (ticks(), ticks()) {
        (Some(user), Some(system)) => Ok(Duration::from_millis((user + system) * 10)),
        _ => Err(Error::new("read /proc/self/stat", "found no times")),
    }
}

/// So many in a second, in whole hundreds.
fn rate(events: u64, took: Duration) -> String {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = events.saturating_mul(1000) / millis / 100 * 100;
    rate.to_string()
}

#[allow(clippy::cast_precision_loss)]
fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}
