//! A candidate that breaks what was good is found out on real traffic: in a dry run before it refuses anything, in a cohort before it refuses anything elsewhere; it
//! stands still, and what was is in force again, with the forbids that came in between.

use serde_json::{Value, json};
use skans_lab::{Cluster, until};
use skans_promises::{PATIENCE, plan};

use crate::plane::Plane;

/// Every node may call these functions of others, and send what no permit has to name.
fn content(name: &str, functions: &str, forbids: &str) -> String {
    let cedar = format!(
        r#"@id("links") permit(principal, action in [Skans::Action::"connect", Skans::Action::"monitor", Skans::Action::"send", Skans::Action::"send_pid"], resource);
@id("net_kernel") permit(principal, action == Skans::Action::"send", resource == Skans::Process::"net_kernel");
@id("calls") permit(principal, action == Skans::Action::"call", resource) when {{ [{functions}].contains(resource.function) }};
{forbids}"#
    );
    let source = skans_policy::Source {
        name: name.into(),
        policies: vec![skans_policy::File {
            name: "a.cedar".into(),
            text: cedar,
        }],
        ..skans_policy::Source::nothing(skans_policy::Version::default())
    };
    source.to_canonical()
}

struct Desk {
    plane: Plane,
    cluster: Cluster,
}

impl Desk {
    async fn propose(&self, content: &str) -> u64 {
        let body = json!({ "source": content });
        let made: Value = self
            .plane
            .owner()
            .send("POST", "/v1/policies", &body)
            .await
            .unwrap();
        made["n"].as_u64().unwrap()
    }

    async fn post(&self, n: u64, what: &str, body: &Value) -> Value {
        let path = format!("/v1/policies/{n}/{what}");
        self.plane.owner().send("POST", &path, body).await.unwrap()
    }

    async fn rollout(&self) -> Value {
        self.plane.owner().get("/v1/rollout").await.unwrap()
    }

    /// The sets of the agents come to be these.
    async fn have(&self, wanted: [u64; 3]) {
        until(PATIENCE, "the agents' sets", async || {
            let mut found = Vec::new();
            for n in 0..3 {
                let status = self.cluster.agent(n).unwrap().status().await.unwrap();
                found.push(status.policy.unwrap().version);
            }
            if found == wanted {
                Ok(())
            } else {
                Err(format!("{found:?}, wanted {wanted:?}"))
            }
        })
        .await
        .unwrap();
    }

    /// What a call from one node to another comes to.
    async fn call(&self, from: usize, to: usize, function: &str) -> String {
        let to = self.cluster.atom(to).unwrap();
        let call = format!("element(1, catch {{ok, erpc:call({to}, os, {function}, [])}})");
        self.cluster
            .node(from)
            .unwrap()
            .eval(&call, PATIENCE)
            .await
            .unwrap()
    }

    /// Calls go on until the control plane knows what the candidate makes of them.
    async fn until_it_stands_still(&self) -> Value {
        until(PATIENCE, "it stands still", async || {
            self.call(2, 1, "getpid").await;
            let rollout = self.rollout().await;
            if rollout["held"] == "" {
                Err(rollout.to_string())
            } else {
                Ok(rollout)
            }
        })
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn it_stands_still_before_it_refuses_anything_elsewhere_and_goes_back_without_losing_a_forbid()
 {
    let plane = Plane::start(&json!({})).await;
    let mut plan = plan();
    for label in ["n1", "n2", "n3"] {
        let alone = |node: skans_lab::NodePlan| node.args(["-connect_all", "false"]);
        plan = plan.host(plane.host_of(label, alone, &json!({})).await);
    }
    let cluster = plan.start().await.unwrap();
    let desk = Desk { plane, cluster };
    let good = desk
        .propose(&content("good", "\"getpid\", \"type\"", ""))
        .await;
    desk.post(good, "activate", &json!({})).await;
    desk.have([good; 3]).await;
    for (from, to) in [(0, 1), (2, 1), (2, 0)] {
        assert_eq!(desk.call(from, to, "getpid").await, "ok");
    }

    // One function less, another one more, and a forbid.
    let forbid =
        "@id(\"not-secret\") forbid(principal, action, resource == Skans::Process::\"secret\");";
    let narrower = content("narrower", "\"type\", \"version\"", forbid);
    let candidate = desk.propose(&narrower).await;
    let compared = json!({ "dry_run": 600, "cohorts": "n2.lab", "decisions": 1 });
    let begun = desk.post(candidate, "rollout", &compared).await;
    assert_eq!(
        (&begun["relation"], &begun["stage"]),
        (&json!("mixed"), &json!("dry-run"))
    );
    let held = desk.until_it_stands_still().await;
    let missed = held["differences"].as_array().unwrap().iter();
    let missed = missed.filter(|one| one["active"] == "permit" && one["candidate"] == "deny");
    let missed: Vec<_> = missed.collect();
    assert!(!missed.is_empty(), "{held}");
    for one in missed {
        assert_eq!(
            (&one["action"], &one["resource"]),
            (&json!("call"), &json!("os:getpid/0")),
            "{held}"
        );
        assert!(
            one["principal"].as_str().unwrap().ends_with("/node/n3"),
            "{held}"
        );
    }
    // Nothing was refused by it.
    desk.have([good; 3]).await;
    assert_eq!(desk.call(2, 1, "getpid").await, "ok");
    desk.post(candidate, "rollback", &json!({})).await;
    assert_eq!(desk.rollout().await["outcome"], "withdrawn");

    // The same without a dry run: on one host it decides.
    let candidate = desk.propose(&narrower).await;
    let at_once = json!({ "dry_run": 0, "cohorts": "n2.lab", "decisions": 1 });
    desk.post(candidate, "rollout", &at_once).await;
    desk.have([good, candidate, good]).await;
    assert_eq!(desk.call(2, 1, "getpid").await, "'EXIT'");
    // Between the other two, all is as it was.
    assert_eq!(desk.call(2, 0, "getpid").await, "ok");
    let held = desk.until_it_stands_still().await;
    assert_eq!(held["stage"], "cohort-1");
    assert!(
        held["weight"].as_u64().unwrap() <= 10,
        "one node alone takes nothing back: {held}"
    );
    assert_eq!(desk.call(2, 0, "getpid").await, "ok");

    let back = desk.post(candidate, "rollback", &json!({})).await;
    assert_eq!(back["outcome"], "rolled-back");
    let result = back["result"].as_u64().unwrap();
    assert!(result > candidate);
    desk.have([result; 3]).await;
    for (from, to) in [(0, 1), (2, 1), (2, 0)] {
        assert_eq!(desk.call(from, to, "getpid").await, "ok");
    }
    assert_eq!(
        desk.call(2, 1, "version").await,
        "'EXIT'",
        "what the candidate permitted is gone"
    );
    let active: Value = desk.plane.owner().get("/v1/policies/active").await.unwrap();
    assert!(
        active["source"].as_str().unwrap().contains("not-secret"),
        "{active}"
    );
    desk.cluster.stop().await.unwrap();
}
