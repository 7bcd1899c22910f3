//! Connections that never prove who they are, however many, do not slow down those who do: a node
//! that connects during a flood is let in as without it, and a link that is up does not notice.
//! (128 of them keep plain distribution from accepting anybody for seconds.)

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use skans_lab::{AgentProcess, Cluster, ErlNode, until};
use skans_promises::{PATIENCE, cluster};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::hostile::{agents, client_hello, ports_of};

/// For a connection between two nodes to be made during a flood, one in the middle and the slowest of
/// ten. Some 10 ms without one; plain distribution needs 6.5 s, or gives up. The rest is for a machine
/// that is busy.
const CONNECT: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(3));
/// For a call over a link that is up, one in the middle and the slowest of many. Less than a
/// millisecond without a flood; the rest is for a machine that is busy with the flood itself.
const CALL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// New connections that a flood makes in a second. More, from this machine itself, would show how
/// many processors it has: on two, ten thousand a second leave nobody time to do anything.
const RATE: u32 = 1000;

/// The address that nodes call from, in a lab.
const SAME: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Another address that reaches the same port.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 99);

/// Connections that are held open, and made anew at once when they are closed. Dropped, they all end.
struct Flood {
    _tasks: JoinSet<()>,
    open: Arc<AtomicUsize>,
    made: Arc<AtomicUsize>,
}

impl Flood {
    /// `count` connections from `source` to `target`, each of which says `greeting` and no more, and
    /// is left by its maker after `stay`, if it is still open then.
    fn start(
        count: usize,
        source: Ipv4Addr,
        target: SocketAddr,
        greeting: &'static [u8],
        stay: Duration,
    ) -> Self {
        let (open, made) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let pace = tokio::time::interval(Duration::from_secs(1) / RATE);
        let pace = Arc::new(tokio::sync::Mutex::new(pace));
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let (open, made, pace) = (Arc::clone(&open), Arc::clone(&made), Arc::clone(&pace));
            tasks.spawn(async move {
                loop {
                    pace.lock().await.tick().await;
                    let Ok(mut socket) = connect(source, target).await else {
                        continue;
                    };
                    open.fetch_add(1, Relaxed);
                    made.fetch_add(1, Relaxed);
                    let idle = async {
                        socket.write_all(greeting).await?;
                        let mut sink = [0; 4096];
                        while socket.read(&mut sink).await? > 0 {}
                        Ok::<(), std::io::Error>(())
                    };
                    let _ = tokio::time::timeout(stay, idle).await;
                    open.fetch_sub(1, Relaxed);
                }
            });
        }
        Self {
            _tasks: tasks,
            open,
            made,
        }
    }

    /// Waits until each of them has been there, and as many as can be are.
    async fn stands(&self, count: usize, at_once: usize) {
        until(PATIENCE, "the flood to stand", async || {
            let (made, open) = (self.made.load(Relaxed), self.open.load(Relaxed));
            if made >= count && open >= at_once {
                Ok(())
            } else {
                Err(format!("{made} connections made, {open} open"))
            }
        })
        .await
        .unwrap();
    }
}

async fn connect(source: Ipv4Addr, target: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect(target).await
}

/// As many open files as this process may have: the floods are its own.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    assert!(
        maximum.is_none_or(|most| most >= 8192),
        "this test needs 8192 open files, the limit is {maximum:?}"
    );
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .unwrap();
}

/// How long it takes until `node` has left `other` and is connected to it again, measured by the node.
async fn reconnect(node: &ErlNode, other: &str) -> Duration {
    let text = format!(
        "Again = fun Again() -> case net_adm:ping('{other}') of pong -> ok; pang -> Again() end end, \
         erlang:disconnect_node('{other}'), \
         {{Micros, ok}} = timer:tc(Again), Micros"
    );
    micros(&node.eval(&text, PATIENCE).await.unwrap())
}

/// The median and the slowest of 500 calls over a link that is up, measured by the node.
async fn calls(node: &ErlNode, other: &str) -> (Duration, Duration) {
    let text = format!(
        "All = lists:sort([element(1, timer:tc(erpc, call, ['{other}', erlang, node, []])) || _ <- lists:seq(1, 500)]), \
         {{lists:nth(250, All), lists:last(All)}}"
    );
    let both = node.eval(&text, PATIENCE).await.unwrap();
    let (median, slowest) = both.trim_matches(['{', '}']).split_once(',').unwrap();
    (micros(median), micros(slowest))
}

