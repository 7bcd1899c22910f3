//! Services for tests, their clients, and what permits them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

use skans_lab::Policy;
use skans_promises::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A port that nobody listens on, at an address of loopback that nobody else uses.
pub fn free() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = [127, 16 + high % 128, low, NEXT.fetch_add(1, Relaxed)];
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::from(address), 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Says back what it hears; the end of it, too.
pub async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reads, mut writes) = socket.split();
                let _ = tokio::io::copy(&mut reads, &mut writes).await;
                let _ = writes.shutdown().await;
            });
        }
    });
    address
}

/// `n1` may use the services of these names.
pub fn policy(names: &[&str]) -> Policy {
    let permits = names.iter().map(|name| {
        format!(
            "@id(\"{name}\") permit(principal in Skans::Node::\"spiffe://lab.test/cluster/lab/ns/default/sa/n1/node/n1\",
               action == Skans::Action::\"connect\", resource == Skans::Service::\"{name}\");\n"
        )
    });
    // Whoever may do everything that need not be named has no service by that.
    let wide = "@id(\"wide\") permit(principal, action, resource);\n".to_owned();
    Policy::enforced(
        &std::iter::once(wide).chain(permits).collect::<String>(),
        "",
    )
}

/// A client that is answered: the way is open.
pub async fn answered(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    let read = tokio::time::timeout(PATIENCE, client.read_exact(&mut heard))
        .await
        .unwrap();
    read.unwrap();
    assert_eq!(&heard, b"hello");
    client
}

/// How long until a client is reset. It never sees what looks like an end.
pub async fn reset(mut client: TcpStream) -> Duration {
    let since = Instant::now();
    let mut byte = [0];
    let read = tokio::time::timeout(PATIENCE, client.read(&mut byte))
        .await
        .unwrap();
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
    since.elapsed()
}

/// How long until a client is refused, which may be before it has said a word.
pub async fn refused(address: SocketAddr) -> Duration {
    let since = Instant::now();
    let call = async {
        let mut client = TcpStream::connect(address).await?;
        // It may be reset already.
        let _ = client.write_all(b"hello").await;
        client.read(&mut [0]).await
    };
    let error = tokio::time::timeout(PATIENCE, call)
        .await
        .unwrap()
        .unwrap_err();
    assert_ne!(error.kind(), ErrorKind::ConnectionRefused, "nobody listens");
    since.elapsed()
}

/// One that says nothing is reset as well: an end would look like an answer.
pub async fn refused_in_silence(address: SocketAddr) {
    let call = async { TcpStream::connect(address).await?.read(&mut [0]).await };
    let error = tokio::time::timeout(PATIENCE, call)
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
