//! Malformed input ends its own connection and nothing else: on every port of the agent, before and
//! after a certificate, from either side. Memory stays bounded, and an established link does not notice.

mod inputs;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use skans_dist::handshake::{self, ChallengeAck, ChallengeReply};
use skans_identity::forge::Forged;
use skans_lab::{AgentProcess, Cluster, HostPlan, NodePlan, until};
use skans_link::{MAX_CONTROL, Reason};
use skans_promises::{PATIENCE, plan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::hostile::{
    DistEnd, LinkEnd, RawNode, bounded, insider, logged, ours, ports_of, spec, stand_in,
};

use inputs::{bad_first_frames, bad_handshakes, bad_streams, garbage, noise};

const ONE: &str = "n1@n1.lab";
const TWO: &str = "n2@n2.lab";
/// A second node of the first host, played by hand.
const RAW: &str = "raw@n1.lab";
/// A peer with a certificate that is in order.
const PEER: &str = "n9@n9.lab";

/// How long a connection that says nothing sensible may stay open: the longest step is the set-up
/// between two nodes (6 s); the rest is for a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(20);
/// What the agent may grow by, in bytes.
const GROWTH: u64 = 64 * 1024 * 1024;

/// Two real nodes that talk to each other all the time, and what is known of their link.
struct Witness {
    cluster: Cluster,
    links: [BTreeSet<u64>; 2],
    memory: u64,
}

impl Witness {
    async fn start() -> Self {
        let raw = NodePlan::new(RAW).not_started();
        let mut cluster = plan()
            .host(HostPlan::numbered(1).node(raw))
            .host(HostPlan::numbered(2))
            .start()
            .await
            .unwrap();
        // So that the peer by hand is no stranger to the first host.
        cluster
            .detour(0, "*@n9.lab", Some("127.0.0.1:9".parse().unwrap()))
            .await
            .unwrap();
        let echo =
            "register(echo, spawn(fun Loop() -> receive {From, N} -> From ! N, Loop() end end))";
        cluster.node(2).unwrap().eval(echo, PATIENCE).await.unwrap();
        // In order, none lost, none late by more than 5 s; it dies of anything else.
        let talk = format!(
            "register(talk, spawn(fun() -> monitor_node('{TWO}', true), (fun Loop(N) -> \
                {{echo, '{TWO}'}} ! {{self(), N}}, \
                receive N -> ok; Other when not is_pid(element(2, Other)) -> exit(Other) after 5000 -> exit(late) end, \
                receive {{said, From}} -> From ! {{said, N}} after 1 -> ok end, \
                Loop(N + 1) end)(0) end))"
        );
        cluster
            .node(0)
            .unwrap()
            .eval(&talk, PATIENCE)
            .await
            .unwrap();
        let memory = memory(cluster.agent(0).unwrap().pid(), "VmRSS");
        let links = [link_ids(&cluster, 0).await, link_ids(&cluster, 1).await];
        assert_eq!(links[0].len(), 1, "{links:?}");
        Self {
            cluster,
            links,
            memory,
        }
    }

    /// The two have talked all the time and still do, over the same link, and the agent is no larger
    /// than it may be.
    async fn unharmed(self) {
        let said = "talk ! {said, self()}, receive {said, N} -> N after 10000 -> silent end";
        let node = self.cluster.node(0).unwrap();
        let before: u64 = node.eval(said, PATIENCE).await.unwrap().parse().unwrap();
        until(PATIENCE, "ten more messages", async || {
            let now = node
                .eval(said, PATIENCE)
                .await
                .map_err(|error| error.to_string())?;
            let now: u64 = now.parse().map_err(|_| now)?;
            if now >= before + 10 {
                Ok(())
            } else {
                Err(format!("{now}, after {before}"))
            }
        })
        .await
        .unwrap();
        until(PATIENCE, "only the link between the two", async || {
            let links = [
                link_ids(&self.cluster, 0).await,
                link_ids(&self.cluster, 1).await,
            ];
            if links == self.links {
                Ok(())
            } else {
                Err(format!("found links {links:?}, wanted {:?}", self.links))
            }
        })
        .await
        .unwrap();
        // VmHWM is the most that it ever was.
        let most = memory(self.cluster.agent(0).unwrap().pid(), "VmHWM");
        let limit = self.memory + GROWTH;
        assert!(
            most < limit,
            "the agent grew from {} to {most} bytes, wanted less than {limit}",
            self.memory
        );
        self.cluster.stop().await.unwrap();
    }
}

async fn link_ids(cluster: &Cluster, host: usize) -> BTreeSet<u64> {
    cluster
        .agent(host)
        .unwrap()
        .links()
        .await
        .unwrap()
        .iter()
        .map(|link| link.id)
        .collect()
}

/// A line of `/proc/<pid>/status`, in bytes.
fn memory(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|text| text.strip_prefix(line))
        .unwrap();
    line.trim_matches([':', ' ', '\t'])
        .split_whitespace()
        .next()
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

/// Says something, and waits until the other side has hung up; what it answered.
async fn say(port: u16, bytes: Vec<u8>) -> (Duration, usize) {
    let begin = Instant::now();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut reader, mut writer) = socket.split();
    // It may hang up in the middle of it.
    let said = async { drop(writer.write_all(&bytes).await) };
    let mut answered = 0;
    let heard = async {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut chunk).await {
            answered += count;
        }
    };
    // Nothing more is written once it has hung up.
    let _ = tokio::time::timeout(DEADLINE, async { tokio::join!(said, heard) }).await;
    (begin.elapsed(), answered)
}

