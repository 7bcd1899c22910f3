//! What strangers do: certificates of any kind, TLS by hand, link frames by hand, and the raw side
//! of the local protocols. What they are refused with is not here: that is what tests assert.
//!
//! Part of the test program and not of the harness library, because it needs the forge, which no
//! other build may contain.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls::pki_types::{ServerName, UnixTime};
use serde_json::Value;
use skans_dist::epmd::{
    Alive2Response, NODE_NORMAL, PROTOCOL_TCP, PortResponse, Registration, Request, VERSION,
};
use skans_dist::handshake::{self, Challenge, ChallengeAck, ChallengeReply, SendName, Status};
use skans_dist::{Flags, NodeName};
use skans_identity::csr::ProvenKey;
use skans_identity::forge::{Forge, Forged, Spec, Speech, client_config, server_config};
use skans_identity::id::TrustDomain;
use skans_identity::signer::SoftwareKey;
use skans_identity::sni;
use skans_lab::{AgentProcess, Cluster, HostPlan, NodePlan};
use skans_link::{Close, Decoder, Frame, Hello, Piece, VERSION_MAX, VERSION_MIN, Welcome};
use skans_promises::{PATIENCE, plan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// The trust domain of the lab.
pub const DOMAIN: &str = "lab.test";
/// The cluster of the lab.
pub const CLUSTER: &str = "lab";

/// Every wait of this file is bounded by this.
pub async fn bounded<T>(what: &str, step: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, step).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// The trust domain of the lab, parsed.
pub fn domain() -> TrustDomain {
    TrustDomain::parse(DOMAIN).unwrap()
}

/// What the authority would put into the certificate of `alive@host`, to be made hostile.
pub fn spec(node: &str) -> Spec {
    spec_in(DOMAIN, CLUSTER, node)
}

/// The same, of another trust domain or cluster.
pub fn spec_in(domain: &str, cluster: &str, node: &str) -> Spec {
    let (alive, host) = node.split_once('@').unwrap();
    let id = format!("spiffe://{domain}/cluster/{cluster}/ns/default/sa/{alive}/node/{alive}");
    Spec::good(&id, host, UnixTime::now())
}

/// Somebody who signs with the key of the cluster's own authority: whatever is refused of theirs is
/// refused for what the certificate says, and not for who signed it.
pub fn insider(cluster: &Cluster) -> Forge {
    Forge::stolen(&cluster.authority().unwrap()).unwrap()
}

/// The same with the issuing key of another cluster, under the same root.
pub fn neighbour(cluster: &Cluster, name: &str) -> Forge {
    let authority = cluster.authority().unwrap();
    let (root, key) = (authority.root().unwrap(), SoftwareKey::generate().unwrap());
    let day = Duration::from_secs(24 * 3600);
    let issuer = root.sign_issuer(name, &ProvenKey::of(&key), day, UnixTime::now());
    Forge::with_key(domain(), &[issuer.unwrap()], &key.to_der()).unwrap()
}

/// Agents whose nodes are played by hand.
pub async fn agents(count: usize) -> Cluster {
    let mut plan = plan();
    for number in 1..=count {
        let node = NodePlan::new(format!("n{number}@n{number}.lab")).not_started();
        plan = plan.host(HostPlan::new(format!("n{number}")).node(node));
    }
    plan.start().await.unwrap()
}

fn refused(direction: &'static str, reason: &str) -> impl Fn(&Value) -> bool {
    move |line| {
        line["reason"] == reason
            && line["message"]
                .as_str()
                .is_some_and(|text| text.starts_with(&format!("link refused, {direction}")))
    }
}

/// Waits until an agent has logged after `mark` that it refused a link, and why; what it wrote.
pub async fn logged(
    agent: &AgentProcess,
    mark: u64,
    direction: &'static str,
    reason: &str,
    what: &str,
) -> String {
    let what = format!("{direction} refusal, reason {reason}, for: {what}");
    let line = agent
        .wait_log(mark, &what, PATIENCE, refused(direction, reason))
        .await
        .unwrap();
    line["message"].as_str().unwrap_or_default().to_owned()
}

/// One end of a link, played by hand.
pub struct LinkEnd {
    tls: TlsStream<TcpStream>,
    decoder: Decoder,
    held: Vec<u8>,
}

/// What came, instead of what was hoped for.
#[derive(Debug)]
pub enum Got {
    /// A frame.
    Frame(Frame),
    /// The stream ended.
    End,
    /// It broke: a TLS alert, or a reset.
    Broken(#[expect(dead_code, reason = "stands in what a failing test says")] io::Error),
}

impl LinkEnd {
    /// Dials an agent, asks for the certificate of `node`, and shows `shown`. A refusal of the
    /// client's certificate comes with the first read: TLS 1.3 tells it after the handshake.
    pub async fn dial(
        address: SocketAddr,
        node: &str,
        shown: Option<&Forged>,
        speech: &Speech,
    ) -> io::Result<Self> {
        let name = sni::server_name_for(&domain(), node).unwrap();
        Self::dial_name(address, name, shown, speech).await
    }

    /// The same from an address of this machine.
    pub async fn dial_from(
        source: IpAddr,
        address: SocketAddr,
        node: &str,
        shown: &Forged,
    ) -> io::Result<Self> {
        let name = sni::server_name_for(&domain(), node).unwrap();
        let connector = TlsConnector::from(client_config(Some(shown), &ours()).unwrap());
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(source, 0))?;
        let socket = bounded("TCP", socket.connect(address)).await?;
        let tls = bounded("TLS", connector.connect(name, socket)).await?;
        Ok(Self::new(TlsStream::Client(tls)))
    }

    /// The same with any server name.
    pub async fn dial_name(
        address: SocketAddr,
        name: ServerName<'static>,
        shown: Option<&Forged>,
        speech: &Speech,
    ) -> io::Result<Self> {
        let socket = bounded("TCP", TcpStream::connect(address)).await?;
        Self::over(socket, name, shown, speech).await
    }

    /// The same over a connection that there is: a way through gateways.
    pub async fn over(
        socket: TcpStream,
        name: ServerName<'static>,
        shown: Option<&Forged>,
        speech: &Speech,
    ) -> io::Result<Self> {
        let connector = TlsConnector::from(client_config(shown, speech).unwrap());
        let tls = bounded("TLS", connector.connect(name, socket)).await?;
        Ok(Self::new(TlsStream::Client(tls)))
    }

    fn new(tls: TlsStream<TcpStream>) -> Self {
        Self {
            tls,
            decoder: Decoder::new(),
            held: Vec::new(),
        }
    }

    /// Sends bytes, which may be frames. A peer that has hung up shows in what is read.
    pub async fn send(&mut self, bytes: &[u8]) {
        let sent = async {
            self.tls.write_all(bytes).await?;
            self.tls.flush().await
        };
        let _: io::Result<()> = bounded("sending", sent).await;
    }

    /// The next frame, or how it ended.
    pub async fn recv(&mut self) -> Got {
        loop {
            let mut input = self.held.as_slice();
            let piece = self
                .decoder
                .next(&mut input)
                .expect("an agent sends frames that can be read");
            let frame = match piece {
                Some(Piece::Frame(frame)) => Some(frame),
                _ => None,
            };
            let used = self.held.len() - input.len();
            self.held.drain(..used);
            if let Some(frame) = frame {
                return Got::Frame(frame);
            }
            if self.held.is_empty() {
                let mut chunk = [0; 4096];
                match bounded("a frame or an end", self.tls.read(&mut chunk)).await {
                    Ok(0) => return Got::End,
                    Ok(count) => self.held.extend_from_slice(&chunk[..count]),
                    Err(error) => return Got::Broken(error),
                }
            }
        }
    }

    /// Some more of what the node at the other end says; or how it ended.
    pub async fn data(&mut self) -> Result<Vec<u8>, Got> {
        loop {
            let mut input = self.held.as_slice();
            let (mut ping, mut data, mut end) = (None, None, None);
            match self
                .decoder
                .next(&mut input)
                .expect("an agent sends frames that can be read")
            {
                Some(Piece::Data(bytes)) => data = Some(bytes.to_vec()),
                Some(Piece::Frame(Frame::Ping(number))) => ping = Some(number),
                Some(Piece::Frame(frame @ Frame::Close(_))) => end = Some(frame),
                _ => {}
            }
            let used = self.held.len() - input.len();
            self.held.drain(..used);
            if let Some(data) = data {
                return Ok(data);
            }
            if let Some(end) = end {
                return Err(Got::Frame(end));
            }
            if let Some(number) = ping {
                self.send(&skans_link::pong(number)).await;
            }
            if self.held.is_empty() {
                let mut chunk = [0; 16 * 1024];
                match bounded("data or an end", self.tls.read(&mut chunk)).await {
                    Ok(0) => return Err(Got::End),
                    Ok(count) => self.held.extend_from_slice(&chunk[..count]),
                    Err(error) => return Err(Got::Broken(error)),
                }
            }
        }
    }

    /// The reason of the CLOSE that must come, behind what was under way.
    pub async fn closed(&mut self) -> Close {
        loop {
            match self.recv().await {
                Got::Frame(Frame::Close(close)) => return close,
                Got::Frame(Frame::Ack(_) | Frame::Ping(_) | Frame::Pong(_)) => {}
                other => panic!("found {other:?}, wanted CLOSE"),
            }
        }
    }

    /// The message of the HANDSHAKE frame that must come next.
    pub async fn handshake(&mut self) -> Vec<u8> {
        match self.recv().await {
            Got::Frame(Frame::Handshake(message)) => message,
            other => panic!("found {other:?}, wanted HANDSHAKE"),
        }
    }

    /// Says HELLO, and returns what comes back.
    pub async fn greet(&mut self, from: &str, to: &str) -> Got {
        self.send(&hello(from, to).encode()).await;
        self.recv().await
    }

    /// Says HELLO, and must be welcome.
    pub async fn welcome(&mut self, from: &str, to: &str) -> Welcome {
        match self.greet(from, to).await {
            Got::Frame(Frame::Welcome(welcome)) => welcome,
            other => panic!("found {other:?}, wanted WELCOME for {from} at {to}"),
        }
    }

    /// A link that is up: a caller that says `from` to both, all the way through.
    pub async fn up(&mut self, from: &str, to: &str) {
        self.up_with(&hello(from, to)).await;
    }

    /// The same with any HELLO.
    pub async fn up_with(&mut self, hello: &Hello) {
        self.up_as(hello, &send_name(&hello.from)).await;
    }

    /// The same with any hello of distribution.
    pub async fn up_as(&mut self, hello: &Hello, said: &SendName) {
        self.send(&hello.encode()).await;
        match self.recv().await {
            Got::Frame(Frame::Welcome(_)) => {}
            other => panic!("found {other:?}, wanted WELCOME for {hello:?}"),
        }
        self.send(&skans_link::handshake(&said.encode())).await;
        let status = Status::decode(&self.handshake().await).unwrap();
        if status == Status::Alive {
            // The node that it is called like is connected: it was that one, and has come back.
            self.send(&skans_link::handshake(&Status::True.encode()))
                .await;
        } else {
            assert!(status.goes_on(), "{status:?}");
        }
        Challenge::decode(&self.handshake().await).unwrap();
        let reply = ChallengeReply {
            challenge: 0,
            digest: [0; 16],
        };
        self.send(&skans_link::handshake(&reply.encode())).await;
        ChallengeAck::decode(&self.handshake().await).unwrap();
    }
}

/// A HELLO without anything special.
pub fn hello(from: &str, to: &str) -> Hello {
    Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        session: [7; 16],
        offset: 0,
        tick_seconds: 60,
        clique: None,
        from: from.to_owned(),
        to: to.to_owned(),
        takeover: 0,
        resume: false,
        service: String::new(),
    }
}

