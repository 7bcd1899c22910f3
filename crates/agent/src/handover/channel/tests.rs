use skans_handover::{Door, Doors, Node, NodeParts, Use};
use tokio::net::{TcpListener, TcpStream};

use super::*;

fn pair() -> (Channel, Channel) {
    let (one, other) = UnixStream::pair().unwrap();
    (Channel::of(one).unwrap(), Channel::of(other).unwrap())
}

fn doors(count: usize) -> Message {
    let door = Door {
        what: Use::Links,
        configured: "127.0.0.1:0".to_owned(),
    };
    Message::Doors(Doors {
        format: 1,
        release: "0.1.0".to_owned(),
        doors: vec![door; count],
    })
}

#[tokio::test]
async fn a_listener_goes_over_and_goes_on_listening() {
    let (mut old, mut new) = pair();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let twin = listener.as_fd().try_clone_to_owned().unwrap();
    old.send(&doors(1), &[twin]).await.unwrap();
    // Before anybody accepts again.
    let mut caller = TcpStream::connect(address).await.unwrap();
    drop(listener);
    let (message, mut sockets) = new.receive().await.unwrap();
    assert_eq!(message, doors(1));
    let listener = std::net::TcpListener::from(sockets.remove(0));
    let listener = TcpListener::from_std(listener).unwrap();
    let (mut accepted, _) = listener.accept().await.unwrap();
    caller.write_all(b"here").await.unwrap();
    let mut four = [0; 4];
    accepted.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"here");
}

#[tokio::test]
async fn messages_of_any_size_follow_each_other_with_their_sockets() {
    let (mut old, mut new) = pair();
    let node = |names: usize| {
        let node = Node {
            name: "a@here".to_owned(),
            address: "127.0.0.1:1".parse().unwrap(),
            creation: 4,
            tick_seconds: 60,
            uid: 0,
            cli: false,
            tells_names: true,
        };
        let parts = NodeParts {
            names: vec![7; names],
            partial: vec![8; 3],
        };
        Message::Node(node, parts)
    };
    let sizes = [0, 1, 5_000_000, 70_000];
    let sending = tokio::spawn(async move {
        for size in sizes {
            let (_, socket) = UnixStream::pair().unwrap();
            let socket = socket.into_std().unwrap().into();
            old.send(&node(size), &[socket]).await.unwrap();
            old.send(&Message::Taken, &[]).await.unwrap();
        }
        old.send(&doors(MAX_FDS), &many(MAX_FDS)).await.unwrap();
    });
    for size in sizes {
        let (message, sockets) = new.receive().await.unwrap();
        assert!(message == node(size));
        assert_eq!(sockets.len(), 1);
        assert_eq!(new.receive().await.unwrap().0, Message::Taken);
    }
    assert_eq!(new.receive().await.unwrap().1.len(), MAX_FDS);
    sending.await.unwrap();
    assert!(new.receive().await.is_err(), "the other end is gone");
}

fn many(count: usize) -> Vec<OwnedFd> {
    let null = std::fs::File::open("/dev/null").unwrap();
    (0..count)
        .map(|_| null.try_clone().unwrap().into())
        .collect()
}

#[tokio::test]
async fn sockets_that_belong_to_nothing_are_refused() {
    let (mut old, mut new) = pair();
    let unasked = old.send(&Message::Taken, &many(1)).await.unwrap_err();
    assert!(
        unasked.to_string().contains("Taken with 1 sockets"),
        "{unasked}"
    );
    // Announced, and missing.
    let head = skans_handover::encode(skans_handover::Kind::StandIn, 1, b"{}", 0).unwrap();
    old.0.write_all(&head).await.unwrap();
    let missing = new.receive().await.unwrap_err().to_string();
    assert!(
        missing.contains("StandIn with 0 sockets, wanted 1"),
        "{missing}"
    );
}