#[tokio::test]
async fn on_every_port_of_the_agent() {
    let witness = Witness::start().await;
    let agent = witness.cluster.agent(0).unwrap();
    let ports = ports_of(agent.pid());
    let stand_in = stand_in(agent.epmd_port(), TWO).await.unwrap();
    for wanted in [
        agent.link_address().unwrap().port(),
        agent.epmd_port(),
        stand_in,
    ] {
        assert!(
            ports.contains(&wanted),
            "port {wanted} is not among {ports:?}"
        );
    }
    // And the one for health and metrics.
    assert!(ports.len() >= 4, "{ports:?}");

    let mut saying = tokio::task::JoinSet::new();
    for &port in &ports {
        for (what, bytes) in garbage() {
            saying.spawn(async move { (port, what, say(port, bytes).await) });
        }
    }
    while let Some(said) = saying.join_next().await {
        let (port, what, (took, answered)) = said.unwrap();
        assert!(
            took < DEADLINE,
            "port {port}: {what}: still open after {took:?}"
        );
        assert!(
            answered < 64 * 1024,
            "port {port}: {what}: {answered} bytes came back"
        );
    }
    witness.unharmed().await;
}

/// How far the peer goes before it breaks the rules.
#[derive(Clone, Copy)]
enum After {
    Tls,
    Welcome,
    Up,
}

/// A breach of the rules, and the reason that it is to be closed for.
struct Breach {
    after: After,
    what: &'static str,
    bytes: Vec<u8>,
    reason: Reason,
}

impl Breach {
    /// Commits it, and waits for the reason.
    async fn commit(&self, address: SocketAddr, shown: &Forged) {
        let begin = Instant::now();
        let mut link = LinkEnd::dial(address, ONE, Some(shown), &ours())
            .await
            .unwrap();
        match self.after {
            After::Tls => {}
            After::Welcome => {
                link.welcome(PEER, ONE).await;
            }
            After::Up => link.up(PEER, ONE).await,
        }
        link.send(&self.bytes).await;
        let close = link.closed().await;
        assert_eq!(close.reason, self.reason, "{}: {}", self.what, close.text);
        assert!(
            begin.elapsed() < DEADLINE,
            "{}: {:?}",
            self.what,
            begin.elapsed()
        );
    }

