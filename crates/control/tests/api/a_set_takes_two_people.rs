//! Policy sets: proposed by one person, put in force by another, and handed to every agent, signed.

use serde_json::{Value, json};
use skans_api::v1;
use skans_api::v1::watch_reply::Message;
use skans_control::client::{Client, Login};
use skans_control::rest::policies::{AuthorSignature, NewPolicy};
use skans_identity::head::{Audience, Head};
use skans_identity::policy_set::{Horizon, Origin, SignedSet, VerifiedSet, Version};
use skans_policy::{Mode, Source};

use crate::support::{Agent, Plane, Watch, domain, eventually, now, reason, verifier};

fn audience() -> Audience {
    Audience {
        trust_domain: domain(),
        cluster: "main".into(),
    }
}

fn content(name: &str) -> String {
    let source = Source {
        name: name.into(),
        ..Source::same_cluster_members("lab.test", "main")
    };
    source.to_canonical()
}

/// As `skans policy push` sends it: signed by whoever is logged in.
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

async fn push(by: &Client, body: &NewPolicy) -> Result<Value, skans_control::Error> {
    by.send("POST", "/v1/policies", body).await
}

async fn approve(by: &Client, n: u64) -> String {
    let path = format!("/v1/policies/{n}/activate");
    reason(by.call("POST", &path, None).await)
}

