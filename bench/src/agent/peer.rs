//! A peer of an agent by hand: as much of an agent, and of a node behind it, as it takes for a link to be up, to carry bytes and
//! to stay. A thousand of them fit into this process.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use skans_dist::Flags;
use skans_dist::handshake::{Challenge, ChallengeAck, ChallengeReply, SendName, Status};
use skans_identity::id::TrustDomain;
use skans_identity::verify::Verifier;
use skans_identity::{sni, tls};
use skans_link::{ACK_EVERY, Decoder, Frame, Hello, Piece, VERSION_MAX, VERSION_MIN};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::{DOMAIN, Issuer};
use crate::error::{Doing, Error, Result};

/// How often a node says that it is alive: a quarter of OTP's default `net_ticktime`.
const TICK: Duration = Duration::from_secs(15);
/// No step of a handshake takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// What it said it was when it greeted.
const CREATION: u32 = 77_777;
/// Atoms that each of them puts into the cache of its link.
const ATOMS: u8 = 50;
/// Bytes in a message to the node.
const PAYLOAD: usize = 512 * 1024;

/// What all of them have done together.
#[derive(Debug, Default)]
pub struct Tally {
    /// Bytes of distribution that came from the node.
    pub received: AtomicU64,
    /// Links that have ended.
    pub ended: AtomicU64,
}

/// A link that is up. It stays for as long as this lives.
#[derive(Debug)]
pub struct Peer {
    orders: mpsc::Sender<u64>,
}

struct Link {
    tls: TlsStream<TcpStream>,
    decoder: Decoder,
    held: Vec<u8>,
    sent: u64,
    received: u64,
    acknowledged: u64,
    tally: Arc<Tally>,
}

impl Peer {
    /// Dials the agent of `b@localhost` as `alive@localhost`, and has shaken hands with the node.
    pub async fn connect(
        alive: &str,
        address: SocketAddr,
        (issuer, verifier): (&Issuer, &Arc<Verifier>),
        tally: &Arc<Tally>,
    ) -> Result<Self> {
        let own = issuer.credential(alive)?;
        let config = tls::client_config(&own, Arc::clone(verifier)).doing(alive)?;
        let name = format!("{alive}@localhost");
        let up = async {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            let domain = TrustDomain::parse(DOMAIN).map_err(io::Error::other)?;
            let server = sni::server_name_for(&domain, "b@localhost").map_err(io::Error::other)?;
            let mut link = Link {
                tls: TlsConnector::from(config).connect(server, socket).await?,
                decoder: Decoder::new(),
                held: Vec::new(),
                sent: 0,
                received: 0,
                acknowledged: 0,
                tally: Arc::clone(tally),
            };
            link.shake_hands(&name).await?;
            Ok::<_, io::Error>(link)
        };
        let mut link = tokio::time::timeout(PATIENCE, up)
            .await
            .map_err(|_| Error::new(&name, "no link in time"))?
            .doing(&name)?;
        let (orders, mut taken) = mpsc::channel(1);
        let tally = Arc::clone(tally);
        tokio::spawn(async move {
            if let Err(error) = link.stay(&name, &mut taken).await {
                eprintln!("bench: {name}: {error}");
            }
            tally.ended.fetch_add(1, Relaxed);
        });
        Ok(Self { orders })
    }

    /// Has it send so many bytes to the node, in messages to a name that nobody has.
    pub async fn send(&self, bytes: u64) -> Result<()> {
        self.orders.send(bytes).await.doing("give a peer an order")
    }
}