    async fn logged(&self, agent: &AgentProcess, mark: u64) {
        let label = self.reason.label();
        let what = format!("reason {label} for {}", self.what);
        agent
            .wait_log(mark, &what, PATIENCE, |line| line["reason"] == label)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn from_a_peer_whose_certificate_is_in_order() {
    let witness = Witness::start().await;
    let agent = witness.cluster.agent(0).unwrap();
    let address = agent.link_address().unwrap();
    let shown = Arc::new(insider(&witness.cluster).leaf(&spec(PEER)).unwrap());
    let all = [
        (After::Tls, bad_first_frames()),
        (After::Welcome, bad_handshakes()),
        (After::Up, bad_streams()),
    ];
    let breaches = all.into_iter().flat_map(|(after, list)| {
        list.into_iter().map(move |(what, bytes, reason)| Breach {
            after,
            what,
            bytes,
            reason,
        })
    });
    // Those that are met by a time-out are met side by side.
    let mut waiting = tokio::task::JoinSet::new();
    let waited_from = agent.log_mark();
    for breach in breaches {
        if breach.reason == Reason::TimedOut {
            let shown = Arc::clone(&shown);
            waiting.spawn(async move {
                breach.commit(address, &shown).await;
                breach
            });
        } else {
            let mark = agent.log_mark();
            breach.commit(address, &shown).await;
            breach.logged(agent, mark).await;
        }
    }
    while let Some(breach) = waiting.join_next().await {
        breach.unwrap().logged(agent, waited_from).await;
    }
    witness.unharmed().await;
}

#[tokio::test]
async fn from_a_thousand_links_of_a_peer_that_says_half_of_everything() {
    let witness = Witness::start().await;
    let address = witness.cluster.agent(0).unwrap().link_address().unwrap();
    let shown = insider(&witness.cluster).leaf(&spec(PEER)).unwrap();
    // The largest frame that is held whole, all but its last byte.
    let most = u32::try_from(MAX_CONTROL).unwrap().to_be_bytes();
    let half = [
        &[1][..],
        &most[1..],
        b"SKNS\x01\x01",
        &vec![0; MAX_CONTROL - 7],
    ]
    .concat();
    let mut links = Vec::new();
    for _ in 0..1000 {
        // Beyond the bound on connections that wait, some are sent away: that is the point.
        if let Ok(mut link) = LinkEnd::dial(address, ONE, Some(&shown), &ours()).await {
            link.send(&half).await;
            links.push(link);
        }
    }
    assert!(links.len() > 100, "{}", links.len());
    witness.unharmed().await;
}

#[tokio::test]
async fn from_a_node_of_this_host() {
    let witness = Witness::start().await;
    let cluster = &witness.cluster;
    let (agent, other) = (cluster.agent(0).unwrap(), cluster.agent(1).unwrap());
    let two = cluster.node(2).unwrap();
    let raw = RawNode::register(agent.epmd_port(), "raw").await;
    let cookie = std::fs::read(cluster.runtime(0).unwrap().join("cookies/raw.cookie")).unwrap();
    for (what, bytes) in [
        ("a frame of 4 GiB", vec![0xff; 64]),
        (
            "an unknown operation",
            vec![0, 0, 0, 6, 112, 131, 104, 1, 97, 250],
        ),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ] {
        let (mark, other_mark) = (agent.log_mark(), other.log_mark());
        // While the called node has not noticed the end of the last one, or calls by itself, it says so.
        let (mut caller, challenge) = until(PATIENCE, "a challenge", async || {
            let mut caller = DistEnd::dial_stand_in(agent.epmd_port(), TWO).await;
            match caller.call(RAW).await {
                Ok(challenge) => Ok((caller, challenge)),
                Err(status) => Err(format!("{status:?}")),
            }
        })
        .await
        .unwrap();
        let digest = handshake::digest(&cookie, challenge.challenge);
        caller
            .send(
                &ChallengeReply {
                    challenge: 5,
                    digest,
                }
                .encode(),
            )
            .await;
        let ack = ChallengeAck::decode(&caller.recv().await.expect("challenge_ack")).unwrap();
        assert!(handshake::digest_matches(&cookie, 5, &ack.digest));
        // The other side sends all the time, and more than anybody reads: it gets to know the reason
        // all the same, and does not just find that it cannot write.
        let send = format!(
            "[spawn(fun Loop() -> erlang:send({{nobody, '{RAW}'}}, binary:copy(<<0>>, 65536), [noconnect]), \
             lists:member('{RAW}', nodes(connected)) andalso Loop() end) || _ <- lists:seq(1, 4)], ok"
        );
        assert_eq!(two.eval(&send, PATIENCE).await.unwrap(), "ok");
        let _ = caller.0.write_all(&bytes).await;
        let mut rest = Vec::new();
        let _ = bounded(what, caller.0.read_to_end(&mut rest)).await;
        for (agent, mark) in [(agent, mark), (other, other_mark)] {
            let fits = |line: &serde_json::Value| {
                line["reason"] == "bad_stream"
                    && line["message"]
                        .as_str()
                        .is_some_and(|text| text.starts_with("link down"))
            };
            agent
                .wait_log(
                    mark,
                    &format!("the end of a link by {what}"),
                    PATIENCE,
                    fits,
                )
                .await
                .unwrap();
        }
    }

    // A node that is called, and does not answer as nodes do.
    for (what, answer) in [
        ("noise", noise(1, 64 * 1024)),
        ("a message of 65535 bytes", vec![0xff; 65_537]),
        ("an unknown status", b"\0\x05swhat".to_vec()),
        ("half a status", b"\0\x05so".to_vec()),
        ("another node's challenge", {
            let ok = handshake::frame_u16(b"sok");
            let mut challenge = vec![b'N', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 9];
            challenge.extend(b"n1@n1.lab");
            [ok, handshake::frame_u16(&challenge)].concat()
        }),
    ] {
        let mark = agent.log_mark();
        // Whoever calls, however often.
        let answers = async {
            loop {
                let mut call = raw.call().await;
                assert!(call.recv().await.is_some(), "{what}: no send_name");
                let _ = call.0.write_all(&answer).await;
                let _ = call.0.shutdown().await;
                call.hung_up().await;
            }
        };
        let ping = format!("net_adm:ping('{RAW}')");
        tokio::select! {
            pang = two.eval(&ping, PATIENCE) => assert_eq!(pang.unwrap(), "pang", "{what}"),
            () = answers => {}
        }
        logged(agent, mark, "inbound", "local_handshake", what).await;
    }
    drop(raw);
    witness.unharmed().await;
}

#[tokio::test]
async fn from_whoever_answers_in_the_place_of_an_agent() {
    let mut witness = Witness::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    witness
        .cluster
        .detour(0, "*@n9.lab", Some(listener.local_addr().unwrap()))
        .await
        .unwrap();
    let node = witness.cluster.node(0).unwrap();
    let agent = witness.cluster.agent(0).unwrap();
    for (what, answer, reason) in [
        ("noise", noise(2, 64 * 1024), "not_tls"),
        ("zeros", vec![0; 1024], "not_tls"),
        ("lengths of 4 GiB", vec![0xff; 1024], "not_tls"),
        ("silence", Vec::new(), "timed_out"),
    ] {
        let mark = agent.log_mark();
        let called = async {
            let (mut socket, _) = bounded("a call", listener.accept()).await.unwrap();
            let _ = socket.write_all(&answer).await;
            let mut heard = Vec::new();
            let _ = bounded(what, socket.read_to_end(&mut heard)).await;
        };
        let call = async {
            let ping = format!("net_adm:ping('{PEER}')");
            assert_eq!(node.eval(&ping, PATIENCE).await.unwrap(), "pang", "{what}");
        };
        tokio::join!(called, call);
        logged(agent, mark, "outbound", reason, what).await;
    }
    witness.unharmed().await;
}
