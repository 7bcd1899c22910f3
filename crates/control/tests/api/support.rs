//! A control plane in a directory that goes away, an agent that speaks its API, and a person.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};
use skans_api::v1;
use skans_api::v1::agents_client::AgentsClient;
use skans_api::v1::enrollment_client::EnrollmentClient;
use skans_control::client::Client;
use skans_control::config::{self, Config};
use skans_control::setup::{self, RootIs};
use skans_control::{Error, Running, root};
use skans_identity::bundle::{Bundle, Bundles};
use skans_identity::control_tls::{self, ControlPlane};
use skans_identity::credential::Credential;
use skans_identity::csr;
use skans_identity::first_trust::FirstTrust;
use skans_identity::head::Audience;
use skans_identity::id::TrustDomain;
use skans_identity::token::JoinToken;
use skans_identity::trust::{SharedTrust, Trust};
use skans_identity::verify::{Usage, Verifier};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

pub const DOMAIN: &str = "lab.test";
/// Longer than anything here takes; short enough to see that something hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn domain() -> TrustDomain {
    TrustDomain::parse(DOMAIN).unwrap()
}

pub fn now() -> UnixTime {
    UnixTime::now()
}

/// A control plane, from its first day on.
pub struct Plane {
    pub dir: TempDir,
    pub config: Config,
    pub running: Option<Running>,
    stopping: CancellationToken,
}

impl Plane {
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// With more lines in its configuration.
    pub async fn with(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root_dir = dir.path().join("root");
        root::init(&root_dir, DOMAIN, Duration::from_secs(86_400 * 30)).unwrap();
        let config = configuration(dir.path().join("control"), &root_dir, more);
        setup::init(&config, &RootIs::Here(root_dir)).await.unwrap();
        let mut plane = Self {
            dir,
            config,
            running: None,
            stopping: CancellationToken::new(),
        };
        plane.start().await;
        plane
    }

    /// One that runs already.
    pub fn of(dir: TempDir, config: Config, running: Running, stopping: CancellationToken) -> Self {
        Self {
            dir,
            config,
            running: Some(running),
            stopping,
        }
    }

    pub async fn start(&mut self) {
        self.stopping = CancellationToken::new();
        let started = skans_control::start(self.config.clone(), self.stopping.clone()).await;
        self.running = Some(started.unwrap());
    }

    pub async fn stop(&mut self) {
        self.stopping.cancel();
        if let Some(running) = self.running.take() {
            running.ended().await;
        }
    }

    pub fn api(&self) -> String {
        self.running.as_ref().unwrap().api.to_string()
    }

    /// The owner, through the socket.
    pub fn owner(&self) -> Client {
        Client::Socket(self.config.socket())
    }

    pub async fn get(&self, path: &str) -> Value {
        self.owner().get(path).await.unwrap()
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.owner().send("POST", path, &body).await.unwrap()
    }

    /// A token for an agent of this host with these nodes.
    pub async fn token(&self, name: &str, nodes: &[&str]) -> String {
        let wanted = json!({ "register": { "name": name, "names": nodes, "cli": true } });
        let made = self.post("/v1/tokens", wanted).await;
        made["token"].as_str().unwrap().to_owned()
    }

    /// An agent, enrolled.
    pub async fn agent(&self, host: &str) -> Agent {
        let token = self.token(host, &[&format!("*@{host}")]).await;
        Agent::enrol(&token, host).await.unwrap()
    }

    /// A person with these roles in this scope, logged in.
    pub async fn person(&self, name: &str, roles: &[&str], scope: Option<&str>) -> Client {
        for role in roles {
            self.post(
                "/v1/grants",
                json!({ "user": name, "role": role, "scope": scope }),
            )
            .await;
        }
        let made = self.post("/v1/tokens", json!({ "person": name })).await;
        let dir = self.dir.path().join(format!("person-{name}"));
        skans_control::client::login(made["token"].as_str().unwrap(), &dir)
            .await
            .unwrap();
        Client::Person(dir)
    }

