use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

async fn connected() -> (Buffered, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (far, _) = listener.accept().await.unwrap();
    (Buffered::new(near), far)
}

/// Whether a read finds nothing yet.
async fn waits(near: &mut Buffered) -> bool {
    let mut byte = [0];
    let mut read = std::pin::pin!(near.read(&mut byte));
    std::future::poll_fn(|context| std::task::Poll::Ready(read.as_mut().poll(context).is_pending()))
        .await
}

#[tokio::test]
async fn it_grows_with_bulk_and_is_given_back_when_the_link_rests() {
    let (mut near, mut far) = connected().await;
    let sent: Vec<u8> = (0..4 * 1024 * 1024_u32)
        .map(|n| n.to_be_bytes()[2])
        .collect();
    let expected = sent.clone();
    let rests = near.rests();
    let sending = tokio::spawn(async move {
        far.write_all(&sent).await.unwrap();
        far
    });
    let mut found = vec![0; expected.len()];
    // As rustls asks.
    for chunk in found.chunks_mut(4 * 1024) {
        near.read_exact(chunk).await.unwrap();
    }
    assert!(found == expected);
    assert_eq!(near.size(), MOST);

    let mut far = sending.await.unwrap();
    rests.rest();
    // It waits for more without any.
    assert!(waits(&mut near).await);
    assert_eq!(near.size(), 0);
    far.write_all(b"tick").await.unwrap();
    let mut tick = [0; 4];
    near.read_exact(&mut tick).await.unwrap();
    assert_eq!(&tick, b"tick");
    assert_eq!(near.size(), LEAST);
}

#[tokio::test]
async fn what_is_in_it_outlives_a_rest() {
    let (mut near, mut far) = connected().await;
    far.write_all(b"abcdef").await.unwrap();
    let mut some = [0; 2];
    near.read_exact(&mut some).await.unwrap();
    near.rests().rest();
    let mut rest = [0; 4];
    near.read_exact(&mut rest).await.unwrap();
    assert_eq!((&some, &rest), (b"ab", b"cdef"));
}
