//! Two sessions over connections that die, stall and overtake each other, driven by chance from a seed: each byte
//! arrives once and in order, or the session ends on both sides.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a simulation fails by panicking"
)]

use std::collections::VecDeque;

use skans_link::{
    Close, Decoder, Frame, Hello, Phase, Piece, Reason, Session, VERSION_MAX, VERSION_MIN, Welcome,
};

const SESSION: [u8; 16] = [9; 16];
/// The initiator, and the index of what it sends.
const A: usize = 0;
/// The responder.
const B: usize = 1;

/// xorshift64*: the same seed, the same run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % most
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// One TCP connection: what is under way from A, and from B.
#[derive(Default)]
struct Connection {
    way: [VecDeque<u8>; 2],
    /// Nothing more can be written; what is under way still arrives.
    closed: bool,
    /// What is written vanishes, and nobody is told.
    dead: bool,
}

/// What somebody sees of a connection that is being set up.
struct Opening {
    connection: usize,
    decoder: Decoder,
    number: u32,
}

struct Side {
    session: Session,
    writer: usize,
    reader: usize,
    decoder: Decoder,
    next: Option<(usize, Decoder)>,
    next_writer: Option<usize>,
    /// MOVED was read, and what came before it waits for the node.
    full: bool,
    sent: u64,
    received: u64,
    over: bool,
}

struct World {
    connections: Vec<Connection>,
    sides: [Side; 2],
    /// The initiator waits for WELCOME on this.
    dialled: Option<Opening>,
    /// The responder reads HELLO on these.
    accepted: Vec<Opening>,
    chance: Chance,
    takeovers: u32,
    /// Takeovers of which WELCOME was lost or came too late.
    given_up: u32,
}

/// The byte at an offset: no two stretches look alike.
fn byte(side: usize, offset: u64) -> u8 {
    ((offset ^ (offset >> 8) ^ (offset >> 16)).wrapping_mul(151) as u8) ^ (side as u8 * 0x55)
}

fn hello(takeover: u32, offset: u64) -> Hello {
    Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        session: SESSION,
        offset,
        tick_seconds: 60,
        clique: None,
        from: "a@x".into(),
        to: "b@y".into(),
        takeover,
    }
}

