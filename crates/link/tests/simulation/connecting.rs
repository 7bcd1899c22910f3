//! How the two find each other: dialling, accepting, greeting, and what strangers try.

use skans_link::{Close, Decoder, Frame, Piece, Reason};

use crate::world::{A, B, Connection, Opening, World, hello, welcome};

impl World {
    /// The initiator begins a takeover, or looks for another connection if it has none.
    pub fn dial(&mut self) {
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
    pub fn greeting(
        connection: &mut Connection,
        from: usize,
        opening: &mut Opening,
    ) -> Option<Frame> {
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
    pub fn accept(&mut self) {
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
    pub fn await_welcome(&mut self, patient: bool) {
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
    pub fn wrong_way(&mut self) {
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
}
