//! Two sessions over connections that die, stall and overtake each other, driven by chance from a seed: each byte
//! arrives once and in order, or the session ends on both sides. In version 2 it ends with its connection, in version 3 it
//! goes on with another.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a simulation fails by panicking"
)]

use std::collections::VecDeque;

use skans_link::{
    Close, Decoder, Frame, Hello, Phase, Piece, Reason, Session, VERSION_MAX, VERSION_MIN,
    VERSION_TAKEOVER, Welcome, Window,
};

const SESSION: [u8; 16] = [9; 16];
/// The initiator, and the index of what it sends.
const A: usize = 0;
/// The responder.
const B: usize = 1;

/// What a side keeps at most, in bytes: little, so that it is often full.
const WINDOW: usize = 10_000;

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
    window: Window,
    writer: usize,
    reader: usize,
    decoder: Decoder,
    next: Option<(usize, Decoder)>,
    next_writer: Option<usize>,
    /// MOVED was read, and what came before it waits for the node.
    full: bool,
    /// Bytes that the node has said.
    said: u64,
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
    /// Takeovers and resumptions of which WELCOME was lost or came too late.
    given_up: u32,
    /// Losses after which both sides went on.
    resumed: u32,
    version: u8,
    /// The nodes say nothing more.
    settling: bool,
}

/// The byte at an offset: no two stretches look alike.
fn byte(side: usize, offset: u64) -> u8 {
    ((offset ^ (offset >> 8) ^ (offset >> 16)).wrapping_mul(151) as u8) ^ (side as u8 * 0x55)
}

fn hello(version_max: u8, (takeover, offset): (u32, u64), resume: bool) -> Hello {
    Hello {
        version_min: VERSION_MIN,
        version_max,
        session: SESSION,
        offset,
        tick_seconds: 60,
        clique: None,
        from: "a@x".into(),
        to: "b@y".into(),
        takeover,
        resume,
    }
}

fn welcome(version: u8, offset: u64) -> Welcome {
    Welcome {
        version,
        session: SESSION,
        offset,
        tick_seconds: 60,
        clique: None,
    }
}

