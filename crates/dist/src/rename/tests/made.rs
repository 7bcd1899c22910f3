//! Streams as any implementation could write them: every form of every term, names and what resembles them in all places.

use std::collections::VecDeque;

use proptest::prelude::*;

/// What becomes what: one that is known by a longer name, one whose place it takes, and one that is not ASCII.
pub(super) const NAMES: &[(&str, &str)] = &[
    ("orders@host-a", "north-orders@host-a"),
    ("south-orders@host-a", "orders@host-a"),
    ("bücher@host", "livres@host"),
];

/// All atoms: the names, what resembles them, and what is long.
const ATOMS: &[&str] = &[
    "orders@host-a",
    "south-orders@host-a",
    "bücher@host",
    "orders@host-",
    "orders@host-ab",
    "xorders@host-a",
    "",
    "ok",
    "日本@host",
    "ééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé",
];

/// Few, so that atoms take each other's places.
const SLOTS: usize = 4;

/// An atom, and the form that it is to have. Where that cannot be, it has one that can.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    atom: usize,
    form: u8,
}

impl Text {
    fn put(self, header: &[usize], out: &mut Vec<u8>) {
        let text = ATOMS[self.atom];
        let latin1: Option<Vec<u8>> = text
            .chars()
            .map(|c| u8::try_from(u32::from(c)).ok())
            .collect();
        let index = header.iter().position(|atom| *atom == self.atom);
        match (self.form, index, latin1) {
            (b'R', Some(index), _) => out.extend([b'R', u8::try_from(index).unwrap()]),
            (b's', _, Some(bytes)) => {
                out.extend([b's', u8::try_from(bytes.len()).unwrap()]);
                out.extend(bytes);
            }
            (b'd', _, Some(bytes)) => {
                out.extend([b'd', 0, u8::try_from(bytes.len()).unwrap()]);
                out.extend(bytes);
            }
            (form, ..) if form == b'v' || text.len() > 255 => {
                out.push(b'v');
                out.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
                out.extend(text.as_bytes());
            }
            _ => {
                out.extend([b'w', u8::try_from(text.len()).unwrap()]);
                out.extend(text.as_bytes());
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// A whole term without atoms.
    Raw(Vec<u8>),
    Atom(Text),
    /// A pid, port or reference: what stands before its node and what behind it.
    Node(&'static [u8], Text, usize),
    Export(Text, Text),
    Tuple(Vec<Self>),
    LargeTuple(Vec<Self>),
    List(Vec<Self>, Box<Self>),
    Map(Vec<Self>),
    Fun(Text, Text, Vec<Self>),
    Record(Text, Text, Vec<Self>),
}

impl Shape {
    pub(super) fn put(&self, header: &[usize], out: &mut Vec<u8>) {
        let all = |shapes: &[Self], out: &mut Vec<u8>| {
            for shape in shapes {
                shape.put(header, out);
            }
        };
        let count =
            |shapes: &[Self], by: usize| u32::try_from(shapes.len() / by).unwrap().to_be_bytes();
        let even = |shapes: &[Self]| shapes.len() / 2 * 2;
        match self {
            Self::Raw(bytes) => out.extend(bytes),
            Self::Atom(text) => text.put(header, out),
            Self::Node(before, node, behind) => {
                out.extend(*before);
                node.put(header, out);
                out.extend(vec![7; *behind]);
            }
            Self::Export(module, function) => {
                out.push(b'q');
                module.put(header, out);
                function.put(header, out);
                out.extend([b'a', 2]);
            }
            Self::Tuple(shapes) => {
                out.extend([b'h', u8::try_from(shapes.len()).unwrap()]);
                all(shapes, out);
            }
            Self::LargeTuple(shapes) => {
                out.push(b'i');
                out.extend(count(shapes, 1));
                all(shapes, out);
            }
            Self::List(shapes, tail) => {
                out.push(b'l');
                out.extend(count(shapes, 1));
                all(shapes, out);
                tail.put(header, out);
            }
            Self::Map(shapes) => {
                out.push(b't');
                out.extend(count(shapes, 2));
                all(&shapes[..even(shapes)], out);
            }
            Self::Fun(module, node, free) => {
                out.push(b'p');
                let start = out.len();
                out.extend([0; 4]);
                out.push(1);
                out.extend([7; 16 + 4]);
                out.extend(count(free, 1));
                module.put(header, out);
                out.extend([b'a', 6, b'b', 1, 2, 3, 4, b'X']);
                node.put(header, out);
                out.extend([0; 12]);
                all(free, out);
                let size = u32::try_from(out.len() - start).unwrap().to_be_bytes();
                out[start..start + 4].copy_from_slice(&size);
            }
            Self::Record(module, name, fields) => {
                out.push(b'C');
                out.extend(count(fields, 2));
                out.push(0);
                module.put(header, out);
                name.put(header, out);
                all(&fields[..even(fields)], out);
            }
        }
    }
}

pub(super) fn text() -> impl Strategy<Value = Text> {
    let form = prop::sample::select(vec![b'R', b'w', b'v', b's', b'd']);
    (0..ATOMS.len(), form).prop_map(|(atom, form)| Text { atom, form })
}

/// Bytes that hold names, also as atoms are written.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        text().prop_map(|text| {
            let mut out = Vec::new();
            text.put(&[], &mut out);
            out
        }),
        Just(ATOMS[0].as_bytes().to_vec()),
    ];
    prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

/// Terms without atoms, of every kind.
pub(super) fn raw() -> impl Strategy<Value = Vec<u8>> {
    let long = |tag: u8, content: Vec<u8>, between: &[u8]| {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag], &length[..], between, &content].concat()
    };
    prop_oneof![
        Just(b"j".to_vec()),
        any::<u8>().prop_map(|byte| vec![b'a', byte]),
        any::<[u8; 4]>().prop_map(|bytes| [&b"b"[..], &bytes].concat()),
        (-1e9..1e9_f64).prop_map(|float| [&b"F"[..], &float.to_be_bytes()].concat()),
        Just(b"c1.50000000000000000000e+00\0\0\0\0\0".to_vec()),
        content().prop_map(|bytes| {
            let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
            [&b"k"[..], &length, &bytes].concat()
        }),
        content().prop_map(move |bytes| long(b'm', bytes, &[])),
        content().prop_map(move |bytes| {
            let last = if bytes.is_empty() { 0 } else { 3 };
            long(b'M', bytes, &[last])
        }),
        prop::collection::vec(any::<u8>(), 0..30).prop_map(|digits| {
            [&[b'n', u8::try_from(digits.len()).unwrap(), 1], &digits[..]].concat()
        }),
        content().prop_map(move |digits| long(b'o', digits, &[0])),
    ]
}

