//! `docs/policy.md` says what whoever writes policies types and writes. All of it is taken from the page and tried: a line
//! that nobody tries here fails the test.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use skans_lab::plan::find_skans;
use skans_promises::{PATIENCE, plan};
use tokio::process::Command;

use crate::plane::Plane;

const PAGE: &str = include_str!("../../docs/policy.md");

/// The commands on the page: lines that are indented by four spaces, outside of other blocks.
fn commands() -> Vec<&'static str> {
    let mut fenced = false;
    PAGE.lines()
        .filter(|line| {
            fenced ^= line.starts_with("```");
            !fenced
        })
        .filter_map(|line| line.strip_prefix("    "))
        .collect()
}

/// The files on the page: blocks whose first line says which.
fn files() -> Vec<(String, String)> {
    PAGE.split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| {
            let (_, block) = block.split_once('\n')?;
            let (first, rest) = block.split_once('\n')?;
            let name = first.trim_start_matches(['#', '/', ' ']);
            name.starts_with("policy/")
                .then(|| (name.to_owned(), rest.to_owned()))
        })
        .collect()
}

/// The page is about a cluster of somebody's; sets are for one cluster.
fn here(text: &str) -> String {
    text.replace("prod.example/cluster/main", "lab.test/cluster/lab")
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// An operator's desk: the example in a directory that can be changed.
struct Desk {
    plane: Plane,
    directory: tempfile::TempDir,
    /// The number of the set whose denials `events.jsonl` has.
    told: tokio::sync::OnceCell<u64>,
}

impl Desk {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files() {
            let path = directory.path().join(&name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, here(&text)).unwrap();
        }
        Self {
            plane: Plane::start(&json!({})).await,
            directory,
            told: tokio::sync::OnceCell::new(),
        }
    }

    async fn run(&self, line: &str) -> Output {
        let skans = find_skans().unwrap();
        let path = format!(
            "{}:{}",
            skans.parent().unwrap().display(),
            std::env::var("PATH").unwrap()
        );
        let mut command = Command::new("sh");
        command
            .args(["-euc", &here(line)])
            .current_dir(self.directory.path())
            .env("PATH", path)
            .env("HOME", self.directory.path())
            .env("SKANS_CONTROL_SOCKET", self.plane.socket())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        tokio::time::timeout(PATIENCE, command.output())
            .await
            .unwrap()
            .unwrap()
    }

    async fn said(&self, line: &str) -> String {
        let output = self.run(line).await;
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {} {err}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The number of the newest set.
    async fn newest(&self) -> u64 {
        let all: Value = self.plane.owner().get("/v1/policies").await.unwrap();
        all["items"][0]["n"].as_u64().unwrap()
    }

    /// Two nodes do what the set in force does not permit, and their agent tells it. The number of the set.
    async fn events(&self) -> u64 {
        *self.told.get_or_init(|| self.denied()).await
    }

    async fn denied(&self) -> u64 {
        let mut plan = plan();
        for label in ["n1", "n2"] {
            plan = plan.host(self.plane.host(label, &json!({})).await);
        }
        let cluster = plan.start().await.unwrap();
        let call = format!(
            "rpc:call({}, os, cmd, [\"true\"])",
            cluster.atom(1).unwrap()
        );
        let node = cluster.node(0).unwrap();
        // A dry run: it is done.
        assert_eq!(node.eval(&call, PATIENCE).await.unwrap(), "[]");
        let agent = cluster.agent(0).unwrap();
        let calls = |event: &Value| {
            let denied = &event["unmapped"]["skans"];
            denied["verdict"] == "would_deny"
                && denied["reason"] == "policy"
                && denied["resources"][0]["module"] == "os"
        };
        let told = agent.wait_event("it is told", PATIENCE, calls).await;
        let told = told.unwrap();
        let mut unknown = told.clone();
        unknown["unmapped"]["skans"]["action"] = "unknown".into();
        let mut lines = format!("not an event\n{unknown}\n");
        for event in agent.events().unwrap() {
            lines += &format!("{event}\n");
        }
        std::fs::write(self.directory.path().join("events.jsonl"), lines).unwrap();
        cluster.stop().await.unwrap();
        told["unmapped"]["skans"]["policyVersion"]["n"]
            .as_u64()
            .unwrap()
    }

    /// A person with a role, logged in where `~/.skans` is.
    async fn person(&self, role: &str) {
        let owner = self.plane.owner();
        let grant = json!({"user": "ann", "role": role});
        let _: Value = owner.send("POST", "/v1/grants", &grant).await.unwrap();
        let token = json!({"person": "ann"});
        let made: Value = owner.send("POST", "/v1/tokens", &token).await.unwrap();
        let directory = self.directory.path().join(".skans");
        skans_control::client::login(made["token"].as_str().unwrap(), &directory)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn every_command_on_the_policy_page_does_what_it_says() {
    let desk = Desk::new().await;
    for line in commands() {
        match line {
            "skans policy list" => {
                let said = desk.said(line).await;
                assert!(said.contains("same-cluster-members"), "{said}");
            }
            "skans policy show" | "skans policy show active" => {
                let said = desk.said(line).await;
                assert!(said.contains("active"), "{said}");
            }
            "skans policy check policy/shop" => {
                assert!(desk.said(line).await.contains("no problem"));
                let json = desk.said(&format!("{line} --output json")).await;
                let found: Value = serde_json::from_str(&json).unwrap();
                assert_eq!(found["problems"], json!([]));
                // And it points at what is wrong.
                let cedar = desk.directory.path().join("policy/shop/shop.cedar");
                let good = std::fs::read_to_string(&cedar).unwrap();
                std::fs::write(&cedar, good.replace("\"connect\"", "\"conect\"")).unwrap();
                let output = desk.run(line).await;
                let said = String::from_utf8_lossy(&output.stdout);
                assert_eq!(output.status.code(), Some(1), "{said}");
                assert!(said.contains("shop.cedar:"), "{said}");
                std::fs::write(&cedar, good).unwrap();
            }
            "skans policy test policy/shop" => {
                assert!(desk.said(line).await.contains("6 of 6 passed"));
                let tests = desk.directory.path().join("policy/shop/tests/stock.yaml");
                let good = std::fs::read_to_string(&tests).unwrap();
                let wrong = good.replacen("expect: deny", "expect: permit", 1);
                std::fs::write(&tests, wrong).unwrap();
                let output = desk.run(line).await;
                let said = String::from_utf8_lossy(&output.stdout);
                assert_eq!(output.status.code(), Some(1), "{said}");
                assert!(said.contains("no-functions-in-messages"), "{said}");
                std::fs::write(&tests, good).unwrap();
            }
            "skans policy diff active policy/shop" => {
                let said = desk.said(line).await;
                assert!(said.contains("+mode: dry-run until 2027-01-31"), "{said}");
                assert!(said.contains("+@id(\"cart-connects\")"), "{said}");
            }
            "skans policy push policy/shop" => {
                let said = desk.said(line).await;
                assert!(said.contains("proposed"), "{said}");
                assert!(said.contains("relation: "), "{said}");
            }
            "skans policy approve N" => {
                let n = desk.newest().await;
                let said = desk.said(&line.replace('N', &n.to_string())).await;
                assert!(said.contains("active"), "{said}");
            }
            "skans policy withdraw N" => {
                desk.said("skans policy push policy/shop").await;
                let n = desk.newest().await;
                desk.said(&line.replace('N', &n.to_string())).await;
                assert!(desk.said("skans policy list").await.contains("withdrawn"));
            }
            "skans policy rollout N --dry-run 10m --cohort 10%,50% --gate 10m" => {
                let n = desk.newest().await;
                let said = desk.said(&line.replace('N', &n.to_string())).await;
                assert!(said.contains("dry-run"), "{said}");
                assert!(said.contains("relation:"), "{said}");
            }
            "skans policy status" => {
                let said = desk.said(line).await;
                assert!(said.contains("no difference was told of"), "{said}");
            }
            "skans policy status --watch --output json" => {
                // It would look again and again: once it is over, no more.
                let once = line.replace(" --watch", "");
                let found: Value = serde_json::from_str(&desk.said(&once).await).unwrap();
                assert_eq!(found["stage"], "dry-run");
            }
            "skans policy hold" => {
                assert!(desk.said(line).await.contains("stands still: held by"));
            }
            "skans policy advance --from dry-run" => {
                assert!(desk.said(line).await.contains("cohort-1"));
                // Nobody has looked at that one yet.
                let late = desk.run(line).await;
                let said = String::from_utf8_lossy(&late.stderr);
                assert_eq!(late.status.code(), Some(1), "{said}");
                assert!(said.contains("found it in cohort-1"), "{said}");
            }
            "skans policy rollback" => {
                assert!(desk.said(line).await.contains("rolled-back"));
                let watched = desk.said("skans policy status --watch --output json").await;
                let found: Value = serde_json::from_str(&watched).unwrap();
                assert_eq!(found["outcome"], "rolled-back");
            }
            line if line.starts_with("skans policy forbid --principal ") => {
                let said = desk.said(line).await;
                assert!(said.contains("is in force with it"), "{said}");
                let found = desk.said("skans policy diff active policy/shop").await;
                assert!(found.contains("relation:"), "{found}");
            }
            "skans agents" => {
                desk.said(line).await;
            }
            "skans policy push policy/shop --login ~/.skans" => {
                desk.person("policy-author").await;
                let said = desk.said(line).await;
                assert!(said.contains("skans/user/ann"), "{said}");
                let show = format!("skans policy show {}", desk.newest().await);
                let said = desk.said(&show).await;
                let signed = said.lines().find(|line| line.starts_with("signed by"));
                assert!(signed.is_some_and(|line| line.contains("ann")), "{said}");
            }
            "skans policy explain --event events.jsonl" => {
                let set = desk.events().await;
                let said = desk.said(line).await;
                assert!(said.contains("os:cmd/1 at spiffe://lab.test/"), "{said}");
                assert!(said.contains("deny, which a dry run lets pass"), "{said}");
                let told = format!("would_deny (policy), by set {set}");
                assert!(said.contains(&told), "{said}");
                // What no set decides keeps nothing else from being explained.
                assert!(said.contains("undecided"), "{said}");
            }
            "skans policy learn --events events.jsonl --out policy/learned" => {
                desk.events().await;
                let said = desk.said(line).await;
                assert!(said.contains("left out"), "{said}");
                assert!(said.contains("owns-the-node"), "{said}");
                let left = desk.directory.path().join("policy/learned/LEFT-OUT.md");
                let left = std::fs::read_to_string(left).unwrap();
                assert!(
                    left.contains("call os:cmd/1 at spiffe://lab.test/"),
                    "{left}"
                );
                // What somebody may have changed is not written over.
                let output = desk.run(line).await;
                assert_eq!(output.status.code(), Some(1));
            }
            "skans policy check policy/learned" => {
                assert!(desk.said(line).await.contains("no problem"));
            }
            "skans policy test policy/learned" => {
                assert!(desk.said(line).await.contains(" passed"));
            }
            "skans policy explain --set policy/shop --event events.jsonl" => {
                let said = desk.said(line).await;
                assert!(said.contains("os:cmd/1"), "{said}");
                assert!(said.contains("no policy permits it"), "{said}");
            }
            "skans policy push policy/shop --activate" => {
                let set = desk.directory.path().join("policy/shop/set.yaml");
                let text = std::fs::read_to_string(&set).unwrap();
                let text = text
                    .replace("mode: dry-run\n", "mode: enforce\n")
                    .replace("until: 2027-01-31\n", "");
                std::fs::write(&set, text).unwrap();
                let said = desk.said(line).await;
                assert!(
                    said.contains("enforce") && said.contains("active"),
                    "{said}"
                );
            }
            line if line.starts_with("skans policy explain --from ") => {
                let said = desk.said(line).await;
                let why = if line.ends_with("--carries-function") {
                    "deny (by no-functions-in-messages)"
                } else {
                    "deny (no policy permits it)"
                };
                assert!(said.contains(why), "{said}");
                let near = "nearly: permit by cart-asks-for-stock, but it is about something else";
                // Where something forbids, a permit that holds is nothing that is missing.
                assert_eq!(said.contains(near), line.ends_with("os:cmd/1"), "{said}");
            }
            other => panic!("the page has a command that no test tries: {other}"),
        }
    }
}

#[test]
fn the_example_is_the_one_on_the_page() {
    let files = files();
    assert_eq!(files.len(), 3, "{files:?}");
    for (name, text) in files {
        let kept = std::fs::read_to_string(docs().join(&name)).unwrap();
        assert_eq!(text, kept, "{name}");
    }
}

#[test]
fn the_configuration_on_the_policy_page_is_one() {
    let block = PAGE.split("```yaml\npolicy:").nth(1).unwrap();
    let block = block.split("```").next().unwrap();
    let text = format!(
        "apiVersion: skans.io/v1alpha1\ntrustDomain: prod.example\nnodes: [{{name: rabbit@host-a}}]\n\
         identity: {{authority: {{directory: /var/lib/skans/authority}}}}\npolicy:{block}"
    );
    let parsed = skans_agent::config::parse(&text, "docs/policy.md", |_| None).unwrap();
    assert!(parsed.policy.directory.is_some());
}
