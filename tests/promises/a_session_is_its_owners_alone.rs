//! Only who opened a session can move it to another connection, and only as the protocol says. Whoever else asks learns
//! nothing, and the link goes on.

use skans_identity::forge::Forged;
use skans_lab::{Cluster, until};
use skans_link::{Frame, Hello, Moved, Reason, VERSION_MAX, Welcome};
use skans_promises::{PATIENCE, plan};

use crate::hostile::{Got, LinkEnd, hello, insider, logged, ours, spec};

const ONE: &str = "n1@n1.lab";
/// Peers that are played by hand.
const PEER: &str = "n9@n9.lab";
const STRANGER: &str = "n8@n8.lab";

/// A session of PEER that is up, and what it was opened with.
struct Session {
    cluster: Cluster,
    link: LinkEnd,
}

impl Session {
    async fn start(version_max: u8) -> Self {
        let cluster = plan().nodes(1).start().await.unwrap();
        let mut link = dial(&cluster, PEER).await;
        let hello = Hello {
            version_max,
            ..hello(PEER, ONE)
        };
        link.up_with(&hello).await;
        until(PATIENCE, "the link to be up", async || {
            let links = cluster.agent(0).unwrap().links().await.unwrap();
            match links.as_slice() {
                [link] if link.state == "up" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .unwrap();
        Self { cluster, link }
    }

    /// Its serial number and takeovers, as the agent shows them.
    async fn shown(&self) -> (String, u64) {
        let mut links = self.cluster.agent(0).unwrap().links().await.unwrap();
        assert_eq!(links.len(), 1, "{links:?}");
        let link = links.remove(0);
        (link.serial, link.takeovers)
    }

    /// Takes it over; the fresh connection.
    async fn take_over(&mut self, takeover: u32) -> LinkEnd {
        let mut fresh = dial(&self.cluster, PEER).await;
        welcomed(&mut fresh, &again(takeover)).await;
        let moved = Moved {
            offset: 0,
            takeover,
        };
        self.link.send(&moved.encode()).await;
        fresh
    }
}

fn certificate(cluster: &Cluster, node: &str) -> Forged {
    insider(cluster).leaf(&spec(node)).unwrap()
}

async fn dial(cluster: &Cluster, as_node: &str) -> LinkEnd {
    let shown = certificate(cluster, as_node);
    let address = cluster.agent(0).unwrap().link_address().unwrap();
    LinkEnd::dial(address, ONE, Some(&shown), &ours())
        .await
        .unwrap()
}

/// The hello of a takeover of the session that [`hello`] opens.
fn again(takeover: u32) -> Hello {
    Hello {
        takeover,
        ..hello(PEER, ONE)
    }
}

async fn welcomed(fresh: &mut LinkEnd, hello: &Hello) -> Welcome {
    fresh.send(&hello.encode()).await;
    match fresh.recv().await {
        Got::Frame(Frame::Welcome(welcome)) => welcome,
        other => panic!("found {other:?}, wanted WELCOME"),
    }
}

/// The next frame that is neither data nor an acknowledgement.
async fn control(link: &mut LinkEnd) -> Got {
    loop {
        match link.recv().await {
            Got::Frame(Frame::Ack(_)) => {}
            other => return other,
        }
    }
}

#[tokio::test]
async fn its_owner_moves_it_with_a_fresh_certificate_and_the_node_talks_on() {
    let mut session = Session::start(VERSION_MAX).await;
    let (old, _) = session.shown().await;
    let mut fresh = session.take_over(1).await;
    // The agent follows, and what its node says comes over the fresh connection from there on.
    let Got::Frame(Frame::Moved(moved)) = control(&mut session.link).await else {
        panic!("wanted MOVED");
    };
    assert_eq!(moved.takeover, 1);
    // Without a last word: MOVED was it.
    let over = control(&mut session.link).await;
    assert!(matches!(over, Got::End | Got::Broken(_)), "{over:?}");
    let (new, takeovers) = session.shown().await;
    assert!(new != old && takeovers == 1, "{old} {new} {takeovers}");
    // A tick, as the peer's node would send it: four zeros, at the offset where the old connection ended.
    let mut tick = skans_link::data_header(0, 4).to_vec();
    tick.extend([0; 4]);
    fresh.send(&tick).await;
    until(PATIENCE, "the tick", async || {
        let links = session.cluster.agent(0).unwrap().links().await.unwrap();
        let ticks = links[0].traffic.received_ticks;
        if ticks == 1 {
            Ok(())
        } else {
            Err(ticks.to_string())
        }
    })
    .await
    .unwrap();
    session.cluster.stop().await.unwrap();
}

#[tokio::test]
async fn whoever_else_asks_is_told_nothing_and_the_link_goes_on() {
    let session = Session::start(VERSION_MAX).await;
    let before = session.shown().await;
    let other_nodes = Hello {
        from: STRANGER.to_owned(),
        ..again(1)
    };
    let refused = [
        (
            STRANGER,
            other_nodes,
            "another identity that tells its own name",
        ),
        (
            STRANGER,
            again(1),
            "another identity that tells its owner's name",
        ),
        (
            PEER,
            Hello {
                session: [8; 16],
                ..again(1)
            },
            "a session that there is not",
        ),
        (
            PEER,
            Hello {
                from: STRANGER.to_owned(),
                ..again(1)
            },
            "its owner in another name",
        ),
        (
            PEER,
            Hello {
                offset: 1 << 40,
                ..again(1)
            },
            "bytes that were never sent",
        ),
        (
            PEER,
            Hello {
                version_max: 1,
                takeover: 0,
                offset: 1,
                ..again(0)
            },
            "version 1, which would resume",
        ),
    ];
    let agent = session.cluster.agent(0).unwrap();
    // The same of a session that is said to have lost its connection.
    let resumed = refused.clone().map(|(caller, hello, what)| {
        let resume = hello.takeover > 0;
        (caller, Hello { resume, ..hello }, what)
    });
    for (caller, hello, what) in refused.into_iter().chain(resumed) {
        let mark = agent.log_mark();
        let mut link = dial(&session.cluster, caller).await;
        link.send(&hello.encode()).await;
        let close = link.closed().await;
        assert_eq!(close.reason, Reason::UnknownSession, "{what}");
        if hello.takeover > 0 {
            assert_eq!(close.text, "no such session for this caller", "{what}");
        }
        logged(agent, mark, "inbound", "unknown_session", what).await;
        assert_eq!(session.shown().await, before, "{what}");
    }
    session.cluster.stop().await.unwrap();
}

#[tokio::test]
async fn one_number_is_good_for_one_connection() {
    let mut session = Session::start(VERSION_MAX).await;
    let mut fresh = session.take_over(3).await;
    let Got::Frame(Frame::Moved(_)) = control(&mut session.link).await else {
        panic!("wanted MOVED");
    };
    for number in [3, 2] {
        let mut again_ = dial(&session.cluster, PEER).await;
        again_.send(&again(number).encode()).await;
        assert_eq!(again_.closed().await.reason, Reason::UnknownSession);
    }
    // One that was welcome and is overtaken by another is dropped.
    let mut slow = dial(&session.cluster, PEER).await;
    welcomed(&mut slow, &again(4)).await;
    let mut fast = dial(&session.cluster, PEER).await;
    welcomed(&mut fast, &again(5)).await;
    assert!(matches!(slow.recv().await, Got::End | Got::Broken(_)));
    fresh
        .send(
            &Moved {
                offset: 0,
                takeover: 5,
            }
            .encode(),
        )
        .await;
    let Got::Frame(Frame::Moved(moved)) = control(&mut fresh).await else {
        panic!("wanted MOVED");
    };
    assert_eq!(moved.takeover, 5);
    assert_eq!(session.shown().await.1, 2);
    session.cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_moved_that_lies_ends_the_link() {
    for moved in [
        Moved {
            offset: 7,
            takeover: 1,
        },
        Moved {
            offset: 0,
            takeover: 2,
        },
        Moved {
            offset: 0,
            takeover: 0,
        },
    ] {
        let mut session = Session::start(VERSION_MAX).await;
        let mut fresh = dial(&session.cluster, PEER).await;
        welcomed(&mut fresh, &again(1)).await;
        session.link.send(&moved.encode()).await;
        assert_eq!(
            session.link.closed().await.reason,
            Reason::Protocol,
            "{moved:?}"
        );
        session.cluster.stop().await.unwrap();
    }
}

/// The release before: its links work, are not taken over, and know no frames of this one.
#[tokio::test]
async fn a_peer_of_version_1_is_served_and_left_in_peace() {
    let mut session = Session::start(1).await;
    let mut fresh = dial(&session.cluster, PEER).await;
    fresh.send(&again(1).encode()).await;
    assert_eq!(fresh.closed().await.reason, Reason::UnknownSession);
    let mut tick = skans_link::data_header(0, 4).to_vec();
    tick.extend([0; 4]);
    session.link.send(&tick).await;
    session.link.send(&skans_link::ping(7)).await;
    assert!(matches!(
        control(&mut session.link).await,
        Got::Frame(Frame::Pong(7))
    ));
    session.link.send(&skans_link::head(b"of version 2")).await;
    assert_eq!(session.link.closed().await.reason, Reason::Protocol);
    session.cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_peer_that_hands_on_too_much_or_out_of_turn_loses_its_link() {
    let mut session = Session::start(VERSION_MAX).await;
    let mut heads = 0;
    let close = loop {
        session.link.send(&skans_link::head(b"no head")).await;
        match control(&mut session.link).await {
            // Nobody listens in this agent, and it answers all the same.
            Got::Frame(Frame::Want(0)) => heads += 1,
            Got::Frame(Frame::Close(close)) => break close,
            other => panic!("found {other:?}, wanted WANT or CLOSE"),
        }
        assert!(heads < 1000, "nobody stops it");
    };
    assert!(
        close.reason == Reason::Protocol && close.text.contains("too fast"),
        "{close:?}"
    );
    assert!(heads >= 8, "an honest peer is not cut: {heads}");
    session.cluster.stop().await.unwrap();

    let mut session = Session::start(VERSION_MAX).await;
    session.link.send(&skans_link::want(1)).await;
    let close = session.link.closed().await;
    assert!(
        close.reason == Reason::Protocol && close.text.contains("out of turn"),
        "{close:?}"
    );
    session.cluster.stop().await.unwrap();
}
