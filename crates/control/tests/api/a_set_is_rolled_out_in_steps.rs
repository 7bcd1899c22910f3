//! Roll-outs: fifty agents that compare, a candidate that breaks some of what was good, and what follows; who may do which; and forbids
//! that wait for no stage.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use skans_api::v1;
use skans_api::v1::rollout_report::{Difference, Verdict as Told};
use skans_api::v1::watch_reply::Message;
use skans_control::client::{Client, Login};
use skans_control::rest::policies::{AuthorSignature, NewPolicy};
use skans_identity::head::Audience;
use skans_identity::policy_set::{Origin, SignedSet, Version as Number};
use skans_policy::rollout::{Cohorts, Relation, relate};
use skans_policy::{Action, Engine, File, Request, Resource, Source, Subject, Verdict, Version};
use tokio::sync::mpsc;

use crate::support::{Agent, Plane, Watch, domain, eventually, now, reason, verifier};

/// So many kinds of good calls: a candidate that lacks one of them breaks one in a hundred.
pub const KINDS: usize = 100;
const BROKEN: usize = 7;

fn kind(n: usize) -> String {
    format!("shop:f{n}/1")
}

/// A set that permits these calls, and forbids so much.
pub fn set(name: &str, kinds: impl Iterator<Item = usize>, forbids: &[&str]) -> Source {
    let mut text = String::new();
    for n in kinds {
        text += &format!(
            "@id(\"f{n}\") permit (principal, action == Skans::Action::\"call\", resource == Skans::Function::\"{}\");\n",
            kind(n)
        );
    }
    for name in forbids {
        text += &format!(
            "@id(\"not-{name}\") forbid (principal, action, resource == Skans::Process::\"{name}\");\n"
        );
    }
    Source {
        name: name.into(),
        policies: vec![File {
            name: "shop.cedar".into(),
            text,
        }],
        ..Source::nothing(Version::default())
    }
}

/// What a set decides about each kind, and about what nobody may.
#[derive(Debug)]
pub struct Decides {
    kinds: Vec<Verdict>,
    denied: Verdict,
}

impl Decides {
    fn of(content: &str) -> Self {
        let source = Source::from_canonical(content, Version::default()).unwrap();
        let engine = Engine::compile(&source).unwrap();
        let node = |host: &str| Subject {
            trust_domain: "lab.test".into(),
            cluster: "main".into(),
            namespace: "default".into(),
            workload: host.into(),
            node: "shop".into(),
            host: host.into(),
        };
        let pair = engine.pair(&node("a"), &node("b"), now().as_secs());
        let call = |module, function: &str| {
            let resource = Resource::Function {
                module,
                function,
                arity: 1,
            };
            pair.decide(&Request::new(Action::Call, resource)).verdict
        };
        Self {
            kinds: (0..KINDS).map(|n| call("shop", &format!("f{n}"))).collect(),
            denied: call("os", "cmd"),
        }
    }
}

#[derive(Default)]
struct Held {
    number: Number,
    decides: Option<Arc<Decides>>,
    /// The number of the candidate, the cohort, and the set to compare with.
    beside: Option<(u64, u32, Arc<Decides>)>,
    found: BTreeMap<(String, String, String, Told, Told), u64>,
    permitted: u64,
}

/// An agent that judges the links of its host, as agents do.
pub struct Sim {
    host: String,
    held: Arc<Mutex<Held>>,
    said: mpsc::Sender<v1::WatchRequest>,
}

/// By content, so that no set is compiled fifty times.
pub type Compiled = Arc<Mutex<HashMap<Vec<u8>, Arc<Decides>>>>;

fn content(agent: &Agent, signed: &[u8]) -> (Number, Vec<u8>) {
    let audience = Audience {
        trust_domain: domain(),
        cluster: "main".into(),
    };
    let mut schema = [0; 32];
    let text = skans_policy::SCHEMA.as_bytes();
    schema.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text).as_ref());
    let set = SignedSet::decode(signed).unwrap();
    let set = set
        .verify(
            &verifier(&agent.bundle),
            &audience,
            &[schema],
            Origin::Wire,
            now(),
        )
        .unwrap();
    (set.set().version, set.set().content.clone())
}

