//! A peer of a node that is no node: a certificate that is in order or an agent of its own, the handshake, and from then on
//! whatever bytes it likes. How terms and messages are written is in `by_hand/terms.rs`, on purpose by nothing of the product.
//!
//! Part of the test programs, as `hostile` is. What is asserted is not here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on has failed"
)]

#[macro_use]
#[path = "by_hand/terms.rs"]
pub mod terms;
#[path = "by_hand/attacks.rs"]
pub mod attacks;
#[path = "by_hand/refused.rs"]
pub mod refused;
#[path = "by_hand/victim.rs"]
pub mod victim;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use skans_dist::atom_cache::AtomCache;
use skans_dist::control::{Message, Signal, Spawned};
use skans_dist::frame::{self, Frame};
use skans_dist::handshake::{self, ChallengeAck, ChallengeReply};
use skans_dist::term::Reader;
use skans_dist::{Flags, stream};
use skans_identity::forge::Forged;
use skans_lab::until;
use skans_promises::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::hostile::{DistEnd, LinkEnd, hello, ours, send_name};
use terms::{Delivery, Said, Slots, T};

/// What the node at the other end has said about a request of this peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A process was started for the request with this number.
    Spawned,
    /// None was, and why.
    NotSpawned(String),
    /// A monitor has fired, and its reason, if that is an atom.
    Down(String),
}

/// How it is connected.
enum Wire {
    /// Past any agent of its own: only the other one decides.
    Link(Box<LinkEnd>, u64),
    /// Through its own agent, as a node.
    Node(DistEnd),
}

/// A peer whose node has been let in.
pub struct Peer {
    wire: Wire,
    name: String,
    slots: Slots,
    sequence: u64,
    held: Vec<u8>,
    cache: AtomCache,
    heard: BTreeMap<u32, Vec<Heard>>,
    broken: BTreeSet<u32>,
}

impl Peer {
    /// Dials the agent of `to` with a certificate, and has agreed with its node on `flags` at most.
    pub async fn past_its_agent(
        address: SocketAddr,
        shown: &Forged,
        (name, to): (&str, &str),
        flags: Flags,
    ) -> Self {
        let mut link = LinkEnd::dial(address, to, Some(shown), &ours())
            .await
            .unwrap();
        let mut said = send_name(name);
        said.flags = flags;
        link.up_as(&hello(name, to), &said).await;
        Self::new(Wire::Link(Box::new(link), 0), name)
    }

    /// Dials the stand-in of `to` on a host, as a node that is registered there and knows its cookie.
    pub async fn through_its_agent(
        epmd_port: u16,
        cookie: &[u8],
        (name, to): (&str, &str),
        flags: Flags,
    ) -> Self {
        let mut said = send_name(name);
        said.flags = flags;
        // While the called node calls by itself, it says so.
        let (mut caller, challenge) = until(PATIENCE, "a challenge", async || {
            let mut caller = DistEnd::dial_stand_in(epmd_port, to).await;
            match caller.call_as(&said).await {
                Ok(challenge) => Ok((caller, challenge)),
                Err(status) => Err(format!("{status:?}")),
            }
        })
        .await
        .unwrap();
        let digest = handshake::digest(cookie, challenge.challenge);
        let reply = ChallengeReply {
            challenge: 5,
            digest,
        };
        caller.send(&reply.encode()).await;
        let ack = ChallengeAck::decode(&caller.recv().await.expect("challenge_ack")).unwrap();
        assert!(handshake::digest_matches(cookie, 5, &ack.digest));
        Self::new(Wire::Node(caller), name)
    }

    fn new(wire: Wire, name: &str) -> Self {
        Self {
            wire,
            name: name.to_owned(),
            slots: Slots::default(),
            sequence: 0,
            held: Vec::new(),
            cache: AtomCache::new(),
            heard: BTreeMap::new(),
            broken: BTreeSet::new(),
        }
    }

    /// A pid of the node that it says it is.
    pub fn pid(&self) -> T {
        T::pid(&self.name, [0, 0, 0, 90, 0, 0, 0, 0, 0, 1, 0x2f, 0xd1])
    }