/// A hello of distribution, as OTP 25 would send it.
pub fn send_name(name: &str) -> SendName {
    SendName {
        flags: Flags::KNOWN.without(Flags::NAME_ME),
        creation: 77_777,
        name: name.to_owned(),
    }
}

/// The hello of OTP 22 and before: `n`, version 5, 32 bits of flags, the name.
pub fn old_send_name(name: &str) -> Vec<u8> {
    let mut body = vec![b'n', 0, 5];
    body.extend_from_slice(&0x0007_499c_u32.to_be_bytes());
    body.extend_from_slice(name.as_bytes());
    handshake::frame_u16(&body)
}

/// Somebody who is dialled in the place of an agent.
pub struct Impostor {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Impostor {
    /// Listens on loopback, and shows this certificate to whoever asks for any.
    pub async fn new(forged: &Forged, speech: &Speech) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let acceptor = TlsAcceptor::from(server_config(forged, speech).unwrap());
        Self { listener, acceptor }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Takes the next connection, through TLS.
    pub async fn accept(&self) -> io::Result<LinkEnd> {
        let (socket, _) = bounded("a call", self.listener.accept()).await?;
        let tls = bounded("TLS", self.acceptor.accept(socket)).await?;
        Ok(LinkEnd::new(TlsStream::Server(tls)))
    }
}

/// A node of this host that is none: a listener, and a registration with the agent's epmd.
pub struct RawNode {
    listener: TcpListener,
    /// The same socket, to be looked at without the runtime, which may not have looked yet.
    kernel: std::net::TcpListener,
    _registration: TcpStream,
}

impl RawNode {
    /// Registers `alive` with the epmd at this port of 127.0.0.1.
    pub async fn register(epmd_port: u16, alive: &str) -> Self {
        let kernel = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        kernel.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(kernel.try_clone().unwrap()).unwrap();
        let mut socket = TcpStream::connect(("127.0.0.1", epmd_port)).await.unwrap();
        let request = Request::Alive2(Registration {
            port: listener.local_addr().unwrap().port(),
            node_type: NODE_NORMAL,
            protocol: PROTOCOL_TCP,
            highest: VERSION,
            lowest: VERSION - 1,
            name: alive.to_owned(),
            extra: Vec::new(),
        });
        socket
            .write_all(&handshake::frame_u16(&request.encode()))
            .await
            .unwrap();
        let mut answer = [0; 6];
        bounded("an answer to ALIVE2", socket.read_exact(&mut answer))
            .await
            .unwrap();
        assert!(
            Alive2Response::decode(&answer).unwrap().is_ok(),
            "{alive} was not registered: {answer:?}"
        );
        Self {
            listener,
            kernel,
            _registration: socket,
        }
    }

