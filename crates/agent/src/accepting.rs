//! The port that other hosts reach, be it for links or for ways through a gateway: whoever connects is served on a worker's thread, and
//! has a place among those who have not said who they are.

use std::net::SocketAddr;
use std::sync::Arc;

use skans_host::backoff::Backoff;
use skans_host::strangers::{Pending, Waiting};
use tokio::net::{TcpListener, TcpStream};

use crate::agent::Agent;

/// Accepts until the agent drains; `what` names the port in the log.
pub async fn accept<S, F>(
    agent: Arc<Agent>,
    listener: TcpListener,
    pending: Arc<Pending>,
    what: &'static str,
    serve: S,
) where
    S: Fn(Arc<Agent>, TcpStream, SocketAddr, Waiting) -> F + Copy + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let mut backoff = Backoff::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = agent.draining.cancelled() => return,
        };
        match accepted {
            Ok((socket, address)) => {
                backoff.reset();
                let waiting = pending.enter(address.ip().to_canonical());
                let serving = Arc::clone(&agent);
                agent.serve(socket, move |socket| {
                    serve(serving, socket, address, waiting)
                });
            }
            Err(error) => backoff.wait(what, &error).await,
        }
    }
}
