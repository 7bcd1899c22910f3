//! Agents and control planes of two releases at once, as they are during an upgrade: enrolment, renewal under an open link,
//! revocation that reaches it. Run by `script/compat`, which builds the other release and names it in `SKANS_OTHER_BINARY`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, in its helpers as well"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use skans_lab::control::Options;
use skans_lab::{Cluster, ControlProcess, HostPlan, NodePlan, Plan, plan::find_skans, until};
use skans_promises::PATIENCE;

/// How long leaves live: two lives pass in each test.
const LEAF: Duration = Duration::from_secs(15);

/// Which release.
#[derive(Clone, Copy, Debug)]
enum Release {
    /// The one that is under test.
    This,
    /// The one in `SKANS_OTHER_BINARY`.
    Other,
}

impl Release {
    fn binary(self) -> PathBuf {
        match self {
            Self::This => find_skans().unwrap(),
            Self::Other => std::env::var_os("SKANS_OTHER_BINARY")
                .expect("SKANS_OTHER_BINARY: found none, wanted the skans of another release (script/compat)")
                .into(),
        }
    }
}

/// A program whose release can be changed between two starts.
fn program(path: &Path, choose: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, format!("#!/bin/sh\ncase \"$*\" in\n{choose}\nesac\n")).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&new, path).unwrap();
}

/// A control plane of one release, and two agents, each of one.
struct Mixed {
    directory: tempfile::TempDir,
    plane: ControlProcess,
    cluster: Cluster,
}

impl Mixed {
    async fn start(plane: Release, agents: [Release; 2]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        choose(directory.path(), plane, agents);
        let options = Options { leaf: LEAF };
        let program = directory.path().join("plane");
        let place = directory.path().join("control");
        let plane = ControlProcess::start(&program, &place, options);
        let plane = plane.await.unwrap();
        let mut lab = Plan::new(directory.path().join("agent")).unwrap();
        for label in ["n1", "n2"] {
            let name = format!("{label}@{label}.lab");
            let token = plane
                .token(label, "lab", std::slice::from_ref(&name))
                .await
                .unwrap();
            let path = directory.path().join(format!("{label}.token"));
            std::fs::write(&path, token).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let node = NodePlan::new(&name).config(&json!({"workload": "lab"}));
            let state = directory.path().join(format!("{label}.state"));
            let identity =
                json!({"authority": null, "control": {"joinToken": path, "stateDirectory": state}});
            // Without what the other release has no key for.
            let config = json!({"identity": identity, "events": null});
            lab = lab.host(HostPlan::new(label).node(node).config(&config));
        }
        let cluster = lab.start().await.unwrap();
        Self {
            directory,
            plane,
            cluster,
        }
    }

    /// From their next start on.
    fn becomes(&self, plane: Release, agents: [Release; 2]) {
        choose(self.directory.path(), plane, agents);
    }

    /// Agents look for the control plane where it was.
    fn keeps_its_port(&self) {
        let kept = std::fs::read(self.directory.path().join("n1.state/enrolment.json")).unwrap();
        let kept: Value = serde_json::from_slice(&kept).unwrap();
        let config = std::fs::read(self.plane.config()).unwrap();
        let mut config: Value = serde_json::from_slice(&config).unwrap();
        config["listen"] = kept["addresses"][0].clone();
        std::fs::write(self.plane.config(), config.to_string()).unwrap();
    }

    async fn eval(&self, node: usize, code: &str) -> String {
        self.cluster
            .node(node)
            .unwrap()
            .eval(code, PATIENCE)
            .await
            .unwrap()
    }

    /// When the first of its certificates ends. An agent that was just started may have to ask for them.
    async fn ends(&self, host: usize) -> u64 {
        let agent = self.cluster.agent(host).unwrap();
        until(PATIENCE, "a certificate", async || {
            let status = agent.status().await.map_err(|error| error.to_string())?;
            let ends = status.certificates.iter().map(|one| one.not_after);
            ends.min().ok_or_else(|| format!("{:?}", status.control))
        })
        .await
        .unwrap()
    }