    /// A reference of it.
    pub fn reference(&self, number: u32) -> T {
        T::Reference(self.name.clone(), number)
    }

    /// Says a message, in this way.
    pub async fn say(&mut self, said: &Said, delivery: Delivery) {
        self.sequence += 1;
        let me = self.pid();
        let frames = delivery.frames(said, &mut self.slots, self.sequence, &me);
        self.send(&frames).await;
    }

    /// Sends any bytes.
    pub async fn send(&mut self, bytes: &[u8]) {
        match &mut self.wire {
            Wire::Node(end) => drop(end.0.write_all(bytes).await),
            Wire::Link(link, offset) => {
                for chunk in bytes.chunks(64 * 1024) {
                    let mut framed = skans_link::data_header(*offset, chunk.len()).to_vec();
                    framed.extend_from_slice(chunk);
                    *offset += chunk.len() as u64;
                    link.send(&framed).await;
                }
            }
        }
    }

    /// The first thing that is heard about the request with this number.
    pub async fn hears(&mut self, number: u32, what: &str) -> Heard {
        let begin = Instant::now();
        loop {
            if let Some(first) = self.heard.get(&number).and_then(|heard| heard.first()) {
                return first.clone();
            }
            assert!(begin.elapsed() < PATIENCE, "{what}: no answer");
            self.listen(what).await;
        }
    }

    /// Waits until a link to the process with this id has broken.
    pub async fn hears_exit(&mut self, id: u32, what: &str) {
        let begin = Instant::now();
        while !self.broken.contains(&id) {
            assert!(begin.elapsed() < PATIENCE, "{what}: no answer");
            self.listen(what).await;
        }
    }

    /// What has been heard of it so far.
    pub fn has_heard(&self, number: u32) -> &[Heard] {
        self.heard.get(&number).map_or(&[], Vec::as_slice)
    }

    /// Reads once, and takes note of what it is told.
    async fn listen(&mut self, what: &str) {
        match &mut self.wire {
            Wire::Node(end) => {
                let mut chunk = [0; 16 * 1024];
                let count = crate::hostile::bounded(what, end.0.read(&mut chunk))
                    .await
                    .unwrap();
                assert!(count > 0, "{what}: the link has ended");
                self.held.extend_from_slice(&chunk[..count]);
            }
            Wire::Link(link, _) => {
                let more = link.data().await;
                let more = more.unwrap_or_else(|end| panic!("{what}: the link has ended: {end:?}"));
                self.held.extend_from_slice(&more);
            }
        }
        while let Some((frame, used)) = frame::split(&self.held, stream::MAX_FRAME).unwrap() {
            let frame = frame.to_vec();
            self.held.drain(..used);
            self.take_note(&frame);
        }
    }

    fn take_note(&mut self, frame: &[u8]) {
        let Ok(frame) = Frame::decode(frame) else {
            return;
        };
        let mut atoms = Vec::new();
        if let Frame::Message { header, .. } | Frame::FirstFragment { header, .. } = &frame {
            self.cache.apply(header, &mut atoms).unwrap();
        }
        let Some(message) = Message::of(&frame, &atoms).unwrap() else {
            return;
        };
        let (number, heard) = match &message.control.signal {
            Signal::SpawnReply { id, result, .. } => {
                let heard = match result {
                    Spawned::Pid(_) => Heard::Spawned,
                    Spawned::Failed(atom) => Heard::NotSpawned(atom.text().unwrap().to_owned()),
                };
                (id.words()[0], heard)
            }
            Signal::MonitorExit { reference, .. } => {
                let mut reader = Reader::new(message.payload).unwrap().with_atoms(&atoms);
                let reason = reader.atom().ok();
                let reason = reason.and_then(|atom| atom.text().map(str::to_owned));
                (
                    reference.words()[0],
                    Heard::Down(reason.unwrap_or_default()),
                )
            }
            Signal::Exit { from, .. } => {
                self.broken.insert(from.id);
                return;
            }
            _ => return,
        };
        self.heard.entry(number).or_default().push(heard);
    }
}