impl Link {
    async fn shake_hands(&mut self, name: &str) -> io::Result<()> {
        let mut session = [0; 16];
        aws_lc_rs::rand::fill(&mut session).map_err(io::Error::other)?;
        let hello = Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            session,
            offset: 0,
            tick_seconds: 60,
            // Hidden: `global` is not to bring a thousand nodes together that are none.
            clique: None,
            from: name.to_owned(),
            to: "b@localhost".to_owned(),
            takeover: 0,
            resume: false,
            service: String::new(),
        };
        self.write(&hello.encode()).await?;
        match self.frame().await? {
            Frame::Welcome(_) => {}
            other => return Err(io::Error::other(format!("found {other:?}, wanted WELCOME"))),
        }
        let said = SendName {
            flags: Flags::KNOWN.without(Flags::NAME_ME),
            creation: CREATION,
            name: name.to_owned(),
        };
        self.write(&skans_link::handshake(&said.encode())).await?;
        let status = Status::decode(&self.handshake().await?).map_err(io::Error::other)?;
        if !status.goes_on() {
            return Err(io::Error::other(format!("status {status:?}")));
        }
        Challenge::decode(&self.handshake().await?).map_err(io::Error::other)?;
        // Cookies are the agents' own business.
        let reply = ChallengeReply {
            challenge: 0,
            digest: [0; 16],
        };
        self.write(&skans_link::handshake(&reply.encode())).await?;
        ChallengeAck::decode(&self.handshake().await?).map_err(io::Error::other)?;
        Ok(())
    }

    /// Answers what has to be answered until nobody gives orders any more.
    async fn stay(&mut self, name: &str, orders: &mut mpsc::Receiver<u64>) -> io::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        let mut chunk = vec![0; 8 * 1024];
        loop {
            self.take_in().await?;
            tokio::select! {
                read = self.tls.read(&mut chunk) => {
                    let count = read?;
                    if count == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.held.extend_from_slice(chunk.get(..count).unwrap_or_default());
                }
                _ = tick.tick() => self.data(&[0; 4]).await?,
                order = orders.recv() => match order {
                    None => return Ok(()),
                    Some(bytes) => {
                        let mut sent = 0;
                        while sent < bytes {
                            let message = message(name, sent == 0);
                            sent += message.len() as u64;
                            for part in message.chunks(64 * 1024) {
                                self.data(part).await?;
                            }
                        }
                    }
                },
            }
        }
    }

    /// Acts on what has come.
    async fn take_in(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        let mut input = held.as_slice();
        let mut pongs = Vec::new();
        while let Some(piece) = self.decoder.next(&mut input).map_err(io::Error::other)? {
            match piece {
                Piece::Data(bytes) => {
                    self.received += bytes.len() as u64;
                    let count = bytes.len() as u64;
                    self.tally.received.fetch_add(count, Relaxed);
                }
                Piece::Frame(Frame::Ping(number)) => pongs.push(number),
                Piece::Frame(Frame::Close(close)) => {
                    return Err(io::Error::other(format!("{close:?}")));
                }
                Piece::Frame(_) | Piece::DataStart { .. } => {}
            }
        }
        let rest = input.to_vec();
        self.held = rest;
        for number in pongs {
            self.write(&skans_link::pong(number)).await?;
        }
        if self.received > self.acknowledged + ACK_EVERY / 2 || self.is_idle() {
            self.acknowledged = self.received;
            self.write(&skans_link::ack(self.received)).await?;
        }
        Ok(())
    }

    /// Something has come that was not acknowledged, and the last of it is small.
    const fn is_idle(&self) -> bool {
        self.received > self.acknowledged && self.held.is_empty()
    }

    async fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut framed = skans_link::data_header(self.sent, bytes.len()).to_vec();
        framed.extend_from_slice(bytes);
        self.sent += bytes.len() as u64;
        self.write(&framed).await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.write_all(bytes).await?;
        self.tls.flush().await
    }

    async fn handshake(&mut self) -> io::Result<Vec<u8>> {
        match self.frame().await? {
            Frame::Handshake(message) => Ok(message),
            other => Err(io::Error::other(format!(
                "found {other:?}, wanted HANDSHAKE"
            ))),
        }
    }

    /// The next frame, while nothing flows yet.
    async fn frame(&mut self) -> io::Result<Frame> {
        loop {
            let mut input = self.held.as_slice();
            let piece = self.decoder.next(&mut input).map_err(io::Error::other)?;
            let frame = match piece {
                Some(Piece::Frame(frame)) => Some(frame),
                _ => None,
            };
            let used = self.held.len() - input.len();
            self.held.drain(..used);
            if let Some(frame) = frame {
                return Ok(frame);
            }
            let mut chunk = [0; 2048];
            match self.tls.read(&mut chunk).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self
                    .held
                    .extend_from_slice(chunk.get(..count).unwrap_or_default()),
            }
        }
    }
}

/// `REG_SEND` of a large binary (erts, `erl_dist_protocol`). The first brings as many atoms into the cache as nodes of a
/// cluster are about; the message itself uses none.
fn message(name: &str, is_first: bool) -> Vec<u8> {
    fn atom(text: &str) -> Vec<u8> {
        // SMALL_ATOM_UTF8_EXT; names here are short.
        let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
        [&[119, length], text.as_bytes()].concat()
    }
    let mut body = vec![131, 68];
    body.extend(if is_first { fresh_atoms() } else { vec![0] });
    // {6, FromPid, '', nobody}
    body.extend([104, 4, 97, 6, 88]);
    body.extend(atom(name));
    body.extend([0, 0, 0, 90, 0, 0, 0, 0]);
    body.extend(CREATION.to_be_bytes());
    body.extend(atom(""));
    body.extend(atom("nobody"));
    // A binary.
    let length = u32::try_from(PAYLOAD).unwrap_or(u32::MAX);
    body.push(109);
    body.extend(length.to_be_bytes());
    body.resize(body.len() + PAYLOAD, 7);
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), body.as_slice()].concat()
}

/// The references of a header that brings atoms along: each is new, spread over the cache.
fn fresh_atoms() -> Vec<u8> {
    // Even, so that the last flags stand alone: 0 for short atoms.
    let mut out = vec![ATOMS];
    for pair in 0..ATOMS / 2 {
        let flags = |number: u8| 8 | (number % 8);
        out.push(flags(pair * 2) | (flags(pair * 2 + 1) << 4));
    }
    out.push(0);
    for number in 0..ATOMS {
        let text = format!("bench_atom_{number}");
        out.push(number.wrapping_mul(5));
        out.push(u8::try_from(text.len()).unwrap_or(0));
        out.extend(text.as_bytes());
    }
    out
}