/// The next set that comes, checked as an agent checks it.
async fn heard(agent: &Agent, watch: &mut Watch) -> VerifiedSet {
    let set = watch
        .until(|message| match message {
            Message::Policy(set) => Some(set.signed),
            _ => None,
        })
        .await;
    let mut schema = [0; 32];
    let schema_text = skans_policy::SCHEMA.as_bytes();
    schema.copy_from_slice(
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, schema_text).as_ref(),
    );
    SignedSet::decode(&set)
        .unwrap()
        .verify(
            &verifier(&agent.bundle),
            &audience(),
            &[schema],
            Origin::Wire,
            now(),
        )
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_proposes_another_approves_and_agents_get_it() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let mut watch = agent.watch().await;
    // What init put in force, and before the head that names it.
    let first = heard(&agent, &mut watch).await;
    assert_eq!(first.set().version, Version { epoch: 1, n: 1 });
    assert!(first.set().authors.is_empty());
    let head = watch
        .until(|message| match message {
            Message::Head(head) => Some(Head::decode(&head.head).unwrap()),
            _ => None,
        })
        .await;
    assert_eq!(head.policy, 1);

    let both = ["policy-author", "policy-approver"];
    let ann = plane.person("ann", &both, None).await;
    let ben = plane.person("ben", &["policy-approver"], None).await;
    let made = push(&ann, &signed(&ann, &content("second"))).await.unwrap();
    assert_eq!(
        (&made["n"], &made["state"]),
        (&json!(2), &json!("proposed"))
    );
    assert_eq!(
        approve(&ann, 2).await,
        "conflict",
        "nobody approves his own"
    );
    assert_eq!(plane.get("/v1/status").await["policy"], 1);
    assert_eq!(approve(&ben, 2).await, "ok");
    assert_eq!(approve(&ben, 2).await, "conflict", "once");
    assert_eq!(approve(&ben, 9).await, "not_found");

    let second = heard(&agent, &mut watch).await;
    assert_eq!(second.set().version, Version { epoch: 1, n: 2 });
    assert_eq!(second.authors(), ["spiffe://lab.test/skans/user/ann"]);
    assert_eq!(second.set().content, content("second").into_bytes());
    let mut horizon = Horizon::default();
    horizon.accept(&second, Some(1)).unwrap();
    assert!(horizon.accept(&first, Some(1)).is_err());

    // It says that it has it; nobody has what does not exist.
    for (n, counted) in [(3, 0), (2, 1)] {
        let version = v1::PolicyVersion {
            epoch: 1,
            n,
            not_after: second.set().not_after,
        };
        let ack = v1::WatchAck {
            epoch: 1,
            bundle_version: 1,
            policy: Some(version),
            ..v1::WatchAck::default()
        };
        let message = Some(v1::watch_request::Message::Ack(ack));
        watch.said.send(v1::WatchRequest { message }).await.unwrap();
        eventually("it is counted", || async {
            plane.get("/v1/policies/2").await["holding"] == counted
        })
        .await;
    }
    let told = plane.events("policy.activated").await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1]["actor"], "spiffe://lab.test/skans/user/ben");
    assert_eq!(plane.events("policy.proposed").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_has_it_is_not_told_again() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let mut watch = agent.watch().await;
    let set = heard(&agent, &mut watch).await;
    let start = |not_after| v1::WatchStart {
        policy: Some(v1::PolicyVersion {
            epoch: 1,
            n: 1,
            not_after,
        }),
        ..v1::WatchStart::default()
    };
    let mut again = agent.watch_from(start(set.set().not_after)).await.unwrap();
    let told = again
        .until(|message| match message {
            Message::Policy(_) => Some(true),
            Message::Head(_) => Some(false),
            _ => None,
        })
        .await;
    assert!(!told);
    // Half of its life is over.
    let old = now().as_secs() + 3 * 86_400;
    let mut again = agent.watch_from(start(old)).await.unwrap();
    let anew = heard(&agent, &mut again).await;
    assert!(anew.set().not_after > old);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_by_who_sends_it_is_refused() {
    let plane = Plane::new().await;
    let ann = plane.person("ann", &["policy-author"], None).await;
    let eve = plane.person("eve", &["policy-author"], None).await;
    let wanted = |result: Result<Value, skans_control::Error>, part: &str| {
        let error = result.unwrap_err();
        assert_eq!(error.label(), "remote");
        assert!(error.to_string().contains(part), "{error}");
    };
    let good = content("good");
    let unsigned = NewPolicy {
        source: good.clone(),
        author: None,
    };
    wanted(push(&eve, &unsigned).await, "found none");
    wanted(
        push(&eve, &signed(&ann, &good)).await,
        "found a signature of",
    );
    let other = NewPolicy {
        source: content("other"),
        ..signed(&eve, &good)
    };
    wanted(push(&eve, &other).await, "does not fit");
    let mut cut = signed(&eve, &good);
    if let Some(author) = &mut cut.author {
        author.chain = author.chain.split_inclusive("-----END").take(1).collect();
    }
    wanted(push(&eve, &cut).await, "author.chain");
    wanted(push(&eve, &signed(&eve, "{}")).await, "source");
    let endless = Source {
        mode: Mode::DryRun { until: 0 },
        ..Source::same_cluster_members("lab.test", "main")
    };
    push(&eve, &signed(&eve, &endless.to_canonical()))
        .await
        .unwrap();
    // More than a set may have, and it was not even read.
    let huge = "x".repeat(10 * 1024 * 1024);
    let body = json!({ "source": huge });
    assert!(
        plane
            .owner()
            .send::<Value>("POST", "/v1/policies", &body)
            .await
            .is_err()
    );
    assert_eq!(
        plane.get("/v1/policies").await["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let viewer = plane.person("vic", &["viewer"], None).await;
    let refused = push(&viewer, &signed(&viewer, &good)).await.unwrap_err();
    assert!(refused.to_string().contains("may not"), "{refused}");
    // Looking is for all roles; taking back for authors and approvers.
    assert_eq!(
        reason(viewer.call("GET", "/v1/policies/1", None).await),
        "ok"
    );
    assert_eq!(
        reason(viewer.call("DELETE", "/v1/policies/2", None).await),
        "denied"
    );
    assert_eq!(
        reason(ann.call("DELETE", "/v1/policies/2", None).await),
        "ok"
    );
    assert_eq!(approve(&plane.owner(), 2).await, "conflict");
}
