//! Reads a stream as a node does: frames, atom cache, fragments, terms. Written for the tests beside it, from the protocol's
//! documentation, so that what our own reader takes for something else is found.

use super::HashMap;

/// A term, as far as it matters.
#[derive(Debug, Clone, PartialEq)]
pub enum V {
    Int(i64),
    Atom(String),
    Tuple(Vec<V>),
    /// A proper one.
    List(Vec<V>),
    /// What stands in front of another tail.
    Improper(Vec<V>),
    /// A pid or a reference of this node.
    Handle(String),
    Other,
}

impl V {
    pub fn is(&self, text: &str) -> bool {
        matches!(self, Self::Atom(found) if found == text)
    }

    pub const fn int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub fn tuple(&self) -> Option<&[Self]> {
        match self {
            Self::Tuple(elements) => Some(elements),
            _ => None,
        }
    }

    pub fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// What whoever works through a list gets to see.
    pub fn front(&self) -> &[Self] {
        match self {
            Self::List(elements) | Self::Improper(elements) => elements,
            _ => &[],
        }
    }

    pub fn length(&self) -> Option<usize> {
        self.list().map(<[Self]>::len)
    }
}

/// What a node makes of a frame.
#[derive(Debug)]
pub enum Read {
    Message {
        control: V,
        payload: Option<V>,
    },
    /// It closes the connection.
    Broken,
}

