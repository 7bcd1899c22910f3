//! Names in comments, in Cedar and in YAML: whoever is watched chooses them, and none of them ends a line, a string or a comment.

use std::fmt::Write as _;

use super::seen::{Ask, Evidence, Heard, What};
use super::shape::Piece;

/// Longest text of somebody else's in a comment, in bytes.
const MAX_SHOWN: usize = 200;
/// What stands behind a text that was cut.
const CUT: &str = "\\+";
/// Names of nodes and hosts that one comment shows.
const MAX_NAMES: usize = 4;

/// Printable ASCII but backslash and backquote as it is, anything else as `\u{…}`. Cut.
pub(super) fn shown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let before = out.len();
        match c {
            '\\' => out.push_str("\\\\"),
            ' '..='~' if c != '`' => out.push(c),
            // Writing to a string cannot fail.
            c => drop(write!(out, "\\u{{{:x}}}", u32::from(c))),
        }
        if out.len() > MAX_SHOWN - CUT.len() {
            out.truncate(before);
            out.push_str(CUT);
            break;
        }
    }
    out
}

/// As a string of Cedar.
pub(super) fn cedar(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        cedar_char(c, &mut out);
    }
    out.push('"');
    out
}

/// As a pattern of `like`.
pub(super) fn pattern(pieces: &[Piece]) -> String {
    let mut out = String::from("\"");
    for piece in pieces {
        match piece {
            Piece::Star => out.push('*'),
            Piece::Text(text) => {
                for c in text.chars() {
                    if c == '*' {
                        out.push_str("\\*");
                    } else {
                        cedar_char(c, &mut out);
                    }
                }
            }
        }
    }
    out.push('"');
    out
}

fn cedar_char(c: char, out: &mut String) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        ' '..='~' => out.push(c),
        c => drop(write!(out, "\\u{{{:x}}}", u32::from(c))),
    }
}

/// As a string of YAML, in double quotes.
pub(super) fn yaml(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(c),
            c => drop(write!(out, "\\U{:08X}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// A request in words.
pub(super) fn request(heard: &Heard, from: usize, to: usize, ask: &Ask) -> String {
    let name = |party: usize| {
        let party = heard.party(party);
        let kind = if party.cli {
            " (short-lived nodes)"
        } else {
            ""
        };
        format!("{}{kind}", party.id)
    };
    let mut words = format!("{} {}", name(from), ask.action);
    match &ask.what {
        What::Node => {}
        What::Process(name) | What::Service(name) => {
            words += &format!(" {}", shown(name));
        }
        What::Function(module, function, arity) => {
            words += &format!(
                " {}",
                shown(&crate::name::function(module, function, *arity))
            );
        }
    }
    words += &format!(" at {}", name(to));
    if ask.carries {
        words += ", with a function";
    }
    words
}

/// What was seen, in words.
pub(super) fn evidence(evidence: &Evidence) -> String {
    let times = match evidence.count() {
        0 => return "not seen this way: what a link needs, it needs both ways".to_owned(),
        1 => "once".to_owned(),
        count => format!("{count} times"),
    };
    let when = if evidence.first == evidence.last {
        format!("at {}", moment(evidence.first))
    } else {
        format!(
            "from {} to {}",
            moment(evidence.first),
            moment(evidence.last)
        )
    };
    let by = match evidence.from.len() {
        1 => "1 node".to_owned(),
        nodes => format!("{nodes} nodes"),
    };
    let agents = if evidence.agents.is_empty() {
        "told as denials".to_owned()
    } else {
        format!("told by the agents of {}", names(evidence.agents.iter()))
    };
    format!(
        "seen {times} {when}, by {by} ({}), {agents}",
        names(evidence.from.iter())
    )
}

fn names<'a>(all: impl ExactSizeIterator<Item = &'a String>) -> String {
    let more = all.len().saturating_sub(MAX_NAMES);
    let mut text = all
        .take(MAX_NAMES)
        .map(|name| shown(name))
        .collect::<Vec<_>>()
        .join(", ");
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}

/// RFC 3339 in UTC, of seconds since 1970.
pub(super) fn moment(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// The proleptic Gregorian date of a day since 1970, in years of March to February, so that the leap day is the last.
const fn date(days: u64) -> (u64, u64, u64) {
    // Days from 0000-03-01 to 1970-01-01; years repeat every 400.
    const BEFORE: u64 = 719_468;
    const ERA: u64 = 146_097;
    // Beyond this is no calendar of anybody's.
    const LAST: u64 = 3_000_000;
    let days = if days > LAST { LAST } else { days } + BEFORE;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let in_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * in_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, in_year - (153 * shifted + 2) / 5 + 1)
}
