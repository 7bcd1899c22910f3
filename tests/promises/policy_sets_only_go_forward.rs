//! An agent never goes back to an older policy set, also after its own restart; a broken one leaves the old one in force, and
//! one that has expired refuses everything.

use std::time::Duration;

use serde_json::{Value, json};
use skans_agent::admin::PolicyView;
use skans_lab::{Cluster, until};
use skans_promises::{PATIENCE, plan};

use crate::plane::Plane;

/// An agent asks again after 10 s at the longest.
const AGAIN: Duration = Duration::from_secs(40);

async fn stands(cluster: &Cluster) -> PolicyView {
    let status = cluster.agent(0).unwrap().status().await.unwrap();
    status.policy.unwrap()
}

async fn comes_to(cluster: &Cluster, standing: &str, version: u64) {
    until(AGAIN, "the agent's policy set", async || {
        let now = stands(cluster).await;
        if (now.standing.as_str(), now.version) == (standing, version) {
            return Ok(());
        }
        Err(format!("{now:?}"))
    })
    .await
    .unwrap();
}

/// A set that says what the built-in one does, under another name. Members stand in the order of the canonical form.
fn content(name: &str) -> String {
    let cluster = r#"[{"cluster":"spiffe://lab.test/cluster/lab"}]"#;
    format!(
        r#"{{"apiVersion":"skans.io/v1alpha1","name":"{name}","mode":"enforce","roles":[{{"role":"member","principals":{cluster},"on":{cluster}}}],"policies":[],"entities":{{}}}}"#
    )
}

async fn activate(plane: &Plane, name: &str) -> u64 {
    let owner = plane.owner();
    let body = json!({"source": content(name)});
    let made: Value = owner.send("POST", "/v1/policies", &body).await.unwrap();
    let n = made["n"].as_u64().unwrap();
    let path = format!("/v1/policies/{n}/activate");
    let _: Value = owner.send("POST", &path, &json!({})).await.unwrap();
    n
}

