//! Stands between two real nodes, keeps what they say, and may take capabilities away from both.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use skans_dist::epmd::Registration;
use skans_dist::handshake::{
    Challenge, ChallengeAck, ChallengeReply, SendName, Status, frame_u16, split_u16,
};
use skans_dist::{Flags, NodeName};

use super::PATIENCE;
use super::epmd::Epmd;

/// What two nodes have said to each other, from the first byte to the last. A connected to B.
pub struct Capture {
    pub hello: SendName,
    pub status: Status,
    pub challenge: Challenge,
    pub reply: ChallengeReply,
    pub ack: ChallengeAck,
    /// What came after the handshake.
    pub a_to_b: Vec<u8>,
    pub b_to_a: Vec<u8>,
}

/// Puts itself before a registered node; every connection to it comes back as a capture once it has ended.
pub fn before(epmd: &Epmd, name: &str, without: Flags) -> Receiver<Capture> {
    listen(epmd, name, without, None)
}

/// What has both ends after the handshake, with what has been read of them.
pub type Guard = std::sync::Arc<dyn Fn(TcpStream, Vec<u8>, TcpStream, Vec<u8>) + Send + Sync>;

/// As [`before`], but for what comes after the handshake, which is for `guard`.
pub fn guarded(epmd: &Epmd, name: &str, without: Flags, guard: Guard) {
    drop(listen(epmd, name, without, Some(guard)));
}

/// What each of two nodes is called where the other one is.
#[derive(Clone)]
pub struct Aliases {
    /// What the one is called that connects.
    pub a: NodeName,
    pub b: NodeName,
}

/// As [`guarded`], for the nodes of `epmd`, who know the registered node and are known to it by another name.
pub fn aliased(epmd: &Epmd, registered: Registration, aliases: Aliases, guard: Guard) {
    let name = aliases.b.alive().to_owned();
    let b = registered.port;
    epmd.register(Registration {
        name: name.clone(),
        ..registered
    });
    let (listener, port) = bind();
    epmd.send_instead(&name, port);
    serve(listener, b, Flags::EMPTY, Some(aliases), Some(guard));
}

fn listen(epmd: &Epmd, name: &str, without: Flags, guard: Option<Guard>) -> Receiver<Capture> {
    let b = epmd.registered(name).port;
    let (listener, port) = bind();
    epmd.send_instead(name, port);
    serve(listener, b, without, None, guard)
}

fn bind() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    (listener, port)
}

fn serve(
    listener: TcpListener,
    b: u16,
    without: Flags,
    aliases: Option<Aliases>,
    guard: Option<Guard>,
) -> Receiver<Capture> {
    let (sender, captures) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (sender, guard, aliases) = (sender.clone(), guard.clone(), aliases.clone());
            thread::spawn(move || relay(stream, b, without, aliases, guard, &sender));
        }
    });
    captures
}

fn relay(
    a: TcpStream,
    port: u16,
    without: Flags,
    aliases: Option<Aliases>,
    guard: Option<Guard>,
    captures: &Sender<Capture>,
) {
    let b = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the node listens");
    for stream in [&a, &b] {
        stream.set_nodelay(true).expect("a live socket");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a live socket");
    }
    let (mut a, mut b) = (Side::new(a), Side::new(b));

    let mut hello = SendName::decode(&a.message()).expect("a hello");
    hello.flags = hello.flags.known().without(without);
    if let Some(aliases) = &aliases {
        hello.name = aliases.a.to_string();
    }
    b.say(&hello.encode());
    let status = Status::decode(&b.message()).expect("a status");
    a.say(&status.encode());
    if !status.goes_on() {
        return;
    }
    let mut challenge = Challenge::decode(&b.message()).expect("a challenge");
    challenge.flags = challenge.flags.known().without(without);
    if let Some(aliases) = aliases {
        challenge.name = aliases.b;
    }
    a.say(&challenge.encode());
    let reply = ChallengeReply::decode(&a.message()).expect("a reply");
    b.say(&reply.encode());
    let ack = ChallengeAck::decode(&b.message()).expect("an acknowledgement");
    a.say(&ack.encode());

    let (a_reads, b_reads) = (
        a.stream.try_clone().expect("a live socket"),
        b.stream.try_clone().expect("a live socket"),
    );
    let (from_a, from_b) = (a.rest, b.rest);
    let (a, b) = (a.stream, b.stream);
    if let Some(guard) = guard {
        guard(a, from_a, b, from_b);
        return;
    }
    let there = thread::spawn(move || pass(a, b_reads, from_a));
    let b_to_a = pass(b, a_reads, from_b);
    let a_to_b = there.join().expect("no panic");
    // A test that has ended does not listen any more.
    drop(captures.send(Capture {
        hello,
        status,
        challenge,
        reply,
        ack,
        a_to_b,
        b_to_a,
    }));
}

/// One end during the handshake.
pub struct Side {
    pub stream: TcpStream,
    /// What has come behind the last message.
    pub rest: Vec<u8>,
}

impl Side {
    pub const fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            rest: Vec::new(),
        }
    }

    pub fn message(&mut self) -> Vec<u8> {
        loop {
            if let Some((body, used)) = split_u16(&self.rest).expect("within bounds") {
                let body = body.to_vec();
                self.rest.drain(..used);
                return body;
            }
            let mut chunk = [0; 2048];
            let count = self
                .stream
                .read(&mut chunk)
                .expect("the other side speaks in time");
            assert!(count > 0, "the connection ended within the handshake");
            self.rest.extend_from_slice(&chunk[..count]);
        }
    }

    pub fn say(&mut self, body: &[u8]) {
        self.stream
            .write_all(&frame_u16(body))
            .expect("the other side listens");
    }
}

/// Passes bytes on until either side ends, and returns them.
fn pass(mut from: TcpStream, mut to: TcpStream, mut seen: Vec<u8>) -> Vec<u8> {
    let mut chunk = vec![0; 64 * 1024];
    let mut sent = to.write_all(&seen);
    while sent.is_ok() {
        match from.read(&mut chunk) {
            Ok(count @ 1..) => {
                seen.extend_from_slice(&chunk[..count]);
                sent = to.write_all(&chunk[..count]);
            }
            _ => break,
        }
    }
    // Either end may be gone already.
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
    seen
}
