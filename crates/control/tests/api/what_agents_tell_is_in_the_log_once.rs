//! What agents tell stands in the log once, under the name of who told it, whatever is lost, told again or restarted on the way.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use skans_api::v1;
use skans_api::v1::agents_client::AgentsClient;
use skans_control::root;
use skans_control::setup::{self, RootIs};
use skans_host::spool::{self, Room};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use crate::a_full_disk_takes_revocations_still::fill;
use crate::small_disk::{SmallDisk, or_skip};
use crate::support::{Agent, DOMAIN, PATIENCE, Plane, configuration, eventually};

const SPOOL: [u8; 16] = [7; 16];

/// A stream of events.
pub struct Tell {
    say: mpsc::Sender<v1::TellRequest>,
    replies: Streaming<v1::TellReply>,
}

impl Tell {
    pub async fn open(agent: &Agent) -> Result<Self, Status> {
        let channel = agent.channel().await.map_err(Status::unavailable)?;
        let (say, said) = mpsc::channel(4);
        let replies = AgentsClient::new(channel)
            .tell(ReceiverStream::new(said))
            .await?;
        Ok(Self {
            say,
            replies: replies.into_inner(),
        })
    }

    async fn ask(&mut self, request: v1::TellRequest) -> Result<u64, Status> {
        let over = || Status::unavailable("over");
        self.say.send(request).await.map_err(|_| over())?;
        let reply = tokio::time::timeout(PATIENCE, self.replies.message());
        let reply = reply.await.expect("an answer within 30 s")?;
        Ok(reply.ok_or_else(over)?.taken)
    }
}

fn request(first: u64, events: &[Value]) -> v1::TellRequest {
    v1::TellRequest {
        spool: SPOOL.to_vec(),
        first,
        events: events
            .iter()
            .map(|one| one.to_string().into_bytes())
            .collect(),
        gap: false,
    }
}

fn denied(text: &str) -> Value {
    json!({
        "time": 5, "class_uid": 6003, "activity_id": 99, "action_id": 2, "message": text,
        "dst_endpoint": {"uid": "spiffe://lab.test/cluster/lab/ns/n/sa/w/node/b"},
        "metadata": {"reporter": {"uid": "spiffe://lab.test/skans/control/one"}},
    })
}

/// All events of agents, in order.
async fn told(plane: &Plane) -> Vec<Value> {
    let (mut all, mut last) = (Vec::new(), 0);
    loop {
        let page = plane
            .get(&format!("/v1/events?after={last}&limit=1000"))
            .await;
        let items = page["items"].as_array().unwrap();
        let Some(newest) = items.last() else {
            return all;
        };
        last = newest["seq"].as_u64().unwrap();
        let of = |one: &&Value| {
            let kind = one["kind"].as_str().unwrap();
            kind.starts_with("agent.") && kind != "agent.enrolled"
        };
        all.extend(items.iter().filter(of).cloned());
    }
}