async fn send(said: &mpsc::Sender<v1::WatchRequest>, message: v1::watch_request::Message) {
    let message = Some(message);
    said.send(v1::WatchRequest { message }).await.unwrap();
}

impl Sim {
    /// It has a node, and watches the control plane that it is to call.
    pub async fn of(agent: Agent, host: &str, compiled: &Compiled) -> Self {
        let node = format!("shop@{host}");
        agent
            .issue(&[&node], host)
            .await
            .unwrap()
            .remove(0)
            .unwrap();
        let watch = agent.watch().await;
        let said = watch.said.clone();
        let empty = v1::RolloutReport::default();
        send(&said, v1::watch_request::Message::Rollout(empty)).await;
        let held = Arc::new(Mutex::new(Held::default()));
        tokio::spawn(Self::hear(
            agent,
            watch,
            Arc::clone(&held),
            Arc::clone(compiled),
        ));
        Self {
            host: host.to_owned(),
            held,
            said,
        }
    }

    async fn hear(agent: Agent, mut watch: Watch, held: Arc<Mutex<Held>>, compiled: Compiled) {
        let read = |signed: &[u8]| {
            let (number, content) = content(&agent, signed);
            let mut compiled = compiled.lock().unwrap();
            let text = String::from_utf8(content.clone()).unwrap();
            let decides = compiled
                .entry(content)
                .or_insert_with(|| Arc::new(Decides::of(&text)));
            (number, Arc::clone(decides))
        };
        while let Some(message) = watch.next().await {
            match message {
                Message::Policy(set) => {
                    let (number, decides) = read(&set.signed);
                    {
                        let mut held = held.lock().unwrap();
                        assert!(number >= held.number, "no agent is told to go back");
                        held.number = number;
                        held.decides = Some(decides);
                        held.beside = None;
                    }
                    let policy = Some(v1::PolicyVersion {
                        epoch: number.epoch,
                        n: number.n,
                        not_after: u64::MAX / 4,
                    });
                    let ack = v1::WatchAck {
                        epoch: 1,
                        bundle_version: 1,
                        policy,
                        ..v1::WatchAck::default()
                    };
                    let message = v1::watch_request::Message::Ack(ack);
                    let message = Some(message);
                    let _ = watch.said.send(v1::WatchRequest { message }).await;
                }
                Message::Candidate(candidate) => {
                    let beside = (!candidate.signed.is_empty()).then(|| {
                        let (_, decides) = read(&candidate.signed);
                        (candidate.n, candidate.stage, decides)
                    });
                    let mut held = held.lock().unwrap();
                    held.beside = beside;
                    held.found.clear();
                    held.permitted = 0;
                }
                _ => {}
            }
        }
    }

    /// Whether it lets this pass; what another set says otherwise is taken note of.
    pub fn judge(&self, from: &str, to: &str, what: Option<usize>, times: u64) -> bool {
        let mut held = self.held.lock().unwrap();
        let of = |decides: &Decides| what.map_or(decides.denied, |n| decides.kinds[n]);
        let Some(said) = held.decides.as_deref().map(of) else {
            return false;
        };
        if let Some((_, stage, other)) = held.beside.clone() {
            let other = of(&other);
            let (active, candidate) = if stage == 0 {
                (said, other)
            } else {
                (other, said)
            };
            if active == Verdict::Permit {
                held.permitted += times;
            }
            if active != candidate {
                let id = |host: &str| {
                    format!("spiffe://lab.test/cluster/main/ns/default/sa/{host}/node/shop")
                };
                let told = |verdict| match verdict {
                    Verdict::Permit => Told::Permit,
                    _ => Told::Deny,
                };
                let resource = what.map_or("os:cmd/1".to_owned(), kind);
                let key = (id(from), id(to), resource, told(active), told(candidate));
                *held.found.entry(key).or_default() += times;
            }
        }
        said == Verdict::Permit
    }

