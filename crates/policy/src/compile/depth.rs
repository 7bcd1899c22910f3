//! How deep a policy may be. Cedar reads, checks and frees expressions by recursion, and a text of some kilobytes can ask for
//! more stack than there is: what is too deep is refused before Cedar sees it.

/// Deepest nesting of brackets. People write 5.
pub(super) const MAX_BRACKETS: usize = 40;
/// Most operators in one policy: `a && b && c` is as deep as it is long. Lists (`[a, b, c]`) are not, and do not count.
pub(super) const MAX_OPERATORS: usize = 200;

/// Where a text goes too deep, and what it has too many of.
pub(super) fn too_deep(text: &str) -> Option<(usize, &'static str)> {
    let bytes = text.as_bytes();
    let (mut brackets, mut operators, mut at) = (0_usize, 0_usize, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'/' if bytes.get(at) == Some(&b'/') => {
                while bytes.get(at).is_some_and(|&byte| byte != b'\n') {
                    at += 1;
                }
            }
            b'(' | b'[' | b'{' => {
                brackets += 1;
                operators += 1;
            }
            b')' | b']' | b'}' => brackets = brackets.saturating_sub(1),
            b';' => (brackets, operators) = (0, 0),
            b'&' | b'|' | b'=' | b'<' | b'>' => {
                // Of two characters, mostly: one operator.
                if bytes.get(at).is_some_and(|byte| b"&|=".contains(byte)) {
                    at += 1;
                }
                operators += 1;
            }
            b'!' | b'-' | b'+' | b'*' | b'.' => operators += 1,
            byte if byte.is_ascii_alphabetic() => {
                while bytes
                    .get(at)
                    .is_some_and(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
                {
                    at += 1;
                }
                let word = text.get(start..at).unwrap_or_default();
                operators += usize::from(matches!(
                    word,
                    "if" | "has" | "like" | "is" | "in" | "when" | "unless"
                ));
            }
            _ => {}
        }
        if brackets > MAX_BRACKETS {
            return Some((start, "brackets within brackets"));
        }
        if operators > MAX_OPERATORS {
            return Some((start, "operators in one policy"));
        }
    }
    None
}

fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' => at += 1,
            b'"' => break,
            _ => {}
        }
    }
    at
}
