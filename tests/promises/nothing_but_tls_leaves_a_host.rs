//! Between hosts there are TLS records on the link port and nothing else: no epmd, no node name, no
//! cookie, no payload in clear. Node, epmd and stand-in ports of a host cannot be reached from another.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use skans_lab::until;
use skans_promises::PATIENCE;

use crate::guarded::{Guarded, LINK_PORT, Way, guarded, name};
use crate::netns::{Host, Network};
use crate::{pcap, root};

/// Stands in payloads. Long enough not to come up by chance.
const PAYLOAD: &str = "what-only-the-nodes-may-read";
/// An atom that goes over the wire.
const ATOM: &str = "an_atom_that_nobody_else_may_read";

/// Names, links, messages, a registered name, a remote call with a large answer, and a restart of
/// the connection: what a cluster says in a day.
async fn talk(hosts: &[Guarded]) {
    for (index, host) in hosts.iter().enumerate() {
        let echo = format!(
            "register({ATOM}, spawn(fun Loop() -> receive {{From, Term}} -> From ! {{{ATOM}, Term}}, Loop() end end))"
        );
        assert_eq!(host.node.eval(&echo, PATIENCE).await.unwrap(), "true");
        for other in &hosts[..index] {
            let ping = format!("net_adm:ping('{}')", other.name);
            assert_eq!(
                host.node.eval(&ping, PATIENCE).await.unwrap(),
                "pong",
                "{}",
                host.name
            );
        }
    }
    let everybody = hosts.len() - 1;
    for host in hosts {
        host.node
            .wait_for("length(nodes())", &everybody.to_string(), PATIENCE)
            .await
            .unwrap();
        let text = format!(
            "[begin \
                Term = {{{ATOM}, binary:copy(<<\"{PAYLOAD}\">>, 10000)}}, \
                {{{ATOM}, Node}} ! {{self(), Term}}, \
                receive {{{ATOM}, Term}} -> ok end, \
                <<\"{PAYLOAD}\">> = erpc:call(Node, binary, copy, [<<\"{PAYLOAD}\">>, 1]), \
                true = erlang:monitor_node(Node, true), \
                Ref = monitor(process, {{{ATOM}, Node}}), demonitor(Ref) \
             end || Node <- nodes()], ok"
        );
        assert_eq!(host.node.eval(&text, PATIENCE).await.unwrap(), "ok");
    }
    let (first, last) = (&hosts[0], &hosts[everybody]);
    let again = format!(
        "erlang:disconnect_node('{0}'), net_adm:ping('{0}')",
        last.name
    );
    // A refusal is legal while the other end has not noticed yet.
    until(PATIENCE, "the two to connect again", async || {
        match first.node.eval(&again, PATIENCE).await {
            Ok(pong) if pong == "pong" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
}

/// A name server on the loopback of each host, as a node-local cache is one: what it is asked does
/// not pass the cable.
struct Names(Arc<AtomicUsize>);

impl Names {
    fn serve(network: &Network, count: u8) -> Self {
        let answered = Arc::new(AtomicUsize::new(0));
        let table: Vec<_> = (0..usize::from(count))
            .map(|index| {
                (
                    name(index).split_once('@').unwrap().1.to_owned(),
                    network.host(index).four(),
                )
            })
            .collect();
        for index in 0..usize::from(count) {
            let socket = network
                .host(index)
                .inside(|| UdpSocket::bind("127.0.0.1:53").unwrap());
            socket.set_nonblocking(true).unwrap();
            let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
            let (table, answered) = (table.clone(), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut query = [0; 512];
                while let Ok((length, from)) = socket.recv_from(&mut query).await {
                    let answer = answer(&query[..length], &table);
                    if answer[7] > 0 {
                        answered.fetch_add(1, Relaxed);
                    }
                    let _ = socket.send_to(&answer, from).await;
                }
            });
        }
        Self(answered)
    }

    fn asked(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Answers one question for an A record; all else has no records (RFC 1035, section 4).
fn answer(query: &[u8], table: &[(String, IpAddr)]) -> Vec<u8> {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let label = &query[at + 1..=at + usize::from(query[at])];
        at += 1 + label.len();
        labels.push(String::from_utf8_lossy(label).into_owned());
    }
    let question = &query[12..at + 5];
    let asked = labels.join(".");
    let is_a = query[at + 1..at + 3] == [0, 1];
    let found = table.iter().find(|(name, _)| *name == asked);
    let code = if found.is_some() { 0 } else { 3 };
    let mut out = query[..2].to_vec();
    out.extend([0x81, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0]);
    out.extend(question);
    if let Some((_, IpAddr::V4(ip))) = found.filter(|_| is_a) {
        out[7] = 1;
        // The name of the question, type A, class IN, not to be kept.
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        out.extend(ip.octets());
    }
    out
}

/// All ports of one host, from another: which of them take a connection.
fn reachable(from: &Host, addresses: Vec<IpAddr>, ports: BTreeSet<u16>) -> BTreeSet<u16> {
    from.inside(move || {
        let open = |port: &u16| {
            addresses.iter().any(|&ip| {
                TcpStream::connect_timeout(&SocketAddr::new(ip, *port), Duration::from_secs(5))
                    .is_ok()
            })
        };
        ports.into_iter().filter(open).collect()
    })
}

/// Everything that no other host may see.
fn secrets(hosts: &[Guarded]) -> Vec<Vec<u8>> {
    let mut secrets = vec![
        PAYLOAD.into(),
        ATOM.into(),
        b"epmd".to_vec(),
        b"svc.test".to_vec(),
        b"lab.test".to_vec(),
    ];
    for host in hosts {
        let (alive, at) = host.name.split_once('@').unwrap();
        secrets.extend([alive.into(), at.into()]);
        for cookie in [format!("{alive}.cookie"), "cli/.erlang.cookie".to_owned()] {
            let cookie = std::fs::read(host.runtime.join("cookies").join(cookie)).unwrap();
            assert!(cookie.len() >= 20);
            secrets.push(cookie);
        }
    }
    secrets
}

/// What is wrong with a capture.
fn wrong(file: &[u8], secrets: &[Vec<u8>]) -> Vec<String> {
    let cable = pcap::read(file);
    let mut wrong = cable.others;
    for ((from, to), stream) in &cable.flows {
        if from.port() != LINK_PORT && to.port() != LINK_PORT {
            wrong.push(format!(
                "TCP from {from} to {to}, wanted port {LINK_PORT} alone"
            ));
        }
        if let Some(why) = pcap::not_tls(stream) {
            wrong.push(format!("from {from} to {to}: {why}"));
        }
    }
    // Across packets, and in each packet with its headers. A short word comes up in ciphertext by
    // chance, so that one counts only in what is not encrypted.
    let streams = || cable.flows.values();
    for secret in secrets {
        let found = if secret.len() < 8 {
            streams().any(|stream| pcap::holds(&pcap::in_clear(stream), secret))
        } else {
            streams()
                .map(Vec::as_slice)
                .chain([file])
                .any(|bytes| pcap::holds(bytes, secret))
        };
        if found {
            wrong.push(format!(
                "{:?} went over the cable in clear",
                String::from_utf8_lossy(secret)
            ));
        }
    }
    wrong
}

async fn nothing_but_tls(way: Way, count: u8) {
    let network = Network::new(count, way == Way::Dns);
    let capture = network.capture().await;
    let names = (way == Way::Dns).then(|| Names::serve(&network, count));
    let count = usize::from(count);
    let mut hosts = Vec::new();
    for index in 0..count {
        hosts.push(guarded(way, &network, index, count).await);
    }
    talk(&hosts).await;
    let links = hosts[0].agent.links().await.unwrap();
    assert!(links.iter().all(|link| link.tls == "TLSv1.3"), "{links:?}");

    let secrets = secrets(&hosts);
    for host in hosts {
        host.node.halt(PATIENCE).await.unwrap();
        host.agent.terminate(PATIENCE).await.unwrap();
    }
    let file = capture.stop(&network).await;
    let wrong = wrong(&file, &secrets);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // It is what the nodes said that was captured: each payload went there and back.
    let said: usize = pcap::read(&file).flows.values().map(Vec::len).sum();
    let least = count * (count - 1) * 2 * 10_000 * PAYLOAD.len();
    assert!(
        said > least,
        "captured {said} bytes, wanted more than {least}"
    );
    if let Some(names) = names {
        assert!(names.asked() > 0, "nobody asked the name server");
    }
}

#[tokio::test]
async fn three_hosts_over_ipv4() {
    if root::or_skip("nothing but TLS leaves a host, over IPv4") {
        nothing_but_tls(Way::Static, 3).await;
    }
}

#[tokio::test]
async fn two_hosts_over_ipv6() {
    if root::or_skip("nothing but TLS leaves a host, over IPv6") {
        nothing_but_tls(Way::StaticIpv6, 2).await;
    }
}

#[tokio::test]
async fn two_hosts_that_find_each_other_by_dns() {
    if root::or_skip("nothing but TLS leaves a host, by DNS") {
        nothing_but_tls(Way::Dns, 2).await;
    }
}

#[tokio::test]
async fn from_another_host_the_link_port_is_all_there_is() {
    if !root::or_skip("from another host the link port is all there is") {
        return;
    }
    let network = Network::new(2, false);
    let hosts = [
        guarded(Way::Static, &network, 0, 2).await,
        guarded(Way::Static, &network, 1, 2).await,
    ];
    talk(&hosts).await;
    for (index, guarded) in hosts.iter().enumerate() {
        let (own, other) = (network.host(index), network.host(1 - index));
        let ports = own.listening();
        let node = guarded.agent.nodes().await.unwrap()[0]
            .address
            .parse::<SocketAddr>()
            .unwrap();
        for wanted in [LINK_PORT, guarded.agent.epmd_port(), node.port(), 4372] {
            assert!(
                ports.contains(&wanted),
                "port {wanted} is not among {ports:?}"
            );
        }
        assert!(
            ports.len() > 4,
            "{ports:?}: no port that stands for another node"
        );
        let everywhere = vec![own.four(), own.six()];
        // The scan sees what is there: from the host itself every port is open.
        let loopbacks = vec![
            Ipv4Addr::LOCALHOST.into(),
            std::net::Ipv6Addr::LOCALHOST.into(),
        ];
        assert_eq!(reachable(own, loopbacks, ports.clone()), ports);
        assert_eq!(
            reachable(other, everywhere, ports),
            BTreeSet::from([LINK_PORT]),
            "{}",
            guarded.name
        );
    }
}

#[tokio::test]
async fn a_capture_of_plain_distribution_would_be_noticed() {
    if !root::or_skip("a capture of plain distribution would be noticed") {
        return;
    }
    let network = Network::new(2, false);
    let capture = network.capture().await;
    let to = SocketAddr::new(network.host(1).four(), LINK_PORT);
    let listener = network
        .host(1)
        .inside(move || TcpListener::bind(to).unwrap());
    // In two packets, so that no single one holds the name.
    let mut socket = network
        .host(0)
        .inside(move || TcpStream::connect(to).unwrap());
    socket.set_nodelay(true).unwrap();
    let (mut taken, _) = listener.accept().unwrap();
    for part in [b"\0\x18N....node0@".as_slice(), b"host0.nodes.svc.test"] {
        socket.write_all(part).unwrap();
        taken.read_exact(&mut vec![0; part.len()]).unwrap();
    }
    let query = network
        .host(0)
        .inside(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    query.send_to(b"?", SocketAddr::new(to.ip(), 53)).unwrap();
    drop((socket, taken));
    let wrong = wrong(
        &capture.stop(&network).await,
        &[b"node0@host0".to_vec(), b"node0".to_vec()],
    )
    .join("\n");
    for wanted in [
        "is no header of a TLS record",
        "node0@host0",
        "IP protocol 17",
    ] {
        assert!(
            wrong.contains(wanted),
            "{wanted:?} is not among what was noticed:\n{wrong}"
        );
    }
}
