//! The renamer: the same in every cut and in every process, right about each atom, taken back by its inverse; what can be read is
//! not refused.
#![no_main]

use std::collections::HashMap;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use skans_dist::atom_cache::AtomCache;
use skans_dist::fragment::{Assembler, MAX_OPEN};
use skans_dist::frame::{self, Frame};
use skans_dist::rename::{MOST_HELD, Names, Renamer};
use skans_dist::term::Reader;
use skans_dist::{Error, NodeName};
use skans_fuzz as _;

const MAX_FRAME: u32 = 1 << 18;

/// Two that are known by other names, one of which the other one takes.
const NAMES: [(&str, &str); 2] = [("orders@host", "north@host"), ("south@host", "orders@host")];

fn names() -> Names {
    let name = |text: &str| text.parse::<NodeName>().expect("a node name");
    Names::new(&NAMES.map(|(from, to)| (name(from), name(to)))).expect("two names")
}

/// What goes on, with another renamer for each chunk if `thawed`.
fn relay(stream: &[u8], cut: usize, names: &Names, thawed: bool) -> Result<Vec<u8>, Error> {
    let (mut renamer, mut edits) = (Renamer::new(names.clone(), MAX_FRAME), Vec::new());
    let (mut held, mut out) = (Vec::new(), Vec::new());
    for chunk in stream.chunks(cut) {
        held.extend_from_slice(chunk);
        let decided = renamer.feed(&held, &mut edits)?;
        if thawed {
            let frozen = renamer.freeze().expect("it is followed");
            renamer = Renamer::thaw(&frozen, names.clone(), MAX_FRAME).expect("what it froze to");
        }
        let mut at = 0;
        for edit in &edits {
            out.extend_from_slice(&held[at..edit.range.start]);
            out.extend_from_slice(&edit.with);
            at = edit.range.end;
        }
        out.extend_from_slice(&held[at..decided]);
        held.drain(..decided);
        assert!(held.len() < MOST_HELD);
    }
    Ok(out)
}

/// What a receiver reads of a stream, each part of a term as text, and whether all of its messages are whole. `None` if anything in
/// it cannot be read.
fn meaning(mut stream: &[u8], change: impl Fn(&str) -> String) -> Option<(Vec<String>, bool)> {
    let (mut cache, mut atoms) = (AtomCache::new(), Vec::<Arc<str>>::new());
    let mut assembler = Assembler::new(MAX_OPEN, 1 << 22);
    let (mut open, mut all) = (HashMap::new(), Vec::new());
    while let Some((bytes, used)) = frame::split(stream, MAX_FRAME).ok()? {
        stream = &stream[used..];
        match Frame::decode(bytes).ok()? {
            Frame::Tick => {}
            Frame::PassThrough { terms } => {
                let rest = term(terms.strip_prefix(&[131])?, &[], &change, &mut all)?;
                if !rest.is_empty() {
                    last(rest.strip_prefix(&[131])?, &[], &change, &mut all)?;
                }
            }
            Frame::Message { header, terms } => {
                cache.apply(&header, &mut atoms).ok()?;
                let rest = term(terms, &atoms, &change, &mut all)?;
                if !rest.is_empty() {
                    last(rest, &atoms, &change, &mut all)?;
                }
            }
            Frame::FirstFragment {
                sequence,
                fragment,
                header,
                terms,
            } => {
                cache.apply(&header, &mut atoms).ok()?;
                let rest = term(terms, &atoms, &change, &mut all)?;
                match assembler.first(sequence, fragment, rest).ok()? {
                    Some(whole) if whole.is_empty() => {}
                    Some(whole) => last(&whole, &atoms, &change, &mut all)?,
                    None => {
                        open.insert(sequence, atoms.clone());
                    }
                }
            }
            Frame::NextFragment {
                sequence,
                fragment,
                bytes,
            } => {
                if let Some(whole) = assembler.next(sequence, fragment, bytes).ok()? {
                    last(&whole, &open.remove(&sequence)?, &change, &mut all)?;
                }
            }
        }
    }
    Some((all, assembler.is_empty()))
}

/// Reads a term, and returns what is behind it.
fn term<'a>(
    bytes: &'a [u8],
    atoms: &[Arc<str>],
    change: &impl Fn(&str) -> String,
    all: &mut Vec<String>,
) -> Option<&'a [u8]> {
    let mut reader = Reader::new(bytes).ok()?.with_atoms(atoms);
    let mut left = 1_u64;
    while left > 0 {
        let token = reader.token().ok()?;
        left = left - 1 + token.children();
        // Atoms are shown in quotes, and nothing else is.
        let text = format!("{token:?}");
        let parts: Vec<String> = text.split('\'').map(change).collect();
        all.push(parts.join("'"));
    }
    bytes.get(reader.position()..)
}

/// Reads a term behind which nothing stands.
fn last(
    bytes: &[u8],
    atoms: &[Arc<str>],
    change: &impl Fn(&str) -> String,
    all: &mut Vec<String>,
) -> Option<()> {
    let rest = term(bytes, atoms, change, all)?;
    rest.is_empty().then_some(())
}

fuzz_target!(|data: &[u8]| {
    // The first byte says how the rest is cut.
    let Some((&cut, stream)) = data.split_first() else {
        return;
    };
    let names = names();
    let at_once = relay(stream, usize::MAX, &names, false);
    let in_parts = relay(stream, usize::from(cut) + 1, &names, true);
    let renamed = |text: &str| {
        let found = NAMES.iter().find(|(from, _)| *from == text);
        found.map_or(text, |(_, to)| to).to_owned()
    };
    let wanted = meaning(stream, renamed);
    let (Ok(out), Ok(in_parts)) = (&at_once, &in_parts) else {
        assert_eq!(at_once.is_ok(), in_parts.is_ok());
        let is_whole = wanted.is_some_and(|(_, whole)| whole);
        assert!(!is_whole, "what can be read is not refused");
        return;
    };
    assert_eq!(out, in_parts);
    if wanted.is_none() {
        // A renamer does not look up references to the atom cache.
        return;
    }
    assert_eq!(meaning(out, str::to_owned), wanted);
    let meant = meaning(stream, str::to_owned);
    let is_taken = |text: &String| text.contains("'north@host'");
    if !meant.iter().any(|(all, _)| all.iter().any(is_taken)) {
        let back = relay(out, usize::MAX, &names.inverse(), false).expect("what it wrote");
        assert_eq!(meaning(&back, str::to_owned), meant);
    }
});