/// A flood takes as many files and sockets of the agent as `strangers` may hold, and not more.
fn assert_bounded(agent: &AgentProcess, strangers: usize) {
    let open = std::fs::read_dir(format!("/proc/{}/fd", agent.pid()))
        .unwrap()
        .count();
    assert!(open < strangers + 100, "the agent holds {open} files");
}

fn micros(text: &str) -> Duration {
    Duration::from_micros(text.parse().unwrap())
}

/// Both ways to the first node, whose agent is flooded, while `_flood` goes on.
async fn nobody_is_slow(cluster: &Cluster, what: &str) {
    let (one, two) = (cluster.node(0).unwrap(), cluster.node(1).unwrap());
    let (median, slowest) = calls(two, "n1@n1.lab").await;
    assert!(
        median < CALL.0 && slowest < CALL.1,
        "{what}: calls took {median:?}, the slowest {slowest:?}"
    );
    let mut took = Vec::new();
    for _ in 0..5 {
        // Inbound and outbound for the agent that is flooded.
        took.push(reconnect(two, "n1@n1.lab").await);
        took.push(reconnect(one, "n2@n2.lab").await);
    }
    took.sort();
    assert!(
        took[5] < CONNECT.0 && took[9] < CONNECT.1,
        "{what}: connecting took {took:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_128_nor_1000_nor_more_than_it_holds() {
    raise_file_limit();
    let cluster = cluster(2).await;
    let target = cluster.agent(0).unwrap().link_address().unwrap();
    let hello: &'static [u8] = Vec::leak(client_hello());
    let link = cluster.agent(0).unwrap().links().await.unwrap()[0].id;
    for (count, source, greeting, what) in [
        (128, OTHER, &[][..], "128 silent from another address"),
        (128, SAME, &[], "128 silent from the address of the peer"),
        (1000, OTHER, &[], "1000 silent from another address"),
        (1000, SAME, &[], "1000 silent from the address of the peer"),
        (1000, SAME, &[22, 3, 1], "1000 that begin to speak TLS"),
        (1000, OTHER, hello, "1000 that greet and leave it at that"),
        (2000, OTHER, &[], "more than may wait, from another address"),
        (
            2000,
            SAME,
            &[],
            "more than may wait, from the address of the peer",
        ),
    ] {
        let flood = Flood::start(count, source, target, greeting, PATIENCE);
        // Beyond the bound of 1,024, as many are sent away as come.
        flood.stands(count, count.min(1000)).await;
        nobody_is_slow(&cluster, what).await;
        assert_bounded(cluster.agent(0).unwrap(), 1024);
    }
    assert!(
        cluster
            .agent(0)
            .unwrap()
            .links()
            .await
            .unwrap()
            .iter()
            .all(|other| other.id != link)
    );
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_do_those_who_keep_coming() {
    raise_file_limit();
    let cluster = cluster(2).await;
    let target = cluster.agent(0).unwrap().link_address().unwrap();
    let flood = Flood::start(64, OTHER, target, &[], Duration::from_millis(5));
    flood.stands(64, 1).await;
    let before = flood.made.load(Relaxed);
    nobody_is_slow(&cluster, "64 that come and go").await;
    let made = flood.made.load(Relaxed) - before;
    assert!(made > 64, "{made} connections during the measurement");
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_a_probe_kept_waiting_at_the_health_port() {
    raise_file_limit();
    let cluster = agents(1).await;
    let agent = cluster.agent(0).unwrap();
    let mut ports = ports_of(agent.pid());
    ports.remove(&agent.link_address().unwrap().port());
    ports.remove(&agent.epmd_port());
    assert_eq!(
        ports.len(),
        1,
        "wanted the health port alone, found {ports:?}"
    );
    let target = SocketAddr::new(IpAddr::V4(SAME), *ports.first().unwrap());
    for (count, source, greeting) in [
        (100, OTHER, &[][..]),
        (1000, OTHER, &[]),
        (1000, SAME, b"GET /livez HTTP/1.1\r\n"),
    ] {
        let flood = Flood::start(count, source, target, greeting, PATIENCE);
        flood.stands(count, 100).await;
        for _ in 0..10 {
            let probe = async {
                let mut socket = TcpStream::connect(target).await.unwrap();
                socket
                    .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                    .await
                    .unwrap();
                let mut answer = String::new();
                socket.read_to_string(&mut answer).await.unwrap();
                answer
            };
            let answer = tokio::time::timeout(CONNECT.1, probe)
                .await
                .expect("an answer in time");
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        assert_bounded(agent, 128);
    }
}