    /// Nobody has called: to be asked when whoever would have called has been refused.
    pub fn assert_nobody_called(&self) {
        match self.kernel.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => panic!("somebody called the node: {other:?}"),
        }
    }

    /// The next call.
    pub async fn call(&self) -> DistEnd {
        DistEnd(bounded("a call", self.listener.accept()).await.unwrap().0)
    }
}

/// One end of a distribution handshake on loopback, played by hand.
pub struct DistEnd(pub TcpStream);

impl DistEnd {
    /// Dials the port that stands for `target` on a host.
    pub async fn dial_stand_in(epmd_port: u16, target: &str) -> Self {
        let port = stand_in(epmd_port, target).await.expect("a stand-in port");
        Self(
            bounded("TCP", TcpStream::connect(("127.0.0.1", port)))
                .await
                .unwrap(),
        )
    }

    /// Sends one message of the handshake.
    pub async fn send(&mut self, body: &[u8]) {
        // One that has hung up shows in what is read.
        let _ = self.0.write_all(&handshake::frame_u16(body)).await;
    }

    /// The next message; `None` at the end.
    pub async fn recv(&mut self) -> Option<Vec<u8>> {
        let length = bounded("a message or the end", self.0.read_u16())
            .await
            .ok()?;
        let mut body = vec![0; length.into()];
        bounded("a message", self.0.read_exact(&mut body))
            .await
            .ok()?;
        Some(body)
    }

