//! Writing external terms, in the form that nodes of OTP 25 and later write and all of them read.

use super::values::significant;
use super::{Atom, MAX_ATOM, Pid, Port, Reference, Term, VERSION, tag};
use crate::error::{Error, Result};

/// Builds external terms, one after the other. Containers are begun with their size; what they hold follows.
///
/// ```
/// # use skans_dist::term::Writer;
/// let mut writer = Writer::new();
/// writer.version().tuple(2).atom("ok").list(2).integer(1).integer(1000).nil();
/// assert_eq!(writer.finish()?, b"\x83h\x02w\x02okl\0\0\0\x02a\x01b\0\0\x03\xe8j");
/// # Ok::<(), skans_dist::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Writer {
    out: Vec<u8>,
    /// How many terms the containers that have been begun still want.
    open: u64,
    error: Option<Error>,
}

impl Writer {
    /// A writer of nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            out: Vec::new(),
            open: 0,
            error: None,
        }
    }

    /// What has been written.
    ///
    /// # Errors
    /// The first error: [`Error::TooLarge`] for an atom or binary that cannot be expressed, [`Error::Invalid`] for
    /// anything else that cannot, or if a container has fewer elements than announced.
    pub fn finish(self) -> Result<Vec<u8>> {
        match (self.error, self.open) {
            (Some(error), _) => Err(error),
            (None, 0) => Ok(self.out),
            (None, _) => Err(Error::Invalid {
                what: "written term",
                reason: "a container has too few elements",
            }),
        }
    }

    /// The version byte, which stands before a term of its own.
    pub fn version(&mut self) -> &mut Self {
        self.out.push(VERSION);
        self
    }

    /// A term that has been encoded already, taken as it is.
    pub fn raw(&mut self, term: &[u8]) -> &mut Self {
        self.begin(0).out.extend_from_slice(term);
        self
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) -> &mut Self {
        if let Ok(value) = u8::try_from(value) {
            self.begin(0)
                .out
                .extend_from_slice(&[tag::SMALL_INTEGER, value]);
            self
        } else if let Ok(value) = i32::try_from(value) {
            self.begin(0).tagged(tag::INTEGER, &value.to_be_bytes())
        } else {
            self.big(value < 0, &value.unsigned_abs().to_le_bytes())
        }
    }

    /// An integer without sign.
    pub fn unsigned(&mut self, value: u64) -> &mut Self {
        match i64::try_from(value) {
            Ok(value) => self.integer(value),
            Err(_) => self.big(false, &value.to_le_bytes()),
        }
    }

    /// An integer of any size; its magnitude, least significant byte first. Leading zeros are left out. What fits 32
    /// bits belongs into [`Writer::integer`].
    pub fn big(&mut self, negative: bool, digits: &[u8]) -> &mut Self {
        let digits = significant(digits);
        if let Ok(length) = u8::try_from(digits.len()) {
            self.begin(0)
                .out
                .extend_from_slice(&[tag::SMALL_BIG, length, negative.into()]);
            self.out.extend_from_slice(digits);
            self
        } else {
            self.begin(0).out.push(tag::LARGE_BIG);
            self.length(digits.len()).out.push(negative.into());
            self.out.extend_from_slice(digits);
            self
        }
    }

    /// A floating point number, which must be finite.
    pub fn float(&mut self, value: f64) -> &mut Self {
        if !value.is_finite() {
            return self.fail(Error::Invalid {
                what: "written float",
                reason: "it must be finite",
            });
        }
        self.begin(0).tagged(tag::NEW_FLOAT, &value.to_be_bytes())
    }

    /// The atom of this text, at most 255 characters.
    pub fn atom(&mut self, text: &str) -> &mut Self {
        self.begin(0).atom_body(&Atom::new(text))
    }

    /// A pid.
    pub fn pid(&mut self, pid: &Pid<'_>) -> &mut Self {
        self.begin(0).pid_body(pid)
    }

    /// A port.
    pub fn port(&mut self, port: &Port<'_>) -> &mut Self {
        self.begin(0);
        // OTP writes the long form only where the short one does not suffice.
        match u32::try_from(port.id) {
            Ok(id) if id < 1 << 28 => {
                self.out.push(tag::NEW_PORT);
                self.atom_body(&port.node)
                    .out
                    .extend_from_slice(&id.to_be_bytes());
            }
            _ => {
                self.out.push(tag::V4_PORT);
                self.atom_body(&port.node)
                    .out
                    .extend_from_slice(&port.id.to_be_bytes());
            }
        }
        self.out.extend_from_slice(&port.creation.to_be_bytes());
        self
    }

    /// A reference.
    pub fn reference(&mut self, reference: &Reference<'_>) -> &mut Self {
        self.begin(0)
            .out
            .extend_from_slice(&[tag::NEWER_REFERENCE, 0]);
        self.out.extend(u8::try_from(reference.words().len()));
        self.atom_body(&reference.node)
            .out
            .extend_from_slice(&reference.creation.to_be_bytes());
        self.out
            .extend(reference.words().iter().flat_map(|word| word.to_be_bytes()));
        self
    }

    /// The beginning of a tuple: `arity` elements follow.
    pub fn tuple(&mut self, arity: usize) -> &mut Self {
        self.begin(arity);
        if let Ok(arity) = u8::try_from(arity) {
            self.out.extend_from_slice(&[tag::SMALL_TUPLE, arity]);
            self
        } else {
            self.out.push(tag::LARGE_TUPLE);
            self.length(arity)
        }
    }

    /// The beginning of a list: `count` elements follow, and then the tail, [`Writer::nil`] as a rule.
    pub fn list(&mut self, count: usize) -> &mut Self {
        self.begin(count.saturating_add(1)).out.push(tag::LIST);
        self.length(count)
    }

    /// The empty list.
    pub fn nil(&mut self) -> &mut Self {
        self.begin(0).out.push(tag::NIL);
        self
    }

    /// A list of bytes. Up to 65,535 of them take the short form.
    pub fn string(&mut self, bytes: &[u8]) -> &mut Self {
        if bytes.is_empty() {
            return self.nil();
        }
        if let Ok(length) = u16::try_from(bytes.len()) {
            self.begin(0)
                .tagged(tag::STRING, &length.to_be_bytes())
                .out
                .extend_from_slice(bytes);
            return self;
        }
        self.list(bytes.len());
        for byte in bytes {
            self.integer((*byte).into());
        }
        self.nil()
    }

    /// A binary.
    pub fn binary(&mut self, bytes: &[u8]) -> &mut Self {
        self.begin(0).out.push(tag::BINARY);
        self.length(bytes.len()).out.extend_from_slice(bytes);
        self
    }

    /// A bit string whose last byte has `last` bits, 1 to 8.
    pub fn bits(&mut self, bytes: &[u8], last: u8) -> &mut Self {
        if last > 8 || (last == 0) != bytes.is_empty() {
            return self.fail(Error::Invalid {
                what: "written bit string",
                reason: "its last byte has 1 to 8 bits",
            });
        }
        self.begin(0).out.push(tag::BIT_BINARY);
        self.length(bytes.len()).out.push(last);
        self.out.extend_from_slice(bytes);
        self
    }

    /// The beginning of a map: `count` pairs follow, key before value. Keys must differ.
    pub fn map(&mut self, count: usize) -> &mut Self {
        self.begin(count.saturating_mul(2)).out.push(tag::MAP);
        self.length(count)
    }

    /// `fun M:F/A`.
    pub fn export(&mut self, module: &Atom<'_>, function: &Atom<'_>, arity: u8) -> &mut Self {
        self.begin(0).out.push(tag::EXPORT);
        self.atom_body(module)
            .atom_body(function)
            .out
            .extend_from_slice(&[tag::SMALL_INTEGER, arity]);
        self
    }

    /// A whole term. Recursive: its depth is that of the tree, which a reader has bounded.
    pub fn term(&mut self, term: &Term<'_>) -> &mut Self {
        match term {
            Term::Integer(value) => self.integer(*value),
            Term::Big { negative, digits } => self.big(*negative, digits),
            Term::Float(value) => self.float(*value),
            Term::Atom(atom) => self.begin(0).atom_body(atom),
            Term::Pid(pid) => self.pid(pid),
            Term::Port(port) => self.port(port),
            Term::Reference(reference) => self.reference(reference),
            Term::Tuple(elements) => self.tuple(elements.len()).terms(elements),
            Term::List { elements, tail } => match (elements.is_empty(), tail) {
                (true, None) => self.nil(),
                (_, None) => self.list(elements.len()).terms(elements).nil(),
                (_, Some(tail)) => self.list(elements.len()).terms(elements).term(tail),
            },
            Term::String(bytes) => self.string(bytes),
            Term::Binary(bytes) => self.binary(bytes),
            Term::Bits { bytes, last } => self.bits(bytes, *last),
            Term::Map(pairs) => {
                self.map(pairs.len());
                for (key, value) in pairs {
                    self.term(key).term(value);
                }
                self
            }
            Term::Fun(fun) => self.fun(fun),
            Term::Export {
                module,
                function,
                arity,
            } => self.export(module, function, *arity),
            Term::Record(record) => {
                self.begin(record.names.len().saturating_add(record.values.len()))
                    .out
                    .push(tag::RECORD);
                self.length(record.names.len()).out.push(record.flags);
                if record.names.len() != record.values.len() {
                    return self.fail(Error::Invalid {
                        what: "written record",
                        reason: "each field has one value",
                    });
                }
                self.atom_body(&record.module)
                    .atom_body(&record.name)
                    .terms(&record.names)
                    .terms(&record.values)
            }
        }
    }

    fn terms(&mut self, terms: &[Term<'_>]) -> &mut Self {
        for term in terms {
            self.term(term);
        }
        self
    }

    fn fun(&mut self, fun: &super::Fun<'_>) -> &mut Self {
        self.begin(fun.free.len()).out.push(tag::NEW_FUN);
        let start = self.out.len();
        self.length(0).out.push(fun.arity);
        self.out.extend_from_slice(&fun.unique);
        self.out.extend_from_slice(&fun.index.to_be_bytes());
        self.length(fun.free.len())
            .atom_body(&fun.module)
            .small(fun.old_index)
            .small(fun.old_unique);
        self.pid_body(&fun.pid).terms(&fun.free);
        // The size counts from itself to the end.
        let size = u32::try_from(self.out.len() - start).unwrap_or(u32::MAX);
        if let Some(place) = self.out.get_mut(start..start + 4) {
            place.copy_from_slice(&size.to_be_bytes());
        }
        self
    }

    /// Counts a term that is being written, and the terms that it wants.
    fn begin(&mut self, children: usize) -> &mut Self {
        self.open = self.open.saturating_sub(1).saturating_add(children as u64);
        self
    }

    fn tagged(&mut self, tag: u8, body: &[u8]) -> &mut Self {
        self.out.push(tag);
        self.out.extend_from_slice(body);
        self
    }

    fn length(&mut self, length: usize) -> &mut Self {
        match u32::try_from(length) {
            Ok(length) => {
                self.out.extend_from_slice(&length.to_be_bytes());
                self
            }
            Err(_) => self.fail(Error::TooLarge {
                what: "written term",
                found: length as u64,
                limit: u32::MAX.into(),
            }),
        }
    }

    fn atom_body(&mut self, atom: &Atom<'_>) -> &mut Self {
        let text = match atom {
            Atom::Text(text) => text.as_bytes(),
            Atom::Cached(index) => {
                self.out.extend_from_slice(&[tag::ATOM_CACHE_REF, *index]);
                return self;
            }
        };
        let characters = atom.text().map_or(0, |text| text.chars().count());
        if characters > MAX_ATOM {
            return self.fail(Error::TooLarge {
                what: "written atom",
                found: characters as u64,
                limit: MAX_ATOM as u64,
            });
        }
        match u8::try_from(text.len()) {
            Ok(length) => self.out.extend_from_slice(&[tag::SMALL_ATOM_UTF8, length]),
            Err(_) => {
                self.out.push(tag::ATOM_UTF8);
                // 255 characters are 1,020 bytes at most.
                self.out.extend_from_slice(
                    &u16::try_from(text.len()).unwrap_or_default().to_be_bytes(),
                );
            }
        }
        self.out.extend_from_slice(text);
        self
    }

    fn pid_body(&mut self, pid: &Pid<'_>) -> &mut Self {
        self.out.push(tag::NEW_PID);
        self.atom_body(&pid.node);
        for number in [pid.id, pid.serial, pid.creation] {
            self.out.extend_from_slice(&number.to_be_bytes());
        }
        self
    }

    /// An integer inside a fun.
    fn small(&mut self, value: i64) -> &mut Self {
        if let Ok(value) = u8::try_from(value) {
            self.tagged(tag::SMALL_INTEGER, &[value])
        } else if let Ok(value) = i32::try_from(value) {
            self.tagged(tag::INTEGER, &value.to_be_bytes())
        } else {
            self.fail(Error::Invalid {
                what: "written fun",
                reason: "its numbers have 32 bits",
            })
        }
    }

    fn fail(&mut self, error: Error) -> &mut Self {
        self.error.get_or_insert(error);
        self
    }
}
