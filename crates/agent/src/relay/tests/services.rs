//! The same with a client and a service in the place of the nodes: bytes of any kind, and each direction ends for itself.

use std::io::ErrorKind;

use super::*;
use crate::live::testing::of_service;

async fn pair() -> (Pair, [TcpStream; 2]) {
    let sessions = (
        of_service(Direction::Outbound),
        of_service(Direction::Inbound),
    );
    Pair::between(sessions, [tcp().await, tcp().await]).await
}

/// Bytes that look like nothing in particular; no two stretches are alike.
fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

async fn ends(pair: Pair) -> [Error; 2] {
    let [a, b] = pair.ends;
    let a = bounded("the end", a.relay).await.unwrap();
    [a, bounded("the other end", b.relay).await.unwrap()]
}

#[tokio::test]
async fn one_direction_ends_and_the_other_goes_on() {
    let (pair, [mut client, mut service]) = pair().await;
    client.write_all(b"what is there?").await.unwrap();
    client.shutdown().await.unwrap();
    let mut asked = Vec::new();
    bounded("the question", service.read_to_end(&mut asked))
        .await
        .unwrap();
    assert_eq!(asked, b"what is there?");
    // Only now is it answered, and at length.
    let answer = bytes(1, 5_000_000);
    let said = answer.clone();
    let answering = tokio::spawn(async move {
        service.write_all(&said).await.unwrap();
        service.shutdown().await.unwrap();
        service
    });
    let mut heard = Vec::new();
    bounded("the answer", client.read_to_end(&mut heard))
        .await
        .unwrap();
    assert!(heard == answer, "{} of {} bytes", heard.len(), answer.len());
    answering.await.unwrap();
    let ends = ends(pair).await;
    assert!(
        ends.iter().all(|end| matches!(end, Error::Done)),
        "{ends:?}: both know that nothing is missing"
    );
}

/// Both ways at once, to the last byte, while connections are lost and moved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_of_a_service_whatever_becomes_of_its_connections() {
    let (pair, [client, service]) = pair().await;
    let mut halves = Vec::new();
    for (seed, socket) in [(1, client), (2, service)] {
        let (mut reads, mut writes) = socket.into_split();
        let said = bytes(seed, 30_000_000);
        let heard = bytes(3 - seed, 30_000_000);
        halves.push(tokio::spawn(async move {
            writes.write_all(&said).await.unwrap();
            writes.shutdown().await.unwrap();
        }));
        halves.push(tokio::spawn(async move {
            let mut found = Vec::new();
            reads.read_to_end(&mut found).await.unwrap();
            assert!(found == heard, "{} of {} bytes", found.len(), heard.len());
        }));
    }
    for n in 0..6_u32 {
        let loser = &pair.ends[(n % 2) as usize];
        if loser.relay.is_finished() {
            break;
        }
        if n % 3 == 1 {
            pair.take_over().await;
            continue;
        }
        loser.link.live().unwrap().give_up();
        pair.resume(n % 2).await;
    }
    for half in halves {
        bounded("all bytes", half).await.unwrap();
    }
    let resumed = pair.ends[0].link.resumed.load(Relaxed);
    assert!(resumed >= 2, "{resumed}");
    let ends = ends(pair).await;
    assert!(
        ends.iter().all(|end| matches!(end, Error::Done)),
        "{ends:?}"
    );
}

