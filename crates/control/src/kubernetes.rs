//! Asks a Kubernetes API server whose a projected service-account token is (TokenReview). What a caller may
//! have because of it is decided elsewhere.
//!
//! A token counts only if it was made for our audience and is bound to a pod: then it dies with the pod, and
//! an old Secret with an eternal token opens nothing. Sources: Kubernetes API `authentication.k8s.io/v1`,
//! KEP-1205 (bound service account tokens).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// Largest token in bytes. Projected ones have about 1 KiB; headers of an API server end at 8 KiB.
pub const MAX_TOKEN: usize = 8 * 1024;
/// Largest answer in bytes. A review has about 2 KiB.
const MAX_ANSWER: usize = 64 * 1024;
/// For a whole review. An API server answers within some milliseconds; whoever enrols waits for it.
const LIMIT: Duration = Duration::from_secs(5);

/// Where an API server is, and how this process shows who it is.
#[derive(Clone, Debug)]
pub struct ApiServer {
    /// `host:port`. Never from a caller: whoever chose it would have us send requests anywhere.
    pub address: String,
    /// A PEM file with the authorities that sign the server's certificate; read for each review, for it rotates.
    pub authorities: PathBuf,
    /// A file with our own token, which must be allowed to create TokenReviews; read for each review.
    pub token: PathBuf,
}

/// A pod that the API server vouches for. There is no other way to one than [`ApiServer::review`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pod {
    /// The namespace of the service account and of the pod.
    pub namespace: String,
    /// The service account.
    pub service_account: String,
    /// The pod's name.
    pub name: String,
    /// The pod's UID: a new pod of the same name has another.
    pub uid: String,
    /// The UID of the node that it runs on; API servers before 1.30 do not tell.
    pub node_uid: Option<String>,
}

/// Why a token is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The caller's fault: trying again with the same token cannot help.
    #[error("the token is refused: {0}")]
    Token(String),
    /// The API server cannot be asked, or answers what makes no sense.
    #[error("cannot review the token with the API server at {address}: {problem}")]
    Server {
        /// Where it was asked.
        address: String,
        /// What happened.
        problem: String,
    },
}

#[derive(Serialize)]
struct Review<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Spec<'a> {
    token: &'a str,
    audiences: [&'a str; 1],
}

#[derive(Deserialize)]
struct Reviewed {
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    authenticated: bool,
    audiences: Vec<String>,
    user: User,
    error: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
    extra: std::collections::BTreeMap<String, Vec<String>>,
}

impl ApiServer {
    /// Asks whose a token is.
    ///
    /// # Errors
    /// [`Refusal::Token`] if it is not one for `audience`, of a service account, bound to a pod that exists;
    /// [`Refusal::Server`] if that cannot be found out. Neither holds the token.
    pub async fn review(&self, token: &str, audience: &str) -> Result<Pod, Refusal> {
        if token.is_empty() || token.len() > MAX_TOKEN || !token.bytes().all(is_token_byte) {
            return Err(Refusal::Token(format!(
                "found {} bytes that are no JSON web token, wanted a projected service-account token of at most {MAX_TOKEN}",
                token.len()
            )));
        }
        let answer = tokio::time::timeout(LIMIT, self.ask(token, audience))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")))
            .map_err(|problem| self.server(problem))?;
        let reviewed: Reviewed = serde_json::from_slice(&answer)
            .map_err(|error| self.server(format!("its answer is no TokenReview: {error}")))?;
        pod(reviewed.status, audience).map_err(Refusal::Token)
    }

    fn server(&self, problem: String) -> Refusal {
        Refusal::Server {
            address: self.address.clone(),
            problem,
        }
    }

    async fn ask(&self, token: &str, audience: &str) -> Result<Bytes, String> {
        let review = Review {
            api_version: "authentication.k8s.io/v1",
            kind: "TokenReview",
            spec: Spec {
                token,
                audiences: [audience],
            },
        };
        let body = serde_json::to_vec(&review).map_err(|error| error.to_string())?;
        let mut own = HeaderValue::from_str(&format!("Bearer {}", self.own_token()?.trim()))
            .map_err(|_| "our own token holds bytes that no header may".to_owned())?;
        own.set_sensitive(true);
        let request = Request::builder()
            .method(Method::POST)
            .uri("/apis/authentication.k8s.io/v1/tokenreviews")
            .header(HOST, &self.address)
            .header(AUTHORIZATION, own)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let tls = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
            .await
            .map_err(|error| error.to_string())?;
        let exchange = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| error.to_string())?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await
                .map_err(|error| error.to_string())?
                .to_bytes();
            // 201 is what creating something answers; 403 means that our own token may not.
            if status.is_success() {
                Ok(body)
            } else {
                Err(format!("it answers {status}"))
            }
        };
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            // The connection may be over before its last answer is taken.
            _ = connection => exchange.await,
        }
    }

    fn own_token(&self) -> Result<Zeroizing<String>, String> {
        read(&self.token).map(Zeroizing::new)
    }

    async fn connect(&self) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
        let pem = read(&self.authorities)?;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate =
                certificate.map_err(|_| format!("{}: not PEM", self.authorities.display()))?;
            roots
                .add(certificate)
                .map_err(|error| format!("{}: {error}", self.authorities.display()))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        // API servers of the field's older distributions end at TLS 1.2; it is their certificate that counts.
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        let host = self
            .address
            .rsplit_once(':')
            .map_or(&*self.address, |(host, _)| host)
            .trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is neither a host name nor an address"))?;
        let socket = TcpStream::connect(&self.address)
            .await
            .map_err(|error| error.to_string())?;
        TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await
            .map_err(|error| error.to_string())
    }
}

fn read(path: &std::path::Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// RFC 7515: base64url and dots.
const fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'=')
}

/// Reads what the API server found.
fn pod(status: Status, audience: &str) -> Result<Pod, String> {
    if !status.authenticated {
        // The server's words hold no secret, but what a caller sent may be in them.
        let why: String = status.error.chars().take(200).collect();
        return Err(format!("the API server does not know it ({why:?})"));
    }
    // A server that knows no audiences leaves them out, and vouches for a token of its own.
    if !status.audiences.iter().any(|found| found == audience) {
        return Err(format!(
            "found the audiences {:?}, wanted {audience:?}",
            status.audiences
        ));
    }
    let account = status
        .user
        .username
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
        .filter(|(namespace, name)| is_name(namespace) && is_name(name));
    let Some((namespace, service_account)) = account else {
        return Err("found a user, wanted a service account".to_owned());
    };
    let extra = |key: &str| match status.user.extra.get(key).map(Vec::as_slice) {
        Some([one]) if !one.is_empty() && one.len() <= 253 => Some(one.clone()),
        _ => None,
    };
    let (Some(name), Some(uid)) = (
        extra("authentication.kubernetes.io/pod-name"),
        extra("authentication.kubernetes.io/pod-uid"),
    ) else {
        return Err("found a token that is bound to no pod, wanted a projected one".to_owned());
    };
    Ok(Pod {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        name,
        uid,
        node_uid: extra("authentication.kubernetes.io/node-uid"),
    })
}

/// A DNS subdomain, as Kubernetes names are (RFC 1123): no slash ends up in a SPIFFE ID.
fn is_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
}
