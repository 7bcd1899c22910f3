//! Reaching the control plane: its addresses in turn, TLS 1.3, and a connection that is noticed when it is dead. What is said to it is not here.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, CommonState};
use skans_identity::Refusal;
use skans_identity::control_tls::HTTP2;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::Error;

/// For TCP and for TLS, each. A replica that does not answer within it is passed over for the next.
const STEP: Duration = Duration::from_secs(3);
/// For one call. Issuing takes milliseconds; a token review, or a database that fails over, some seconds.
const CALL: Duration = Duration::from_secs(15);
/// Between two pings of a connection that says nothing, and for the answer: a replica that vanished is noticed within
/// 10 s, well before a head that is 30 s late. gRPC allows 10 s and more; proxies drop idle connections after minutes.
const PING: Duration = Duration::from_secs(6);
const PONG: Duration = Duration::from_secs(4);
/// Bytes that may be under way to this agent. A snapshot of some ten thousand entries fits.
const WINDOW: u32 = 1024 * 1024;

/// Connects to one replica. Whom `tls` lets answer is its verifier's to say; `look` sees the finished handshake before a
/// byte is used.
///
/// # Errors
/// [`Error::Control`] with the address and why.
pub async fn connect<T>(
    address: &str,
    tls: Arc<ClientConfig>,
    look: impl FnOnce(&CommonState) -> Result<T, Refusal>,
) -> Result<(Channel, T), Error> {
    let failed = |why: String| Error::Control {
        address: address.to_owned(),
        problem: why,
        retry: true,
        label: "unreachable",
    };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(error.to_string()))?;
    let socket = timed("TCP", TcpStream::connect(address))
        .await
        .map_err(&failed)?;
    socket
        .set_nodelay(true)
        .map_err(|error| failed(error.to_string()))?;
    let stream = timed("TLS", TlsConnector::from(tls).connect(name, socket))
        .await
        .map_err(&failed)?;
    let (_, state) = stream.get_ref();
    if state.alpn_protocol() != Some(HTTP2) {
        return Err(failed("TLS: found another protocol, wanted h2".to_owned()));
    }
    let seen = look(state).map_err(|refusal| failed(refusal.to_string()))?;
    // The channel takes this connection and makes no other: when it is lost, the next address is tried from above.
    let mut once = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let stream = once.take();
        async move {
            stream.ok_or_else(|| {
                std::io::Error::new(std::io::ErrorKind::NotConnected, "the connection is over")
            })
        }
    });
    // TLS is ours: tonic sees a plain stream. The name is for logs of the other side alone.
    Endpoint::from_static("http://control.skans")
        .timeout(CALL)
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .connect_with_connector(connector)
        .await
        .map(|channel| (channel, seen))
        .map_err(|error| failed(format!("HTTP/2: {error}")))
}

async fn timed<T>(step: &str, act: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(STEP, act).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(format!("{step}: {error}")),
        Err(_) => Err(format!("{step}: no answer within {STEP:?}")),
    }
}
