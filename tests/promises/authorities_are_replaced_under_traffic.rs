//! The authority that signs is replaced, tainted and revoked while nodes talk, by people or by itself; and so is the root:
//! nobody notices, and at the end what the old one signed is good for nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::UnixTime;
use serde_json::{Value, json};
use skans_control::root;
use skans_identity::csr::ProvenKey;
use skans_identity::forge::{Forge, Forged, Spec};
use skans_identity::signer::SoftwareKey;
use skans_lab::traffic::Traffic;
use skans_lab::{AgentProcess, Cluster, until};
use skans_promises::{PATIENCE, plan};

use crate::hostile::{Got, LinkEnd, domain, logged, ours};
use crate::plane::Plane;

/// Agents spread a renewal over a minute, and move their links over the next.
const LIMIT: Duration = Duration::from_secs(200);

/// Who issued the certificates at the other ends of all links.
async fn issuers(cluster: &Cluster) -> Vec<String> {
    let mut all = Vec::new();
    for host in cluster.running_agents() {
        let links = cluster.agent(host).unwrap().links().await.unwrap();
        all.extend(links.into_iter().map(|link| link.issuer));
    }
    all
}

#[tokio::test]
async fn an_issuing_authority_goes_and_no_link_drops() {
    let plane = Plane::start(&json!({})).await;
    let mut lab = plan();
    for label in ["n1", "n2", "n3"] {
        lab = lab.host(plane.host(label, &json!({})).await);
    }
    let cluster = lab.start().await.unwrap();
    let traffic = Traffic::start(&cluster).await.unwrap();
    let before = issuers(&cluster).await;
    let old = before[0].clone();
    assert!(before.iter().all(|issuer| *issuer == old));

    let owner = plane.owner();
    let authorities: Value = owner.get("/v1/authorities").await.unwrap();
    let active = authorities["items"].as_array().unwrap().iter();
    let active = active.clone().find(|one| one["kind"] == "issuer").unwrap()["id"].clone();
    let next: Value = owner
        .send("POST", "/v1/authorities", &json!({}))
        .await
        .unwrap();
    let id = next["id"].as_str().unwrap();
    if let Some(request) = next["request"].as_str() {
        let certificate = plane.sign(request);
        let path = format!("/v1/authorities/{id}/certificate");
        let body = json!({"certificate": certificate}).to_string();
        owner.call("PUT", &path, Some(body)).await.unwrap();
    }
    let act = async |id: &str, what: &str| {
        let path = format!("/v1/authorities/{id}/{what}");
        owner.call("POST", &path, None).await.unwrap();
    };
    act(id, "activate").await;
    act(active.as_str().unwrap(), "taint").await;
    until(
        LIMIT,
        "no link lives on what the old authority signed",
        async || {
            let now = issuers(&cluster).await;
            match now.iter().filter(|issuer| **issuer == old).count() {
                0 => Ok(()),
                left => Err(format!("{left} of {} do", now.len())),
            }
        },
    )
    .await
    .unwrap();
    act(active.as_str().unwrap(), "revoke").await;
    // Links that live on the new one are not touched by that.
    let counts = traffic.end(&cluster).await.unwrap();
    assert_eq!(
        (counts.nodedowns, counts.lost, counts.misplaced),
        (0, 0, 0),
        "{counts:?}"
    );
    assert!(counts.received > 1000, "{counts:?}");
    cluster.stop().await.unwrap();
}

