//! Terms, and all the ways in which they and the messages made of them can be written.

use std::collections::HashMap;

/// A term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum T {
    Atom(String),
    Int(i32),
    /// Too large for 32 bits: a small bignum.
    Big(i64),
    Tuple(Vec<T>),
    List(Vec<T>),
    Binary(Vec<u8>),
    /// Text, as a list.
    Text(String),
    /// Node; id, serial and creation.
    Pid(String, [u8; 12]),
    Reference(String, u32),
    /// `fun M:F/A`
    Export(&'static str, &'static str, i32),
}

impl T {
    pub fn atom(text: &str) -> Self {
        Self::Atom(text.to_owned())
    }

    pub fn pid(node: &str, rest: [u8; 12]) -> Self {
        Self::Pid(node.to_owned(), rest)
    }

    /// The number of a pid.
    pub fn id(&self) -> u32 {
        match self {
            Self::Pid(_, rest) => u32::from_be_bytes(*rest.first_chunk().unwrap()),
            _ => 0,
        }
    }
}

/// `t![a, b]` is a tuple.
macro_rules! t {
    ($($element:expr),* $(,)?) => { $crate::by_hand::terms::T::Tuple(vec![$($element),*]) };
}

/// A message: its control tuple, and its payload if the operation has one.
#[derive(Debug, Clone)]
pub struct Said {
    pub control: T,
    pub payload: Option<T>,
}

/// How atoms are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Atoms {
    /// Each in full, as nodes do outside of connections: small, UTF-8.
    Small,
    /// With a length of two bytes.
    Long,
    /// As before OTP 26, latin-1.
    SmallLatin1,
    /// The same with a length of two bytes.
    Latin1,
    /// All in the header of the message, new.
    New,
    /// All in the cache, where earlier messages have put them.
    Old,
    /// The same, in slots that other atoms had before.
    Changed,
    /// Each from a slot that is used for a harmless atom, and then changed, in the very header.
    Twice,
}

/// How lists are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    Whole,
    /// Each element a list, whose tail is the rest.
    Pieces,
    /// The same, and a list of no elements around each tail.
    Hollow,
}

/// How a message is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    No,
    /// The control message alone in the first fragment, so many bytes in each further one.
    Control(usize),
    /// So many bytes of the payload in each fragment, the first one included.
    Bytes(usize),
    /// As `Control`, with ticks and harmless messages in between.
    Mixed(usize),
}

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    pub atoms: Atoms,
    pub lists: Lists,
    pub large_tuples: bool,
    pub cut: Cut,
}

/// What is in the atom cache of the receiver.
#[derive(Debug, Default)]
pub struct Slots {
    of: HashMap<String, u16>,
    next: u16,
}

impl Slots {
    /// A slot that is used for the first time, or again after all others.
    fn fresh(&mut self) -> u16 {
        let slot = self.next % 2048;
        self.next += 1;
        self.of.retain(|_, old| *old != slot);
        slot
    }
}

impl Delivery {
    pub const PLAIN: Self = Self {
        atoms: Atoms::Small,
        lists: Lists::Whole,
        large_tuples: false,
        cut: Cut::No,
    };

    /// Every way that differs from the plain one by one thing, and some by several.
    pub fn all() -> Vec<Self> {
        let plain = Self::PLAIN;
        let mut all = vec![plain];
        for atoms in [
            Atoms::Long,
            Atoms::SmallLatin1,
            Atoms::Latin1,
            Atoms::New,
            Atoms::Old,
            Atoms::Changed,
            Atoms::Twice,
        ] {
            all.push(Self { atoms, ..plain });
        }
        for lists in [Lists::Pieces, Lists::Hollow] {
            all.push(Self { lists, ..plain });
        }
        all.push(Self {
            large_tuples: true,
            ..plain
        });
        for cut in [
            Cut::Control(1),
            Cut::Control(1 << 16),
            Cut::Bytes(1),
            Cut::Bytes(7),
            Cut::Bytes(20),
            Cut::Mixed(13),
        ] {
            all.push(Self { cut, ..plain });
        }
        for (atoms, cut) in [
            (Atoms::Old, Cut::Control(3)),
            (Atoms::Twice, Cut::Bytes(5)),
            (Atoms::Changed, Cut::Mixed(2)),
        ] {
            all.push(Self {
                atoms,
                cut,
                lists: Lists::Hollow,
                large_tuples: true,
            });
        }
        all
    }

