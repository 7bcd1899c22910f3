//! Binaries: `<<1, "text", 5:3/little, "é"/utf8>>`, after `eval_bits.erl` and `erl_bits.erl`. Literals only.

use super::lexer::Token;
use super::parser::Parser;
use super::{Kind, Term};
use crate::error::{Error, Result};
use crate::span::Span;

/// The longest segment, in bits, so that one small number cannot ask for a gigabyte.
const MAX_SEGMENT: usize = 1 << 16;
/// The longest binary, in bits: 1 MiB. What is written out is shorter; segments with sizes are not.
const MAX_BITS: usize = 8 << 20;

/// After `<<`.
pub(super) fn binary(parser: &mut Parser<'_>, start: Span) -> Result<Term> {
    let mut bits = Bits::default();
    if parser.is(">>") {
        parser.advance()?;
        return Ok(parser.spanning(Kind::Binary(Vec::new()), start));
    }
    loop {
        segment(parser, &mut bits)?;
        if bits.length > MAX_BITS {
            return Err(Error::too_large(
                "size of binary in bits",
                bits.length,
                MAX_BITS,
                start,
            ));
        }
        if parser.is(",") {
            parser.advance()?;
            continue;
        }
        parser.expect(">>", ", or >>")?;
        return Ok(parser.spanning(bits.finish(), start));
    }
}

fn segment(parser: &mut Parser<'_>, bits: &mut Bits) -> Result<()> {
    let start = parser.span();
    let value = match parser.token() {
        Token::Symbol(sign @ ("-" | "+")) => {
            let negative = *sign == "-";
            parser.advance()?;
            parser.signed(start, negative)?
        }
        // Strings side by side are one here, too; and a binary may stand in one.
        _ => parser.term()?,
    };
    let size = if parser.is(":") {
        parser.advance()?;
        let size = parser.unsigned()?;
        let bits = match size.kind {
            Kind::Integer(bits) => usize::try_from(bits).ok(),
            _ => None,
        };
        let Some(bits) = bits else {
            return Err(Error::invalid(
                "segment",
                "wanted a whole number as its size",
                size.span,
            ));
        };
        Some(bits)
    } else {
        None
    };
    let form = Form::read(parser)?;
    let whole = start.to(value.span);
    form.write(bits, &value, size, whole)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Integer,
    Float,
    Binary,
    Utf8,
    Utf16,
    Utf32,
}

/// What stands behind `/`.
#[derive(Default)]
struct Form {
    kind: Option<Type>,
    little: Option<bool>,
    signed: Option<bool>,
    unit: Option<usize>,
}

impl Form {
    fn read(parser: &mut Parser<'_>) -> Result<Self> {
        let mut form = Self::default();
        if !parser.is("/") {
            return Ok(form);
        }
        loop {
            // Past `/` or `-`.
            parser.advance()?;
            let span = parser.span();
            let Token::Atom(name) = parser.token().clone() else {
                return Err(parser.unexpected("a type such as integer, binary or utf8"));
            };
            parser.advance()?;
            let agree = match name.as_str() {
                "integer" => set(&mut form.kind, Type::Integer),
                "float" => set(&mut form.kind, Type::Float),
                "binary" => set(&mut form.kind, Type::Binary),
                "bytes" => set(&mut form.kind, Type::Binary) && set(&mut form.unit, 8),
                "bitstring" | "bits" => set(&mut form.kind, Type::Binary) && set(&mut form.unit, 1),
                "utf8" => set(&mut form.kind, Type::Utf8),
                "utf16" => set(&mut form.kind, Type::Utf16),
                "utf32" => set(&mut form.kind, Type::Utf32),
                "big" => set(&mut form.little, false),
                // Of the machines that Erlang runs on, all that matter are little.
                "little" | "native" => set(&mut form.little, true),
                "signed" => set(&mut form.signed, true),
                "unsigned" => set(&mut form.signed, false),
                "unit" if parser.is(":") => {
                    parser.advance()?;
                    let unit = match parser.token() {
                        Token::Integer(unit @ 1..=256) => usize::try_from(*unit).ok(),
                        _ => None,
                    };
                    let Some(unit) = unit else {
                        return Err(parser.unexpected("a unit from 1 to 256"));
                    };
                    parser.advance()?;
                    set(&mut form.unit, unit)
                }
                _ => {
                    return Err(Error::invalid("segment", "no type of a segment", span));
                }
            };
            if !agree {
                return Err(Error::invalid(
                    "segment",
                    "two types that contradict each other",
                    span,
                ));
            }
            if !parser.is("-") {
                return Ok(form);
            }
        }
    }