fn messages(events: &[Value]) -> Vec<&str> {
    let all = events.iter();
    all.filter_map(|one| one["body"]["message"].as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_again_is_not_taken_again_and_a_gap_is_not_passed_over_in_silence() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let mut tell = Tell::open(&agent).await.unwrap();
    assert_eq!(tell.ask(request(1, &[])).await.unwrap(), 0);
    let (a, b, c) = (denied("a"), denied("b"), denied("c"));
    assert_eq!(
        tell.ask(request(1, &[a.clone(), b.clone()])).await.unwrap(),
        2
    );
    assert_eq!(tell.ask(request(1, &[a, b.clone()])).await.unwrap(), 2);
    assert_eq!(tell.ask(request(2, &[b, c.clone()])).await.unwrap(), 3);
    // Another stream, as after a restart.
    let mut tell = Tell::open(&agent).await.unwrap();
    assert_eq!(tell.ask(request(1, &[])).await.unwrap(), 3);
    assert_eq!(tell.ask(request(7, &[denied("g")])).await.unwrap(), 3);
    let mut gap = request(7, &[denied("g")]);
    gap.gap = true;
    assert_eq!(tell.ask(gap.clone()).await.unwrap(), 7);
    assert_eq!(tell.ask(gap).await.unwrap(), 7, "and again");
    let all = told(&plane).await;
    assert_eq!(messages(&all), ["a", "b", "c", "g"]);
    let kinds: Vec<_> = all
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    let denied = "agent.denied";
    assert_eq!(
        kinds,
        [denied, denied, denied, "agent.events.missing", denied]
    );
    assert_eq!(all[3]["body"]["unmapped"]["count"], 3);
    // Who said it is what its certificate says, and the numbers are those of the spool.
    let first = &all[0];
    let me = agent.id.as_str();
    assert_eq!(first["actor"], me);
    assert_eq!(first["body"]["metadata"]["reporter"]["uid"], me);
    let uid = format!("{}-1", "07".repeat(16));
    assert_eq!(first["body"]["metadata"]["uid"], uid);
    assert!(first["object"].as_str().unwrap().ends_with("/node/b"));
    // Another agent's spool of the same name is another spool.
    let other = plane.agent("host-b").await;
    let mut tell = Tell::open(&other).await.unwrap();
    assert_eq!(tell.ask(request(1, &[c])).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_bounds_is_refused_and_what_is_no_event_becomes_one() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let good = request(1, &[denied("x")]);
    let mut short = good.clone();
    short.spool.pop();
    let mut many = good.clone();
    many.events = vec![b"{}".to_vec(); 257];
    let mut large = good.clone();
    large.events = vec![vec![b' '; 40 * 1024]; 5];
    let none = request(0, &[denied("x")]);
    let last = request(u64::MAX, &[denied("x")]);
    for wrong in [short, many, large, none, last] {
        let mut tell = Tell::open(&agent).await.unwrap();
        let refused = tell.ask(wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    // Not three at once.
    let mut first = Tell::open(&agent).await.unwrap();
    let _second = Tell::open(&agent).await.unwrap();
    let third = Tell::open(&agent).await.map(drop).unwrap_err();
    assert_eq!(third.code(), Code::ResourceExhausted, "{third}");
    let mut odd = good;
    odd.events = vec![b"[]".to_vec(), vec![0xff; 50_000], b"{}".to_vec()];
    assert_eq!(first.ask(odd).await.unwrap(), 3);
    let all = told(&plane).await;
    let kinds: Vec<_> = all
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        ["agent.unreadable", "agent.unreadable", "agent.other"]
    );
}

/// More than it has room for is answered later, not dropped: 2,000 a second, and 10,000 at once.
#[tokio::test(flavor = "multi_thread")]
async fn who_tells_very_much_waits_and_loses_nothing() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let mut tell = Tell::open(&agent).await.unwrap();
    let (began, count) = (std::time::Instant::now(), 12_800);
    let mut next = 1;
    while next <= count {
        let events = vec![json!({"message": "m"}); 256];
        next = tell.ask(request(next, &events)).await.unwrap() + 1;
    }
    assert!(
        began.elapsed() > Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    let taken = plane.metric("skans_control_agent_events_total{reason=\"taken\"}");
    assert_eq!(taken.await, Some(count));
}

/// A draw that is the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A spool of an agent and a control plane, and everything that can go wrong between them: answers that do not arrive, requests that arrive twice,
/// restarts of each at any time. What was durable in the spool is in the log once, in order, and nothing else is.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_kept_is_lost_or_doubled_whatever_happens_in_between() {
    let mut plane = Plane::new().await;
    let mut agent = plane.agent("host-a").await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events");
    let mut spool = spool::open(&path, 1 << 21).unwrap();
    let id = spool.id().to_vec();
    let mut dice = Dice(0x5eed);
    let mut kept = BTreeSet::new();
    let mut tell: Option<(Tell, u64)> = None;
    for step in 0..400 {
        match dice.roll(12) {
            0..6 => {
                for _ in 0..dice.roll(40) {
                    let number = spool.next();
                    let event = json!({"message": number.to_string()}).to_string();
                    if spool.put(Room::Share(1), event.as_bytes()).is_ok() {
                        kept.insert(number);
                    }
                }
                spool.sync().unwrap();
            }
            6 => {
                drop(spool);
                spool = spool::open(&path, 1 << 21).unwrap();
                tell = None;
            }
            7 if step % 4 == 0 => {
                plane.stop().await;
                plane.start().await;
                agent.address = plane.api();
                tell = None;
            }
            _ => {}
        }
        if tell.is_none() {
            let Ok(mut stream) = Tell::open(&agent).await else {
                continue;
            };
            let mut question = request(1, &[]);
            question.spool.clone_from(&id);
            let Ok(taken) = stream.ask(question).await else {
                continue;
            };
            tell = Some((stream, taken));
        }
        let Some((stream, taken)) = &mut tell else {
            continue;
        };
        spool.taken(*taken);
        let most = usize::try_from(1 + dice.roll(60)).unwrap();
        let batch = spool.read(*taken + 1, most, 100_000).unwrap();
        if batch.bodies.is_empty() {
            continue;
        }
        let request = v1::TellRequest {
            spool: id.clone(),
            first: batch.first,
            gap: batch.first > *taken + 1,
            events: batch.bodies,
        };
        match dice.roll(6) {
            // The answer is lost, perhaps before the request was taken.
            0 => {
                let _ = stream.say.send(request).await;
                tell = None;
            }
            // The request comes twice.
            1 => {
                let first = stream.ask(request.clone()).await.unwrap();
                assert_eq!(stream.ask(request).await.unwrap(), first);
                *taken = first;
            }
            _ => *taken = stream.ask(request).await.unwrap(),
        }
    }
    drop(tell);
    let mut stream = loop {
        match Tell::open(&agent).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let mut question = request(1, &[]);
    question.spool.clone_from(&id);
    let mut taken = stream.ask(question).await.unwrap();
    loop {
        let batch = spool.read(taken + 1, 256, 100_000).unwrap();
        if batch.bodies.is_empty() {
            break;
        }
        let mut request = request(batch.first, &[]);
        request.spool.clone_from(&id);
        request.events = batch.bodies;
        taken = stream.ask(request).await.unwrap();
    }
    let all = told(&plane).await;
    let found: Vec<u64> = messages(&all).iter().map(|n| n.parse().unwrap()).collect();
    let wanted: Vec<u64> = kept.into_iter().collect();
    assert!(wanted.len() > 1000, "{}", wanted.len());
    assert_eq!(found, wanted);
    assert_eq!(all.len(), wanted.len(), "and nothing besides");
}

/// What a full disk does not take stays with the agent, and is taken when there is room again.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_takes_nothing_and_loses_nothing() {
    if !or_skip("events on a full disk") {
        return;
    }
    let disk = SmallDisk::new(160);
    let dir = tempfile::tempdir().unwrap();
    let root_dir = dir.path().join("root");
    root::init(&root_dir, DOMAIN, Duration::from_secs(86_400)).unwrap();
    let config = configuration(disk.path().join("control"), &root_dir, "");
    setup::init(&config, &RootIs::Here(root_dir)).await.unwrap();
    let stopping = CancellationToken::new();
    let running = skans_control::start(config.clone(), stopping.clone());
    let running = running.await.unwrap();
    let plane = Plane::of(dir, config, running, stopping);
    let agent = plane.agent("host-a").await;
    let filler = disk.path().join("somebody-elses");
    let text = "x".repeat(4000);
    let mut taken = 0;
    let refused = loop {
        fill(&filler);
        let mut tell = Tell::open(&agent).await.unwrap();
        match tell.ask(request(taken + 1, &[denied(&text)])).await {
            Ok(number) => taken = number,
            Err(status) => break status,
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let mut tell = Tell::open(&agent).await.unwrap();
    assert_eq!(tell.ask(request(1, &[])).await.unwrap(), taken);
    std::fs::remove_file(&filler).unwrap();
    eventually("the disk to be found free", || async {
        let mut tell = Tell::open(&agent).await.unwrap();
        tell.ask(request(taken + 1, &[denied("last")]))
            .await
            .is_ok()
    })
    .await;
    let all = told(&plane).await;
    assert_eq!(all.len() as u64, taken + 1);
    assert_eq!(messages(&all).last(), Some(&"last"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gap_is_told_of() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let mut tell = Tell::open(&agent).await.unwrap();
    // From the very first: a spool that is not known here.
    assert_eq!(tell.ask(request(3, &[denied("c")])).await.unwrap(), 0);
    let mut gap = request(3, &[denied("c")]);
    gap.gap = true;
    assert_eq!(tell.ask(gap).await.unwrap(), 3);
    // Of one.
    assert_eq!(tell.ask(request(5, &[denied("e")])).await.unwrap(), 3);
    let mut gap = request(5, &[denied("e")]);
    gap.gap = true;
    assert_eq!(tell.ask(gap).await.unwrap(), 5);
    let missing: Vec<_> = plane
        .events("agent.events.missing")
        .await
        .iter()
        .map(|one| {
            let of = &one["body"]["unmapped"];
            ["first", "last", "count"].map(|key| of[key].as_u64().unwrap())
        })
        .collect();
    assert_eq!(missing, [[1, 2, 2], [4, 4, 1]]);
    assert_eq!(messages(&told(&plane).await), ["c", "e"]);
}
