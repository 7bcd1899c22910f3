//! What release tools fill in later: `${NAME}`, `${NAME:-default}` and `<%= elixir %>`. Found, never filled in.

use crate::cursor::Cursor;

/// The length in bytes of a placeholder of relx (`${NAME}`, `${NAME:-default}`) or EEx (`<%= … %>`) that begins here.
pub(crate) fn length(cursor: &Cursor<'_>) -> Option<usize> {
    eex(cursor).or_else(|| variable(cursor))
}

/// The length of `<% … %>`.
pub(crate) fn eex(cursor: &Cursor<'_>) -> Option<usize> {
    let rest = cursor.rest().strip_prefix("<%")?;
    find(rest, "%>", "<%").map(|end| end + 4)
}

fn variable(cursor: &Cursor<'_>) -> Option<usize> {
    let rest = cursor.rest().strip_prefix("${")?;
    let first = rest.chars().next()?;
    if !(first.is_ascii_alphabetic() || first == '_') {
        return None;
    }
    let end = find(rest, "}", "${")?;
    let inner = rest.get(..end)?;
    let named = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    match named.and_then(|at| inner.get(at..)) {
        None => Some(end + 3),
        // Of a shell's forms; what stands in them may be anything but a closing brace.
        Some(form) if form.starts_with([':', '-']) => Some(end + 3),
        Some(_) => None,
    }
}

/// Where the end is, if it comes before another begin: what is never closed is not looked for to the end of the text
/// each time.
fn find(text: &str, end: &str, begin: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        if rest.starts_with(end) {
            return Some(at);
        }
        if rest.starts_with(begin) {
            return None;
        }
        at += rest.chars().next()?.len_utf8();
    }
}
