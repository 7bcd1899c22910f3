//! The Workload API on a Unix socket: whoever runs a node of this host gets that node's certificate and key, and the
//! roots; nobody else gets anything. The kernel says who calls.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use skans_host::files;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::Server;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status};

use super::HEADER;
use super::wire::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use super::wire::{
    X509BundlesRequest, X509BundlesResponse, X509svid, X509svidRequest, X509svidResponse,
};
use crate::agent::Agent;
use crate::{Error, subjects};

/// Calls of one connection at once. A client needs two.
const PER_CONNECTION: usize = 8;
/// Streams at once, over all connections; a node, its tools and a proxy need one each.
const STREAMS: usize = 256;
/// The largest request in bytes: they are empty.
const MAX_REQUEST: usize = 4 * 1024;

/// The socket, open.
pub struct Socket {
    /// The socket.
    pub listener: UnixListener,
    /// Where it is.
    pub path: PathBuf,
}

impl Socket {
    /// One that another process has had so far.
    pub fn of(listener: UnixListener, path: &Path) -> Self {
        Self {
            listener,
            path: path.to_owned(),
        }
    }

    /// Opens it. Anybody may connect: who gets what is decided by the caller's user.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        use std::os::unix::fs::PermissionsExt;
        if let Some(parent) = path.parent() {
            files::directory(parent, 0o755)?;
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(Error::file(path, "found it in use, wanted it free"));
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file(path, format!("cannot remove: {error}")));
            }
            _ => {}
        }
        let listener = UnixListener::bind(path)
            .map_err(|error| Error::file(path, format!("cannot listen: {error}")))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
            .map_err(|error| Error::file(path, format!("cannot set its mode: {error}")))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }
}

/// Serves the socket until the agent stops, and removes it.
pub async fn serve(agent: Arc<Agent>, socket: Socket) {
    let stopping = agent.stopping.clone();
    let api = Api {
        agent,
        streams: Arc::new(tokio::sync::Semaphore::new(STREAMS)),
    };
    let api = SpiffeWorkloadApiServer::new(api).max_decoding_message_size(MAX_REQUEST);
    let served = Server::builder()
        .concurrency_limit_per_connection(PER_CONNECTION)
        .http2_keepalive_interval(Some(Duration::from_secs(60)))
        .add_service(api)
        .serve_with_incoming_shutdown(
            UnixListenerStream::new(socket.listener),
            stopping.cancelled_owned(),
        );
    if let Err(error) = served.await {
        tracing::error!("the Workload API failed: {error}");
    }
    // Gone already is as good.
    let _ = std::fs::remove_file(&socket.path);
}

struct Api {
    agent: Arc<Agent>,
    streams: Arc<tokio::sync::Semaphore>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SpiffeWorkloadApi for Api {
    type FetchX509SVIDStream = Answers<X509svidResponse>;
    type FetchX509BundlesStream = Answers<X509BundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        let names = self.names_of(&request)?;
        self.follow(move |agent| svids(agent, &names))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        self.names_of(&request)?;
        self.follow(|agent| {
            let bundles = bundle(agent)?;
            let domain = format!("spiffe://{}", agent.identities.trust_domain());
            Some(Told {
                mark: bundles.clone(),
                message: X509BundlesResponse {
                    crl: Vec::new(),
                    bundles: [(domain, bundles)].into(),
                },
            })
        })
    }
}

impl Api {
    /// The nodes that the caller runs.
    fn names_of<T>(&self, request: &Request<T>) -> Result<Vec<String>, Status> {
        let header = request.metadata().get(HEADER);
        if header.is_none_or(|value| value != "true") {
            return Err(Status::invalid_argument(format!(
                "found no {HEADER}: true, wanted it in the metadata of every call"
            )));
        }
        let caller = request
            .extensions()
            .get::<UdsConnectInfo>()
            .and_then(|info| info.peer_cred)
            .ok_or_else(|| Status::permission_denied("the kernel does not say who calls"))?;
        let uid = caller.uid();
        let settings = self.agent.settings();
        let subjects = subjects::of(&settings.config).unwrap_or_default();
        let names: Vec<_> = subjects
            .into_iter()
            .filter(|subject| {
                let alive = subject.name.split_once('@').map_or("", |(alive, _)| alive);
                settings
                    .config
                    .nodes
                    .iter()
                    .any(|node| node.name == subject.name)
                    && self.agent.users.of_node(alive) == Some(uid)
            })
            .map(|subject| subject.name)
            .collect();
        if names.is_empty() {
            tracing::debug!(
                uid,
                "refused at the Workload API: runs none of this host's nodes"
            );
            return Err(Status::permission_denied(
                "no node of this host is run by the caller's user",
            ));
        }
        Ok(names)
    }

    /// What there is now, and again whenever it has changed.
    fn follow<T: Send + 'static>(
        &self,
        now: impl Fn(&Agent) -> Option<Told<T>> + Send + 'static,
    ) -> Result<Response<Answers<T>>, Status> {
        let place = Arc::clone(&self.streams)
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted(format!("{STREAMS} streams are open")))?;
        let (say, said) = mpsc::channel(1);
        let agent = Arc::clone(&self.agent);
        let mut changes = agent.identities.changes();
        tokio::spawn(async move {
            let _place = place;
            let mut last: Option<Vec<u8>> = None;
            loop {
                changes.mark_unchanged();
                let answer = now(&agent);
                // Before the first certificate there is nothing to say; once there was one, its end is to be told.
                let over = answer.is_none() && last.is_some();
                let message = match answer {
                    Some(told) if last.as_ref() != Some(&told.mark) => {
                        last = Some(told.mark);
                        Some(Ok(told.message))
                    }
                    None if over => Some(Err(Status::permission_denied(
                        "the certificate has expired and could not be renewed",
                    ))),
                    _ => None,
                };
                let gone = match message {
                    Some(message) => say.send(message).await.is_err(),
                    None => false,
                };
                if gone || over {
                    return;
                }
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = say.closed() => return,
                    () = agent.stopping.cancelled() => return,
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }
}

/// An answer, and what tells it from another without keeping its key.
struct Told<T> {
    mark: Vec<u8>,
    message: T,
}

/// `None` unless each of them has a certificate.
fn svids(agent: &Agent, names: &[String]) -> Option<Told<X509svidResponse>> {
    let bundle = bundle(agent)?;
    let svids = names
        .iter()
        .map(|name| {
            let credential = agent.identities.credential(name)?;
            Some(X509svid {
                spiffe_id: credential.identity().id.to_string(),
                x509_svid: credential
                    .chain()
                    .iter()
                    .flat_map(|der| der.to_vec())
                    .collect(),
                x509_svid_key: credential.key().secret_der().to_vec(),
                bundle: bundle.clone(),
                hint: name.clone(),
            })
        })
        .collect::<Option<Vec<_>>>()?;
    let certificates = svids.iter().map(|svid| svid.x509_svid.as_slice());
    Some(Told {
        mark: certificates
            .chain([bundle.as_slice()])
            .collect::<Vec<_>>()
            .concat(),
        message: X509svidResponse {
            svids,
            crl: Vec::new(),
            federated_bundles: [].into(),
        },
    })
}

/// The roots of our trust domain, one after the other.
fn bundle(agent: &Agent) -> Option<Vec<u8>> {
    let trust = agent.identities.trust().load();
    let bundle = trust.bundles.get(agent.identities.trust_domain())?;
    Some(bundle.roots().flat_map(|root| root.to_vec()).collect())
}
