//! Those that take PostgreSQL: several replicas, or a database that goes away.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skans_api::v1;
use skans_api::v1::enrollment_client::EnrollmentClient;
use skans_control::client::Client;
use skans_control::setup::{self, RootIs};
use skans_control::{Running, root};
use skans_identity::control_tls;
use skans_identity::csr;
use skans_identity::first_trust::FirstTrust;
use skans_identity::token::JoinToken;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::support::{Agent, DOMAIN, PATIENCE, Plane, channel, configuration, reason};

/// Several control planes over one PostgreSQL.
struct Replicas {
    all: Vec<(Running, PathBuf)>,
    stopping: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Replicas {
    async fn start(cluster: &Cluster, database: &str, count: usize) -> Self {
        cluster.create_database(database);
        let dir = tempfile::tempdir().unwrap();
        let root_dir = dir.path().join("root");
        root::init(&root_dir, DOMAIN, Duration::from_secs(86_400)).unwrap();
        let (stopping, mut all) = (CancellationToken::new(), Vec::new());
        for number in 0..count {
            let more = format!(
                "database: {{ postgres: {{ url: \"{}\" }} }}\nencryptionKey: {{ file: {} }}\n",
                cluster.config(database).url,
                dir.path().join("encryption.key").display()
            );
            let mut config = configuration(dir.path().join(format!("c{number}")), &root_dir, &more);
            config.name = format!("c{number}");
            if number == 0 {
                setup::init(&config, &RootIs::Here(root_dir.clone()))
                    .await
                    .unwrap();
            }
            let socket = config.socket();
            all.push((
                skans_control::start(config, stopping.clone())
                    .await
                    .unwrap(),
                socket,
            ));
        }
        Self {
            all,
            stopping,
            _dir: dir,
        }
    }

    fn owner(&self) -> Client {
        Client::Socket(self.all[0].1.clone())
    }

    async fn token(&self, name: &str) -> String {
        let wanted = json!({ "register": { "name": name, "names": [format!("*@{name}")] } });
        let made: Value = self
            .owner()
            .send("POST", "/v1/tokens", &wanted)
            .await
            .unwrap();
        made["token"].as_str().unwrap().to_owned()
    }

    /// The same token, to be shown to another replica.
    fn at(&self, number: usize, token: &str) -> Shown {
        let token = JoinToken::parse(token).unwrap();
        Shown {
            address: self.all[number].0.api.to_string(),
            root: *token.root_spki_sha256(),
            id: token.id(),
            secret: token.secret().to_vec(),
        }
    }

    async fn stop(self) {
        self.stopping.cancel();
        for (running, _) in self.all {
            running.ended().await;
        }
    }
}

/// Parts of join tokens, put together as somebody likes.
#[derive(Clone)]
struct Shown {
    address: String,
    root: [u8; 32],
    id: String,
    secret: Vec<u8>,
}

impl Shown {
    async fn enrol(&self, host: &str) -> Result<v1::EnrolReply, String> {
        let config =
            control_tls::client_config(FirstTrust::new(self.root, None), None, control_tls::HTTP2)
                .unwrap();
        let evidence = v1::enrol_request::Evidence::JoinToken(v1::JoinToken {
            id: self.id.clone(),
            secret: self.secret.clone(),
        });
        let request = v1::EnrolRequest {
            evidence: Some(evidence),
            csr: csr::fresh().unwrap().1,
            host: host.to_owned(),
        };
        let answer = EnrollmentClient::new(channel(&self.address, config).await?)
            .enrol(request)
            .await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| status.message().to_owned())
    }
}