    pub async fn report(&self) {
        let report = {
            let mut held = self.held.lock().unwrap();
            let epoch = held.number.epoch;
            let Some((n, stage, _)) = held.beside else {
                return;
            };
            let differences = std::mem::take(&mut held.found).into_iter().take(256).map(
                |((principal, target, resource, active, candidate), count)| Difference {
                    principal,
                    target,
                    action: "call".into(),
                    resource,
                    active: active.into(),
                    candidate: candidate.into(),
                    forbidden: false,
                    count,
                },
            );
            v1::RolloutReport {
                epoch,
                n,
                stage,
                permitted: std::mem::take(&mut held.permitted),
                differences: differences.collect(),
                unlisted: 0,
            }
        };
        send(&self.said, v1::watch_request::Message::Rollout(report)).await;
    }

    pub fn number(&self) -> u64 {
        self.held.lock().unwrap().number.n
    }
}

/// Fifty hosts, each of which calls four others.
struct World {
    plane: Plane,
    sims: Vec<Sim>,
    /// Those of the first cohort.
    cohort: BTreeSet<usize>,
    /// Who knocks: on what, how often in a round.
    attacker: Option<(Option<usize>, u64)>,
    /// Denials of good calls, on links with an end in the cohort and on others.
    denied: (u64, u64),
}

impl World {
    async fn new(hosts: usize) -> Self {
        let plane = Plane::new().await;
        let compiled = Compiled::default();
        let first: Cohorts = "10%".parse().unwrap();
        // As many in the cohort as there should be: of fifty at random it may be any number.
        let (mut inside, mut names) = (0, Vec::new());
        for name in (0..).map(|n| format!("host-{n}")) {
            let is_in = first.has(1, &name);
            let room = if is_in {
                inside < hosts / 10
            } else {
                names.len() - inside < hosts - hosts / 10
            };
            if room {
                inside += usize::from(is_in);
                names.push(name);
            }
            if names.len() == hosts {
                break;
            }
        }
        let mut sims = Vec::new();
        for name in &names {
            sims.push(Sim::of(plane.agent(name).await, name, &compiled).await);
        }
        let cohort = (0..hosts).filter(|n| first.has(1, &names[*n]));
        Self {
            cohort: cohort.collect(),
            plane,
            sims,
            attacker: None,
            denied: (0, 0),
        }
    }

    /// Everybody calls everything once, and tells of it.
    async fn round(&mut self) {
        let hosts = self.sims.len();
        for from in 0..hosts {
            for to in [1, 7, 13, 22].map(|step| (from + step) % hosts) {
                let (one, other) = (&self.sims[from], &self.sims[to]);
                for n in 0..KINDS {
                    let sent = one.judge(&one.host, &other.host, Some(n), 1);
                    let received = other.judge(&one.host, &other.host, Some(n), 1);
                    if sent && received {
                        continue;
                    }
                    if self.cohort.contains(&from) || self.cohort.contains(&to) {
                        self.denied.0 += 1;
                    } else {
                        self.denied.1 += 1;
                    }
                }
            }
        }
        if let Some((what, times)) = self.attacker {
            // He holds one node, and knocks at all that there are.
            for to in 1..hosts {
                let (one, other) = (&self.sims[0], &self.sims[to]);
                one.judge(&one.host, &other.host, what, times);
                other.judge(&one.host, &other.host, what, times);
            }
        }
        for sim in &self.sims {
            sim.report().await;
        }
    }

    async fn rollout(&self) -> Value {
        self.plane.get("/v1/rollout").await
    }

    async fn begin(&self, candidate: &Source, plan: Value) -> u64 {
        let body = json!({ "source": candidate.to_canonical() });
        let n = self.plane.post("/v1/policies", body).await["n"]
            .as_u64()
            .unwrap();
        self.plane
            .post(&format!("/v1/policies/{n}/rollout"), plan)
            .await;
        n
    }

