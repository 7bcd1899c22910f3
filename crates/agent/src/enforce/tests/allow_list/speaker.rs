//! Says random messages that are nearly what is permitted, in random encodings; and changes bytes.

/// Atoms that matter, the more often the more they do.
const ATOMS: [&str; 30] = [
    "shop",
    "stock",
    "shop",
    "stock",
    "shop",
    "stock",
    "os",
    "cmd",
    "erpc",
    "execute_call",
    "execute_cast",
    "rex",
    "net_kernel",
    "$gen_call",
    "$gen_cast",
    "call",
    "block_call",
    "cast",
    "spawn",
    "system",
    "EXIT",
    "undefined",
    "io_request",
    "put_chars",
    "get_until",
    "requests",
    "unicode",
    "erlang",
    "apply",
    "file",
];

const TAGS: &[u8] = b"FMRXYZabcdefghijklmnopqrstvwxCP";

/// All its choices come from its seed.
pub struct Speaker {
    state: u64,
    sequence: u64,
    /// Atoms of the message that is being written, in its header.
    header: Vec<&'static str>,
    /// Atoms go into the header.
    cached: bool,
    out: Vec<u8>,
}

/// A term to be said.
#[derive(Clone)]
enum T {
    Atom(&'static str),
    Int(u8),
    Tuple(Vec<T>),
    List(Vec<T>),
    /// Of node `a` or `b`.
    Pid(u8, u8),
    /// Likewise.
    Reference(u8),
    Text(u8),
    Fun,
}

impl Speaker {
    pub const fn new(seed: u64) -> Self {
        Self {
            state: seed,
            sequence: 0,
            header: Vec::new(),
            cached: false,
            out: Vec::new(),
        }
    }

    /// splitmix64
    fn below(&mut self, most: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % most as u64).unwrap()
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    fn any_atom(&mut self) -> T {
        T::Atom(ATOMS[self.below(ATOMS.len())])
    }

    fn pid(&mut self) -> T {
        let node = b"ab"[self.below(2)];
        self.pid_of(node)
    }

    fn pid_of(&mut self, node: u8) -> T {
        T::Pid(node, u8::try_from(50 + self.below(20)).unwrap())
    }

    fn any(&mut self, depth: usize) -> T {
        match self.below(if depth == 0 { 6 } else { 9 }) {
            0 | 1 => self.any_atom(),
            2 => T::Int(self.byte()),
            3 => self.pid(),
            4 => T::Reference(b"ab"[self.below(2)]),
            5 if self.one_in(3) => T::Fun,
            5 => T::Text(u8::try_from(self.below(4)).unwrap()),
            6 => T::Tuple(self.some(depth)),
            _ => T::List(self.some(depth)),
        }
    }

    fn some(&mut self, depth: usize) -> Vec<T> {
        (0..self.below(6)).map(|_| self.any(depth - 1)).collect()
    }

    fn function(&mut self) -> [T; 3] {
        let argument = self.any(2);
        [T::Atom("shop"), T::Atom("stock"), T::List(vec![argument])]
    }

    /// A message to a process that makes somebody call the function.
    fn payload(&mut self) -> T {
        let [m, f, a] = self.function();
        let me = self.pid();
        let from = T::Tuple(vec![me.clone(), T::Reference(b'a')]);
        let name = ["block_call", "call", "cast", "spawn", "spawn_link"][self.below(5)];
        let request = [T::Atom(name), m.clone(), f.clone(), a.clone(), me.clone()];
        let request = T::Tuple(request.to_vec());
        match self.below(7) {
            0 => T::Tuple(vec![T::Atom("$gen_call"), from, request]),
            1 => T::Tuple(vec![T::Atom("$gen_cast"), request]),
            2 => T::Tuple(vec![me, request]),
            3 => {
                let unicode = T::Atom("unicode");
                let output = if self.one_in(2) {
                    vec![T::Atom("put_chars"), unicode, m, f, a]
                } else {
                    vec![T::Atom("get_until"), unicode, T::List(vec![]), m, f, a]
                };
                let mut output = T::Tuple(output);
                if self.one_in(4) {
                    let mut all = vec![output.clone()];
                    for _ in 0..self.below(3) {
                        all.push(output.clone());
                        self.spoil(&mut all[0]);
                    }
                    output = T::Tuple(vec![T::Atom("requests"), T::List(all)]);
                }
                T::Tuple(vec![T::Atom("io_request"), me, T::Reference(b'a'), output])
            }
            4 => T::Tuple(vec![T::Atom("system"), from, T::Atom("terminate")]),
            5 => {
                let passed = vec![T::Atom("sbcast"), T::Atom("net_kernel"), request];
                T::Tuple(vec![me, T::Tuple(passed)])
            }
            _ => self.any(4),
        }
    }