    fn write(&self, bits: &mut Bits, value: &Term, size: Option<usize>, span: Span) -> Result<()> {
        let invalid = |reason| Err(Error::invalid("segment", reason, span));
        let kind = self.kind.unwrap_or(Type::Integer);
        let little = self.little == Some(true);
        match kind {
            Type::Utf8 | Type::Utf16 | Type::Utf32 => {
                if size.is_some() || self.unit.is_some() {
                    return invalid("utf8, utf16 and utf32 take no size and no unit");
                }
                let write = |bits: &mut Bits, c: char| utf(bits, c, kind, little);
                match &value.kind {
                    Kind::String(text) => text.chars().for_each(|c| write(bits, c)),
                    Kind::Integer(code) => {
                        let code = u32::try_from(*code).ok().and_then(char::from_u32);
                        let Some(c) = code else {
                            return invalid("wanted a code point");
                        };
                        write(bits, c);
                    }
                    _ => return invalid("wanted a string or a code point"),
                }
            }
            Type::Integer | Type::Float => {
                if size.is_none() && self.unit.is_some() {
                    return invalid("a unit without a size");
                }
                let default = if kind == Type::Float { 64 } else { 8 };
                let length = size
                    .unwrap_or(default)
                    .saturating_mul(self.unit.unwrap_or(1));
                if length > MAX_SEGMENT {
                    return Err(Error::too_large(
                        "size of segment in bits",
                        length,
                        MAX_SEGMENT,
                        span,
                    ));
                }
                let one = |bits: &mut Bits, value: &Kind| match (kind, value) {
                    (Type::Integer, Kind::Integer(value)) => {
                        bits.integer(*value, length, little);
                        true
                    }
                    (Type::Float, Kind::Float(value)) => bits.float(*value, length, little),
                    #[allow(clippy::cast_precision_loss)] // As Erlang converts it.
                    (Type::Float, Kind::Integer(value)) => {
                        bits.float(*value as f64, length, little)
                    }
                    _ => false,
                };
                let right = match &value.kind {
                    Kind::String(text) => {
                        let mut all = true;
                        for c in text.chars() {
                            let code = i128::from(u32::from(c));
                            all &= one(bits, &Kind::Integer(code));
                            if bits.length > MAX_BITS {
                                break;
                            }
                        }
                        // A form that cannot be is refused for no characters, too.
                        all && one(&mut Bits::default(), &Kind::Integer(0))
                    }
                    value => one(bits, value),
                };
                if !right {
                    return invalid("a value that its type does not take");
                }
            }
            Type::Binary => {
                let (bytes, length) = match &value.kind {
                    Kind::Binary(bytes) => (bytes, bytes.len() * 8),
                    Kind::Bits { bytes, last } => (
                        bytes,
                        bytes.len().saturating_sub(1) * 8 + usize::from(*last),
                    ),
                    _ => return invalid("wanted a binary"),
                };
                let unit = self.unit.unwrap_or(8);
                let taken = match size {
                    Some(size) => size.saturating_mul(unit),
                    None if length % unit == 0 => length,
                    None => return invalid("a binary that is no multiple of its unit"),
                };
                if taken > length {
                    return invalid("a binary that is shorter than its size");
                }
                bits.copy(bytes, taken);
            }
        }
        Ok(())
    }
}

fn set<T: PartialEq>(slot: &mut Option<T>, value: T) -> bool {
    match slot {
        Some(old) => *old == value,
        None => {
            *slot = Some(value);
            true
        }
    }
}

fn utf(bits: &mut Bits, c: char, kind: Type, little: bool) {
    match kind {
        Type::Utf16 => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                bits.integer(i128::from(*unit), 16, little);
            }
        }
        Type::Utf32 => bits.integer(i128::from(u32::from(c)), 32, little),
        _ => {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                bits.integer(i128::from(byte), 8, false);
            }
        }
    }
}

/// Bits that are written one after the other.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    length: usize,
}

impl Bits {
    fn push(&mut self, bit: bool) {
        let place = self.length % 8;
        if place == 0 {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (7 - place);
        }
        self.length += 1;
    }

    /// The lowest bits of a number; beyond 128 of them its sign goes on.
    fn integer(&mut self, value: i128, length: usize, little: bool) {
        let bit = |at: usize| value >> at.min(127) & 1 == 1;
        if little {
            // Whole bytes from the low end, then what is left of the highest one.
            let mut at = 0;
            while at < length {
                let width = (length - at).min(8);
                (0..width)
                    .rev()
                    .for_each(|place| self.push(bit(at + place)));
                at += width;
            }
        } else {
            (0..length).rev().for_each(|at| self.push(bit(at)));
        }
    }

    /// Whether a float of that length exists. Those of 16 bits are not read here.
    fn float(&mut self, value: f64, length: usize, little: bool) -> bool {
        match length {
            64 => self.integer(i128::from(value.to_bits()), 64, little),
            32 => {
                #[allow(clippy::cast_possible_truncation)] // As Erlang rounds it.
                let short = value as f32;
                if !short.is_finite() {
                    return false;
                }
                self.integer(i128::from(short.to_bits()), 32, little);
            }
            _ => return false,
        }
        true
    }

    fn copy(&mut self, bytes: &[u8], length: usize) {
        let bits = bytes
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1 == 1));
        bits.take(length).for_each(|bit| self.push(bit));
    }

    fn finish(self) -> Kind {
        match u8::try_from(self.length % 8) {
            Ok(0) | Err(_) => Kind::Binary(self.bytes),
            Ok(last) => Kind::Bits {
                bytes: self.bytes,
                last,
            },
        }
    }
}