    /// Rounds, until it is so.
    async fn until(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            self.round().await;
            let rollout = self.rollout().await;
            if is(&rollout) {
                return rollout;
            }
            assert!(tokio::time::Instant::now() < deadline, "{what}: {rollout}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn all_have(&self, n: u64) {
        eventually("all have it", || async {
            self.sims.iter().all(|sim| sim.number() == n)
        })
        .await;
    }
}

fn forbids(source: &str) -> usize {
    source.matches("forbid").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_one_in_a_hundred_is_stopped_in_its_first_cohort_and_taken_back() {
    let mut world = World::new(50).await;
    assert_eq!(world.cohort.len(), 5);
    let good = set("good", 0..KINDS, &["rex"]);
    let body = json!({ "source": good.to_canonical() });
    let n = world.plane.post("/v1/policies", body).await["n"]
        .as_u64()
        .unwrap();
    world
        .plane
        .post(&format!("/v1/policies/{n}/activate"), json!({}))
        .await;
    world.all_have(n).await;

    // Somebody knocks ten thousand times a second on what is denied anyway: it goes on to all as if he did not.
    world.attacker = Some((None, 10_000));
    let relaxed = set("relaxed", 0..KINDS + 1, &["rex"]);
    let plan =
        json!({ "dry_run": 1, "cohorts": "10%,50%", "time": 1, "decisions": 1000, "trigger": 100 });
    let relaxed_n = world.begin(&relaxed, plan).await;
    let done = world
        .until("it is done", |rollout| rollout["outcome"] != "")
        .await;
    assert_eq!(
        (&done["outcome"], &done["relation"], &done["held"]),
        (&json!("done"), &json!("relax"), &json!(""))
    );
    assert!(world.plane.events("policy.rollout.held").await.is_empty());
    world.all_have(relaxed_n).await;
    assert_eq!(world.denied, (0, 0));

    // He knocks as often on what the next candidate breaks, and is the only one to ask: it stands still, and is not taken back.
    let broken = || (0..KINDS + 2).filter(|n| *n != BROKEN);
    let candidate = set("broken", broken(), &["rex", "net_kernel"]);
    let plan = json!({ "dry_run": 0, "cohorts": "10%,50%", "time": 600, "decisions": 1000, "trigger": 100 });
    let lone_n = world.begin(&candidate, plan.clone()).await;
    let (cohort, sims) = (&world.cohort, &world.sims);
    eventually("the cohort has it", || async {
        cohort.iter().all(|at| sims[*at].number() == lone_n)
    })
    .await;
    for _ in 0..5 {
        for to in 1..world.sims.len() {
            let (one, other) = (&world.sims[0], &world.sims[to]);
            one.judge(&one.host, &other.host, Some(BROKEN), 10_000);
            other.judge(&one.host, &other.host, Some(BROKEN), 10_000);
        }
        for sim in &world.sims {
            sim.report().await;
        }
    }
    let rollout = &world;
    eventually("it stands still", || async {
        rollout.rollout().await["held"] != ""
    })
    .await;
    let held = world.rollout().await;
    assert_eq!(
        (&held["outcome"], &held["stage"]),
        (&json!(""), &json!("cohort-1"))
    );
    assert_eq!(held["principals"], 1);
    assert!(held["weight"].as_u64().unwrap() <= 10, "{held}");
    assert_eq!(
        world
            .plane
            .metric("skans_control_policy_rollout_held")
            .await,
        Some(1)
    );
    let paged = world.plane.events("policy.rollout.held").await;
    assert_eq!(paged.len(), 1);
    assert_eq!(paged[0]["body"]["severity_id"], 5, "{paged:?}");

    // Everybody else asks, too: it is taken back by itself.
    world.attacker = None;
    let back = world
        .until("it is taken back", |rollout| rollout["outcome"] != "")
        .await;
    assert_eq!(back["outcome"], "rolled-back");
    assert_eq!(back["stage"], "cohort-1", "not further");
    let result = back["result"].as_u64().unwrap();
    assert!(result > lone_n, "no agent goes back in the order");
    world.all_have(result).await;
    let (inside, outside) = world.denied;
    assert!(inside > 0, "it did break something");
    assert_eq!(outside, 0, "and nothing between those that did not have it");
    // What was in force, and the forbid that came in between.
    let source = world.plane.get("/v1/policies/active").await["source"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(forbids(&source), 2, "{source}");
    let now = Source::from_canonical(&source, Version::default()).unwrap();
    let related = relate(&relaxed, &now).unwrap();
    assert_eq!(related.relation, Relation::Tighten);
    assert_eq!(related.changes.len(), 1);
    assert!(related.changes[0].which.starts_with("not-net_kernel"));
    world.denied = (0, 0);
    world.round().await;
    assert_eq!(world.denied, (0, 0), "all of it passes again");
    assert_eq!(
        world.plane.events("policy.rollout.rolled_back").await.len(),
        1
    );
}

fn signed(person: &Client, content: &str) -> NewPolicy {
    let Client::Person(login) = person else {
        panic!("a person")
    };
    let author = Login::load(login)
        .unwrap()
        .author(content.as_bytes())
        .unwrap();
    NewPolicy {
        source: content.to_owned(),
        author: Some(AuthorSignature::of(&author)),
    }
}

async fn call(by: &Client, path: &str, body: Value) -> String {
    reason(
        by.send::<Value>("POST", path, &body)
            .await
            .map(|value| value.to_string()),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn one_writes_another_rolls_it_out_and_whoever_looks_may_stop_it() {
    let plane = Plane::new().await;
    let ann = plane
        .person("ann", &["policy-author", "policy-approver"], None)
        .await;
    let ben = plane.person("ben", &["policy-approver"], None).await;
    let rex = plane.person("rex", &["responder"], None).await;
    let body = signed(&ann, &set("next", 0..2, &["rex"]).to_canonical());
    let made: Value = ann.send("POST", "/v1/policies", &body).await.unwrap();
    assert_eq!(made["n"], 2);
    let plan = json!({ "dry_run": 600, "cohorts": "host-a+host-c", "decisions": 1 });
    let at = |what: &str| format!("/v1/policies/2/{what}");
    assert_eq!(
        call(&ann, &at("rollout"), plan.clone()).await,
        "conflict",
        "not who wrote it"
    );
    assert_eq!(call(&rex, &at("rollout"), plan.clone()).await, "denied");
    assert_eq!(
        call(&ben, &at("rollout"), json!({ "trigger": 9 })).await,
        "invalid"
    );
    assert_eq!(
        call(&ben, &at("rollout"), json!({ "cohorts": "50%,10%" })).await,
        "invalid"
    );
    assert_eq!(call(&ben, &at("rollout"), plan.clone()).await, "ok");
    assert_eq!(
        call(&ben, &at("rollout"), plan.clone()).await,
        "conflict",
        "once"
    );
    // It is in the way of what would go round it.
    assert_eq!(call(&ben, &at("activate"), json!({})).await, "conflict");
    assert_eq!(
        reason(ann.call("DELETE", "/v1/policies/2", None).await),
        "conflict"
    );
    assert_eq!(call(&rex, &at("hold"), json!({})).await, "ok");
    assert_eq!(call(&rex, &at("advance"), json!({})).await, "denied");
    assert_eq!(call(&rex, &at("rollback"), json!({})).await, "denied");
    assert_eq!(call(&ann, &at("advance"), json!({})).await, "conflict");
    let held = plane.get("/v1/rollout").await;
    assert!(held["held"].as_str().unwrap().contains("/rex"), "{held}");

    // To the cohort, to all.
    let agents = [
        plane.agent("host-a").await,
        plane.agent("host-b").await,
        plane.agent("host-c").await,
    ];
    let mut watches = Vec::new();
    for agent in &agents {
        watches.push(agent.watch().await);
    }
    // The third one is of the cohort as well, but of a release that knows no roll-outs.
    for watch in &watches[..2] {
        let empty = v1::RolloutReport::default();
        send(&watch.said, v1::watch_request::Message::Rollout(empty)).await;
    }
    assert_eq!(call(&ben, &at("advance"), json!({})).await, "ok");
    let mut has = [0; 3];
    let mut beside = [None; 2];
    while has[0] != 2 || beside != [Some(1), Some(0)] {
        for (n, watch) in watches.iter_mut().enumerate() {
            // A head comes every ten seconds in any case.
            match watch.next().await.unwrap() {
                Message::Policy(set) => has[n] = content(&agents[n], &set.signed).0.n,
                Message::Candidate(one) => {
                    let (number, _) = content(&agents[n], &one.signed);
                    assert_eq!((one.n, number.n), (2, if one.stage == 0 { 2 } else { 1 }));
                    beside[n] = Some(one.stage);
                }
                _ => {}
            }
        }
    }
    assert_eq!(has, [2, 1, 1]);
    assert_eq!(plane.get("/v1/policies/active").await["n"], 1);
    // Whoever looked at the stage before would take a step that nobody looked at.
    let late = json!({"from": "dry-run"});
    assert_eq!(call(&ben, &at("advance"), late).await, "conflict");
    let other = json!({"form": "cohort-1"});
    assert_eq!(call(&ben, &at("advance"), other).await, "invalid");
    assert_eq!(plane.get("/v1/rollout").await["stage"], "cohort-1");
    let seen = json!({"from": "cohort-1"});
    assert_eq!(call(&ben, &at("advance"), seen).await, "ok");
    for n in [1, 2] {
        let number = watches[n]
            .until(|message| match message {
                Message::Policy(set) => Some(content(&agents[n], &set.signed).0.n),
                _ => None,
            })
            .await;
        assert_eq!(number, 2);
    }
    let done = plane.get("/v1/rollout").await;
    assert_eq!(
        (&done["outcome"], &done["result"]),
        (&json!("done"), &json!(2))
    );
    let active = plane.get("/v1/policies/active").await;
    assert_eq!(
        (&active["n"], &active["approver"]),
        (&json!(2), &json!("spiffe://lab.test/skans/user/ben"))
    );
    assert_eq!(
        call(&ben, &at("advance"), json!({})).await,
        "not_found",
        "it is over"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_compared_is_taken_back_without_a_trace() {
    let plane = Plane::new().await;
    let body = json!({ "source": set("next", 0..2, &[]).to_canonical() });
    plane.post("/v1/policies", body).await;
    plane.post("/v1/policies/2/rollout", json!({})).await;
    plane.post("/v1/policies/2/rollback", json!({})).await;
    let over = plane.get("/v1/rollout").await;
    assert_eq!(
        (&over["outcome"], &over["result"]),
        (&json!("withdrawn"), &json!(0))
    );
    assert_eq!(plane.get("/v1/policies/active").await["n"], 1);
    assert_eq!(plane.get("/v1/policies/2").await["state"], "withdrawn");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbid_goes_at_once_and_takes_two_if_it_touches_many() {
    let plane = Plane::new().await;
    for host in ["host-a", "host-b"] {
        let agent = plane.agent(host).await;
        for n in 0..6 {
            let node = format!("n{n}@{host}");
            agent
                .issue(&[&node], host)
                .await
                .unwrap()
                .remove(0)
                .unwrap();
        }
    }
    let rex = plane.person("rex", &["responder"], None).await;
    let sue = plane.person("sue", &["responder"], None).await;
    let vic = plane.person("vic", &["viewer"], None).await;
    let node = "spiffe://lab.test/cluster/main/ns/default/sa/host-a/node/n1";
    let narrow = json!({
        "policies": format!("@id(\"stop-n1\") forbid (principal in Skans::Node::\"{node}\", action, resource);"),
        "reason": "it behaves oddly",
    });
    let path = "/v1/policies/forbid";
    assert_eq!(call(&vic, path, narrow.clone()).await, "denied");
    let permit =
        json!({ "policies": "@id(\"x\") permit (principal, action, resource);", "reason": "" });
    assert_eq!(call(&rex, path, permit).await, "invalid");
    // While a candidate is rolled out: both get it.
    let ann = plane
        .person("ann", &["policy-author", "policy-approver"], None)
        .await;
    let body = signed(&ann, &set("next", 0..2, &[]).to_canonical());
    let _: Value = ann.send("POST", "/v1/policies", &body).await.unwrap();
    plane
        .post(
            "/v1/policies/2/rollout",
            json!({ "dry_run": 0, "cohorts": "host-a" }),
        )
        .await;
    let done: Value = rex.send("POST", path, &narrow).await.unwrap();
    assert_eq!(
        (&done["n"], &done["nodes"], &done["of"]),
        (&json!(3), &json!(1), &json!(12))
    );
    let rollout = plane.get("/v1/rollout").await;
    assert_eq!(
        (&rollout["n"], &rollout["base"], &rollout["stage"]),
        (&json!(4), &json!(3), &json!("cohort-1"))
    );
    // Whose candidate it is stays so: its author may not take it on now, either.
    let rex_id = "spiffe://lab.test/skans/user/rex";
    for (n, author) in [(3, rex_id), (4, "spiffe://lab.test/skans/user/ann")] {
        let set = plane.get(&format!("/v1/policies/{n}")).await;
        assert!(set["source"].as_str().unwrap().contains("stop-n1"), "{set}");
        assert_eq!(set["author"], author);
    }
    let proposed = plane.events("policy.proposed").await;
    let by_rex = proposed.iter().filter(|one| one["actor"] == rex_id);
    assert_eq!(by_rex.count(), 2);
    assert_eq!(
        call(&ann, "/v1/policies/4/advance", json!({})).await,
        "conflict"
    );
    assert_eq!(plane.get("/v1/policies/active").await["n"], 3);
    assert_eq!(plane.events("policy.forbidden").await.len(), 1);
    // Taken back, the forbid stays.
    plane.post("/v1/policies/4/rollback", json!({})).await;
    let back = plane.get("/v1/policies/active").await;
    assert_eq!(back["n"], 5);
    assert!(back["source"].as_str().unwrap().contains("stop-n1"));

    let wide = json!({
        "policies": "@id(\"no-shell\") forbid (principal, action, resource in Skans::Module::\"os\");",
        "reason": "somebody is in",
    });
    let asked = rex.call("POST", path, Some(wide.to_string())).await;
    assert_eq!(asked.unwrap(), "", "it waits for a second one");
    assert_eq!(
        rex.call("POST", path, Some(wide.to_string()))
            .await
            .unwrap(),
        "",
        "who is another"
    );
    assert_eq!(plane.get("/v1/policies/active").await["n"], 5);
    let done: Value = sue.send("POST", path, &wide).await.unwrap();
    assert_eq!((&done["n"], &done["nodes"]), (&json!(6), &json!(12)));
    assert_eq!(plane.events("approval.given").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_the_nodes_of_one_host_take_nothing_back() {
    let plane = Plane::new().await;
    // Somebody has a host and its ten nodes, and asks two honest ones for what the candidate breaks.
    let stolen = plane.agent("host-a").await;
    let nodes: Vec<String> = (0..10).map(|n| format!("n{n}@host-a")).collect();
    for node in &nodes {
        let got = stolen.issue(&[node], "host-a").await.unwrap().remove(0);
        got.unwrap();
    }
    let honest = [plane.agent("host-b").await, plane.agent("host-c").await];
    let watches = [honest[0].watch().await, honest[1].watch().await];
    let body = json!({ "source": set("next", 0..2, &[]).to_canonical() });
    plane.post("/v1/policies", body).await;
    let plan = json!({ "dry_run": 0, "cohorts": "host-b+host-c", "decisions": 1 });
    plane.post("/v1/policies/2/rollout", plan).await;
    let id = |n| format!("spiffe://lab.test/cluster/main/ns/default/sa/host-a/node/n{n}");
    let differences = (0..10).map(|n| Difference {
        principal: id(n),
        target: "spiffe://lab.test/cluster/main/ns/default/sa/host-b/node/shop".into(),
        action: "call".into(),
        resource: "a:b/1".into(),
        active: Told::Permit.into(),
        candidate: Told::Deny.into(),
        forbidden: false,
        count: 10_000,
    });
    let report = v1::RolloutReport {
        epoch: 1,
        n: 2,
        stage: 1,
        permitted: 100_000,
        differences: differences.collect(),
        unlisted: 0,
    };
    for watch in &watches {
        send(
            &watch.said,
            v1::watch_request::Message::Rollout(report.clone()),
        )
        .await;
    }
    eventually("both are heard", || async {
        let rollout = plane.get("/v1/rollout").await;
        rollout["agents"] == 2 && rollout["held"] != ""
    })
    .await;
    let rollout = plane.get("/v1/rollout").await;
    assert_eq!(
        (&rollout["principals"], &rollout["weight"]),
        (&json!(10), &json!(50)),
        "{rollout}"
    );
    assert_eq!(
        (&rollout["outcome"], &rollout["relation"]),
        (&json!(""), &json!("mixed"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_an_agent_makes_up_is_taken_for_true() {
    let plane = Plane::new().await;
    let liar = plane.agent("host-a").await;
    liar.issue(&["shop@host-a"], "host-a")
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    let watch = liar.watch().await;
    let body = json!({ "source": set("next", 0..2, &[]).to_canonical() });
    plane.post("/v1/policies", body).await;
    plane
        .post(
            "/v1/policies/2/rollout",
            json!({ "dry_run": 0, "cohorts": "host-a", "decisions": 1 }),
        )
        .await;
    let difference = |node: &str| Difference {
        principal: format!("spiffe://lab.test/cluster/main/ns/default/sa/{node}/node/shop"),
        target: "spiffe://lab.test/cluster/main/ns/default/sa/host-b/node/shop".into(),
        action: "call".into(),
        resource: "a:b/1".into(),
        active: Told::Permit.into(),
        candidate: Told::Deny.into(),
        forbidden: false,
        count: u64::MAX,
    };
    let report = |stage, differences| v1::RolloutReport {
        epoch: 1,
        n: 2,
        stage,
        permitted: u64::MAX,
        differences,
        unlisted: 0,
    };
    let made_up: Vec<_> = (0..200)
        .map(|n| difference(&format!("made-up-{n}")))
        .collect();
    // A cohort that it is not in, a candidate that there is not.
    let say = |report| send(&watch.said, v1::watch_request::Message::Rollout(report));
    say(report(2, made_up.clone())).await;
    say(v1::RolloutReport {
        n: 9,
        ..report(1, made_up.clone())
    })
    .await;
    say(report(1, made_up)).await;
    eventually("it is heard", || async {
        plane.get("/v1/rollout").await["agents"] == 1
    })
    .await;
    let rollout = plane.get("/v1/rollout").await;
    assert_eq!(
        (&rollout["principals"], &rollout["weight"]),
        (&json!(0), &json!(0)),
        "{rollout}"
    );
    assert_eq!(rollout["differences"].as_array().unwrap().len(), 0);
    say(report(1, vec![difference("host-a")])).await;
    eventually("it stands still", || async {
        plane.get("/v1/rollout").await["held"] != ""
    })
    .await;
    let rollout = plane.get("/v1/rollout").await;
    assert_eq!(
        (&rollout["principals"], &rollout["weight"]),
        (&json!(1), &json!(10))
    );
    assert_eq!(rollout["outcome"], "");
    // What the contract does not allow ends the stream.
    let many = vec![difference("host-a"); 257];
    let before = plane.metric("skans_control_watchers").await;
    say(report(1, many)).await;
    eventually("it is cut off", || async {
        plane.metric("skans_control_watchers").await < before
    })
    .await;
}