/// Three hosts, one of whose agents stands still while the new root is handed out: what others would refuse is not signed
/// before that one has it too.
#[tokio::test]
async fn a_root_goes_and_no_link_drops() {
    let leaves = json!({"leaves": {"lifetime": "30s", "laboratory": true}});
    let plane = Plane::start(&leaves).await;
    let mut lab = plan();
    for label in ["n1", "n2", "n3"] {
        lab = lab.host(plane.host(label, &json!({})).await);
    }
    let cluster = lab.start().await.unwrap();
    // Signed by the old root, for longer than all of this takes: good now, so that what is refused later is the root.
    let thief = under(&plane, "root");
    for host in 0..3 {
        assert!(opens(&cluster, host, &thief).await, "host {host}, before");
    }
    let traffic = Traffic::start(&cluster).await.unwrap();
    let old = issuers(&cluster).await[0].clone();

    let next = plane.make_root("next");
    let owner = plane.owner();
    let still = Still::stop(cluster.agent(2).unwrap());
    let pem = std::fs::read_to_string(next.join("root.pem")).unwrap();
    let added: Value = owner
        .send("POST", "/v1/roots", &json!({"certificate": pem}))
        .await
        .unwrap();
    assert_eq!(added["state"], "prepared");
    let requested: Value = owner
        .send("POST", "/v1/authorities", &json!({}))
        .await
        .unwrap();
    let certificate = plane.sign_by("next", requested["request"].as_str().unwrap());
    let id = requested["id"].as_str().unwrap();
    let path = format!("/v1/authorities/{id}/certificate");
    let body = json!({"certificate": certificate}).to_string();
    owner.call("PUT", &path, Some(body)).await.unwrap();
    adopted(&plane, 2, 2).await;
    let path = format!("/v1/authorities/{id}/activate");
    let early = owner.call("POST", &path, None).await.unwrap_err();
    assert!(
        early.to_string().contains("2 of 3 agents"),
        "what was measured: {early}"
    );
    drop(still);
    adopted(&plane, 2, 3).await;
    owner.call("POST", &path, None).await.unwrap();

    let what = "every agent has the new root alone";
    until(LIMIT, what, async || {
        let counts = roots(&plane);
        if counts
            .iter()
            .all(|(only, pem)| *only == 1 && pem.contains(pem_body(&new_root(&next))))
        {
            return Ok(());
        }
        Err(format!(
            "{:?}",
            counts.iter().map(|(count, _)| count).collect::<Vec<_>>()
        ))
    })
    .await
    .unwrap();
    assert!(issuers(&cluster).await.iter().all(|issuer| *issuer != old));
    for host in 0..3 {
        let agent = cluster.agent(host).unwrap();
        let mark = agent.log_mark();
        assert!(!opens(&cluster, host, &thief).await, "host {host}, after");
        logged(
            agent,
            mark,
            "inbound",
            "untrusted",
            "a leaf under the old root",
        )
        .await;
    }
    let public = owner.call("GET", "/v1/bundle", None).await.unwrap();
    assert!(public.contains(pem_body(&new_root(&next))));
    assert_eq!(public.matches("BEGIN CERTIFICATE").count(), 1);
    let counts = traffic.end(&cluster).await.unwrap();
    assert_eq!(
        (counts.nodedowns, counts.lost, counts.misplaced),
        (0, 0, 0),
        "{counts:?}"
    );
    assert!(counts.received > 1000, "{counts:?}");
    // And whoever starts anew finds the others under the new root.
    assert!(opens(&cluster, 0, &under(&plane, "next")).await);
    cluster.stop().await.unwrap();
}

/// Nobody types a command: the next authority is made ready at half of the life of the present one, some agents live on it
/// first, then all do.
#[tokio::test]
async fn authorities_follow_each_other_by_themselves() {
    let leaves = json!({"leaves": {"lifetime": "20s", "laboratory": true}});
    let plane = Plane::with_root("2m", &leaves).await;
    let mut lab = plan();
    for label in ["n1", "n2", "n3"] {
        lab = lab.host(plane.host(label, &json!({})).await);
    }
    let cluster = lab.start().await.unwrap();
    let traffic = Traffic::start(&cluster).await.unwrap();
    let first = plane.authorities("issuer").await.remove(0);
    let time = |one: &Value, key: &str| one[key].as_u64().unwrap();
    let life = time(&first, "not_after") - time(&first, "not_before");
    let at = |twelfths: u64| time(&first, "not_before") + life / 12 * twelfths;

    // Who holds what, as the control plane knows it: the cohort is one of the three, and goes first.
    let what = "one agent lives on the next authority";
    until(LIMIT, what, async || {
        let (next, count) = next_authority(&plane, &first).await?;
        match (next["state"].as_str(), count) {
            (Some("prepared"), 1) => Ok(()),
            (state, count) => Err(format!("{state:?}, {count} agents")),
        }
    })
    .await
    .unwrap();
    let what = "all agents live on it";
    until(LIMIT, what, async || {
        let (next, count) = next_authority(&plane, &first).await?;
        match (next["state"].as_str(), count) {
            (Some("active"), 3) => Ok(()),
            (state, count) => Err(format!("{state:?}, {count} agents")),
        }
    })
    .await
    .unwrap();
    let (next, _) = next_authority(&plane, &first).await.unwrap();
    let taken_over = time(&next, "changed");
    // At 5/6, since the cohort was seen to be well; at 11/12 it would have been for want of time.
    assert!(
        (at(10)..at(11)).contains(&taken_over),
        "{taken_over}, between {} and {}",
        at(10),
        at(11)
    );
    let old = first["spki_sha256"].as_str().unwrap();
    until(
        LIMIT,
        "no link lives on what the old one signed",
        async || {
            let now = issuers(&cluster).await;
            match now.iter().filter(|issuer| *issuer == old).count() {
                0 => Ok(()),
                left => Err(format!("{left} of {} do", now.len())),
            }
        },
    )
    .await
    .unwrap();
    let counts = traffic.end(&cluster).await.unwrap();
    assert_eq!(
        (counts.nodedowns, counts.lost, counts.misplaced),
        (0, 0, 0),
        "{counts:?}"
    );
    assert!(counts.received > 1000, "{counts:?}");
    cluster.stop().await.unwrap();
}

