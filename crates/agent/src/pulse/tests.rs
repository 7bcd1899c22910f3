//! Bounds on silence, and what the kernel says of a connection.

use super::*;
use crate::proof::testing::proof;
use crate::registry::{Direction, NewLink, Registry};
use std::sync::Arc;

fn patience(ticks: (u16, u16), resume: u64) -> Patience {
    let registry = Arc::new(Registry::default());
    let new = NewLink {
        local: "a@here".parse().unwrap(),
        peer: "b@there".parse().unwrap(),
        direction: Direction::Inbound,
        proof: proof("c", "b", Some("there")),
        across: None,
        service: None,
    };
    let link = registry.register(new, 1).unwrap();
    link.ticks(ticks.0, ticks.1);
    let config = Links {
        resume_timeout: Duration::from_secs(resume),
        ..Links::default()
    };
    Patience::of(&link, &config)
}

#[test]
fn silence_and_its_end_stay_below_half_of_the_smaller_tick_time() {
    for (ticks, smaller) in [
        ((60, 60), 60),
        ((8, 60), 8),
        ((60, 4), 4),
        ((0, 0), 60),
        ((0, 1), 1),
    ] {
        for resume in [0, 5, 20, 600] {
            let found = patience(ticks, resume);
            let whole = found.silence * 2 + found.resume;
            assert!(
                whole <= Duration::from_secs(smaller) / 2,
                "{ticks:?}: {found:?}"
            );
            assert!(found.resume <= Duration::from_secs(resume));
        }
    }
    assert_eq!(
        patience((60, 60), 20).resume,
        Duration::from_secs(20),
        "the default is kept where it can be"
    );
}

#[tokio::test]
async fn a_peer_that_reads_nothing_acknowledges_all_the_same() {
    use std::io::Write;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    let path = (ours.local_addr().unwrap(), ours.peer_addr().unwrap());
    let long = Instant::now();
    while loopback::acknowledged(path.0, path.1).unwrap() < Duration::from_millis(300) {
        assert!(
            long.elapsed() < Duration::from_secs(30),
            "it has nothing to acknowledge"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ours.write_all(b"unread").unwrap();
    let ago = loopback::acknowledged(path.0, path.1).unwrap();
    assert!(ago < Duration::from_millis(300), "{ago:?}");
    drop(theirs);
    let closed = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let gone = (closed.local_addr().unwrap(), closed.peer_addr().unwrap());
    drop((closed, listener));
    let elsewhere = (gone.1, gone.1);
    assert!(loopback::acknowledged(elsewhere.0, elsewhere.1).is_err());
}