fn welcome(offset: u64) -> Welcome {
    Welcome {
        version: VERSION_MAX,
        session: SESSION,
        offset,
        tick_seconds: 60,
        clique: None,
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut sessions = [Session::initiator(SESSION), Session::responder()];
        sessions[A].on_frame(&Frame::Welcome(welcome(0))).unwrap();
        sessions[B].on_frame(&Frame::Hello(hello(0, 0))).unwrap();
        let sides = sessions.map(|mut session| {
            session.start_streaming();
            Side {
                session,
                writer: 0,
                reader: 0,
                decoder: Decoder::new(),
                next: None,
                next_writer: None,
                full: false,
                sent: 0,
                received: 0,
                over: false,
            }
        });
        Self {
            connections: vec![Connection::default()],
            sides,
            dialled: None,
            accepted: Vec::new(),
            chance: Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            takeovers: 0,
            given_up: 0,
        }
    }

    /// Whether the bytes could be written.
    fn write(&mut self, side: usize, connection: usize, bytes: &[u8]) -> bool {
        let connection = &mut self.connections[connection];
        if connection.closed {
            return false;
        }
        if !connection.dead {
            connection.way[side].extend(bytes);
        }
        true
    }

    /// One side is over: it hangs up on everything that it holds.
    fn end(&mut self, side: usize, last: Option<Reason>) {
        if std::mem::replace(&mut self.sides[side].over, true) {
            return;
        }
        if let Some(reason) = last {
            let writer = self.sides[side].writer;
            self.write(side, writer, &Close::new(reason, "").encode());
        }
        let this = &self.sides[side];
        let mut held = vec![this.writer, this.reader];
        held.extend(this.next.as_ref().map(|next| next.0));
        held.extend(this.next_writer);
        if side == A {
            held.extend(self.dialled.take().map(|opening| opening.connection));
        }
        for connection in held {
            self.connections[connection].closed = true;
        }
    }

    /// What the agent's sending half does between two frames.
    fn send(&mut self, side: usize) {
        if self.sides[side].over {
            return;
        }
        if self.sides[side].next_writer.is_some()
            && let Some(moved) = self.sides[side].session.depart()
        {
            let old = self.sides[side].writer;
            let gone = !self.write(side, old, &moved.encode());
            self.sides[side].writer = self.sides[side].next_writer.take().unwrap();
            if gone {
                return self.end(side, None);
            }
        }
        if self.chance.one_in(4) {
            // Far more often than agents do: acknowledgements overtake greetings.
            let (writer, received) = (self.sides[side].writer, self.sides[side].received);
            self.write(side, writer, &skans_link::ack(received));
        }
        let length = self.chance.below(40);
        let this = &mut self.sides[side];
        let offset = this.session.send(length);
        assert_eq!(offset, this.sent, "the offset is that of the stream");
        let mut frame = skans_link::data_header(offset, length).to_vec();
        frame.extend((offset..offset + length as u64).map(|at| byte(side, at)));
        this.sent += length as u64;
        let writer = this.writer;
        if !self.write(side, writer, &frame) {
            self.end(side, None);
        }
    }

    /// What the agent's receiving half does with what a read gives it.
    fn receive(&mut self, side: usize) {
        if self.sides[side].over {
            return;
        }
        if self.sides[side].full {
            return self.settle_reader(side);
        }
        let at = self.sides[side].reader;
        let under_way = self.connections[at].way[1 - side].len();
        if under_way == 0 {
            if self.connections[at].closed {
                self.end(side, None);
            }
            return;
        }
        let count = 1 + self.chance.below(under_way.min(64));
        let bytes: Vec<u8> = self.connections[at].way[1 - side].drain(..count).collect();
        let this = &mut self.sides[side];
        let mut input = bytes.as_slice();
        loop {
            match this.decoder.next(&mut input).unwrap() {
                None => break,
                Some(Piece::DataStart { offset, length }) => {
                    this.session.on_data(offset, length).unwrap();
                }
                Some(Piece::Data(data)) => {
                    for &found in data {
                        let wanted = byte(1 - side, this.received);
                        assert_eq!(found, wanted, "at offset {}", this.received);
                        this.received += 1;
                    }
                }
                Some(Piece::Frame(Frame::Close(close))) => {
                    this.session.on_frame(&Frame::Close(close)).unwrap();
                    assert_eq!(this.session.phase(), Phase::Closed);
                    return self.end(side, None);
                }
                Some(Piece::Frame(Frame::Moved(moved))) => {
                    this.session.on_frame(&Frame::Moved(moved)).unwrap();
                    assert!(input.is_empty(), "nothing comes behind MOVED");
                    this.full = true;
                    break;
                }
                Some(Piece::Frame(other)) => this.session.on_frame(&other).unwrap(),
            }
        }
    }

    /// What came before MOVED has been taken: the new connection is read from here on.
    fn settle_reader(&mut self, side: usize) {
        let this = &mut self.sides[side];
        let Some((next, decoder)) = this.next.take() else {
            // The new connection was lost after WELCOME.
            return self.end(side, None);
        };
        (this.reader, this.decoder, this.full) = (next, decoder, false);
        this.session.settle();
        self.takeovers += u32::from(side == A);
    }

    fn dial(&mut self) {
        if self.sides[A].over {
            return;
        }
        let Ok((number, offset)) = self.sides[A].session.begin_takeover() else {
            return;
        };
        let connection = self.connections.len();
        self.connections.push(Connection::default());
        self.write(A, connection, &hello(number, offset).encode());
        let opening = || Opening {
            connection,
            decoder: Decoder::new(),
            number,
        };
        self.dialled = Some(opening());
        self.accepted.push(opening());
    }

    /// The next whole frame on a new connection, if it has come.
    fn greeting(connection: &mut Connection, from: usize, opening: &mut Opening) -> Option<Frame> {
        // No further than the frame: what follows belongs to the stream.
        while let Some(next) = connection.way[from].pop_front() {
            let bytes = [next];
            if let Some(Piece::Frame(frame)) = opening.decoder.next(&mut bytes.as_slice()).unwrap()
            {
                return Some(frame);
            }
        }
        None
    }

    /// The responder looks at one of the new connections, in any order.
    fn accept(&mut self) {
        if self.accepted.is_empty() {
            return;
        }
        let index = self.chance.below(self.accepted.len());
        let mut opening = self.accepted.swap_remove(index);
        let at = opening.connection;
        let Some(frame) = Self::greeting(&mut self.connections[at], A, &mut opening) else {
            if self.connections[at].closed {
                return;
            }
            return self.accepted.push(opening);
        };
        let Frame::Hello(hello) = frame else {
            panic!("wanted HELLO");
        };
        let answer = match self.sides[B].over {
            true => None,
            false => self.sides[B].session.on_takeover_hello(&hello).ok(),
        };
        let Some(offset) = answer else {
            self.write(B, at, &Close::new(Reason::UnknownSession, "").encode());
            self.connections[at].closed = true;
            return;
        };
        if let Some((former, _)) = self.sides[B].next.replace((at, opening.decoder)) {
            self.connections[former].closed = true;
        }
        // Ready at once: it is for the session to say when it may be used.
        self.sides[B].next_writer = Some(at);
        if !self.write(B, at, &welcome(offset).encode()) {
            self.sides[B].session.give_up(opening.number);
            (self.sides[B].next, self.sides[B].next_writer) = (None, None);
        }
    }

    /// The initiator looks for WELCOME, or has waited long enough.
    fn await_welcome(&mut self, patient: bool) {
        let Some(mut opening) = self.dialled.take() else {
            return;
        };
        let at = opening.connection;
        let session = &mut self.sides[A].session;
        match Self::greeting(&mut self.connections[at], B, &mut opening) {
            Some(Frame::Welcome(welcome)) => {
                session.on_takeover_welcome(&welcome).unwrap();
                self.sides[A].next = Some((at, opening.decoder));
                self.sides[A].next_writer = Some(at);
            }
            None if patient && !self.connections[at].closed => self.dialled = Some(opening),
            _ => {
                assert!(session.give_up(opening.number), "nothing has moved yet");
                self.connections[at].closed = true;
                self.given_up += 1;
            }
        }
    }

    /// A responder that tries to take over, and an initiator that is asked to let somebody.
    fn wrong_way(&mut self) {
        let before = self
            .sides
            .each_ref()
            .map(|side| format!("{:?}", side.session));
        assert!(self.sides[B].session.begin_takeover().is_err());
        let number = 1 + self.sides[A].session.connection();
        let greeting = hello(number, self.sides[A].received);
        assert!(self.sides[A].session.on_takeover_hello(&greeting).is_err());
        let old = hello(self.sides[B].session.connection(), self.sides[B].sent);
        assert!(self.sides[B].session.on_takeover_hello(&old).is_err());
        let after = self
            .sides
            .each_ref()
            .map(|side| format!("{:?}", side.session));
        assert_eq!(before, after, "what is refused changes nothing");
    }

    /// A connection breaks: what is under way is lost from some byte on.
    fn cut(&mut self) {
        let index = self.chance.below(self.connections.len());
        let chance = &mut self.chance;
        let connection = &mut self.connections[index];
        connection.closed = true;
        for way in &mut connection.way {
            let kept = chance.below(way.len() + 1);
            way.truncate(kept);
        }
    }

    fn step(&mut self, faults: bool) {
        let side = self.chance.below(2);
        match self.chance.below(100) {
            0..35 => self.send(side),
            35..80 => self.receive(side),
            80..84 => self.dial(),
            84..90 => self.accept(),
            90..96 => self.await_welcome(true),
            96 => self.wrong_way(),
            97 if faults && self.chance.one_in(8) => self.cut(),
            98 if faults && self.chance.one_in(2) => self.await_welcome(false),
            99 if faults && self.chance.one_in(60) => self.end(side, Some(Reason::NodeLeft)),
            _ => {}
        }
    }

    /// Lets everything arrive that can.
    fn settle(&mut self) {
        for _ in 0..20_000 {
            for side in [A, B] {
                self.receive(side);
                if self.sides[side].next_writer.is_some() {
                    self.send(side);
                }
            }
            self.accept();
            self.await_welcome(true);
            let idle = self.dialled.is_none()
                && self.accepted.is_empty()
                && self.sides.iter().zip([B, A]).all(|(side, other)| {
                    let reads = &self.connections[side.reader];
                    side.over || (!side.full && reads.way[other].is_empty() && !reads.closed)
                });
            if idle {
                break;
            }
        }
        // What a writer finds out only by writing.
        for side in [A, B] {
            self.send(side);
            self.send(side);
        }
        for _ in 0..20_000 {
            self.receive(A);
            self.receive(B);
        }
    }
}