    /// Changes a term somewhere.
    fn spoil(&mut self, term: &mut T) {
        let (T::Tuple(elements) | T::List(elements)) = term else {
            *term = self.any(2);
            return;
        };
        match self.below(8) {
            0 => {
                let at = self.below(elements.len() + 1);
                let more = self.any(2);
                elements.insert(at, more);
            }
            1 if !elements.is_empty() => {
                elements.remove(self.below(elements.len()));
            }
            2 if elements.len() > 1 => {
                let (a, b) = (self.below(elements.len()), self.below(elements.len()));
                elements.swap(a, b);
            }
            3 => *term = self.any(2),
            _ if !elements.is_empty() => {
                let at = self.below(elements.len());
                self.spoil(&mut elements[at]);
            }
            _ => *term = self.any(1),
        }
    }

    fn spawn(&mut self, op: u8) -> (Vec<T>, T) {
        let [m, f, a] = self.function();
        let (carrier, arguments) = match self.below(8) {
            0 => (("erpc", "execute_cast", 3), vec![m, f, a]),
            1 => (("shop", "stock", 1), vec![a]),
            2 => (("erlang", "apply", 3), vec![m, f, a]),
            _ => (
                ("erpc", "execute_call", 4),
                vec![T::Reference(b'a'), m, f, a],
            ),
        };
        let of = vec![T::Atom(carrier.0), T::Atom(carrier.1), T::Int(carrier.2)];
        let me = self.pid();
        let options = T::List(vec![T::Atom("monitor")]);
        let mut control = vec![
            T::Int(op),
            T::Reference(b'a'),
            me.clone(),
            me,
            T::Tuple(of),
            options,
        ];
        if op == 30 {
            control.push(T::List(vec![]));
        }
        (control, T::List(arguments))
    }

    /// The control tuple and the payload of a message.
    fn parts(&mut self) -> (T, Option<T>) {
        const OPS: &[u8] = &[
            29, 29, 29, 30, 6, 6, 6, 22, 22, 2, 12, 16, 23, 33, 34, 37, 1, 3, 7, 8, 13, 18, 19, 20,
            21, 24, 26, 27, 28, 31, 35, 36,
        ];
        let op = OPS[self.below(OPS.len())];
        let (me, to) = (self.pid_of(b'a'), self.pid_of(b'b'));
        let alias = T::Reference(b'b');
        let name = match self.below(3) {
            0 => T::Atom("rex"),
            1 => T::Atom("undefined"),
            _ => self.any_atom(),
        };
        let (none, reason, unused) = (T::List(vec![]), T::Atom("kill"), T::Atom("shop"));
        let rest = match op {
            29 | 30 => {
                let (control, payload) = self.spawn(op);
                return (T::Tuple(control), Some(payload));
            }
            1 | 7 | 22 | 24 | 26 => vec![me, to],
            3 | 8 => vec![me, to, reason],
            13 | 18 => vec![me, to, none, reason],
            19 | 20 => vec![
                me,
                if self.one_in(2) { to } else { name },
                T::Reference(b'a'),
            ],
            21 => vec![me, to, T::Reference(b'a'), reason],
            28 => vec![me, to, T::Reference(b'a')],
            23 | 27 => vec![me, to, none],
            31 => vec![T::Reference(b'a'), to.clone(), T::Int(0), to],
            35 | 36 => vec![T::Int(7), me, to],
            2 => vec![unused, to],
            12 => vec![unused, to, none],
            6 => vec![me, unused, name],
            16 => vec![me, unused, name, none],
            33 => vec![me, alias],
            34 => vec![me, alias, none],
            _ => {
                let (flags, to) = match self.below(6) {
                    0 => (0, to),
                    1 => (8, name),
                    2 => (4, alias),
                    3 => (16, to),
                    4 => (20, alias),
                    _ => (self.byte() & 31, name),
                };
                vec![T::Int(flags), me, to]
            }
        };
        let payload = match op {
            24 | 26 | 27 | 28 => Some(T::Atom("kill")),
            2 | 6 | 12 | 16 | 22 | 23 | 33 | 34 | 37 => Some(self.payload()),
            _ => None,
        };
        let control = std::iter::once(T::Int(op)).chain(rest).collect();
        (T::Tuple(control), payload)
    }

    /// The frames of one message.
    pub fn message(&mut self) -> Vec<u8> {
        if self.one_in(30) {
            return vec![0; 4];
        }
        let (mut control, mut payload) = self.parts();
        for _ in 0..self.below(3) {
            if let Some(payload) = &mut payload {
                self.spoil(payload);
            }
        }
        if self.one_in(12) {
            self.spoil(&mut control);
        }
        self.header.clear();
        self.cached = self.one_in(3);
        let pass_through = !self.cached && self.one_in(4);
        self.term(&control);
        let control = std::mem::take(&mut self.out);
        if let Some(payload) = &payload {
            self.term(payload);
        }
        let payload = std::mem::take(&mut self.out);
        if pass_through {
            let version: &[u8] = if payload.is_empty() { &[] } else { &[131] };
            return framed(&[&[112, 131], &control, version, &payload]);
        }
        let header = self.written_header();
        if payload.len() < 2 || self.one_in(2) {
            return framed(&[&[131, 68], &header, &control, &payload]);
        }
        self.sequence += 1;
        let size = 1 + self.below(payload.len());
        let first = self.below(payload.len());
        let (first, rest) = payload.split_at(first);
        let pieces: Vec<_> = rest.chunks(size).collect();
        let mut left = pieces.len() as u64 + 1;
        let sequence = self.sequence.to_be_bytes();
        let begins = [&[131, 69][..], &sequence, &left.to_be_bytes()].concat();
        let mut out = framed(&[&begins, &header, &control, first]);
        for piece in pieces {
            left -= 1;
            if self.one_in(4) {
                out.extend([0; 4]);
            }
            out.extend(framed(&[&[131, 70], &sequence, &left.to_be_bytes(), piece]));
        }
        out
    }