/// The authority after `first`, and how many agents hold a certificate that it signed.
async fn next_authority(plane: &Plane, first: &Value) -> Result<(Value, usize), String> {
    let all = plane.authorities("issuer").await;
    let next = all.into_iter().find(|one| one["id"] != first["id"]);
    let next = next.ok_or("there is none yet")?;
    let valid: Value = plane
        .owner()
        .get("/v1/identities?limit=1000")
        .await
        .unwrap();
    let valid = valid["items"].as_array().unwrap().iter();
    let agents: BTreeSet<_> = valid
        .filter(|one| one["issuer_spki_sha256"] == next["spki_sha256"])
        .filter_map(|one| one["agent"].as_str().filter(|agent| !agent.is_empty()))
        .collect();
    Ok((next, agents.len()))
}

/// A leaf as a thief of a root could make it, for a node that nobody has.
fn under(plane: &Plane, name: &str) -> Forged {
    let (root, key) = (
        root::load(&plane.root_directory(name)).unwrap(),
        SoftwareKey::generate().unwrap(),
    );
    let day = Duration::from_secs(12 * 3600);
    let issuer = root.sign_issuer("lab", &ProvenKey::of(&key), day, UnixTime::now());
    let forge = Forge::with_key(domain(), &[issuer.unwrap()], &key.to_der()).unwrap();
    let id = "spiffe://lab.test/cluster/lab/ns/default/sa/lab/node/n9";
    forge
        .leaf(&Spec::good(id, "n9.lab", UnixTime::now()))
        .unwrap()
}

/// Whether an agent welcomes whoever shows this, on a fresh connection.
async fn opens(cluster: &Cluster, host: usize, shown: &Forged) -> bool {
    let address = cluster.agent(host).unwrap().link_address().unwrap();
    let to = cluster.name(host).unwrap();
    let Ok(mut end) = LinkEnd::dial(address, to, Some(shown), &ours()).await else {
        return false;
    };
    matches!(
        end.greet("n9@n9.lab", to).await,
        Got::Frame(skans_link::Frame::Welcome(_))
    )
}

/// Waits until so many agents have said that they use this version of the bundle.
async fn adopted(plane: &Plane, version: u64, wanted: usize) {
    until(PATIENCE, "the bundle is in use", async || {
        let agents: Value = plane.owner().get("/v1/agents").await.unwrap();
        let agents = agents["items"].as_array().unwrap().iter();
        let have = agents
            .filter(|one| one["bundle_version"] == version)
            .count();
        if have == wanted {
            Ok(())
        } else {
            Err(format!("{have} agents, wanted {wanted}"))
        }
    })
    .await
    .unwrap();
}

/// The bundles that agents keep: how many roots, and which.
fn roots(plane: &Plane) -> Vec<(usize, String)> {
    let read = |label| {
        let text = std::fs::read_to_string(plane.state(label).join("bundle.json")).unwrap();
        let kept: Value = serde_json::from_str(&text).unwrap();
        let pem = kept["pem"].as_str().unwrap().to_owned();
        (pem.matches("BEGIN CERTIFICATE").count(), pem)
    };
    ["n1", "n2", "n3"].map(read).into()
}

fn new_root(directory: &std::path::Path) -> String {
    std::fs::read_to_string(directory.join("root.pem")).unwrap()
}

/// A line in the middle: enough to tell two certificates apart.
fn pem_body(pem: &str) -> &str {
    pem.lines().nth(4).unwrap()
}

/// An agent that stands still, until this goes.
struct Still(Pid);

impl Still {
    fn stop(agent: &AgentProcess) -> Self {
        let pid = Pid::from_raw(i32::try_from(agent.pid()).unwrap()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}
