//! One request to a witness: who it is is proved by its signature, so that TLS keeps secrets here and no promises.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST};
use hyper::{Method, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use skans_audit::witness::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Answer;
use crate::config::Witness;
use crate::federation::public_roots;

/// For all of it: a witness looks at its disk once.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer in bytes: a line has about 150.
const MAX_ANSWER: usize = 4096;

/// Asks a witness to sign.
///
/// # Errors
/// Why it could not be asked, for people.
pub(super) async fn post(witness: &Witness, request: &Request) -> Result<Answer, String> {
    tokio::time::timeout(PATIENCE, exchange(witness, request))
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
}

async fn exchange(witness: &Witness, request: &Request) -> Result<Answer, String> {
    let uri = witness.uri()?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let socket = TcpStream::connect((host, port))
        .await
        .map_err(|error| error.to_string())?;
    if !tls {
        return speak(socket, &uri, request).await;
    }
    let roots = match &witness.authorities {
        Some(file) => skans_host::files::read_text(file, 1 << 20)
            .map_err(|error| error.to_string())
            .and_then(|pem| own_roots(&pem))?,
        None => public_roots().await?,
    };
    let provider = Arc::new(skans_identity::tls::provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
        .map_err(|error| error.to_string())?;
    speak(stream, &uri, request).await
}

fn own_roots(pem: &str) -> Result<RootCertStore, String> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

async fn speak<IO>(stream: IO, uri: &Uri, request: &Request) -> Result<Answer, String>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let path = format!("{}/add-checkpoint", uri.path().trim_end_matches('/'));
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let request = hyper::Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, authority)
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::from(request.encode())))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    Ok(match status {
        StatusCode::OK => Answer::Signed(text),
        StatusCode::CONFLICT => match text.trim_end().parse() {
            Ok(size) => Answer::From(size),
            Err(_) => Answer::Refused(409, text),
        },
        other => Answer::Refused(other.as_u16(), text),
    })
}
