//! What a node said, cut down to what tells something, and words as a shell needs them. Nothing is started.

/// The lines of a report in which something stands.
pub(super) fn telling(said: &[String]) -> Vec<String> {
    const MOST: usize = 5;
    const WORDS: &[&str] = &[
        "rror",
        "annot",
        "nvalid",
        "bad_",
        "no_suitable",
        "Runtime terminating",
        "terminated",
        "Alert",
        "ALERT",
        "ERROR",
        "Missing",
        "Bad",
        "bad ",
        "failed",
        "illegal",
        "refused",
        "Unknown",
        "unknown",
        "Can't",
        "usage",
    ];
    let mut lines: Vec<String> = said
        .iter()
        .filter(|line| WORDS.iter().any(|word| line.contains(word)) && !noise(line))
        .map(|line| shorten(line.trim()))
        .take(MOST)
        .collect();
    if lines.is_empty() {
        let rest = said.iter().filter(|line| !noise(line));
        lines = rest.map(|line| shorten(line.trim())).take(MOST).collect();
    }
    lines.dedup();
    lines
}

/// Headers of reports, halves of terms, and the usage of the emulator.
fn noise(line: &str) -> bool {
    let line = line.trim_start();
    let usage = line
        .strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
    usage
        || line.starts_with(['=', '{'])
        || [
            "rash dump",
            "errorContext",
            "_error,",
            "documentation for details",
        ]
        .iter()
        .any(|part| line.contains(part))
}

fn shorten(line: &str) -> String {
    const WIDTH: usize = 320;
    let mut out: String = line.chars().take(WIDTH).collect();
    if line.chars().count() > WIDTH {
        out.push('…');
    }
    out
}

pub(super) fn first_words(said: &[String]) -> String {
    let words = telling(said).join(" | ");
    if words.is_empty() {
        "it said nothing".to_owned()
    } else {
        words
    }
}

/// A word as a shell would need it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@+=,%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