pub(super) fn shape() -> impl Strategy<Value = Shape> {
    const NODES: &[(&[u8], usize)] = &[
        (b"X", 12),
        (b"g", 9),
        (b"Y", 8),
        (b"f", 5),
        (b"x", 12),
        (b"Z\0\x01", 8),
        (b"Z\0\x03", 16),
        (b"Z\0\x05", 24),
        (b"r\0\x03", 13),
        (b"e", 5),
    ];
    let leaf = prop_oneof![
        3 => raw().prop_map(Shape::Raw),
        3 => text().prop_map(Shape::Atom),
        3 => (prop::sample::select(NODES), text())
            .prop_map(|((before, behind), node)| Shape::Node(before, node, behind)),
        1 => (text(), text()).prop_map(|(module, function)| Shape::Export(module, function)),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        let some = || prop::collection::vec(inner.clone(), 0..5);
        prop_oneof![
            some().prop_map(Shape::Tuple),
            some().prop_map(Shape::LargeTuple),
            (some(), inner.clone()).prop_map(|(all, tail)| Shape::List(all, Box::new(tail))),
            some().prop_map(Shape::Map),
            (text(), text(), some()).prop_map(|(a, b, free)| Shape::Fun(a, b, free)),
            (text(), text(), some()).prop_map(|(a, b, fields)| Shape::Record(a, b, fields)),
        ]
    })
}

#[derive(Debug, Clone)]
pub(super) enum Form {
    Pass,
    Header,
    /// In fragments, the payload cut at these places.
    Fragments(Vec<prop::sample::Index>),
}

#[derive(Debug, Clone)]
pub(super) enum Made {
    Tick,
    Message {
        form: Form,
        /// What the header refers to, as far as entries of the cache differ.
        header: Vec<usize>,
        long: bool,
        control: Shape,
        payload: Option<Shape>,
    },
}

/// A sender with an atom cache of its own.
#[derive(Default)]
pub(super) struct Sender {
    slots: [Option<usize>; SLOTS],
    sequence: u64,
}