/// SPIRE 1.14.6. One certificate for 256 that come at once to two replicas; a token is whole or nothing, and opens the
/// cluster that made it. (That a crash in between hands out nothing twice is tried where the store is.)
#[tokio::test(flavor = "multi_thread")]
async fn pitfall_2_a_token_is_spent_once_and_cannot_be_spliced() {
    let replicas = Replicas::start(Cluster::shared(), "spent", 2).await;
    let (first, second) = (
        replicas.token("host-a").await,
        replicas.token("host-b").await,
    );
    let (good, other) = (replicas.at(0, &first), replicas.at(0, &second));
    let spliced = Shown {
        secret: other.secret.clone(),
        ..good.clone()
    };
    assert!(
        spliced
            .enrol("host-a")
            .await
            .unwrap_err()
            .contains("no such join token")
    );
    // The secret of another cluster's token, at ours.
    let theirs = Plane::new().await;
    let foreign = JoinToken::parse(&theirs.token("host-a", &["a@host-a"]).await).unwrap();
    let foreign = Shown {
        id: foreign.id(),
        secret: foreign.secret().to_vec(),
        ..good.clone()
    };
    assert!(
        foreign
            .enrol("host-a")
            .await
            .unwrap_err()
            .contains("no such join token")
    );
    let mut all = JoinSet::new();
    for number in 0..256 {
        let shown = replicas.at(number % 2, &first);
        all.spawn(async move { shown.enrol(&format!("host-{number}")).await });
    }
    let all = all.join_all().await;
    assert_eq!(all.iter().filter(|one| one.is_ok()).count(), 1);
    for why in all.iter().filter_map(|one| one.as_ref().err()) {
        assert!(why.contains("used already"), "{why}");
    }
    // What was tried with half of it is as good as new.
    assert!(other.enrol("host-b").await.is_ok());
    let issued: Value = replicas
        .owner()
        .get("/v1/identities?all=true&limit=1000")
        .await
        .unwrap();
    let agents = issued["items"].as_array().unwrap().iter();
    assert_eq!(
        agents
            .filter(|one| one["spiffe_id"].as_str().unwrap().contains("/skans/agent/"))
            .count(),
        2
    );
    replicas.stop().await;
}

/// What cannot be looked up or written down is not granted: not to an agent, not to a person, not to the owner.
#[tokio::test(flavor = "multi_thread")]
async fn pitfall_8_without_its_store_nobody_gets_anything() {
    let cluster = Cluster::start();
    let replicas = Replicas::start(&cluster, "without", 1).await;
    let token = replicas.token("host-a").await;
    let mut agent = Agent::enrol(&token, "host-a").await.unwrap();
    let open = replicas.token("host-b").await;
    let grant = json!({ "user": "mia", "role": "viewer", "scope": DOMAIN });
    let _: Value = replicas
        .owner()
        .send("POST", "/v1/grants", &grant)
        .await
        .unwrap();
    let made: Value = replicas
        .owner()
        .send("POST", "/v1/tokens", &json!({ "person": "mia" }))
        .await
        .unwrap();
    let login = tempfile::tempdir().unwrap();
    let login = login.path().join("mia");
    skans_control::client::login(made["token"].as_str().unwrap(), &login)
        .await
        .unwrap();
    let mia = Client::Person(login);
    assert_eq!(reason(mia.call("GET", "/v1/agents", None).await), "ok");
    tokio::task::block_in_place(|| cluster.stop());
    assert!(agent.renew().await.is_err());
    assert!(agent.issue(&["a@host-a"], "host-a").await.is_err());
    assert!(replicas.at(0, &open).enrol("host-b").await.is_err());
    // Her roles cannot be read: she has none, not even to look.
    assert_ne!(reason(mia.call("GET", "/v1/self", None).await), "ok");
    for path in ["/v1/tokens", "/v1/grants"] {
        assert_ne!(
            reason(
                replicas
                    .owner()
                    .call("POST", path, Some(grant.to_string()))
                    .await
            ),
            "ok"
        );
    }
    tokio::task::block_in_place(|| cluster.resume());
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = agent.renew().await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Nothing that was refused is there, and the token was not used up.
    assert!(replicas.at(0, &open).enrol("host-b").await.is_ok());
    let issued: Value = replicas
        .owner()
        .get("/v1/identities?all=true&limit=1000")
        .await
        .unwrap();
    let nodes = issued["items"].as_array().unwrap().iter();
    assert_eq!(
        nodes
            .filter(|one| one["spiffe_id"].as_str().unwrap().contains("/node/"))
            .count(),
        0
    );
    replicas.stop().await;
}