impl World {
    fn new(seed: u64, version: u8) -> Self {
        let mut sessions = [Session::initiator(SESSION), Session::responder()];
        let answer = Frame::Welcome(welcome(version, 0));
        sessions[A].on_frame(&answer).unwrap();
        let greeting = Frame::Hello(hello(version, (0, 0), false));
        sessions[B].on_frame(&greeting).unwrap();
        let sides = sessions.map(|mut session| {
            session.start_streaming();
            Side {
                session,
                window: Window::new(WINDOW),
                writer: 0,
                reader: 0,
                decoder: Decoder::new(),
                next: None,
                next_writer: None,
                full: false,
                said: 0,
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
            resumed: 0,
            version,
            settling: false,
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
        self.let_go(side);
    }

    /// Hangs up on everything that a side holds.
    fn let_go(&mut self, side: usize) {
        let this = &mut self.sides[side];
        let mut held = vec![this.writer, this.reader];
        held.extend(this.next.take().map(|next| next.0));
        held.extend(this.next_writer.take());
        this.full = false;
        if side == A {
            held.extend(self.dialled.take().map(|opening| opening.connection));
        }
        for connection in held {
            self.connections[connection].closed = true;
        }
    }

    /// A side finds its connection gone, or thinks so.
    fn lose(&mut self, side: usize) {
        if self.sides[side].over {
            return;
        }
        if self.sides[side].session.lost() {
            self.let_go(side);
        } else {
            self.end(side, None);
        }
    }

    /// The session goes on with a new connection, from what the other side has read.
    fn go_on(&mut self, side: usize, opening: Opening, offset: u64) {
        let this = &mut self.sides[side];
        assert!(this.window.rewind(offset), "kept what has to be sent again");
        (this.writer, this.reader) = (opening.connection, opening.connection);
        this.decoder = opening.decoder;
    }

    fn is_adrift(&self, side: usize) -> bool {
        self.sides[side].session.phase() == Phase::Adrift
    }

    /// What the node says, as far as the window lets it.
    fn say(&mut self, side: usize) {
        let most = if self.settling {
            0
        } else {
            self.chance.below(40)
        };
        let this = &mut self.sides[side];
        this.window.release(this.session.acknowledged());
        let room = this.window.room();
        let count = most.min(room.len());
        for (at, place) in (this.said..).zip(&mut room[..count]) {
            *place = byte(side, at);
        }
        this.window.read(count);
        this.window.decide(count);
        this.said += count as u64;
    }

    /// What the agent's sending half does between two frames.
    fn send(&mut self, side: usize) {
        if self.sides[side].over {
            return;
        }
        self.say(side);
        if self.is_adrift(side) {
            return;
        }
        if self.sides[side].next_writer.is_some()
            && let Some(moved) = self.sides[side].session.depart()
        {
            let old = self.sides[side].writer;
            let gone = !self.write(side, old, &moved.encode());
            self.sides[side].writer = self.sides[side].next_writer.take().unwrap();
            if gone {
                return self.lose(side);
            }
        }
        if self.chance.one_in(4)
            && let Some(offset) = self.sides[side].session.ack_now()
        {
            // Far more often than agents do: acknowledgements overtake greetings.
            let writer = self.sides[side].writer;
            self.write(side, writer, &skans_link::ack(offset));
        }
        let most = 1 + self.chance.below(60);
        let this = &mut self.sides[side];
        let (offset, bytes) = this.window.send(most);
        let length = bytes.len();
        if self.settling && length == 0 && !self.connections[this.writer].closed {
            return;
        }
        let mut frame = skans_link::data_header(offset, length).to_vec();
        frame.extend_from_slice(bytes);
        assert_eq!(
            this.session.send(length),
            offset,
            "session and window agree"
        );
        let writer = this.writer;
        if !self.write(side, writer, &frame) {
            self.lose(side);
        }
    }

    /// What the agent's receiving half does with what a read gives it.
    fn receive(&mut self, side: usize) {
        if self.sides[side].over {
            return;
        }
        if self.is_adrift(side) {
            return;
        }
        if self.sides[side].full {
            return self.settle_reader(side);
        }
        let at = self.sides[side].reader;
        let under_way = self.connections[at].way[1 - side].len();
        if under_way == 0 {
            if self.connections[at].closed {
                self.lose(side);
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
                Some(Piece::DataStart { offset, .. }) => this.session.on_data(offset).unwrap(),
                Some(Piece::Data(data)) => {
                    this.session.on_bytes(data.len());
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
            return self.lose(side);
        };
        (this.reader, this.decoder, this.full) = (next, decoder, false);
        this.session.settle();
        self.takeovers += u32::from(side == A);
    }

    /// The initiator begins a takeover, or looks for another connection if it has none.
    fn dial(&mut self) {
        if self.sides[A].over || self.dialled.is_some() {
            return;
        }
        let resume = self.is_adrift(A);
        let session = &mut self.sides[A].session;
        let begun = match resume {
            true => session.begin_resume(),
            false => session.begin_takeover(),
        };
        let Ok(begun) = begun else {
            return;
        };
        let connection = self.connections.len();
        self.connections.push(Connection::default());
        let greeting = hello(self.version, begun, resume);
        self.write(A, connection, &greeting.encode());
        let opening = || Opening {
            connection,
            decoder: Decoder::new(),
            number: begun.0,
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
        let session = &mut self.sides[B].session;
        if !self.sides[B].over && session.could_resume(&hello).is_ok() {
            // It may not have noticed yet, or the initiator was wrong.
            self.lose(B);
            let session = &mut self.sides[B].session;
            let offset = session.on_resume_hello(&hello).unwrap();
            self.go_on(B, opening, hello.offset);
            if !self.write(B, at, &welcome(self.version, offset).encode()) {
                self.lose(B);
            }
            return;
        }
        let answer = match self.sides[B].over || hello.resume {
            true => None,
            false => session.on_takeover_hello(&hello).ok(),
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
        if !self.write(B, at, &welcome(self.version, offset).encode()) {
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
        let resume = self.is_adrift(A);
        let session = &mut self.sides[A].session;
        match Self::greeting(&mut self.connections[at], B, &mut opening) {
            Some(Frame::Welcome(welcome)) if resume => {
                session.on_resume_welcome(&welcome).unwrap();
                self.go_on(A, opening, welcome.offset);
                self.resumed += 1;
            }
            Some(Frame::Welcome(welcome)) => {
                session.on_takeover_welcome(&welcome).unwrap();
                self.sides[A].next = Some((at, opening.decoder));
                self.sides[A].next_writer = Some(at);
            }
            // There is no such session any more.
            Some(Frame::Close(_)) if resume => self.end(A, None),
            None if patient && !self.connections[at].closed => self.dialled = Some(opening),
            _ => {
                assert!(
                    resume || session.give_up(opening.number),
                    "nothing has moved yet"
                );
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
        assert!(self.sides[B].session.begin_resume().is_err());
        for resume in [false, true] {
            let greeting = hello(self.version, (number, self.sides[A].received), resume);
            assert!(self.sides[A].session.on_takeover_hello(&greeting).is_err());
            assert!(self.sides[A].session.on_resume_hello(&greeting).is_err());
            let old = (self.sides[B].session.connection(), self.sides[B].said);
            let old = hello(self.version, old, resume);
            assert!(self.sides[B].session.on_takeover_hello(&old).is_err());
            assert!(self.sides[B].session.on_resume_hello(&old).is_err());
        }
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
            // A ping that was not answered, whether or not there was a reason.
            97 if faults && self.version > VERSION_TAKEOVER => self.lose(side),
            98 if faults && self.chance.one_in(2) => self.await_welcome(false),
            99 if faults && self.chance.one_in(60) => self.end(side, Some(Reason::NodeLeft)),
            _ => {}
        }
    }

    /// Lets everything arrive that can; a side that finds nobody to go on with ends in time.
    fn settle(&mut self) {
        self.settling = true;
        for _ in 0..60_000 {
            for side in [A, B] {
                self.receive(side);
                let this = &self.sides[side];
                let unsent = this.window.is_unsent();
                // A writer finds out only by writing.
                let gone = self.connections[this.writer].closed;
                if this.next_writer.is_some() || unsent || gone {
                    self.send(side);
                }
            }
            self.accept();
            self.await_welcome(true);
            if self.is_adrift(A) {
                self.dial();
            }
            if self.sides[A].over && self.is_adrift(B) {
                self.end(B, None);
            }
            let idle = self.dialled.is_none()
                && self.accepted.is_empty()
                && self.sides.iter().zip([B, A]).all(|(side, other)| {
                    let reads = &self.connections[side.reader];
                    side.over
                        || (!side.full
                            && side.session.phase() != Phase::Adrift
                            && !side.window.is_unsent()
                            && reads.way[other].is_empty()
                            && !reads.closed
                            && !self.connections[side.writer].closed)
                });
            if idle || self.sides.iter().all(|side| side.over) {
                return;
            }
        }
        panic!("it does not settle");
    }
}

fn runs() -> u64 {
    std::env::var("SKANS_SIMULATIONS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_500)
}

/// What became of a schedule: one that has settled is the same on both sides.
fn check(world: &World, seed: u64) -> bool {
    let [a, b] = &world.sides;
    assert_eq!(
        a.over, b.over,
        "seed {seed}: a session that lives on one side only"
    );
    if a.over {
        assert!(a.received <= b.said && b.received <= a.said, "seed {seed}");
    } else {
        assert_eq!((a.received, b.received), (b.said, a.said), "seed {seed}");
    }
    a.over
}

#[test]
fn each_byte_arrives_once_and_in_order_or_both_sides_end() {
    let (mut moved, mut given_up, mut resumed, mut ended) = (0, 0, 0, 0);
    for seed in 0..runs() {
        let mut world = World::new(seed, VERSION_MAX);
        for _ in 0..600 {
            world.step(true);
        }
        world.settle();
        ended += u32::from(check(&world, seed));
        moved += world.takeovers;
        given_up += world.given_up;
        resumed += world.resumed;
    }
    // A simulation in which nothing happens proves nothing.
    assert!(moved > 1_000, "{moved} takeovers");
    assert!(given_up > 100, "{given_up} given up");
    assert!(resumed > 1_000, "{resumed} resumed");
    assert!(ended > 100, "{ended} ended");
    println!(
        "{moved} takeovers, {resumed} losses outlived, {given_up} attempts given up, {ended} of {} sessions ended",
        runs()
    );
}

#[test]
fn in_version_2_the_session_ends_with_its_connection() {
    let (mut moved, mut ended) = (0, 0);
    for seed in 0..runs() / 2 {
        let mut world = World::new(seed, VERSION_TAKEOVER);
        for _ in 0..600 {
            world.step(true);
        }
        world.settle();
        ended += u32::from(check(&world, seed));
        moved += world.takeovers;
        assert_eq!(world.resumed, 0);
    }
    assert!(
        moved > 500 && ended > 50,
        "{moved} takeovers, {ended} ended"
    );
}

#[test]
fn without_faults_nothing_ends_whatever_overtakes_what() {
    for version in [VERSION_TAKEOVER, VERSION_MAX] {
        for seed in 0..runs() / 3 {
            let mut world = World::new(seed, version);
            for _ in 0..1_000 {
                world.step(false);
            }
            world.settle();
            assert!(!check(&world, seed), "seed {seed}");
            assert_eq!(world.resumed, 0, "nor is anything lost");
        }
    }
}

/// However often connections break, none that nobody ends is over.
#[test]
fn a_session_outlives_any_number_of_losses() {
    let mut resumed = 0;
    for seed in 0..runs() / 3 {
        let mut world = World::new(seed, VERSION_MAX);
        for _ in 0..1_000 {
            match world.chance.below(40) {
                0 => world.cut(),
                1 => {
                    let side = world.chance.below(2);
                    world.lose(side);
                }
                _ => world.step(false),
            }
        }
        world.settle();
        assert!(!check(&world, seed), "seed {seed}");
        resumed += world.resumed;
    }
    assert!(resumed > 1_000, "{resumed} resumed");
}

/// Half-open: what is written vanishes, and nobody is told. Nothing false arrives, and once a ping finds it out the session
/// goes on; in version 2 both sides end when the link's time is up.
#[test]
fn a_connection_that_swallows_everything_delivers_nothing_false() {
    for version in [VERSION_TAKEOVER, VERSION_MAX] {
        for seed in 0..runs() / 3 {
            let mut world = World::new(seed, version);
            for step in 0..800 {
                if step == 300 + (seed as usize % 200) {
                    let index = world.chance.below(world.connections.len());
                    world.connections[index].dead = true;
                }
                world.step(false);
            }
            if version == VERSION_MAX {
                world.lose(A);
                world.lose(B);
                world.settle();
                assert!(!check(&world, seed), "seed {seed}");
                continue;
            }
            world.end(A, Some(Reason::Expired));
            world.end(B, Some(Reason::Expired));
            let [a, b] = &world.sides;
            assert!(a.received <= b.said && b.received <= a.said, "seed {seed}");
        }
    }
}
