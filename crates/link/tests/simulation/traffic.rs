//! What is said over a connection, and what is heard.

use skans_link::{Frame, Phase, Piece, Reason};

use crate::world::{A, World, byte};

impl World {
    /// What the node says, as far as the window lets it.
    pub fn say(&mut self, side: usize) {
        if self.sides[side].finished {
            let this = &mut self.sides[side];
            this.window.release(this.session.acknowledged());
            return;
        }
        if self.service && (self.settling || self.chance.one_in(100)) {
            self.sides[side].window.finish();
            self.sides[side].finished = true;
            return;
        }
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
    pub fn send(&mut self, side: usize) {
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
        if this.window.is_at_end() {
            let (offset, _) = this.window.send(1);
            assert_eq!(this.session.end(), offset, "session and window agree");
            let writer = this.writer;
            if !self.write(side, writer, &skans_link::end(offset)) {
                self.lose(side);
            }
            return;
        }
        let (offset, bytes) = this.window.send(most);
        let length = bytes.len();
        // Behind END comes nothing.
        if (self.settling || this.finished) && length == 0 && !self.connections[this.writer].closed
        {
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
    pub fn receive(&mut self, side: usize) {
        if self.sides[side].over {
            return;
        }
        if self.is_adrift(side) {
            return;
        }
        // The greeting of the other side may have said so.
        if self.sides[side].session.is_over() {
            self.sides[side].done = true;
            return self.end(side, Some(Reason::Done));
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
        let mut input = bytes.as_slice();
        loop {
            let this = &mut self.sides[side];
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
                Some(Piece::Frame(other)) => {
                    this.session.on_frame(&other).unwrap();
                    if matches!(other, Frame::End(_)) {
                        this.session.took_end();
                    }
                    if matches!(other, Frame::End(_))
                        && let Some(offset) = this.session.ack_now()
                    {
                        let writer = this.writer;
                        self.write(side, writer, &skans_link::ack(offset));
                    }
                }
            }
            let this = &mut self.sides[side];
            if this.session.is_over() {
                this.done = true;
                return self.end(side, Some(Reason::Done));
            }
        }
    }

    /// What came before MOVED has been taken: the new connection is read from here on.
    pub fn settle_reader(&mut self, side: usize) {
        let this = &mut self.sides[side];
        let Some((next, decoder)) = this.next.take() else {
            // The new connection was lost after WELCOME.
            return self.lose(side);
        };
        (this.reader, this.decoder, this.full) = (next, decoder, false);
        this.session.settle();
        self.takeovers += u32::from(side == A);
    }
}