impl Sender {
    /// A header with these atoms.
    fn header(&mut self, atoms: &[usize], long: bool) -> Vec<u8> {
        let long = long || atoms.iter().any(|atom| ATOMS[*atom].len() > 255);
        let (mut nibbles, mut refs) = (Vec::new(), Vec::new());
        for atom in atoms {
            let slot = atom % SLOTS;
            // Not all in the first entries.
            nibbles.push(u8::try_from(slot).unwrap());
            refs.push(200);
            if self.slots[slot] == Some(*atom) {
                continue;
            }
            *nibbles.last_mut().unwrap() |= 8;
            let text = ATOMS[*atom].as_bytes();
            let length = u16::try_from(text.len()).unwrap().to_be_bytes();
            refs.extend_from_slice(if long { &length } else { &length[1..] });
            refs.extend_from_slice(text);
            self.slots[slot] = Some(*atom);
        }
        if atoms.is_empty() {
            return vec![0];
        }
        nibbles.push(u8::from(long));
        nibbles.resize(nibbles.len().next_multiple_of(2), 0);
        let mut header = vec![u8::try_from(atoms.len()).unwrap()];
        header.extend(nibbles.chunks(2).map(|pair| pair[0] | pair[1] << 4));
        header.extend(refs);
        header
    }

    /// The frames of a message.
    pub(super) fn frames(&mut self, made: &Made) -> Vec<Vec<u8>> {
        let Made::Message {
            form,
            header: wanted,
            long,
            control,
            payload,
        } = made
        else {
            return vec![vec![0; 4]];
        };
        let mut atoms: Vec<usize> = Vec::new();
        for atom in wanted {
            if atoms.iter().all(|other| other % SLOTS != atom % SLOTS) {
                atoms.push(*atom);
            }
        }
        if matches!(form, Form::Pass) {
            atoms.clear();
        }
        let encoded = |shape: &Shape| {
            let mut out = Vec::new();
            shape.put(&atoms, &mut out);
            out
        };
        let (control, payload) = (encoded(control), payload.as_ref().map(encoded));
        if matches!(form, Form::Pass) {
            return vec![crate::frame::pass_through(&control, payload.as_deref())];
        }
        let header = self.header(&atoms, *long);
        let (Form::Fragments(cuts), Some(payload)) = (form, &payload) else {
            let payload = payload.unwrap_or_default();
            return vec![framed(
                &[&[131, 68], &header[..], &control, &payload].concat(),
            )];
        };
        let mut places: Vec<usize> = cuts
            .iter()
            .map(|cut| cut.index(payload.len() + 1))
            .collect();
        places.extend([0, payload.len()]);
        places.sort_unstable();
        self.sequence += 1;
        let parts: Vec<&[u8]> = places
            .windows(2)
            .map(|ends| &payload[ends[0]..ends[1]])
            .collect();
        parts
            .iter()
            .enumerate()
            .map(|(index, part)| {
                let number = u64::try_from(parts.len() - index).unwrap();
                let numbers = [self.sequence.to_be_bytes(), number.to_be_bytes()].concat();
                if index == 0 {
                    framed(&[&[131, 69], &numbers[..], &header, &control, part].concat())
                } else {
                    framed(&[&[131, 70], &numbers[..], part].concat())
                }
            })
            .collect()
    }
}

pub(super) fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

pub(super) fn form() -> impl Strategy<Value = Form> {
    prop_oneof![
        Just(Form::Pass),
        Just(Form::Header),
        prop::collection::vec(any::<prop::sample::Index>(), 0..6).prop_map(Form::Fragments),
    ]
}

pub(super) fn message(
    form: impl Strategy<Value = Form>,
    shape: impl Strategy<Value = Shape> + Clone,
) -> impl Strategy<Value = Made> {
    let header = prop::collection::vec(0..ATOMS.len(), 0..5);
    let payload = prop::option::weighted(0.8, shape.clone());
    (form, header, any::<bool>(), shape, payload).prop_map(
        |(form, header, long, control, payload)| Made::Message {
            form,
            header,
            long,
            control,
            payload,
        },
    )
}

pub(super) fn made() -> impl Strategy<Value = Made> {
    let shape = shape().boxed();
    prop_oneof![1 => Just(Made::Tick), 9 => message(form(), shape)]
}

/// Puts the frames of messages in a row; those of messages in fragments mix as `order` says.
pub(super) fn stream(all: &[Made], order: &[usize]) -> Vec<u8> {
    let mut sender = Sender::default();
    let mut waiting = all.iter().map(|made| sender.frames(made));
    let mut stream = Vec::new();
    let mut open: Vec<VecDeque<Vec<u8>>> = Vec::new();
    let mut order = order.iter().cycle();
    loop {
        let choice = *order.next().unwrap();
        let next = if open.is_empty() || choice.is_multiple_of(3) {
            waiting.next()
        } else {
            None
        };
        match next {
            Some(frames) => {
                let mut frames: VecDeque<_> = frames.into();
                stream.extend(frames.pop_front().unwrap());
                if !frames.is_empty() {
                    open.push(frames);
                }
            }
            None if open.is_empty() => return stream,
            None => {
                let index = choice % open.len();
                stream.extend(open[index].pop_front().unwrap());
                if open[index].is_empty() {
                    open.remove(index);
                }
            }
        }
    }
}
