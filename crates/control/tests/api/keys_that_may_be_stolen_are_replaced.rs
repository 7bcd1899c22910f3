//! Incidents: by a person the keys go at once; by what agents report they are replaced first, and nobody honest is cut off for a lie.

use serde_json::{Value, json};
use skans_api::v1;
use skans_api::v1::watch_reply::Message;
use skans_api::v1::watch_request::Message as Say;
use skans_identity::credential::Credential;
use skans_identity::deny::{Entry, Target};

use crate::support::{Agent, Plane, Watch, eventually};

async fn say(watch: &Watch, message: Say) {
    let message = Some(message);
    let request = v1::WatchRequest { message };
    watch.said.send(request).await.unwrap();
}

/// One certificate for a node of the host that is called like it.
async fn node(agent: &Agent, host: &str) -> Credential {
    let name = format!("a@{host}");
    let mut issued = agent.issue(&[&name], host).await.unwrap();
    issued.remove(0).unwrap()
}

/// An agent says that it was shown this leaf over a link from this address.
async fn report(watch: &Watch, leaf: &Credential, session: u8, address: [u8; 4]) {
    let shown = v1::Shown {
        session_sha256: vec![session; 32],
        address: address.to_vec(),
        seconds_ago: 0,
    };
    let observed = v1::Observed {
        leaves: vec![leaf.chain()[0].to_vec()],
        shown: vec![shown],
    };
    say(watch, Say::Observed(observed)).await;
}

async fn asked(watch: &mut Watch) -> v1::Whose {
    let wanted = |message| match message {
        Message::Whose(whose) => Some(whose),
        _ => None,
    };
    watch.until(wanted).await
}

async fn answer(watch: &Watch, whose: &v1::Whose, answer: v1::whose_answer::Answer) {
    let answer = v1::WhoseAnswer {
        session_sha256: whose.session_sha256.clone(),
        spki_sha256: whose.spki_sha256.clone(),
        answer: answer.into(),
    };
    say(watch, Say::Whose(answer)).await;
}

/// Waits until it is told to replace this key.
async fn told_to_renew(watch: &mut Watch, key: &[u8; 32]) {
    let wanted = |message| match message {
        Message::RenewNow(renew) if renew.issuer_spki_sha256 == *key => Some(()),
        _ => None,
    };
    watch.until(wanted).await;
}

/// Waits until this key is denied, says that it holds, and gives the entry's number.
async fn told_of_denial(watch: &mut Watch, key: &[u8; 32]) -> u64 {
    let seq = watch
        .until(|message| {
            let Message::DenyDelta(delta) = message else {
                return None;
            };
            let entries = delta.entries.iter().map(|one| Entry::decode(one).unwrap());
            let mut fits = entries.filter(|one| *one.target() == Target::Key(*key));
            fits.next().map(|one| one.seq())
        })
        .await;
    watch.ack(1, seq, 1).await;
    seq
}

async fn incidents(plane: &Plane) -> Vec<Value> {
    let all = plane.get("/v1/incidents").await;
    all["items"].as_array().unwrap().clone()
}

async fn ends(plane: &Plane, id: u64) -> Value {
    plane.get(&format!("/v1/incidents/{id}?wait=60")).await
}

fn steps(incident: &Value) -> Vec<&str> {
    let steps = incident["timeline"].as_array().unwrap().iter();
    steps.map(|step| step["kind"].as_str().unwrap()).collect()
}