    /// Whether the other side hung up, without another byte.
    pub async fn hung_up(&mut self) {
        let found = self.recv().await;
        assert!(found.is_none(), "found {found:?}, wanted the end");
    }

    /// Calls as `from` up to the challenge, which is returned; or the status that ends the attempt.
    pub async fn call(&mut self, from: &str) -> Result<Challenge, Status> {
        self.call_as(&send_name(from)).await
    }

    /// The same with any hello.
    pub async fn call_as(&mut self, said: &SendName) -> Result<Challenge, Status> {
        self.send(&said.encode()).await;
        let status = Status::decode(&self.recv().await.expect("a status")).unwrap();
        if !status.goes_on() {
            return Err(status);
        }
        Ok(Challenge::decode(&self.recv().await.expect("a challenge")).unwrap())
    }

    /// The same where nothing else can come.
    pub async fn challenged(&mut self, from: &str) -> Challenge {
        self.call(from).await.expect("a status that goes on")
    }

    /// Takes a call as the node `own`, up to its challenge, which it sends.
    pub async fn challenge(&mut self, own: &str) -> SendName {
        let hello = SendName::decode(&self.recv().await.expect("send_name")).unwrap();
        self.send(&Status::Ok.encode()).await;
        let challenge = Challenge {
            flags: Flags::KNOWN.without(Flags::NAME_ME),
            challenge: 4711,
            creation: 88_888,
            name: own.parse::<NodeName>().unwrap(),
        };
        self.send(&challenge.encode()).await;
        hello
    }
}