    /// The frames of a message, and those of the harmless ones that it takes before it. `me` is who says it.
    pub fn frames(self, said: &Said, slots: &mut Slots, sequence: u64, me: &T) -> Vec<u8> {
        let mut frames = Vec::new();
        let mut writer = Writer {
            delivery: self,
            atoms: Vec::new(),
            out: Vec::new(),
        };
        // The control tuple itself must be a small one, and so must what it holds.
        writer.delivery.large_tuples = false;
        writer.term(&said.control);
        let control = std::mem::take(&mut writer.out);
        writer.delivery = self;
        if let Some(payload) = &said.payload {
            writer.term(payload);
        }
        let payload = std::mem::take(&mut writer.out);
        let header = match self.atoms {
            Atoms::New => {
                let entries: Vec<_> = writer
                    .atoms
                    .iter()
                    .map(|atom| (slots.fresh(), Some(atom.clone())))
                    .collect();
                header(&entries)
            }
            Atoms::Old | Atoms::Changed => {
                let fresh: Vec<_> = writer.atoms.iter().map(|_| slots.fresh()).collect();
                let with = |text: &dyn Fn(usize) -> String| {
                    let entries = fresh.iter().enumerate();
                    header(
                        &entries
                            .map(|(at, slot)| (*slot, Some(text(at))))
                            .collect::<Vec<_>>(),
                    )
                };
                if self.atoms == Atoms::Changed {
                    frames.extend(harmless(&with(&|at| format!("harmless_{at}")), me));
                }
                frames.extend(harmless(&with(&|at| writer.atoms[at].clone()), me));
                let entries: Vec<_> = fresh.iter().map(|slot| (*slot, None)).collect();
                header(&entries)
            }
            Atoms::Twice => {
                let fresh: Vec<_> = writer.atoms.iter().map(|_| slots.fresh()).collect();
                let before: Vec<_> = fresh
                    .iter()
                    .enumerate()
                    .map(|(at, slot)| (*slot, Some(format!("harmless_{at}"))))
                    .collect();
                frames.extend(harmless(&header(&before), me));
                // In the terms, only the odd ones are referred to.
                let entries: Vec<_> = fresh
                    .iter()
                    .zip(&writer.atoms)
                    .flat_map(|(slot, atom)| [(*slot, None), (*slot, Some(atom.clone()))])
                    .collect();
                header(&entries)
            }
            _ => vec![0],
        };
        frames.extend(self.cut(&header, &control, &payload, sequence, me));
        frames
    }

    fn cut(self, header: &[u8], control: &[u8], payload: &[u8], sequence: u64, me: &T) -> Vec<u8> {
        let (first, rest, size, mixed) = match self.cut {
            Cut::Control(size) if !payload.is_empty() => (&[][..], payload, size, false),
            Cut::Mixed(size) if !payload.is_empty() => (&[][..], payload, size, true),
            Cut::Bytes(size) if payload.len() > size => {
                let (first, rest) = payload.split_at(size);
                (first, rest, size, false)
            }
            // One without payload cannot be cut.
            _ => {
                return framed(&[&[131, 68], header, control, payload]);
            }
        };
        let pieces: Vec<_> = rest.chunks(size).collect();
        let mut left = pieces.len() as u64 + 1;
        let numbers = |left: u64| [sequence.to_be_bytes(), left.to_be_bytes()].concat();
        let mut frames = framed(&[&[131, 69], &numbers(left), header, control, first]);
        for piece in pieces {
            left -= 1;
            if mixed {
                frames.extend([0; 4]);
                frames.extend(harmless(&[0], me));
            }
            frames.extend(framed(&[&[131, 70], &numbers(left), piece]));
        }
        frames
    }
}

/// A message to nobody, with this header.
fn harmless(header: &[u8], me: &T) -> Vec<u8> {
    let control = T::Tuple(vec![
        T::Int(6),
        me.clone(),
        T::atom(""),
        T::atom("nobody_here"),
    ]);
    let mut writer = Writer {
        delivery: Delivery::PLAIN,
        atoms: Vec::new(),
        out: Vec::new(),
    };
    writer.term(&control);
    writer.term(&T::atom("hello"));
    framed(&[&[131, 68], header, &writer.out])
}

fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut out = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    out.extend(body);
    out
}

