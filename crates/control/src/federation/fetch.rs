//! Fetching the bundle of another trust domain (SPIFFE Federation 5.2): where it is, who answers there, and what comes back. All of it
//! is a stranger's until it is proven, and stays bounded after that.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use skans_identity::bundle::document::MAX_DOCUMENT;
use skans_identity::bundle::{Bundle, Bundles};
use skans_identity::control_tls;
use skans_identity::federation::endpoint::{Profile, Url, may_be_asked};
use skans_identity::federation::foreign::Channel;
use skans_identity::federation::link::Source;
use skans_identity::host::Host;
use skans_identity::id::TrustDomain;
use skans_identity::trust::{DenySet, SharedTrust, Trust};
use skans_identity::verify::{Evidence, Usage, Verifier};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::clock;

/// For all of it. A bundle is a few kilobytes: what takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;

pub(super) type Request = hyper::Request<Empty<Bytes>>;

/// What came, and who brought it.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The document, not looked at yet.
    pub(crate) text: String,
    /// Who proved which identity; none over the web.
    by: Option<Evidence>,
}

impl Fetched {
    /// How it came here.
    pub(crate) const fn channel(&self) -> Channel<'_> {
        match &self.by {
            Some(by) => Channel::Spiffe(by),
            None => Channel::Web,
        }
    }
}

/// Fetches the bundle of a domain. `held` is the one that its endpoint is known by, which proves it where the link says so.
///
/// # Errors
/// What went wrong, for people.
pub(crate) async fn fetch(
    domain: &TrustDomain,
    source: &Source,
    held: Option<Bundle>,
) -> Result<Fetched, String> {
    let request = hyper::Request::builder()
        .uri(source.url.path())
        .header("accept", "application/json")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    ask(domain, source, held, request).await
}

/// Sends a request to the endpoint of a domain, and gives what comes with a good answer.
///
/// # Errors
/// As [`fetch`].
pub(super) async fn ask(
    domain: &TrustDomain,
    source: &Source,
    held: Option<Bundle>,
    request: Request,
) -> Result<Fetched, String> {
    let work = async {
        let socket = reach(&source.url).await?;
        let (stream, by) = match &source.profile {
            Profile::Spiffe(id) => {
                let held = held.ok_or_else(|| format!("no root of {domain} to know it by"))?;
                let (stream, by) = prove(socket, held).await?;
                // Asked again when it is taken; here so that nobody else is asked anything.
                if by.peer.id != *id {
                    return Err(format!("found {}, wanted {id}", by.peer.id));
                }
                (stream, Some(by))
            }
            Profile::Web => (browse(socket, &source.url).await?, None),
        };
        let text = exchange(stream, &source.url, request).await?;
        Ok(Fetched { text, by })
    };
    tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
        .map_err(|problem| format!("{}: {problem}", source.url))
}

/// Connects to an address that may be asked: to the very one that was looked at, so that a name cannot lead elsewhere meanwhile.
async fn reach(url: &Url) -> Result<TcpStream, String> {
    let addresses: Vec<SocketAddr> = match url.host() {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, url.port())],
        host => {
            let name = host.to_string();
            let found = tokio::net::lookup_host((name.as_str(), url.port())).await;
            found.map_err(|error| error.to_string())?.collect()
        }
    };
    let mut last = "the name has no address".to_owned();
    for address in addresses.into_iter().take(MAX_ADDRESSES) {
        if !may_be_asked(address.ip()) {
            last = refused(address.ip());
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

fn refused(ip: IpAddr) -> String {
    format!(
        "found {ip}, wanted an address where bundles are: not this host, its links, or a metadata service"
    )
}

/// TLS with whoever is of that domain, by its bundle alone: nothing else is trusted here, and nothing of ours is shown.
async fn prove(
    socket: TcpStream,
    held: Bundle,
) -> Result<(TlsStream<TcpStream>, Evidence), String> {
    let verifier = Verifier::new(SharedTrust::new(Trust {
        bundles: Bundles::from(held),
        deny: DenySet::default(),
    }));
    let config =
        control_tls::client_config(Arc::clone(&verifier) as Arc<_>, None, control_tls::HTTP11)
            .map_err(|error| error.to_string())?;
    let stream = handshake(socket, config, "bundle.skans").await?;
    let (_, state) = stream.get_ref();
    let chain = state.peer_certificates().unwrap_or_default();
    let by = verifier
        .evidence(chain, Usage::Server, clock::now())
        .map_err(|refusal| refusal.to_string())?;
    Ok((stream, by))
}

/// TLS with whoever a public authority vouches for, as this machine knows them.
async fn browse(socket: TcpStream, url: &Url) -> Result<TlsStream<TcpStream>, String> {
    let roots = public_roots().await?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(skans_identity::tls::provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![control_tls::HTTP11.to_vec()];
    handshake(socket, Arc::new(config), &url.host().to_string()).await
}

/// The public authorities, as this machine knows them.
///
/// # Errors
/// It knows none.
pub(crate) async fn public_roots() -> Result<RootCertStore, String> {
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let found = found.map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        return Err("this machine has no public authorities (ca-certificates)".to_owned());
    }
    Ok(roots)
}

async fn handshake(
    socket: TcpStream,
    config: Arc<ClientConfig>,
    name: &str,
) -> Result<TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(config).connect(name, socket).await;
    stream.map_err(|error| {
        let refusal = skans_identity::Refusal::of_io(&error).map(ToString::to_string);
        refusal.unwrap_or_else(|| error.to_string())
    })
}

/// An answer that leads elsewhere is none: it would say where we connect (0019).
async fn exchange(
    stream: TlsStream<TcpStream>,
    url: &Url,
    mut request: Request,
) -> Result<String, String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // It ends with the answer, or with this attempt: the sender is dropped then.
    tokio::spawn(connection);
    let host = HeaderValue::from_str(&url.authority()).map_err(|error| error.to_string())?;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if !matches!(answer.status(), StatusCode::OK | StatusCode::NO_CONTENT) {
        return Err(format!("found {}, wanted 200 OK", answer.status()));
    }
    let bytes = Limited::new(answer.into_body(), MAX_DOCUMENT)
        .collect()
        .await;
    let bytes = bytes.map_err(|error| error.to_string())?.to_bytes();
    String::from_utf8(bytes.to_vec()).map_err(|_| "an answer that is not UTF-8".to_owned())
}