    /// Certificates are renewed twice, and no node notices.
    async fn renews(&self) {
        let count = "register(watch, spawn(fun() -> net_kernel:monitor_nodes(true), (fun L(N) -> receive \
            {nodedown, _} -> L(N + 1); {seen, P} -> P ! {downs, N}, L(N) end end)(0) end)), ok";
        assert_eq!(self.eval(0, count).await, "ok");
        let first = [self.ends(0).await, self.ends(1).await];
        until(LEAF * 6, "two lives have passed", async || {
            for (host, first) in first.iter().enumerate() {
                let now = self.ends(host).await;
                if now < first + 2 * LEAF.as_secs() {
                    return Err(format!(
                        "host {host}: {now}, wanted two lives after {first}"
                    ));
                }
            }
            Ok(())
        })
        .await
        .unwrap();
        let downs = "watch ! {seen, self()}, receive {downs, N} -> N end";
        assert_eq!(self.eval(0, downs).await, "0");
        assert_eq!(self.eval(0, "unregister(watch), ok").await, "ok");
    }

    /// Who is revoked loses the link that is open, and gets no other; all agents say that it holds.
    async fn revokes(&self) {
        assert_eq!(self.eval(0, "nodes()").await, "['n2@n2.lab']");
        let body = json!({"kind": "node", "target": "n2@n2.lab", "reason": "a test"});
        let made = self.plane.ask("POST", "/v1/denials", &body).await.unwrap();
        let path = format!("/v1/denials/{}?wait=30", made["seq"]);
        let spread = self.plane.ask("GET", &path, &Value::Null).await.unwrap();
        assert_eq!(spread["agents"], spread["acknowledged"], "{spread}");
        let n1 = self.cluster.node(0).unwrap();
        n1.wait_for("nodes()", "[]", PATIENCE).await.unwrap();
        assert_eq!(self.eval(0, "net_adm:ping('n2@n2.lab')").await, "pang");
    }

    async fn stop(self) {
        self.cluster.stop().await.unwrap();
        self.plane.terminate(PATIENCE).await.unwrap();
    }
}

fn choose(directory: &Path, plane: Release, agents: [Release; 2]) {
    let exec = |pattern: &str, release: Release| {
        format!("{pattern}) exec '{}' \"$@\" ;;", release.binary().display())
    };
    program(&directory.join("plane"), &exec("*", plane));
    let each = [exec("*/n1/*", agents[0]), exec("*", agents[1])].join("\n");
    program(&directory.join("agent"), &each);
}

async fn keep_the_promises(plane: Release, agents: [Release; 2]) {
    let mixed = Mixed::start(plane, agents).await;
    assert_eq!(mixed.eval(0, "net_adm:ping('n2@n2.lab')").await, "pong");
    mixed.renews().await;
    mixed.revokes().await;
    mixed.stop().await;
}

/// What all the others are measured by.
#[tokio::test]
async fn everything_of_this_release() {
    keep_the_promises(Release::This, [Release::This; 2]).await;
}

#[tokio::test]
async fn agents_of_the_other_release_live_on_this_control_plane() {
    keep_the_promises(Release::This, [Release::Other; 2]).await;
}

#[tokio::test]
async fn agents_of_this_release_live_on_the_other_control_plane() {
    keep_the_promises(Release::Other, [Release::This; 2]).await;
}

#[tokio::test]
async fn agents_of_both_releases_link_to_each_other() {
    keep_the_promises(Release::This, [Release::This, Release::Other]).await;
}

/// In the order in which one upgrades: the control plane, then one agent after the other. Each finds what the one before it
/// wrote.
#[tokio::test]
async fn what_the_other_release_wrote_is_read_by_this_one() {
    let mut mixed = Mixed::start(Release::Other, [Release::Other; 2]).await;
    let denial = json!({"kind": "node", "target": "gone@gone.lab", "reason": "before the upgrade"});
    mixed
        .plane
        .ask("POST", "/v1/denials", &denial)
        .await
        .unwrap();
    mixed.becomes(Release::This, [Release::This; 2]);
    mixed.keeps_its_port();
    mixed.plane.kill().await.unwrap();
    mixed.plane.restart().await.unwrap();
    let kept = mixed
        .plane
        .ask("GET", "/v1/denials", &Value::Null)
        .await
        .unwrap();
    assert_eq!(kept["items"][0]["target"], "gone@gone.lab", "{kept}");
    for host in 0..2 {
        mixed.cluster.kill_agent(host).await.unwrap();
        mixed.cluster.start_agent(host).await.unwrap();
        let n1 = mixed.cluster.node(0).unwrap();
        n1.wait_for("net_adm:ping('n2@n2.lab')", "pong", PATIENCE)
            .await
            .unwrap();
    }
    let agents = mixed
        .plane
        .ask("GET", "/v1/agents", &Value::Null)
        .await
        .unwrap();
    assert_eq!(
        agents["items"].as_array().unwrap().len(),
        2,
        "nobody enrolled again: {agents}"
    );
    mixed.renews().await;
    mixed.revokes().await;
    mixed.stop().await;
}