/// A distribution header: slots, and the atoms that are put there.
fn header(entries: &[(u16, Option<String>)]) -> Vec<u8> {
    let count = u8::try_from(entries.len()).unwrap();
    if count == 0 {
        return vec![0];
    }
    let mut flags = vec![0; entries.len() / 2 + 1];
    let mut half = |at: usize, value: u8| flags[at / 2] |= value << (4 * (at % 2));
    let mut refs = Vec::new();
    for (at, (slot, new)) in entries.iter().enumerate() {
        let segment = u8::try_from(slot >> 8).unwrap();
        half(at, segment | if new.is_some() { 8 } else { 0 });
        refs.push(slot.to_be_bytes()[1]);
        if let Some(text) = new {
            refs.push(u8::try_from(text.len()).unwrap());
            refs.extend(text.bytes());
        }
    }
    [&[count][..], &flags, &refs].concat()
}

struct Writer {
    delivery: Delivery,
    /// Those of the header, each once.
    atoms: Vec<String>,
    out: Vec<u8>,
}

impl Writer {
    fn term(&mut self, term: &T) {
        match term {
            T::Atom(text) => self.atom(text),
            T::Int(value) => match u8::try_from(*value) {
                Ok(small) => self.out.extend([97, small]),
                Err(_) => {
                    self.out.push(98);
                    self.out.extend(value.to_be_bytes());
                }
            },
            T::Big(value) => {
                self.out.extend([110, 8, u8::from(*value < 0)]);
                self.out.extend(value.unsigned_abs().to_le_bytes());
            }
            T::Tuple(elements) => {
                match u8::try_from(elements.len()) {
                    Ok(arity) if !self.delivery.large_tuples => self.out.extend([104, arity]),
                    _ => {
                        self.out.push(105);
                        self.length(elements.len());
                    }
                }
                elements.iter().for_each(|element| self.term(element));
            }
            T::List(elements) => self.list(elements),
            T::Text(text) if self.delivery.lists == Lists::Whole => {
                self.out.push(107);
                let length = u16::try_from(text.len()).unwrap();
                self.out.extend(length.to_be_bytes());
                self.out.extend(text.bytes());
            }
            T::Text(text) => {
                let elements: Vec<_> = text.bytes().map(|byte| T::Int(byte.into())).collect();
                self.list(&elements);
            }
            T::Binary(bytes) => {
                self.out.push(109);
                self.length(bytes.len());
                self.out.extend(bytes);
            }
            T::Pid(node, rest) => {
                self.out.push(88);
                self.atom(node);
                self.out.extend(rest);
            }
            T::Reference(node, number) => {
                self.out.extend([90, 0, 3]);
                self.atom(node);
                for word in [77_777, *number, 2, 3] {
                    self.out.extend(word.to_be_bytes());
                }
            }
            T::Export(module, function, arity) => {
                self.out.push(113);
                self.atom(module);
                self.atom(function);
                self.term(&T::Int(*arity));
            }
        }
    }

    fn list(&mut self, elements: &[T]) {
        if self.delivery.lists == Lists::Whole {
            if !elements.is_empty() {
                self.out.push(108);
                self.length(elements.len());
                elements.iter().for_each(|element| self.term(element));
            }
        } else {
            for element in elements {
                if self.delivery.lists == Lists::Hollow {
                    self.out.extend([108, 0, 0, 0, 0]);
                }
                self.out.extend([108, 0, 0, 0, 1]);
                self.term(element);
            }
        }
        self.out.push(106);
    }

    fn length(&mut self, length: usize) {
        self.out
            .extend(u32::try_from(length).unwrap().to_be_bytes());
    }

    fn atom(&mut self, text: &str) {
        let short = u8::try_from(text.len()).unwrap();
        match self.delivery.atoms {
            Atoms::Small => self.out.extend([119, short]),
            Atoms::Long => self.out.extend([118, 0, short]),
            Atoms::SmallLatin1 => self.out.extend([115, short]),
            Atoms::Latin1 => self.out.extend([100, 0, short]),
            Atoms::New | Atoms::Old | Atoms::Changed | Atoms::Twice => {
                let known = self.atoms.iter().position(|known| known == text);
                let at = known.unwrap_or_else(|| {
                    self.atoms.push(text.to_owned());
                    self.atoms.len() - 1
                });
                let at = u8::try_from(at).unwrap();
                let at = if self.delivery.atoms == Atoms::Twice {
                    2 * at + 1
                } else {
                    at
                };
                self.out.extend([82, at]);
                return;
            }
        }
        self.out.extend(text.bytes());
    }
}