fn runs() -> u64 {
    std::env::var("SKANS_SIMULATIONS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_500)
}

#[test]
fn each_byte_arrives_once_and_in_order_or_both_sides_end() {
    let (mut moved, mut given_up, mut ended) = (0, 0, 0);
    for seed in 0..runs() {
        let mut world = World::new(seed);
        for _ in 0..600 {
            world.step(true);
        }
        world.settle();
        let [a, b] = &world.sides;
        assert_eq!(
            a.over, b.over,
            "seed {seed}: a session that lives on one side only"
        );
        if a.over {
            ended += 1;
            assert!(a.received <= b.sent && b.received <= a.sent, "seed {seed}");
        } else {
            assert_eq!((a.received, b.received), (b.sent, a.sent), "seed {seed}");
        }
        moved += world.takeovers;
        given_up += world.given_up;
    }
    // A simulation in which nothing happens proves nothing.
    assert!(moved > 1_000, "{moved} takeovers");
    assert!(given_up > 100, "{given_up} given up");
    assert!(ended > 100, "{ended} ended");
    println!(
        "{moved} takeovers, {given_up} given up, {ended} of {} sessions ended",
        runs()
    );
}

#[test]
fn without_faults_nothing_ends_whatever_overtakes_what() {
    for seed in 0..runs() / 3 {
        let mut world = World::new(seed);
        for _ in 0..1_000 {
            world.step(false);
        }
        world.settle();
        let [a, b] = &world.sides;
        assert!(!a.over && !b.over, "seed {seed}");
        assert_eq!((a.received, b.received), (b.sent, a.sent), "seed {seed}");
    }
}

/// Half-open: what is written vanishes, and nobody is told. Nothing false arrives, and when the link's time is up both
/// sides end by themselves.
#[test]
fn a_connection_that_swallows_everything_delivers_nothing_false() {
    for seed in 0..runs() / 3 {
        let mut world = World::new(seed);
        for step in 0..800 {
            if step == 300 + (seed as usize % 200) {
                let index = world.chance.below(world.connections.len());
                world.connections[index].dead = true;
            }
            world.step(false);
        }
        world.end(A, Some(Reason::Expired));
        world.end(B, Some(Reason::Expired));
        let [a, b] = &world.sides;
        assert!(a.received <= b.sent && b.received <= a.sent, "seed {seed}");
    }
}