/// The port that an agent's epmd gives for a node.
pub async fn stand_in(epmd_port: u16, target: &str) -> Option<u16> {
    let mut socket = TcpStream::connect(("127.0.0.1", epmd_port)).await.unwrap();
    let request = Request::PortPlease2 {
        name: target.to_owned(),
    };
    socket
        .write_all(&handshake::frame_u16(&request.encode()))
        .await
        .unwrap();
    let mut answer = Vec::new();
    bounded("an answer of epmd", socket.read_to_end(&mut answer))
        .await
        .unwrap();
    match PortResponse::decode(&answer).unwrap() {
        PortResponse::Found(found) => Some(found.port),
        PortResponse::NotFound { .. } => None,
    }
}

/// The settings of a stranger who speaks our protocol.
pub fn ours() -> Speech {
    Speech::default()
}

/// The trust of nobody: a root of its own.
pub fn foreign_root(domain: &str) -> Forge {
    Forge::new(&TrustDomain::parse(domain).unwrap(), UnixTime::now()).unwrap()
}

/// Every TCP port on which a process listens on 127.0.0.1.
pub fn ports_of(pid: u32) -> BTreeSet<u16> {
    let sockets: BTreeSet<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            Some(
                link.to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect();
    std::fs::read_to_string("/proc/net/tcp")
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        .filter(|row| row[3] == "0A" && sockets.contains(row[9]))
        .map(|row| u16::from_str_radix(row[1].split_once(':').unwrap().1, 16).unwrap())
        .collect()
}

/// The greeting of a TLS client, whole.
pub fn client_hello() -> Vec<u8> {
    let config = client_config(None, &Speech::default()).unwrap();
    let name = sni::server_name_for(&domain(), "n1@n1.lab").unwrap();
    let mut client = rustls::ClientConnection::new(config, name).unwrap();
    let mut out = Vec::new();
    client.write_tls(&mut out).unwrap();
    out
}