#[tokio::test]
async fn an_older_set_is_refused_also_after_a_restart() {
    let mut plane = Plane::start(&json!({})).await;
    let host = plane.host("n1", &json!({})).await;
    let mut cluster = plan().host(host).start().await.unwrap();
    // What `control init` put in force.
    comes_to(&cluster, "signed", 1).await;
    let backup = plane.backup().await;
    assert_eq!(activate(&plane, "second").await, 2);
    comes_to(&cluster, "signed", 2).await;
    until(PATIENCE, "it is acknowledged", async || {
        let set: Value = plane.owner().get("/v1/policies/active").await.unwrap();
        match (&set["holding"], &set["agents"]) {
            (holding, agents) if *holding == 1 && *agents == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();

    // The very first set again, signed today by the very control plane: its database was set back.
    plane.stop().await;
    plane.restore(&backup).await;
    let mark = cluster.agent(0).unwrap().log_mark();
    plane.restart().await;
    let replayed = |line: &Value| line["reason"] == "policy_rolled_back";
    let agent = cluster.agent(0).unwrap();
    agent
        .wait_log(mark, "it is refused", AGAIN, replayed)
        .await
        .unwrap();
    assert_eq!(stands(&cluster).await.version, 2);
    let told = |event: &Value| event["status_detail"] == "policy_rolled_back";
    let event = agent
        .wait_event("it is told", PATIENCE, told)
        .await
        .unwrap();
    assert_eq!(
        (&event["class_uid"], &event["policy"]["version"]),
        (&json!(6002), &json!("1.2")),
        "{event}"
    );

    cluster.kill_agent(0).await.unwrap();
    cluster.start_agent(0).await.unwrap();
    let agent = cluster.agent(0).unwrap();
    agent
        .wait_log(0, "it is refused again", AGAIN, replayed)
        .await
        .unwrap();
    let now = stands(&cluster).await;
    assert_eq!(
        (now.standing.as_str(), now.version, now.name.as_str()),
        ("signed", 2, "second")
    );
    // Its root says that it counts from now on: a new epoch, and the first set in it.
    plane.recover().await;
    comes_to(&cluster, "signed", 1).await;
    assert_eq!(stands(&cluster).await.epoch, 2);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn an_expired_set_refuses_everything_until_it_is_signed_again() {
    let short = json!({"policy": {"lifetime": "12s"}, "leaves": {"laboratory": true}});
    let mut plane = Plane::start(&short).await;
    let host = plane.host("n1", &json!({})).await;
    let mut cluster = plan().host(host).start().await.unwrap();
    comes_to(&cluster, "signed", 1).await;
    // As long as the control plane is there it is signed again in time.
    let first = stands(&cluster).await.expires.unwrap();
    until(AGAIN, "it is signed again", async || {
        let now = stands(&cluster).await;
        match now.expires {
            Some(expires) if expires > first => Ok(()),
            _ => Err(format!("{now:?}")),
        }
    })
    .await
    .unwrap();
    assert_eq!(stands(&cluster).await.standing, "signed");

    plane.stop().await;
    comes_to(&cluster, "expired", 1).await;
    // A restart does not make it young, nor does the built-in one take its place.
    cluster.kill_agent(0).await.unwrap();
    cluster.start_agent(0).await.unwrap();
    comes_to(&cluster, "missing", 1).await;
    let told = |event: &Value| event["status_detail"] == "policy_expired";
    let agent = cluster.agent(0).unwrap();
    let event = agent
        .wait_event("what was kept is refused", PATIENCE, told)
        .await
        .unwrap();
    assert_eq!(
        (&event["class_uid"], &event["policy"]["version"]),
        (&json!(6002), &json!("1.1")),
        "{event}"
    );

    plane.restart().await;
    comes_to(&cluster, "signed", 1).await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_broken_set_leaves_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    };
    let set = |name: &str| {
        format!(
            "apiVersion: skans.io/v1alpha1\nname: {name}\nmode: enforce\nroles:\n- role: member\n  \
             principals: [{{cluster: spiffe://lab.test/cluster/lab}}]\n  on: [{{cluster: spiffe://lab.test/cluster/lab}}]\n"
        )
    };
    write("set.yaml", &set("one"));
    let own = json!({"policy": {"directory": directory.path()}});
    let cluster = plan().nodes(1).config(&own).start().await.unwrap();
    assert_eq!(stands(&cluster).await.name, "one");

    write("set.yaml", &set("two"));
    write(
        "a.cedar",
        "@id(\"a\") permit (principal, action == Skans::Action::\"fly\", resource);",
    );
    let agent = cluster.agent(0).unwrap();
    let refused = agent.reload().await.unwrap_err().to_string();
    assert!(refused.contains("a.cedar"), "{refused}");
    let now = stands(&cluster).await;
    assert_eq!(
        (now.standing.as_str(), now.name.as_str()),
        ("directory", "one")
    );

    std::fs::remove_file(directory.path().join("a.cedar")).unwrap();
    agent.reload().await.unwrap();
    assert_eq!(stands(&cluster).await.name, "two");
    cluster.stop().await.unwrap();
}

/// The control plane takes nothing that agents would not, nor what is about other clusters.
#[tokio::test]
async fn what_does_not_compile_is_never_proposed() {
    let plane = Plane::start(&json!({})).await;
    let wrong = content("x").replace("\"member\"", "\"memebr\"");
    let body = json!({"source": wrong});
    let refused = plane
        .owner()
        .send::<Value>("POST", "/v1/policies", &body)
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("perhaps \"member\""),
        "{refused}"
    );
    // What it says of nodes that its agents never meet would be in vain.
    let elsewhere = content("x").replacen("lab.test", "other.test", 1);
    let body = json!({"source": elsewhere});
    let refused = plane
        .owner()
        .send::<Value>("POST", "/v1/policies", &body)
        .await
        .unwrap_err();
    let place = "set.yaml: roles[0].principals: \"spiffe://other.test/cluster/lab\"; wanted spiffe://lab.test/cluster/lab";
    assert!(refused.to_string().contains(place), "{refused}");
    let all: Value = plane.owner().get("/v1/policies").await.unwrap();
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
}
