//! Asking a running agent over its Unix socket.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::Error;

/// An answer comes from memory; a longer wait means that the agent hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer in bytes: some 50,000 links.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Asks `method path` with `body`; the text of the answer.
///
/// # Errors
/// [`Error::File`] if no agent answers at `socket`, or if it refuses; the text says why.
pub async fn ask(socket: &Path, method: &str, path: &str, body: &str) -> Result<String, Error> {
    tokio::time::timeout(PATIENCE, exchange(socket, method, path, body))
        .await
        .unwrap_or(Err(Error::TimedOut("an answer of the agent")))
}

async fn exchange(socket: &Path, method: &str, path: &str, body: &str) -> Result<String, Error> {
    let stream = UnixStream::connect(socket).await.map_err(|error| {
        Error::file(socket, format!("cannot reach an agent: {error}; is `skans agent` running, and is this your user's to read?"))
    })?;
    let failed =
        |error: &dyn std::fmt::Display| Error::file(socket, format!("the agent's answer: {error}"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let driver = tokio::spawn(connection);
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "agent")
        .body(Full::new(Bytes::from(body.to_owned())))
        .map_err(|error| failed(&error))?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| failed(&error))?;
    let status = answer.status();
    let bytes = Limited::new(answer.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|error| failed(&error))?
        .to_bytes();
    driver.abort();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if status.is_success() {
        Ok(text)
    } else {
        Err(Error::file(
            socket,
            format!("the agent answered {status}: {text}"),
        ))
    }
}