/// All that a stream delivers; nothing behind what is broken.
pub fn messages(mut stream: &[u8]) -> Vec<Read> {
    let mut all = Vec::new();
    let mut cache: HashMap<u16, String> = HashMap::new();
    let mut open: HashMap<u64, (u64, Vec<u8>, Vec<String>)> = HashMap::new();
    while let Some((prefix, rest)) = stream.split_first_chunk() {
        let length = u32::from_be_bytes(*prefix) as usize;
        let Some(frame) = rest.get(..length) else {
            break;
        };
        stream = &rest[length..];
        let read = match frame {
            [] => continue,
            [112, rest @ ..] => pass_through(rest),
            [131, 68, rest @ ..] => {
                header(rest, &mut cache).and_then(|(atoms, terms)| message(terms, &atoms))
            }
            [131, 69, rest @ ..] if rest.len() >= 16 => {
                let (numbers, rest) = rest.split_at(16);
                let (sequence, left) = (number(&numbers[..8]), number(&numbers[8..]));
                match header(rest, &mut cache) {
                    Some((atoms, terms)) if left > 1 => {
                        open.insert(sequence, (left - 1, terms.to_vec(), atoms));
                        continue;
                    }
                    Some((atoms, terms)) => message(terms, &atoms),
                    None => None,
                }
            }
            [131, 70, rest @ ..] if rest.len() >= 16 => {
                let (numbers, rest) = rest.split_at(16);
                let (sequence, left) = (number(&numbers[..8]), number(&numbers[8..]));
                match open.remove(&sequence) {
                    Some((due, mut bytes, atoms)) if due == left => {
                        bytes.extend_from_slice(rest);
                        if left > 1 {
                            open.insert(sequence, (left - 1, bytes, atoms));
                            continue;
                        }
                        message(&bytes, &atoms)
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        let ended = read.is_none();
        all.push(read.unwrap_or(Read::Broken));
        if ended {
            break;
        }
    }
    all
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

fn pass_through(bytes: &[u8]) -> Option<Read> {
    let (control, rest) = term(bytes.strip_prefix(&[131])?, &[], 0)?;
    let payload = if rest.is_empty() {
        None
    } else {
        Some(term(rest.strip_prefix(&[131])?, &[], 0)?.0)
    };
    Some(Read::Message { control, payload })
}

fn message(terms: &[u8], atoms: &[String]) -> Option<Read> {
    let (control, rest) = term(terms, atoms, 0)?;
    let payload = if rest.is_empty() {
        None
    } else {
        Some(term(rest, atoms, 0)?.0)
    };
    Some(Read::Message { control, payload })
}

fn header<'a>(
    bytes: &'a [u8],
    cache: &mut HashMap<u16, String>,
) -> Option<(Vec<String>, &'a [u8])> {
    let (&count, rest) = bytes.split_first()?;
    let count = usize::from(count);
    if count == 0 {
        return Some((Vec::new(), rest));
    }
    let (flags, mut rest) = rest.split_at_checked(count / 2 + 1)?;
    let half = |at: usize| (flags[at / 2] >> (4 * (at % 2))) & 15;
    let long = half(count) & 1 == 1;
    let mut atoms = Vec::new();
    for at in 0..count {
        let (&low, after) = rest.split_first()?;
        rest = after;
        let slot = (u16::from(half(at) & 7) << 8) | u16::from(low);
        if half(at) & 8 != 0 {
            let width = if long { 2 } else { 1 };
            let (length, after) = rest.split_at_checked(width)?;
            let (text, after) = after.split_at_checked(usize::try_from(number(length)).ok()?)?;
            rest = after;
            cache.insert(slot, String::from_utf8_lossy(text).into_owned());
        }
        atoms.push(cache.get(&slot)?.clone());
    }
    Some((atoms, rest))
}

/// A term, and what stands behind it.
fn term<'a>(bytes: &'a [u8], atoms: &[String], depth: usize) -> Option<(V, &'a [u8])> {
    if depth > 200 {
        return None;
    }
    let (&tag, rest) = bytes.split_first()?;
    let skip = |count: usize, value: V| Some((value, rest.get(count..)?));
    let sized = |extra: usize| {
        let (length, rest) = rest.split_at_checked(4)?;
        let length = usize::try_from(number(length)).ok()?;
        Some((V::Other, rest.get(length.checked_add(extra)?..)?))
    };
    match tag {
        97 => skip(1, V::Int((*rest.first()?).into())),
        98 => skip(4, V::Int(i32::from_be_bytes(*rest.first_chunk()?).into())),
        110 => big(rest),
        111 | 77 => sized(1),
        109 => sized(0),
        70 => skip(8, V::Other),
        99 => skip(31, V::Other),
        82 => {
            let text = atoms.get(usize::from(*rest.first()?))?;
            skip(1, V::Atom(text.clone()))
        }
        100 | 115 | 118 | 119 => {
            let width = if tag == 100 || tag == 118 { 2 } else { 1 };
            let (length, rest) = rest.split_at_checked(width)?;
            let (text, rest) = rest.split_at_checked(usize::try_from(number(length)).ok()?)?;
            Some((V::Atom(String::from_utf8_lossy(text).into_owned()), rest))
        }
        104 | 105 => {
            let (length, rest) = rest.split_at_checked(if tag == 104 { 1 } else { 4 })?;
            let (elements, rest) = elements(rest, number(length), atoms, depth)?;
            Some((V::Tuple(elements), rest))
        }
        106 => Some((V::List(Vec::new()), rest)),
        107 => {
            let (length, rest) = rest.split_at_checked(2)?;
            let (bytes, rest) = rest.split_at_checked(usize::try_from(number(length)).ok()?)?;
            let all = bytes.iter().map(|byte| V::Int((*byte).into())).collect();
            Some((V::List(all), rest))
        }
        108 => {
            let (length, rest) = rest.split_at_checked(4)?;
            let (mut first, rest) = elements(rest, number(length), atoms, depth)?;
            let (tail, rest) = term(rest, atoms, depth + 1)?;
            let value = match tail {
                tail if first.is_empty() => tail,
                V::List(more) => {
                    first.extend(more);
                    V::List(first)
                }
                V::Improper(more) => {
                    first.extend(more);
                    V::Improper(first)
                }
                _ => V::Improper(first),
            };
            Some((value, rest))
        }
        116 => {
            let (length, rest) = rest.split_at_checked(4)?;
            Some((
                V::Other,
                elements(rest, number(length) * 2, atoms, depth)?.1,
            ))
        }
        88 | 103 | 89 | 120 | 102 | 101 => {
            let (node, rest) = node(rest, atoms, depth)?;
            let length = match tag {
                88 | 120 => 12,
                103 => 9,
                89 => 8,
                _ => 5,
            };
            Some((node, rest.get(length..)?))
        }
        90 | 114 => {
            let (words, rest) = rest.split_at_checked(2)?;
            let (node, rest) = node(rest, atoms, depth)?;
            let creation = if tag == 90 { 4 } else { 1 };
            let length = usize::try_from(number(words)).ok()? * 4 + creation;
            Some((node, rest.get(length..)?))
        }
        113 => Some((V::Other, elements(rest, 3, atoms, depth)?.1)),
        112 => {
            let (_, rest) = rest.split_at_checked(4 + 1 + 16 + 4)?;
            let (free, rest) = rest.split_at_checked(4)?;
            Some((V::Other, elements(rest, number(free) + 4, atoms, depth)?.1))
        }
        _ => None,
    }
}

fn node<'a>(bytes: &'a [u8], atoms: &[String], depth: usize) -> Option<(V, &'a [u8])> {
    match term(bytes, atoms, depth + 1)? {
        (V::Atom(node), rest) => Some((V::Handle(node), rest)),
        _ => None,
    }
}

fn big(rest: &[u8]) -> Option<(V, &[u8])> {
    let (&length, rest) = rest.split_first()?;
    let (&sign, rest) = rest.split_first()?;
    let (digits, rest) = rest.split_at_checked(length.into())?;
    let mut value = 0_u64;
    for (at, digit) in digits.iter().enumerate() {
        if at < 8 {
            value |= u64::from(*digit) << (8 * at);
        } else if *digit != 0 {
            return Some((V::Other, rest));
        }
    }
    let value = i64::try_from(value).map_or(V::Other, |value| {
        V::Int(if sign == 0 { value } else { -value })
    });
    Some((value, rest))
}

fn elements<'a>(
    mut rest: &'a [u8],
    count: u64,
    atoms: &[String],
    depth: usize,
) -> Option<(Vec<V>, &'a [u8])> {
    let mut all = Vec::new();
    for _ in 0..count {
        let (value, after) = term(rest, atoms, depth + 1)?;
        all.push(value);
        rest = after;
    }
    Some((all, rest))
}
