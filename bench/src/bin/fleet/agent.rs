//! An agent as its control plane sees it: it enrols, listens and renews. It guards no node.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use skans_api::v1;
use skans_api::v1::agents_client::AgentsClient;
use skans_api::v1::enrollment_client::EnrollmentClient;
use skans_identity::bundle::{Bundle, Bundles};
use skans_identity::control_tls::{self, ControlPlane};
use skans_identity::credential::Credential;
use skans_identity::csr;
use skans_identity::first_trust::FirstTrust;
use skans_identity::head::Audience;
use skans_identity::id::TrustDomain;
use skans_identity::peer::PeerIdentity;
use skans_identity::token::JoinToken;
use skans_identity::trust::{SharedTrust, Trust};
use skans_identity::verify::Verifier;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::Result;

/// For anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// An agent.
pub struct Agent {
    host: String,
    channel: Channel,
    denied: watch::Sender<u64>,
    kept: Mutex<Option<mpsc::Sender<v1::WatchRequest>>>,
    own: String,
    held: Mutex<Vec<String>>,
}

impl Agent {
    /// Uses a token.
    pub async fn enrol(token: &str, host: &str) -> Result<Self> {
        let token = JoinToken::parse(token).map_err(|error| error.to_string())?;
        let address = token
            .addresses()
            .first()
            .map(ToString::to_string)
            .ok_or("no address")?;
        let (key, request) = csr::fresh().map_err(|error| error.to_string())?;
        let first = FirstTrust::new(*token.root_spki_sha256(), None);
        let config = control_tls::client_config(first, None, control_tls::HTTP2)
            .map_err(|error| error.to_string())?;
        let evidence = v1::enrol_request::Evidence::JoinToken(v1::JoinToken {
            id: token.id(),
            secret: token.secret().to_vec(),
        });
        let wanted = v1::EnrolRequest {
            evidence: Some(evidence),
            csr: request,
            host: host.to_owned(),
        };
        let answer = EnrollmentClient::new(channel(&address, config).await?)
            .enrol(wanted)
            .await;
        let answer = answer
            .map_err(|status| status.message().to_owned())?
            .into_inner();
        let domain = TrustDomain::parse("fleet.test").map_err(|error| error.to_string())?;
        let roots: Vec<_> = answer
            .bundle
            .unwrap_or_default()
            .roots
            .into_iter()
            .map(CertificateDer::from)
            .collect();
        let bundle = Bundle::new(domain.clone(), &roots).map_err(|error| error.to_string())?;
        let chain: Vec<_> = answer.chain.into_iter().map(CertificateDer::from).collect();
        let own = serial(chain.first())?;
        let credential = Credential::new(chain, key.to_der(), UnixTime::now())
            .map_err(|error| error.to_string())?;
        let verifier = Verifier::new(SharedTrust::new(Trust {
            bundles: Bundles::from(bundle),
            ..Trust::default()
        }));
        let audience = Audience {
            trust_domain: domain,
            cluster: "main".to_owned(),
        };
        let plane = ControlPlane::new(verifier, audience);
        let config = control_tls::client_config(plane, Some(&credential), control_tls::HTTP2);
        let config = config.map_err(|error| error.to_string())?;
        Ok(Self {
            host: host.to_owned(),
            channel: channel(&address, config).await?,
            denied: watch::Sender::new(0),
            kept: Mutex::default(),
            own,
            held: Mutex::default(),
        })
    }

    /// Listens, and counts what is denied.
    pub async fn watch(self: Arc<Self>) -> Result<()> {
        let (sender, receiver) = mpsc::channel(4);
        let start = v1::watch_request::Message::Start(v1::WatchStart::default());
        sender
            .send(v1::WatchRequest {
                message: Some(start),
            })
            .await
            .map_err(|error| error.to_string())?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        let heard = AgentsClient::new(self.channel.clone())
            .watch(ReceiverStream::new(receiver))
            .await;
        let mut heard = heard
            .map_err(|status| status.message().to_owned())?
            .into_inner();
        let (first, mut came) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok(Some(reply)) = heard.message().await {
                match reply.message {
                    Some(v1::watch_reply::Message::DenyDelta(delta)) => {
                        self.denied
                            .send_modify(|count| *count += delta.entries.len() as u64);
                    }
                    Some(v1::watch_reply::Message::Head(_)) => _ = first.send(true),
                    _ => {}
                }
            }
        });
        tokio::time::timeout(PATIENCE, came.wait_for(|came| *came))
            .await
            .map_err(|_| "no head within a minute".to_owned())?
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// How many entries it has heard of.
    pub fn denied(&self) -> u64 {
        *self.denied.borrow()
    }

    /// Returns when it has heard of so many.
    pub async fn until_denied(&self, count: u64) -> Result<()> {
        let mut denied = self.denied.subscribe();
        tokio::time::timeout(PATIENCE, denied.wait_for(|present| *present >= count))
            .await
            .map_err(|_| format!("{}: a revocation did not come", self.host))?
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Asks for certificates; gives how many came.
    pub async fn renew(&self, nodes: u32) -> Result<u64> {
        let requests = self.some_requests(nodes)?;
        let answer = AgentsClient::new(self.channel.clone())
            .issue(v1::IssueRequest { requests })
            .await;
        let answer = answer
            .map_err(|status| format!("{}: {}", status.code(), status.message()))?
            .into_inner();
        let mut serials = Vec::new();
        for result in answer.results {
            match result.result {
                Some(v1::issue_reply::result::Result::Issued(issued)) => {
                    let leaf = issued.chain.into_iter().next().map(CertificateDer::from);
                    serials.push(serial(leaf.as_ref())?);
                }
                Some(v1::issue_reply::result::Result::Refused(refused)) => {
                    return Err(refused.message);
                }
                None => return Err("nothing".to_owned()),
            }
        }
        let count = serials.len() as u64;
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = serials;
        Ok(count)
    }

    fn some_requests(&self, nodes: u32) -> Result<Vec<v1::issue_request::Request>> {
        let mut all = Vec::new();
        for number in 0..nodes {
            let (_, csr) = csr::fresh().map_err(|error| error.to_string())?;
            let subject = v1::issue_request::request::Subject::Node(v1::NodeSubject {
                name: format!("n{number}@{}", self.host),
                namespace: "default".to_owned(),
                workload: "fleet".to_owned(),
            });
            all.push(v1::issue_request::Request {
                subject: Some(subject),
                csr,
                lifetime: 0,
            });
        }
        Ok(all)
    }

    /// The serial numbers of what it holds: what it got when it enrolled, and what it got last.
    pub fn held(&self) -> Vec<String> {
        let mut all = self
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        all.push(self.own.clone());
        all
    }
}

fn serial(leaf: Option<&CertificateDer<'_>>) -> Result<String> {
    let identity = PeerIdentity::from_der(leaf.ok_or("an empty chain")?)
        .map_err(|refusal| refusal.to_string())?;
    Ok(identity.serial)
}

async fn channel(address: &str, config: Arc<rustls::ClientConfig>) -> Result<Channel> {
    let address = address.to_owned();
    let connector = tower::service_fn(move |_| {
        let (address, config) = (address.clone(), Arc::clone(&config));
        async move {
            let stream = TcpStream::connect(&address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from("control.skans").map_err(std::io::Error::other)?;
            let stream = TlsConnector::from(config).connect(name, stream).await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    Endpoint::from_static("http://control.skans")
        .connect_with_connector(connector)
        .await
        .map_err(|error| format!("{error:?}"))
}
