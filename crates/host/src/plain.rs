//! Text that others chose, shown so that it can forge nothing: no line of a log, no colour of a terminal, no order of
//! reading, no look-alike. Where it is shown is not decided here.

use std::fmt::Write as _;

/// The longest text that [`show`] gives, in bytes. An atom has 255 characters; names that people write fit whole.
pub const MAX_SHOWN: usize = 512;

/// What stands behind a text that was cut; nothing else ends so.
const CUT: &str = "\\+";

/// Printable ASCII as it is, anything else as `\u{…}`, a backslash as `\\`: two different texts never look the same. What
/// is longer than [`MAX_SHOWN`] is cut, and ends in `\+` then.
#[must_use]
pub fn show(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MAX_SHOWN));
    for character in text.chars() {
        let before = shown.len();
        match character {
            '\\' => shown.push_str("\\\\"),
            ' '..='~' => shown.push(character),
            other => {
                // Writing to a string cannot fail.
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(other));
            }
        }
        if shown.len() > MAX_SHOWN - CUT.len() {
            shown.truncate(before);
            shown.push_str(CUT);
            break;
        }
    }
    shown
}

/// The text that [`show`] was given; `None` if it was cut, or is none of its making.
#[must_use]
pub fn read(shown: &str) -> Option<String> {
    let mut text = String::with_capacity(shown.len());
    let mut rest = shown;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        text.push_str(plain);
        if let Some(after) = escape.strip_prefix("\\\\") {
            text.push('\\');
            rest = after;
        } else {
            let (number, after) = escape.strip_prefix("\\u{")?.split_once('}')?;
            text.push(char::from_u32(u32::from_str_radix(number, 16).ok()?)?);
            rest = after;
        }
    }
    text.push_str(rest);
    (show(&text) == shown).then_some(text)
}

#[cfg(test)]
mod tests;
