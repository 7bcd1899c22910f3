//! What there is: connections, the two sides, and what befalls both. What they say is in `traffic`, how they find each other in
//! `connecting`.

use std::collections::VecDeque;

use skans_link::{
    Close, Decoder, Frame, Hello, Phase, Reason, Session, VERSION_MIN, VERSION_TAKEOVER, Welcome,
    Window,
};

use crate::chance::Chance;

pub const SESSION: [u8; 16] = [9; 16];
/// The initiator, and the index of what it sends.
pub const A: usize = 0;
/// The responder.
pub const B: usize = 1;

/// What a side keeps at most, in bytes: little, so that it is often full.
pub const WINDOW: usize = 10_000;
/// One TCP connection: what is under way from A, and from B.
#[derive(Default)]
pub struct Connection {
    pub way: [VecDeque<u8>; 2],
    /// Nothing more can be written; what is under way still arrives.
    pub closed: bool,
    /// What is written vanishes, and nobody is told.
    pub dead: bool,
}

/// What somebody sees of a connection that is being set up.
pub struct Opening {
    pub connection: usize,
    pub decoder: Decoder,
    pub number: u32,
}

pub struct Side {
    pub session: Session,
    pub window: Window,
    pub writer: usize,
    pub reader: usize,
    pub decoder: Decoder,
    pub next: Option<(usize, Decoder)>,
    pub next_writer: Option<usize>,
    /// MOVED was read, and what came before it waits for the node.
    pub full: bool,
    /// Bytes that the node has said.
    pub said: u64,
    pub received: u64,
    pub over: bool,
    /// Of a service: the node has said all that it has to say.
    pub finished: bool,
    /// Of a service: all is done, and nothing was cut short.
    pub done: bool,
}

pub struct World {
    pub connections: Vec<Connection>,
    pub sides: [Side; 2],
    /// The initiator waits for WELCOME on this.
    pub dialled: Option<Opening>,
    /// The responder reads HELLO on these.
    pub accepted: Vec<Opening>,
    pub chance: Chance,
    pub takeovers: u32,
    /// Takeovers and resumptions of which WELCOME was lost or came too late.
    pub given_up: u32,
    /// Losses after which both sides went on.
    pub resumed: u32,
    /// How often another process took over.
    pub handed_over: u32,
    pub version: u8,
    /// The nodes say nothing more.
    pub settling: bool,
    /// It carries a service: each direction ends for itself.
    pub service: bool,
}

/// The byte at an offset: no two stretches look alike.
pub fn byte(side: usize, offset: u64) -> u8 {
    ((offset ^ (offset >> 8) ^ (offset >> 16)).wrapping_mul(151) as u8) ^ (side as u8 * 0x55)
}

pub fn hello(version_max: u8, (takeover, offset): (u32, u64), resume: bool) -> Hello {
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
        service: String::new(),
    }
}

pub fn welcome(version: u8, offset: u64) -> Welcome {
    Welcome {
        version,
        session: SESSION,
        offset,
        tick_seconds: 60,
        clique: None,
    }
}
impl World {
    pub fn new(seed: u64, version: u8) -> Self {
        Self::of(seed, version, "")
    }

    pub fn of(seed: u64, version: u8, service: &str) -> Self {
        let mut sessions = [Session::initiator(SESSION), Session::responder()];
        if !service.is_empty() {
            sessions[A] = Session::initiator(SESSION).for_service();
        }
        let answer = Frame::Welcome(welcome(version, 0));
        sessions[A].on_frame(&answer).unwrap();
        let greeting = Frame::Hello(Hello {
            service: service.into(),
            ..hello(version, (0, 0), false)
        });
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
                finished: false,
                done: false,
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
            handed_over: 0,
            version,
            settling: false,
            service: !service.is_empty(),
        }
    }

    /// Whether the bytes could be written.
    pub fn write(&mut self, side: usize, connection: usize, bytes: &[u8]) -> bool {
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
    pub fn end(&mut self, side: usize, last: Option<Reason>) {
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
    pub fn let_go(&mut self, side: usize) {
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
    pub fn lose(&mut self, side: usize) {
        if self.sides[side].over {
            return;
        }
        if self.sides[side].session.lost() {
            self.let_go(side);
            // Connections to services end with their agent.
            if !self.service && self.chance.one_in(3) {
                self.hand_over(side);
            }
        } else {
            self.end(side, None);
        }
    }

    /// Another process takes the place of this one, which has gone as far as to lose its connection on purpose.
    pub fn hand_over(&mut self, side: usize) {
        let this = &mut self.sides[side];
        this.session = Session::thaw(&this.session.freeze()).unwrap();
        this.window = Window::thaw(&this.window.freeze(), WINDOW).unwrap();
        assert!(this.window.fits(&this.session));
        this.decoder = Decoder::new();
        self.handed_over += 1;
    }

    /// The session goes on with a new connection, from what the other side has read.
    pub fn go_on(&mut self, side: usize, opening: Opening, offset: u64) {
        let this = &mut self.sides[side];
        assert!(this.window.rewind(offset), "kept what has to be sent again");
        (this.writer, this.reader) = (opening.connection, opening.connection);
        this.decoder = opening.decoder;
    }

    pub fn is_adrift(&self, side: usize) -> bool {
        self.sides[side].session.phase() == Phase::Adrift
    }

    /// What the node says, as far as the window lets it.
    /// A connection breaks: what is under way is lost from some byte on.
    pub fn cut(&mut self) {
        let index = self.chance.below(self.connections.len());
        let chance = &mut self.chance;
        let connection = &mut self.connections[index];
        connection.closed = true;
        for way in &mut connection.way {
            let kept = chance.below(way.len() + 1);
            way.truncate(kept);
        }
    }

    pub fn step(&mut self, faults: bool) {
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
    pub fn settle(&mut self) {
        self.settling = true;
        for _ in 0..60_000 {
            for side in [A, B] {
                self.receive(side);
                let this = &self.sides[side];
                let unsent = this.window.is_unsent();
                // A writer finds out only by writing.
                let gone = self.connections[this.writer].closed;
                let silent = self.service && !this.finished;
                if this.next_writer.is_some() || unsent || gone || silent {
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
                            // By the greeting of a connection over which nothing has come since.
                            && !side.session.is_over()
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
