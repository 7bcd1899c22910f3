//! Asking a running control plane over REST: through its Unix socket, or on its API port with a person's certificate.

pub mod audit;
mod person;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use skans_host::files;
use skans_identity::control_tls::{self, ControlPlane};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::error::Error;
use crate::problem::Problem;

pub use person::{Login, login};

/// For an answer. `--wait` asks for up to a minute.
const PATIENCE: Duration = Duration::from_secs(90);
/// Largest answer in bytes: a page of a thousand events.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Where a control plane is, and how one shows who one is.
#[derive(Clone, Debug)]
pub enum Client {
    /// Its Unix socket.
    Socket(PathBuf),
    /// Its API port, as whoever `skans login` made of one. The directory holds what that wrote.
    Person(PathBuf),
}

impl Client {
    /// Asks, and reads the answer.
    ///
    /// # Errors
    /// [`Error::Remote`] if it refuses, with its words; [`Error::File`] or [`Error::Unreachable`] if nobody answers.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        read(&self.call("GET", path, None).await?)
    }

    /// Sends something, and reads the answer.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let body =
            serde_json::to_string(body).map_err(|error| Error::Internal(error.to_string()))?;
        read(&self.call(method, path, Some(body)).await?)
    }

    /// Asks for a file, and writes it down as it comes: 0600, and whole or not at all.
    ///
    /// # Errors
    /// As [`Client::get`], and [`Error::File`].
    pub async fn download(&self, method: &str, path: &str, to: &Path) -> Result<(), Error> {
        // Before anybody is troubled for something that cannot be kept.
        let file = files::New::beside(to)?;
        match self {
            Self::Socket(socket) => save(open_socket(socket).await?, method, path, file).await,
            Self::Person(directory) => save(dial(directory).await?, method, path, file).await,
        }
    }

    /// Sends something; the answer as it came, as text.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<String>,
    ) -> Result<String, Error> {
        let answer = self.exchange(method, path, body).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Asks; the answer as it came, at most 64 MiB.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn octets(&self, path: &str) -> Result<Vec<u8>, Error> {
        let answer = self.exchange("GET", path, None).await?;
        Ok(answer.into())
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<String>,
    ) -> Result<Bytes, Error> {
        let work = async {
            match self {
                Self::Socket(socket) => {
                    exchange(open_socket(socket).await?, method, path, body).await
                }
                Self::Person(directory) => {
                    exchange(dial(directory).await?, method, path, body).await
                }
            }
        };
        tokio::time::timeout(PATIENCE, work)
            .await
            .unwrap_or_else(|_| Err(Error::Unreachable(format!("no answer within {PATIENCE:?}"))))
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let text = if text.is_empty() { "null" } else { text };
    serde_json::from_str(text).map_err(|error| {
        Error::Unreachable(format!(
            "the answer cannot be read ({error}): is the control plane of another version?"
        ))
    })
}

async fn open_socket(socket: &Path) -> Result<UnixStream, Error> {
    UnixStream::connect(socket).await.map_err(|error| {
        Error::file(socket, format!("cannot reach a control plane: {error}; is `skans control` running, and is this your user's to open?"))
    })
}

/// A connection as the person whose credential is in a directory.
async fn dial(directory: &Path) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Error> {
    let login = Login::load(directory)?;
    let verifier = ControlPlane::new(login.verifier()?, login.audience()?);
    let config =
        control_tls::client_config(verifier, Some(&login.credential), control_tls::HTTP11)?;
    connect(&login.addresses, config).await
}

/// Tries the addresses in turn.
async fn connect(
    addresses: &[String],
    config: Arc<rustls::ClientConfig>,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Error> {
    let connector = TlsConnector::from(config);
    let mut last = Error::Unreachable("no address to try".to_owned());
    for address in addresses {
        let attempt = async {
            let stream = TcpStream::connect(address).await?;
            // The name is not looked at: the role in the certificate says who answers.
            let name = ServerName::try_from("control.skans").map_err(std::io::Error::other)?;
            connector.connect(name, stream).await
        };
        match tokio::time::timeout(Duration::from_secs(5), attempt).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                let refusal = skans_identity::Refusal::of_io(&error).map(ToString::to_string);
                last = Error::Unreachable(format!(
                    "{address}: {}",
                    refusal.unwrap_or_else(|| error.to_string())
                ));
            }
            Err(_) => last = Error::Unreachable(format!("{address}: no connection within 5 s")),
        }
    }
    Err(last)
}

/// Sends a request, and gives the answer before its body is read.
async fn ask<IO>(
    stream: IO,
    method: &str,
    path: &str,
    body: Option<String>,
) -> Result<hyper::Response<hyper::body::Incoming>, Error>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    // It ends by itself when the answer was read, or is no longer wanted.
    tokio::spawn(connection);
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "control")
        .header("content-type", "application/json")
        .header("connection", "close")
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .map_err(|error| Error::Invalid(format!("{path:?}: {error}")))?;
    sender
        .send_request(request)
        .await
        .map_err(|error| failed(&error))
}

async fn exchange<IO>(
    stream: IO,
    method: &str,
    path: &str,
    body: Option<String>,
) -> Result<Bytes, Error>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = ask(stream, method, path, body).await?;
    let status = answer.status();
    let bytes = Limited::new(answer.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|error| failed(&error))?
        .to_bytes();
    if status.is_success() {
        return Ok(bytes);
    }
    match serde_json::from_slice::<Problem>(&bytes) {
        Ok(problem) => Err(Error::Remote(problem)),
        Err(_) => Err(failed(&format!(
            "{status}: {}",
            String::from_utf8_lossy(&bytes)
        ))),
    }
}

async fn save<IO>(stream: IO, method: &str, path: &str, mut file: files::New) -> Result<(), Error>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = ask(stream, method, path, None).await?;
    let status = answer.status();
    if !status.is_success() {
        let bytes = Limited::new(answer.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| failed(&error))?
            .to_bytes();
        let problem = serde_json::from_slice::<Problem>(&bytes);
        return Err(problem.map_or_else(|_| failed(&status), Error::Remote));
    }
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed(&error))?;
        if let Some(data) = frame.data_ref() {
            file.put(data)?;
        }
    }
    Ok(file.finish()?)
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::Unreachable(format!("the control plane's answer: {error}"))
}