    fn written_header(&mut self) -> Vec<u8> {
        let count = self.header.len();
        if count == 0 {
            return vec![0];
        }
        let mut flags = vec![0; count / 2 + 1];
        let mut refs = Vec::new();
        for at in 0..count {
            flags[at / 2] |= 8 << (4 * (at % 2));
            // Slots are few, so that one is often another's in the next message, or in the same.
            refs.push(u8::try_from(self.below(40)).unwrap());
            refs.push(u8::try_from(self.header[at].len()).unwrap());
            refs.extend(self.header[at].bytes());
        }
        [&[u8::try_from(count).unwrap()][..], &flags, &refs].concat()
    }

    /// Changes bytes, and keeps the length of what is one frame right more often than not.
    pub fn change(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(3) {
            if bytes.len() < 6 {
                return bytes;
            }
            let at = 4 + self.below(bytes.len() - 4);
            match self.below(6) {
                0 => bytes[at] = self.byte(),
                1 => bytes[at] = TAGS[self.below(TAGS.len())],
                2 => bytes[at] = bytes[at].wrapping_add(1),
                3 => bytes[at] = bytes[at].wrapping_sub(1),
                4 => {
                    let more = self.byte();
                    bytes.insert(at, more);
                }
                _ => {
                    bytes.remove(at);
                }
            }
        }
        let length = u32::try_from(bytes.len() - 4).unwrap();
        let said = u32::from_be_bytes(*bytes.first_chunk().unwrap());
        if said.abs_diff(length) < 4 && !self.one_in(8) {
            bytes[..4].copy_from_slice(&length.to_be_bytes());
        }
        bytes
    }

    fn term(&mut self, term: &T) {
        match term {
            T::Atom(text) => self.atom(text),
            T::Int(value) => match self.below(8) {
                0 => self.out.extend([98, 0, 0, 0, *value]),
                1 => self.out.extend([110, 1, 0, *value]),
                _ => self.out.extend([97, *value]),
            },
            T::Tuple(elements) => {
                let arity = u8::try_from(elements.len()).unwrap();
                if self.one_in(12) {
                    self.out.extend([105, 0, 0, 0, arity]);
                } else {
                    self.out.extend([104, arity]);
                }
                for element in elements {
                    self.term(element);
                }
            }
            T::List(elements) => self.list(elements),
            T::Pid(node, id) => {
                self.out.push(88);
                self.node(*node);
                self.out.extend([0, 0, 0, *id, 0, 0, 0, 0, 0, 0, 0, 1]);
            }
            T::Reference(node) => {
                self.out.extend([90, 0, 3]);
                self.node(*node);
                self.out
                    .extend([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
            }
            T::Text(length) => {
                self.out.extend([107, 0, *length]);
                self.out.extend(vec![b'x'; (*length).into()]);
            }
            T::Fun => {
                self.out.push(113);
                self.atom("os");
                self.atom("cmd");
                self.out.extend([97, 1]);
            }
        }
    }

    fn node(&mut self, node: u8) {
        self.atom(if node == b'a' { "a@here" } else { "b@here" });
    }

    fn list(&mut self, elements: &[T]) {
        if self.one_in(3) {
            for element in elements {
                if self.one_in(3) {
                    self.out.extend([108, 0, 0, 0, 0]);
                }
                self.out.extend([108, 0, 0, 0, 1]);
                self.term(element);
            }
        } else if !elements.is_empty() {
            let count = u8::try_from(elements.len()).unwrap();
            self.out.extend([108, 0, 0, 0, count]);
            for element in elements {
                self.term(element);
            }
        }
        match self.below(40) {
            // An improper tail, one more element, none.
            0 => self.out.extend([97, 1]),
            1 => self.out.extend([107, 0, 1, 7]),
            2 => self.out.extend([107, 0, 0]),
            _ => self.out.push(106),
        }
    }

    fn atom(&mut self, text: &'static str) {
        let length = u8::try_from(text.len()).unwrap();
        if self.cached && !self.one_in(6) && self.header.len() < 200 {
            let known = self.header.iter().position(|known| *known == text);
            let at = known.unwrap_or_else(|| {
                self.header.push(text);
                self.header.len() - 1
            });
            self.out.extend([82, u8::try_from(at).unwrap()]);
            return;
        }
        match self.below(12) {
            0 => self.out.extend([100, 0, length]),
            1 => self.out.extend([115, length]),
            2 => self.out.extend([118, 0, length]),
            _ => self.out.extend([119, length]),
        }
        self.out.extend(text.bytes());
    }
}

fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_be_bytes()[..], &body].concat()
}
