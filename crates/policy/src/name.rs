//! How names are written: of sets, groups and services, and of a function: `module:function/arity`. One function has one text, and one text one function, whatever a
//! peer calls its atoms.

#[cfg(test)]
mod tests;

/// Longest atom in bytes: 255 characters of UTF-8.
pub const MAX_ATOM: usize = 255 * 4;

/// Longest name of a set, group or service in bytes: a DNS label.
pub const MAX_LABEL: usize = 63;

/// Whether it is a name of a set, group or service: 1 to 63 of `a-z 0-9 -`, a letter first.
#[must_use]
pub fn is_label(text: &str) -> bool {
    text.len() <= MAX_LABEL
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The text. Atoms with `:`, `/`, `'`, `\` or nothing in them are quoted, as Erlang quotes: `erlang:'/'/2`.
#[must_use]
pub fn function(module: &str, function: &str, arity: u32) -> String {
    let mut out = String::with_capacity(module.len() + function.len() + 6);
    push_atom(module, &mut out);
    out.push(':');
    push_atom(function, &mut out);
    out.push('/');
    out.push_str(&arity.to_string());
    out
}

/// A module as it is written before the colon.
#[must_use]
pub fn module(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    push_atom(name, &mut out);
    out
}

fn push_atom(atom: &str, out: &mut String) {
    if !atom.is_empty() && !atom.contains([':', '/', '\'', '\\']) {
        out.push_str(atom);
        return;
    }
    out.push('\'');
    for c in atom.chars() {
        if matches!(c, '\'' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('\'');
}

/// Reads the text back: module, function, arity. `None` if it is not exactly what [`function`] writes.
#[must_use]
pub fn parse(text: &str) -> Option<(String, String, u32)> {
    let (module, rest) = pop_atom(text)?;
    let (name, rest) = pop_atom(rest.strip_prefix(':')?)?;
    let arity = rest.strip_prefix('/')?.parse::<u32>().ok()?;
    // One text for each: no quotes without need, no leading zeros.
    (arity <= 255 && function(&module, &name, arity) == text).then_some((module, name, arity))
}

fn pop_atom(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('\'') else {
        let end = text.find([':', '/', '\'', '\\'])?;
        let (atom, rest) = text.split_at(end);
        return (!atom.is_empty()).then(|| (atom.to_owned(), rest));
    };
    let mut atom = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => atom.push(chars.next()?.1),
            '\'' => return Some((atom, quoted.get(at + 1..)?)),
            c => atom.push(c),
        }
    }
    None
}
