//! The relay between two plain sockets.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn passes_and_keeps_both_directions() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = Relay::to(listener.local_addr().unwrap()).await.unwrap();
    let mut dialler = TcpStream::connect(relay.address()).await.unwrap();
    let (mut dialled, _) = listener.accept().await.unwrap();
    let sent: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let sending = sent.clone();
    let writer = tokio::spawn(async move {
        dialler.write_all(&sending).await.unwrap();
        let mut answer = Vec::new();
        dialler.shutdown().await.unwrap();
        dialler.read_to_end(&mut answer).await.unwrap();
        answer
    });
    let mut got = Vec::new();
    dialled.read_to_end(&mut got).await.unwrap();
    dialled.write_all(b"answer").await.unwrap();
    drop(dialled);
    assert_eq!(writer.await.unwrap(), b"answer");
    assert_eq!(got, sent);
    let recordings = relay.recordings();
    assert_eq!(recordings.len(), 1);
    assert_eq!(recordings[0].from_dialler, sent);
    assert_eq!(recordings[0].from_dialled, b"answer");
    assert!(!recordings[0].truncated);
}

#[tokio::test]
async fn ends_with_its_value() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = Relay::to(listener.local_addr().unwrap()).await.unwrap();
    let mut dialler = TcpStream::connect(relay.address()).await.unwrap();
    let (_dialled, _) = listener.accept().await.unwrap();
    let address = relay.address();
    drop(relay);
    let mut byte = [0];
    let end = tokio::time::timeout(Duration::from_secs(5), dialler.read(&mut byte))
        .await
        .unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    crate::until(
        Duration::from_secs(5),
        "the port to close",
        async || match TcpStream::connect(address).await {
            Ok(_) => Err("still open".to_owned()),
            Err(_) => Ok(()),
        },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_line_that_is_cut_keeps_what_is_under_way() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let line = Relay::line_to(listener.local_addr().unwrap())
        .await
        .unwrap();
    let mut dialler = TcpStream::connect(line.address()).await.unwrap();
    let (mut dialled, _) = listener.accept().await.unwrap();
    dialler.write_all(b"before").await.unwrap();
    let mut got = [0; 6];
    dialled.read_exact(&mut got).await.unwrap();
    line.cut();
    dialler.write_all(b"during").await.unwrap();
    let mut late = TcpStream::connect(line.address()).await.unwrap();
    late.write_all(b"late").await.unwrap();
    // Nothing comes, and nobody is told: not even that the other side has gone.
    let short = Duration::from_millis(300);
    let nothing = tokio::time::timeout(short, dialled.read_exact(&mut got)).await;
    assert!(nothing.is_err(), "{nothing:?}");
    assert!(
        tokio::time::timeout(short, listener.accept())
            .await
            .is_err()
    );
    line.mend();
    dialled.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"during");
    let (mut second, _) = listener.accept().await.unwrap();
    let mut got = [0; 4];
    second.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"late");
    assert!(line.recordings().is_empty(), "nothing is kept");
}
