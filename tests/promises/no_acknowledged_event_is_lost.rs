//! Whatever kills the control plane, and wherever its clock jumps: what it said was done is in its log, once, and the log only ever grows.
//!
//! `SKANS_KILLS` is how often it is killed, 12 unless given; `script/soak` does it 200 times.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use skans_audit::checkpoint::Checkpoint;
use skans_audit::merkle::{self, Frontier};
use skans_audit::note::VerifyingKey;
use skans_audit::tile;
use skans_control::client::Client;
use skans_lab::clock;
use skans_lab::control::{ControlProcess, Options};
use skans_lab::plan::find_skans;
use skans_lab::until;
use skans_promises::PATIENCE;
use tokio::task::JoinSet;

/// People who change something beside each other.
const BESIDE: u64 = 4;

/// What was acknowledged, and what nobody knows of: asked for, and the answer did not come.
#[derive(Default)]
struct Asked {
    done: Vec<u64>,
    in_doubt: Vec<u64>,
}

/// Changes one thing after the other until it is over.
async fn change(client: Client, next: Arc<AtomicU64>, over: Arc<AtomicBool>) -> Asked {
    let mut asked = Asked::default();
    while !over.load(Relaxed) {
        let number = next.fetch_add(1, Relaxed);
        let grant = json!({"user": format!("user-{number}"), "role": "viewer"});
        let answer = client.send::<Value>("POST", "/v1/grants", &grant).await;
        match answer {
            Ok(_) => asked.done.push(number),
            Err(_) => {
                asked.in_doubt.push(number);
                // Nobody is there for a moment: no reason to ask a thousand times.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    asked
}

/// A moment between 5 and 300 ms, another one each time.
fn moment(turn: u64) -> Duration {
    Duration::from_millis(5 + turn.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 296)
}

/// The newest checkpoint, its signature verified by the key that the log had from the beginning.
async fn checkpoint(client: &Client, key: &mut Option<String>) -> Option<Checkpoint> {
    let logs: Value = client.get("/v1/audit/logs").await.ok()?;
    let log = logs["items"].as_array()?.last()?.clone();
    let found = log["key"].as_str()?.to_owned();
    assert_eq!(
        key.get_or_insert_with(|| found.clone()),
        &found,
        "the log has another key"
    );
    let note = log["checkpoint"].as_str().filter(|note| !note.is_empty())?;
    let key = VerifyingKey::parse(&found).unwrap();
    Some(Checkpoint::open(note.as_bytes(), &key).unwrap())
}

/// How far the clock is off in each turn, in seconds: a little, more than events are kept for, and the other way. By more than its authority lives
/// is a promise of its own.
const JUMPS: [i64; 6] = [400, -400, 100_000, -100_000, 500_000, -500_000];

#[tokio::test(flavor = "multi_thread")]
async fn whoever_kills_the_control_plane() {
    let kills = std::env::var("SKANS_KILLS").map_or(12, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    through(
        &find_skans().unwrap(),
        directory.path(),
        kills,
        async |_, _| {},
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_its_clock_jumps() {
    let directory = tempfile::tempdir().unwrap();
    let _segments = clock::Segments::from_now_on();
    let library = clock::library().unwrap_or_else(|missing| panic!("{missing}"));
    let skans = find_skans().unwrap();
    let skans = clock::shifted(&skans, directory.path(), Some(&library)).unwrap();
    // While it runs, both ways; it comes back with a clock that is ahead, or right.
    let jump = async |turn: u64, client: &Client| {
        let turn = usize::try_from(turn).unwrap();
        let jump = JUMPS[turn % JUMPS.len()];
        clock::set(directory.path(), jump).unwrap();
        until(PATIENCE, "events of that time", async || {
            let newest: Value = (client.get("/v1/audit/events?limit=1").await)
                .map_err(|error| error.to_string())?;
            let told = newest["items"][0]["time_ms"].as_i64().unwrap() / 1000;
            let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let off = told - i64::try_from(real.as_secs()).unwrap();
            if (off - jump).abs() < 60 {
                Ok(())
            } else {
                Err(format!("{off} s off, wanted {jump}"))
            }
        })
        .await
        .unwrap();
        clock::set(directory.path(), jump.max(0)).unwrap();
    };
    through(&skans, directory.path(), 12, jump).await;
}

/// So many kills, while people change one thing after the other. `meanwhile`: what happens before each.
async fn through(
    skans: &Path,
    directory: &Path,
    kills: u64,
    meanwhile: impl AsyncFn(u64, &Client),
) {
    let at = directory.join("control");
    let leaf = Duration::from_secs(600);
    let mut control = ControlProcess::start(skans, &at, Options { leaf })
        .await
        .unwrap();
    let client = Client::Socket(control.socket());
    // As short as may be.
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(control.config()).unwrap()).unwrap();
    config["events"] = json!({"retention": "1d"});
    std::fs::write(control.config(), config.to_string()).unwrap();
    let (next, over) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut people = JoinSet::new();
    for _ in 0..BESIDE {
        people.spawn(change(client.clone(), Arc::clone(&next), Arc::clone(&over)));
    }
    let (mut key, mut seen) = (None, BTreeMap::new());
    for turn in 0..kills {
        meanwhile(turn, &client).await;
        tokio::time::sleep(moment(turn)).await;
        if let Some(found) = checkpoint(&client, &mut key).await {
            seen.insert(found.size, found.root);
        }
        control.kill().await.unwrap();
        control.restart().await.unwrap();
    }
    over.store(true, Relaxed);
    let asked = people.join_all().await;
    let newest: Value = client.get("/v1/audit/events?limit=1").await.unwrap();
    let last = newest["items"][0]["seq"].as_u64().unwrap();
    let end = until(PATIENCE, "the log holds everything", async || {
        let placed: Value = client
            .get(&format!("/v1/audit/events/{last}"))
            .await
            .map_err(|error| error.to_string())?;
        let entry = placed["entry"].as_u64().ok_or("not in it yet")?;
        match checkpoint(&client, &mut key).await {
            Some(end) if end.size > entry => Ok(end),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();

    // Each tree that was ever signed is the beginning of the last one.
    let mut frontier = Frontier::default();
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    for n in 0..end.size.div_ceil(256) {
        let bundle = client
            .octets(&format!("/v1/audit/logs/1/entries/{n}"))
            .await
            .unwrap();
        let width = u16::try_from((end.size - n * 256).min(256)).unwrap();
        for entry in tile::decode_bundle(&bundle, width).unwrap() {
            frontier.append(merkle::leaf(entry));
            if let Some(root) = seen.remove(&frontier.size()) {
                assert_eq!(frontier.root(), root, "forked at {}", frontier.size());
            }
            let event: Value = serde_json::from_slice(entry).unwrap();
            if event["metadata"]["event_code"] == "role.granted" {
                let user = event["entity"]["name"].as_str().unwrap().to_owned();
                *told.entry(user).or_default() += 1;
            }
        }
    }
    assert_eq!(frontier.root(), end.root);
    assert!(seen.is_empty(), "signed, and longer than the log: {seen:?}");

    // What was acknowledged is there once, and so is what was done without anybody hearing of it; nothing else is.
    let (mut done, mut in_doubt) = (0, 0);
    for one in asked {
        for number in one.done {
            assert_eq!(
                told.remove(&format!("user-{number}")),
                Some(1),
                "user-{number}"
            );
            done += 1;
        }
        for number in one.in_doubt {
            let count = told.remove(&format!("user-{number}")).unwrap_or(0);
            assert!(count <= 1, "user-{number}: {count} times");
            in_doubt += 1;
        }
    }
    assert!(told.is_empty(), "{told:?}");
    assert!(done > kills, "{done} acknowledged");
    eprintln!(
        "soak: killed {kills} times, {done} acknowledged, {in_doubt} in doubt, {} entries",
        end.size
    );
    control.terminate(PATIENCE).await.unwrap();
}
