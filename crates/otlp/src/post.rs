//! One request to the collector, and its answer: OTLP over HTTP/1.1, in the clear to loopback alone, else over TLS 1.3. Whatever
//! answers is a stranger: its answer is bounded in size and time, and leads nowhere else.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use skans_host::error::FileError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::endpoint::{Collector, Otlp, Scheme, Signal};
use crate::error::{Error, Result};
use crate::wire::ExportResponse;

/// For all of it: the default of OTLP exporters.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer, its header not among them. One that has taken all is empty; one that has not says why.
const MAX_ANSWER: usize = 64 * 1024;
/// Bytes of its header. hyper alone would take 400 KiB.
const MAX_HEADER: usize = 16 * 1024;
/// Bytes of a file with roots. Those of a whole machine take a quarter of it.
const MAX_ROOTS: u64 = 1024 * 1024;

/// Who collects.
pub struct Post {
    to: Collector,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Why a request did not arrive.
#[derive(Debug, Eq, PartialEq)]
pub struct Failure {
    /// It may be otherwise later.
    pub retry: bool,
    /// The collector does not take what was sent, whoever sends it, and however often.
    pub refused: bool,
    /// For people. Nothing of it is the collector's own text.
    pub why: String,
}

impl Failure {
    fn passing(why: impl ToString) -> Self {
        Self {
            retry: true,
            refused: false,
            why: why.to_string(),
        }
    }
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Post").field(&self.to).finish()
    }
}

impl Post {
    /// Connects to nobody yet. Roots are read here, so that a file that is wrong stops the start.
    ///
    /// # Errors
    /// [`Error`]: what cannot be used.
    pub fn open(otlp: &Otlp, signal: Signal) -> Result<Self> {
        let wrong = |why| Error::Field("endpoint", why);
        let to = Collector::parse(&otlp.endpoint, signal).map_err(wrong)?;
        let tls = match to.scheme {
            Scheme::Http => None,
            Scheme::Https => {
                let name = ServerName::try_from(to.host.clone())
                    .map_err(|error| wrong(format!("found {}: {error}", to.host)))?;
                Some((TlsConnector::from(client(roots(otlp)?)?), name))
            }
        };
        Ok(Self { to, tls })
    }

    /// Where it goes, for logs.
    #[must_use]
    pub fn shown(&self) -> String {
        self.to.authority()
    }

    /// Sends one request. Gives of how many spans or records the collector says that it does not take them.
    ///
    /// # Errors
    /// [`Failure`]: it has none of them, as far as is known.
    pub async fn send(&self, body: Bytes) -> std::result::Result<u64, Failure> {
        let sent = async {
            let to = (self.to.host.as_str(), self.to.port);
            let socket = TcpStream::connect(to).await.map_err(Failure::passing)?;
            match &self.tls {
                None => self.exchange(socket, body).await,
                Some((connector, name)) => {
                    let stream = connector.connect(name.clone(), socket).await;
                    let stream =
                        stream.map_err(|error| Failure::passing(format!("TLS: {error}")))?;
                    self.exchange(stream, body).await
                }
            }
        };
        let sent = tokio::time::timeout(PATIENCE, sent).await;
        sent.unwrap_or_else(|_| Err(Failure::passing(format!("no answer within {PATIENCE:?}"))))
    }

    async fn exchange<S>(&self, stream: S, body: Bytes) -> std::result::Result<u64, Failure>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = hyper::client::conn::http1::Builder::new();
        let shaken = builder.max_buf_size(MAX_HEADER);
        let shaken = shaken.handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(Failure::passing)?;
        // It ends with this attempt, however that ends.
        let mut carrying = JoinSet::new();
        carrying.spawn(connection);
        let request = hyper::Request::post(self.to.path.as_str())
            .header(HOST, self.to.authority())
            .header(CONTENT_TYPE, "application/x-protobuf")
            // At most one a second: one that is kept would have to be watched.
            .header(CONNECTION, "close")
            .body(Full::new(body));
        let request = request.map_err(|error| Failure {
            retry: false,
            refused: false,
            why: error.to_string(),
        })?;
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(Failure::passing)?;
        let status = answer.status();
        if status != StatusCode::OK {
            // Those that a client may try again after (OTLP, "Retryable Response Codes"). A redirect is none: it would say where we
            // connect.
            let retry = matches!(status.as_u16(), 429 | 502 | 503 | 504);
            let refused = matches!(status.as_u16(), 400 | 413 | 422);
            let why = format!("found status {}, wanted 200", status.as_u16());
            return Err(Failure {
                retry,
                refused,
                why,
            });
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let rejected = |body: &[u8]| {
            let answer = ExportResponse::decode(body).ok()?;
            u64::try_from(answer.partial_success?.rejected).ok()
        };
        // Whatever it says behind 200, it has taken them.
        Ok(body.map_or(0, |body| rejected(&body.to_bytes()).unwrap_or_default()))
    }
}

/// Who vouches for it: the authorities that are written down, or those of this machine.
fn roots(otlp: &Otlp) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let Some(path) = &otlp.roots else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            let why = "found none, and no public authorities on this machine (ca-certificates), wanted either";
            return Err(Error::Field("roots", why.to_owned()));
        }
        return Ok(store);
    };
    let text = skans_host::files::read_text(path, MAX_ROOTS)?;
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|one| store.add(one).map_err(|error| error.to_string()));
        added.map_err(|why| FileError::new(path, format!("no roots of a collector: {why}")))?;
    }
    if store.is_empty() {
        return Err(FileError::new(path, "found no certificate, wanted PEM").into());
    }
    Ok(store)
}

fn client(roots: RootCertStore) -> Result<Arc<ClientConfig>> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(skans_identity::tls::provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| Error::Field("endpoint", error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![skans_identity::control_tls::HTTP11.to_vec()];
    Ok(Arc::new(config))
}