fn key(credential: &Credential) -> [u8; 32] {
    credential.identity().spki_sha256
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_its_owner_does_not_know_costs_the_thief_the_key_and_the_owner_nothing() {
    let plane = Plane::new().await;
    let (owner, peer) = (plane.agent("host-a").await, plane.agent("host-b").await);
    let (mut at_owner, mut at_peer) = (owner.watch().await, peer.watch().await);
    let stolen = node(&owner, "host-a").await;

    report(&at_peer, &stolen, 7, [10, 0, 0, 9]).await;
    let whose = asked(&mut at_owner).await;
    assert_eq!(whose.spki_sha256, key(&stolen));
    answer(&at_owner, &whose, v1::whose_answer::Answer::NotMine).await;

    // Everybody is told to leave the key; it is not denied before its owner has.
    told_to_renew(&mut at_owner, &key(&stolen)).await;
    told_to_renew(&mut at_peer, &key(&stolen)).await;
    assert!(
        plane.get("/v1/denials").await["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let fresh = node(&owner, "host-a").await;
    told_of_denial(&mut at_owner, &key(&stolen)).await;
    told_of_denial(&mut at_peer, &key(&stolen)).await;

    let incident = ends(&plane, 1).await;
    assert_eq!(incident["state"], "over", "{incident}");
    assert_eq!(incident["cause"], "key-in-two-places");
    assert_eq!(incident["sources"], json!([peer.name()]));
    assert_eq!(
        steps(&incident),
        ["opened", "renewed", "denied", "held", "over"]
    );
    let first = incident["timeline"][0]["text"].as_str().unwrap();
    assert!(
        first.contains("10.0.0.9") && first.contains(owner.name()),
        "{first}"
    );
    // The new key is nobody's business, and the old one opens nothing here either.
    let denied = plane.get("/v1/denials").await;
    assert_eq!(denied["items"].as_array().unwrap().len(), 1, "{denied}");
    assert_ne!(key(&fresh), key(&stolen));
    // All of it joins in the events.
    let opened = plane.events("incident.opened").await;
    assert_eq!(
        opened[0]["body"]["metadata"]["correlation_uid"],
        "incident-1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_its_owner_knows_is_nothing_and_is_asked_about_once() {
    let plane = Plane::new().await;
    let (owner, peer) = (plane.agent("host-a").await, plane.agent("host-b").await);
    let third = plane.agent("host-c").await;
    let (mut at_owner, at_peer, at_third) =
        (owner.watch().await, peer.watch().await, third.watch().await);
    let honest = node(&owner, "host-a").await;
    report(&at_peer, &honest, 1, [10, 0, 0, 1]).await;
    let whose = asked(&mut at_owner).await;
    answer(&at_owner, &whose, v1::whose_answer::Answer::Mine).await;
    eventually("the answer is counted", || async {
        plane
            .metric("skans_control_links_asked_about_total{reason=\"mine\"}")
            .await
            == Some(1)
    })
    .await;
    // Another agent's word for the same place is asked about as well. Somebody else's answer counts for nothing.
    report(&at_third, &honest, 2, [10, 0, 0, 1]).await;
    let whose = asked(&mut at_owner).await;
    assert_eq!(whose.session_sha256, vec![2; 32]);
    answer(&at_owner, &whose, v1::whose_answer::Answer::Mine).await;
    report(&at_third, &honest, 3, [10, 0, 0, 2]).await;
    let forged = v1::Whose {
        session_sha256: vec![3; 32],
        ..whose.clone()
    };
    answer(&at_peer, &forged, v1::whose_answer::Answer::NotMine).await;
    let whose = asked(&mut at_owner).await;
    assert_eq!(whose.session_sha256, vec![3; 32]);
    answer(&at_owner, &whose, v1::whose_answer::Answer::Unsure).await;
    eventually("both answers are counted", || async {
        plane
            .metric("skans_control_links_asked_about_total{reason=\"unsure\"}")
            .await
            == Some(1)
            && plane
                .metric("skans_control_links_asked_about_total{reason=\"not_mine\"}")
                .await
                == Some(1)
    })
    .await;
    assert!(incidents(&plane).await.is_empty());
}

/// The report is a lie, and the owner does not renew: it is cut off by two agents that say the same, and not by one.
#[tokio::test(flavor = "multi_thread")]
async fn one_agent_alone_cuts_off_nobody() {
    let plane = Plane::new().await;
    let (owner, liar) = (plane.agent("host-a").await, plane.agent("host-b").await);
    let second = plane.agent("host-c").await;
    let (mut at_owner, at_liar, mut at_second) = (
        owner.watch().await,
        liar.watch().await,
        second.watch().await,
    );
    let honest = node(&owner, "host-a").await;
    report(&at_liar, &honest, 1, [10, 0, 0, 9]).await;
    let whose = asked(&mut at_owner).await;
    answer(&at_owner, &whose, v1::whose_answer::Answer::NotMine).await;
    eventually("it waits for the owner", || async {
        let found = plane.owner().get::<Value>("/v1/incidents/1").await;
        found.is_ok_and(|found| steps(&found).contains(&"waiting"))
    })
    .await;
    assert!(
        plane.get("/v1/denials").await["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    // The same agent once more changes nothing; another one does.
    report(&at_liar, &honest, 2, [10, 0, 0, 8]).await;
    let whose = asked(&mut at_owner).await;
    answer(&at_owner, &whose, v1::whose_answer::Answer::NotMine).await;
    report(&at_second, &honest, 3, [10, 0, 0, 9]).await;
    let whose = asked(&mut at_owner).await;
    answer(&at_owner, &whose, v1::whose_answer::Answer::NotMine).await;
    told_of_denial(&mut at_second, &key(&honest)).await;
    let incident = plane.get("/v1/incidents/1").await;
    assert_eq!(
        incident["sources"].as_array().unwrap().len(),
        2,
        "{incident}"
    );
    assert_eq!(incidents(&plane).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_calls_compromised_is_denied_before_the_answer() {
    let plane = Plane::new().await;
    let owner = plane.agent("host-a").await;
    let mut watch = owner.watch().await;
    let (one, two) = (node(&owner, "host-a").await, node(&owner, "host-a").await);
    let wanted = json!({ "kind": "node", "target": "a@host-a", "reason": "laptop lost" });
    let would = plane
        .post("/v1/incidents", {
            let mut wanted = wanted.clone();
            wanted["dry_run"] = true.into();
            wanted
        })
        .await;
    assert_eq!(
        (&would["id"], would["keys"].as_array().unwrap().len()),
        (&json!(0), 2)
    );
    assert!(incidents(&plane).await.is_empty());

    let opened = plane.post("/v1/incidents", wanted).await;
    assert_eq!(opened["state"], "cutting", "{opened}");
    let denied = plane.get("/v1/denials").await;
    assert_eq!(denied["items"].as_array().unwrap().len(), 2, "{denied}");
    told_to_renew(&mut watch, &key(&one)).await;
    // Neither key gets anything; another one does, since the name is not denied.
    let fresh = node(&owner, "host-a").await;
    assert!(![key(&one), key(&two)].contains(&key(&fresh)));
    watch.ack(1, 2, 1).await;
    let ended = ends(&plane, 1).await;
    assert_eq!(ended["state"], "over", "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_have_got_certificates_by_a_stolen_agents_key_goes_as_well() {
    let plane = Plane::new().await;
    let owner = plane.agent("host-a").await;
    let stolen = node(&owner, "host-a").await;
    let mut watch = owner.watch().await;
    let wanted = |keep| json!({ "kind": "id", "target": owner.id, "reason": "disk copied", "keep_links": keep });
    let kept = plane
        .owner()
        .send::<Value>("POST", "/v1/incidents", &wanted(true))
        .await;
    assert!(kept.unwrap_err().to_string().contains("is an agent"));
    let opened = plane.post("/v1/incidents", wanted(false)).await;
    let keys = opened["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2, "{opened}");
    assert!(keys.iter().all(|key| key["deny_seq"] != 0), "{opened}");
    // It is cut off, and whoever has its key gets nothing more.
    while watch.next().await.is_some() {}
    assert!(owner.issue(&["a@host-a"], "host-a").await.is_err());
    assert!(
        keys.iter()
            .any(|one| one["spki_sha256"] == hex(&key(&stolen))),
        "{opened}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_two_agents_were_told_wrongly_costs_a_key_and_one_agents_word_does_not() {
    let plane = Plane::new().await;
    let owner = plane.agent("host-a").await;
    let (one, two) = (plane.agent("host-b").await, plane.agent("host-c").await);
    let (at_owner, at_one, at_two) = (owner.watch().await, one.watch().await, two.watch().await);
    let leaf = node(&owner, "host-a").await;
    let suspicion = |leaf: &Credential| {
        Say::Suspected(v1::Suspected {
            suspicions: vec![v1::Suspicion {
                leaf: leaf.chain()[0].to_vec(),
                kind: v1::suspicion::Kind::NameSpoofed.into(),
                count: 1,
                detail: "admin@host-z".to_owned(),
            }],
        })
    };
    for _ in 0..3 {
        say(&at_one, suspicion(&leaf)).await;
    }
    eventually("it is told", || async {
        !plane.events("identity.suspected").await.is_empty()
    })
    .await;
    assert!(incidents(&plane).await.is_empty());
    say(&at_two, suspicion(&leaf)).await;
    eventually("two say so", || async {
        incidents(&plane).await.len() == 1
    })
    .await;
    let incident = plane.get("/v1/incidents/1").await;
    assert_eq!(
        (&incident["cause"], &incident["state"]),
        (&json!("name-spoofed"), &json!("renewing"))
    );
    drop(at_owner);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_the_response_denies_nothing_and_tells_nobody_to_renew() {
    let plane = Plane::with("response: { mode: dry-run }").await;
    let (owner, peer) = (plane.agent("host-a").await, plane.agent("host-b").await);
    let (mut at_owner, at_peer) = (owner.watch().await, peer.watch().await);
    let leaf = node(&owner, "host-a").await;
    report(&at_peer, &leaf, 1, [10, 0, 0, 9]).await;
    let whose = asked(&mut at_owner).await;
    answer(&at_owner, &whose, v1::whose_answer::Answer::NotMine).await;
    eventually("an incident", || async {
        incidents(&plane).await.len() == 1
    })
    .await;
    let incident = plane.get("/v1/incidents/1").await;
    assert_eq!(incident["state"], "watching", "{incident}");
    assert!(
        incident["timeline"][0]["text"]
            .as_str()
            .unwrap()
            .contains("dry-run")
    );
    assert!(
        plane.get("/v1/denials").await["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A certificate that the authority signed and of which the store knows nothing: as whoever has a copy of the authority's key makes one.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_was_never_issued_is_told_of_and_its_key_denied_at_once() {
    let plane = Plane::new().await;
    let (owner, peer) = (plane.agent("host-a").await, plane.agent("host-b").await);
    let forged = node(&owner, "host-a").await;
    let database = rusqlite::Connection::open(plane.config.sqlite()).unwrap();
    database.busy_timeout(crate::support::PATIENCE).unwrap();
    let gone = database.execute(
        "DELETE FROM certificates WHERE spki = ?1",
        [key(&forged).as_slice()],
    );
    assert_eq!(gone.unwrap(), 1);
    let mut at_peer = peer.watch().await;
    report(&at_peer, &forged, 1, [10, 0, 0, 9]).await;
    told_of_denial(&mut at_peer, &key(&forged)).await;
    let incident = plane.get("/v1/incidents/1").await;
    assert_eq!(incident["cause"], "never-issued", "{incident}");
    assert_eq!(steps(&incident)[..2], ["opened", "denied"], "{incident}");
    assert_eq!(plane.events("certificate.strange").await.len(), 1);
    assert_eq!(
        plane
            .metric("skans_control_certificates_strange_total")
            .await,
        Some(1)
    );
    // Whoever it says it is keeps what was issued.
    let honest = node(&owner, "host-a").await;
    assert_ne!(key(&honest), key(&forged));
}

/// The same certificate, signed in another way: who shows it has the key, and is asked about as anybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_was_changed_is_no_way_around_being_asked_about() {
    let plane = Plane::new().await;
    let (owner, peer) = (plane.agent("host-a").await, plane.agent("host-b").await);
    let stolen = node(&owner, "host-a").await;
    let database = rusqlite::Connection::open(plane.config.sqlite()).unwrap();
    database.busy_timeout(crate::support::PATIENCE).unwrap();
    // To the store it was another one.
    let changed = database.execute(
        "UPDATE certificates SET leaf_hash = ?1 WHERE spki = ?2",
        [[9_u8; 32].as_slice(), key(&stolen).as_slice()],
    );
    assert_eq!(changed.unwrap(), 1);
    let (mut at_owner, mut at_peer) = (owner.watch().await, peer.watch().await);
    report(&at_peer, &stolen, 1, [10, 0, 0, 9]).await;
    // Its key is in use, so it is replaced and not denied at once.
    told_to_renew(&mut at_owner, &key(&stolen)).await;
    node(&owner, "host-a").await;
    told_of_denial(&mut at_peer, &key(&stolen)).await;
    let incident = plane.get("/v1/incidents/1").await;
    assert_eq!(steps(&incident)[..2], ["opened", "renewed"], "{incident}");
}

/// What one agent has spoilt is heard of another: an incident about which nothing is done keeps nobody's word from counting.
#[tokio::test(flavor = "multi_thread")]
async fn who_uses_up_its_own_word_does_not_use_up_that_of_others() {
    let plane = Plane::new().await;
    let (owner, liar) = (plane.agent("host-a").await, plane.agent("host-b").await);
    let honest = plane.agent("host-c").await;
    let (mut at_owner, at_liar, at_honest) = (
        owner.watch().await,
        liar.watch().await,
        honest.watch().await,
    );
    let names = ["w@host-a", "x@host-a", "y@host-a", "z@host-a"];
    let issued = owner.issue(&names, "host-a").await.unwrap();
    let mut nodes = Vec::new();
    for (session, one) in issued.into_iter().enumerate() {
        let one = one.unwrap();
        let session = u8::try_from(session).unwrap();
        report(&at_liar, &one, session, [10, 0, 0, 9]).await;
        let whose = asked(&mut at_owner).await;
        answer(&at_owner, &whose, v1::whose_answer::Answer::NotMine).await;
        eventually("an incident more", || async {
            incidents(&plane).await.len() == usize::from(session) + 1
        })
        .await;
        nodes.push(one);
    }
    assert_eq!(plane.get("/v1/incidents/4").await["state"], "watching");
    report(&at_honest, &nodes[3], 9, [10, 0, 0, 9]).await;
    let whose = asked(&mut at_owner).await;
    answer(&at_owner, &whose, v1::whose_answer::Answer::NotMine).await;
    told_to_renew(&mut at_owner, &key(&nodes[3])).await;
}
