//! Text for people: columns, sizes, times. Where it goes is not decided here.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Rows under headings, each column as wide as its widest cell, two spaces between.
#[must_use]
pub fn render<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let cells: Vec<[String; N]> = rows
        .iter()
        .map(|row| std::array::from_fn(|column| clean(&row[column])))
        .collect();
    let width = |column: usize| {
        let widest = cells
            .iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0);
        widest.max(headings[column].chars().count())
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let mut text = String::new();
        for (cell, width) in cells.into_iter().zip(widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    };
    let mut out = line(headings);
    for row in &cells {
        out.push_str(&line(std::array::from_fn(|column| row[column].as_str())));
    }
    out
}

/// `name: value` lines, the values below each other.
#[must_use]
pub fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
    facts
        .iter()
        .map(|(name, value)| format!("{:width$} {}\n", format!("{name}:"), clean(value)))
        .collect()
}

/// Names come from peers: nothing in them may steer a terminal.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Bytes in decimal units, three digits: `999 B`, `1.23 kB`, `45.6 MB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    let mut unit = "B";
    let mut scale = 1;
    for (next, size) in [
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
    ] {
        if count >= size {
            (unit, scale) = (next, size);
        }
    }
    let (whole, rest) = (count / scale, count % scale);
    match whole {
        _ if scale == 1 => format!("{whole} {unit}"),
        0..10 => format!("{whole}.{:02} {unit}", rest * 100 / scale),
        10..100 => format!("{whole}.{} {unit}", rest * 10 / scale),
        _ => format!("{whole} {unit}"),
    }
}

/// A length of time, in its two largest units: `3d 4h`, `59m 2s`, `7s`.
#[must_use]
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes, rest) = (
        seconds / 86_400,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    );
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m {rest}s"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// A moment as time from now: `in 23h 59m`, `12s ago`. Both in seconds since 1970.
#[must_use]
pub fn relative(moment: u64, now: u64) -> String {
    if moment >= now {
        format!("in {}", span(Duration::from_secs(moment - now)))
    } else {
        format!("{} ago", span(Duration::from_secs(now - moment)))
    }
}

/// A moment as RFC 3339, in UTC; the number itself if it is beyond the calendar.
#[must_use]
pub fn moment(moment: u64) -> String {
    i64::try_from(moment)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_else(|| moment.to_string())
}

/// A moment that is written as RFC 3339, in milliseconds since 1970.
#[must_use]
pub fn parse_moment(text: &str) -> Option<u64> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()
}

/// Now, in seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