/// The end of a stream that was under way when the connection was lost comes again, and once.
#[tokio::test]
async fn the_end_of_a_stream_outlives_a_loss() {
    let (pair, [mut client, mut service]) = pair().await;
    pair.ends[0].link.live().unwrap().give_up();
    bounded("the loss", async {
        while !pair.ends[0].link.live().unwrap().is_adrift() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    client.write_all(b"last words").await.unwrap();
    client.shutdown().await.unwrap();
    pair.resume(0).await;
    let mut heard = Vec::new();
    bounded("the last words", service.read_to_end(&mut heard))
        .await
        .unwrap();
    assert_eq!(heard, b"last words");
    // The service closes while there is no connection once more.
    pair.ends[0].link.live().unwrap().give_up();
    drop(service);
    pair.resume(1).await;
    let mut nothing = Vec::new();
    bounded("the end", client.read_to_end(&mut nothing))
        .await
        .unwrap();
    let ends = ends(pair).await;
    assert!(
        ends.iter().all(|end| matches!(end, Error::Done)),
        "{ends:?}"
    );
}

/// What is cut short never looks like an end.
#[tokio::test]
async fn a_reset_is_a_reset_at_the_other_end() {
    let (pair, [mut client, service]) = pair().await;
    let mut byte = [0];
    rustix::net::sockopt::set_socket_linger(&service, Some(Duration::ZERO)).unwrap();
    drop(service);
    let read = bounded("the reset", client.read(&mut byte)).await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let [a, b] = ends(pair).await;
    assert!(matches!(b, Error::Reset), "{b}");
    assert_eq!(a.label(), "reset", "{a}");
}

#[tokio::test]
async fn what_is_revoked_is_cut_and_does_not_look_like_an_end() {
    let (pair, [mut client, mut service]) = pair().await;
    client.write_all(b"before").await.unwrap();
    let mut heard = [0; 6];
    bounded("what was before", service.read_exact(&mut heard))
        .await
        .unwrap();
    // However long links between nodes stay silent.
    let close = Close::new(Reason::Denied, "why");
    pair.ends[0].link.mute(close, PATIENCE);
    let mut byte = [0];
    for end in [&mut client, &mut service] {
        let read = bounded("the cut", end.read(&mut byte)).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

/// A service that reads nothing slows its client down, and a client that has gone is noticed all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_waits_for_a_slow_service() {
    let (pair, [mut client, mut service]) = pair().await;
    let all = bytes(5, 40_000_000);
    let said = all.clone();
    let mut sending = tokio::spawn(async move {
        client.write_all(&said).await.unwrap();
        client.shutdown().await.unwrap();
        client
    });
    let sent = &pair.ends[0].link.traffic.sent.bytes;
    bounded("everything to be full", async {
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = sent.load(Relaxed);
            if now > 1_000_000 && now == before {
                return;
            }
            before = now;
        }
    })
    .await;
    assert!(!sending.is_finished(), "it waits");
    let mut found = Vec::new();
    bounded("all bytes", service.read_to_end(&mut found))
        .await
        .unwrap();
    assert!(found == all, "{} of {} bytes", found.len(), all.len());
    bounded("the client", &mut sending).await.unwrap();
}

#[tokio::test]
async fn a_unix_socket_is_as_good_as_a_port() {
    let unix = || {
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let stream = |socket: std::os::unix::net::UnixStream| {
            socket.set_nonblocking(true).unwrap();
            let socket = std::os::fd::OwnedFd::from(socket);
            TcpStream::from_std(std::net::TcpStream::from(socket)).unwrap()
        };
        (stream(one), stream(other))
    };
    let sessions = (
        of_service(Direction::Outbound),
        of_service(Direction::Inbound),
    );
    let (pair, [mut client, mut service]) = Pair::between(sessions, [unix(), unix()]).await;
    let all = bytes(7, 3_000_000);
    let said = all.clone();
    let sending = tokio::spawn(async move {
        client.write_all(&said).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        answer
    });
    let mut found = Vec::new();
    bounded("all bytes", service.read_to_end(&mut found))
        .await
        .unwrap();
    assert!(found == all);
    service.write_all(b"thanks").await.unwrap();
    drop(service);
    assert_eq!(bounded("the answer", sending).await.unwrap(), b"thanks");
    let ends = ends(pair).await;
    assert!(
        ends.iter().all(|end| matches!(end, Error::Done)),
        "{ends:?}"
    );
}
