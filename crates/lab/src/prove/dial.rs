//! Dialling a link port as somebody else than an agent would.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::{ServerName, UnixTime};
use skans_identity::authority::Authority;
use skans_identity::bundle::Bundles;
use skans_identity::credential::Credential;
use skans_identity::host::Host;
use skans_identity::id::{NodeId, TrustDomain};
use skans_identity::trust::{DenySet, SharedTrust, Trust};
use skans_identity::verify::Verifier;
use skans_identity::{sni, tls};
use skans_link::{Decoder, Frame, Piece};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Failure, STEP};
use crate::cluster::{CLUSTER, TRUST_DOMAIN};

/// Life of the certificates that are issued for attempts.
const LIFE: std::time::Duration = std::time::Duration::from_secs(3600);
/// Most bytes of an answer that are looked at.
const MAX_ANSWER: u64 = 64 * 1024;

/// How an attempt ended.
pub struct Attempt {
    /// Our own address, as the other side's log has it.
    pub own: SocketAddr,
    /// A frame of the link protocol, or how the connection ended before one came.
    pub answer: Result<Frame, String>,
}

/// The trust domain of the lab.
pub fn trust_domain() -> Result<TrustDomain, Failure> {
    Ok(TrustDomain::parse(TRUST_DOMAIN)?)
}

/// A leaf for a node of the lab, by whichever authority.
pub fn leaf(authority: &Authority, node: &str) -> Result<Credential, Failure> {
    let (alive, host) = node
        .split_once('@')
        .ok_or_else(|| Failure(format!("{node} is no node name")))?;
    let id = NodeId::new(&trust_domain()?, CLUSTER, "default", alive, alive)?;
    Ok(authority.issue(id.id(), &Host::parse(host)?, LIFE, UnixTime::now())?)
}

/// A verifier that trusts an authority.
pub fn verifier(authority: &Authority) -> Result<Arc<Verifier>, Failure> {
    let mut bundles = Bundles::default();
    bundles.insert(authority.bundle()?)?;
    Ok(Verifier::new(SharedTrust::new(Trust {
        bundles,
        deny: DenySet::default(),
    })))
}

/// TLS settings as an agent has them, but without a certificate.
pub fn nameless(verifier: Arc<Verifier>) -> Result<Arc<ClientConfig>, Failure> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(tls::provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| Failure(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![tls::ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// The server name under which an agent asks for a node.
pub fn server_name(node: &str) -> Result<ServerName<'static>, Failure> {
    Ok(sni::server_name_for(&trust_domain()?, node)?)
}

/// Sends plain bytes, and returns all that comes back until the other side hangs up.
pub async fn plain(address: SocketAddr, bytes: &[u8]) -> Result<(SocketAddr, Vec<u8>), Failure> {
    within("the end of a plain connection", async {
        let mut socket = TcpStream::connect(address).await?;
        let own = socket.local_addr()?;
        socket.write_all(bytes).await?;
        let mut answer = Vec::new();
        // A reset is an end like any other.
        let _ = (&mut socket)
            .take(MAX_ANSWER)
            .read_to_end(&mut answer)
            .await;
        Ok((own, answer))
    })
    .await
}

/// Dials with TLS, says hello, and waits for the first frame.
pub async fn hello(
    address: SocketAddr,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    hello: &[u8],
) -> Result<Attempt, Failure> {
    within("the end of an attempt", async {
        let socket = TcpStream::connect(address).await?;
        let own = socket.local_addr()?;
        let answer = async {
            let mut stream = TlsConnector::from(config).connect(name, socket).await?;
            stream.write_all(hello).await?;
            stream.flush().await?;
            first_frame(&mut stream).await
        };
        Ok(Attempt {
            own,
            answer: answer.await.map_err(|error| error.to_string()),
        })
    })
    .await
}

/// The first frame of the link protocol on a stream.
pub async fn first_frame(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Frame> {
    let mut decoder = Decoder::new();
    let mut chunk = [0; 4096];
    loop {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let mut input = chunk.get(..count).unwrap_or_default();
        match decoder.next(&mut input).map_err(std::io::Error::other)? {
            Some(Piece::Frame(frame)) => return Ok(frame),
            Some(_) => return Err(std::io::Error::other("data before any other frame")),
            None => {}
        }
    }
}

async fn within<T>(
    what: &str,
    step: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(STEP, step)
        .await
        .unwrap_or_else(|_| Err(Failure(format!("{what}: not within {STEP:?}"))))
}