    pub async fn events(&self, kind: &str) -> Vec<Value> {
        let all = self.get("/v1/events?limit=1000").await;
        all["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["kind"] == kind)
            .cloned()
            .collect()
    }

    /// The number of the newest event.
    pub async fn events_until_now(&self) -> u64 {
        let newest = self.get("/v1/audit/events?limit=1").await;
        newest["items"][0]["seq"].as_u64().unwrap()
    }

    pub async fn metric(&self, name: &str) -> Option<u64> {
        metric(self.running.as_ref().unwrap().admin, name).await
    }

    /// The roots, as the API gives them.
    pub async fn bundle(&self) -> Bundle {
        let pem = self.owner().call("GET", "/v1/bundle", None).await.unwrap();
        Bundle::from_pem(domain(), pem.as_bytes()).unwrap()
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

pub fn configuration(directory: PathBuf, root: &std::path::Path, more: &str) -> Config {
    let text = format!(
        "apiVersion: skans.io/v1alpha1\ntrustDomain: {DOMAIN}\nname: c1\ndirectory: {}\nlisten: 127.0.0.1:0\n\
         admin: {{ listen: 127.0.0.1:0 }}\nauthority: {{ root: {} }}\n\
         limits: {{ enrolmentsPerAddress: 100000, issuesPerIdentity: 100000 }}\n{more}",
        directory.display(),
        root.display()
    );
    config::parse(&text, "test", |_| None).unwrap()
}

pub fn verifier(bundle: &Bundle) -> Arc<Verifier> {
    Verifier::new(SharedTrust::new(Trust {
        bundles: Bundles::from(bundle.clone()),
        ..Trust::default()
    }))
}

/// An agent: what it holds, and how it calls.
pub struct Agent {
    pub id: String,
    pub address: String,
    pub credential: Credential,
    pub bundle: Bundle,
}

impl Agent {
    pub async fn enrol(token: &str, host: &str) -> Result<Self, String> {
        let (key, request) = csr::fresh().unwrap();
        let (id, chain, bundle, address) = present(token, host, request).await?;
        Ok(Self {
            id,
            address,
            credential: Credential::new(chain, key.to_der(), now()).unwrap(),
            bundle,
        })
    }

    pub fn name(&self) -> &str {
        self.id.rsplit('/').next().unwrap()
    }

    pub async fn channel(&self) -> Result<Channel, String> {
        let audience = Audience {
            trust_domain: domain(),
            cluster: "main".to_owned(),
        };
        let plane = ControlPlane::new(verifier(&self.bundle), audience);
        let config =
            control_tls::client_config(plane, Some(&self.credential), control_tls::HTTP2).unwrap();
        channel(&self.address, config).await
    }

    /// Certificates for these nodes, in the default namespace; the workload is the host's registration.
    pub async fn issue(
        &self,
        names: &[&str],
        workload: &str,
    ) -> Result<Vec<Result<Credential, String>>, tonic::Status> {
        let channel = self.channel().await.map_err(tonic::Status::unavailable)?;
        let mut keys = Vec::new();
        let mut requests = Vec::new();
        for name in names {
            let (key, csr) = csr::fresh().unwrap();
            keys.push(key);
            requests.push(wanted_node(name, workload, csr));
        }
        let answer = AgentsClient::new(channel)
            .issue(v1::IssueRequest { requests })
            .await?
            .into_inner();
        assert_eq!(answer.results.len(), names.len());
        let results = answer.results.into_iter().zip(keys).map(|(result, key)| {
            match result.result.unwrap() {
                v1::issue_reply::result::Result::Issued(issued) => {
                    let chain = issued.chain.into_iter().map(CertificateDer::from).collect();
                    Ok(Credential::new(chain, key.to_der(), now()).unwrap())
                }
                v1::issue_reply::result::Result::Refused(refused) => Err(refused.reason),
            }
        });
        Ok(results.collect())
    }

    /// Its own next certificate.
    pub async fn renew(&mut self) -> Result<(), String> {
        let (key, csr) = csr::fresh().unwrap();
        let requests = vec![v1::issue_request::Request {
            subject: Some(v1::issue_request::request::Subject::Own(v1::OwnSubject {})),
            csr,
            lifetime: 0,
        }];
        let channel = self.channel().await?;
        let answer = AgentsClient::new(channel)
            .issue(v1::IssueRequest { requests })
            .await;
        let answer = answer
            .map_err(|status| status.message().to_owned())?
            .into_inner();
        match answer.results.into_iter().next().and_then(|one| one.result) {
            Some(v1::issue_reply::result::Result::Issued(issued)) => {
                let chain = issued.chain.into_iter().map(CertificateDer::from).collect();
                self.credential = Credential::new(chain, key.to_der(), now()).unwrap();
                Ok(())
            }
            Some(v1::issue_reply::result::Result::Refused(refused)) => Err(refused.reason),
            None => Err("nothing".to_owned()),
        }
    }

    /// Listens from the beginning.
    pub async fn watch(&self) -> Watch {
        self.watch_from(v1::WatchStart {
            program_version: "0.1.0".to_owned(),
            ..v1::WatchStart::default()
        })
        .await
        .unwrap()
    }

    pub async fn watch_from(&self, start: v1::WatchStart) -> Result<Watch, String> {
        let (said, receiver) = mpsc::channel(16);
        said.send(v1::WatchRequest {
            message: Some(v1::watch_request::Message::Start(start)),
        })
        .await
        .unwrap();
        let mut client =
            AgentsClient::new(self.channel().await?).max_decoding_message_size(64 << 20);
        let heard = client
            .watch(ReceiverStream::new(receiver))
            .await
            .map_err(|status| status.message().to_owned())?;
        Ok(Watch {
            said,
            heard: heard.into_inner(),
        })
    }
}

pub fn wanted_node(name: &str, workload: &str, csr: Vec<u8>) -> v1::issue_request::Request {
    v1::issue_request::Request {
        subject: Some(v1::issue_request::request::Subject::Node(v1::NodeSubject {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            workload: workload.to_owned(),
        })),
        csr,
        lifetime: 0,
    }
}

/// A stream from the control plane.
pub struct Watch {
    pub said: mpsc::Sender<v1::WatchRequest>,
    heard: Streaming<v1::WatchReply>,
}

impl Watch {
    /// The next message; `None` if the stream has ended.
    pub async fn next(&mut self) -> Option<v1::watch_reply::Message> {
        let next = tokio::time::timeout(PATIENCE, self.heard.message())
            .await
            .expect("a message within 30 s");
        next.ok().flatten().and_then(|reply| reply.message)
    }

    /// Reads until one of a kind comes.
    pub async fn until<T>(
        &mut self,
        mut wanted: impl FnMut(v1::watch_reply::Message) -> Option<T>,
    ) -> T {
        loop {
            let message = self.next().await.expect("the stream to go on");
            if let Some(found) = wanted(message) {
                return found;
            }
        }
    }

    pub async fn ack(&self, epoch: u64, deny_seq: u64, bundle_version: u64) {
        let ack = v1::WatchAck {
            epoch,
            deny_seq,
            bundle_version,
            ..v1::WatchAck::default()
        };
        let message = Some(v1::watch_request::Message::Ack(ack));
        self.said.send(v1::WatchRequest { message }).await.unwrap();
    }
}

/// Presents a join token with a request, as an agent does that knows nothing else.
pub async fn present(
    token: &str,
    host: &str,
    request: Vec<u8>,
) -> Result<(String, Vec<CertificateDer<'static>>, Bundle, String), String> {
    let token = JoinToken::parse(token).unwrap();
    let first = FirstTrust::new(*token.root_spki_sha256(), None);
    let config = control_tls::client_config(first, None, control_tls::HTTP2).unwrap();
    let address = token.addresses()[0].to_string();
    let evidence = v1::enrol_request::Evidence::JoinToken(v1::JoinToken {
        id: token.id(),
        secret: token.secret().to_vec(),
    });
    let answer = EnrollmentClient::new(channel(&address, config).await?)
        .enrol(v1::EnrolRequest {
            evidence: Some(evidence),
            csr: request,
            host: host.to_owned(),
        })
        .await
        .map_err(|status| status.message().to_owned())?
        .into_inner();
    let roots: Vec<_> = answer
        .bundle
        .unwrap()
        .roots
        .into_iter()
        .map(CertificateDer::from)
        .collect();
    let chain = answer.chain.into_iter().map(CertificateDer::from).collect();
    Ok((
        answer.spiffe_id,
        chain,
        Bundle::new(domain(), &roots).unwrap(),
        address,
    ))
}

/// A gRPC channel over TLS of this configuration.
pub async fn channel(address: &str, config: Arc<rustls::ClientConfig>) -> Result<Channel, String> {
    let address = address.to_owned();
    let connector = tower::service_fn(move |_| {
        let (address, config) = (address.clone(), Arc::clone(&config));
        async move {
            let stream = tokio::net::TcpStream::connect(&address).await?;
            let name = rustls::pki_types::ServerName::try_from("control.skans").unwrap();
            let stream = tokio_rustls::TlsConnector::from(config)
                .connect(name, stream)
                .await?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    Endpoint::from_static("http://control.skans")
        .connect_with_connector(connector)
        .await
        .map_err(|error| format!("{error:?}"))
}

/// What a control plane answered, if it refused.
pub fn reason(result: Result<String, Error>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(Error::Remote(problem)) => problem.reason,
        Err(other) => other.label().to_owned(),
    }
}

/// A metric without labels, as Prometheus reads it.
pub async fn metric(admin: std::net::SocketAddr, name: &str) -> Option<u64> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(admin).await.unwrap();
    let request = b"GET /metrics HTTP/1.0\r\nhost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(value)
}

/// Whether a peer verifies under this bundle.
pub fn verifies(credential: &Credential, bundle: &Bundle) -> bool {
    verifier(bundle)
        .verify(credential.chain(), Usage::Client, now())
        .is_ok()
}

/// Looks until it is so.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !look().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{what}: not within 30 s"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
