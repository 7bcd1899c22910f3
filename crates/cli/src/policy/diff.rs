//! `skans policy diff`: in what two sets differ, file by file and line by line.

use std::collections::BTreeMap;

use serde::Serialize;
use skans_policy::rollout::relate;
use skans_policy::{Mode, Source};

use super::{Relates, source};
use crate::arguments::control::Ask;
use crate::control::print;
use crate::failure::{FAILED, Failure};

/// Beyond so many lines on a side the rest between what is the same at both ends is shown as replaced.
const MOST: usize = 4000;

/// A part that differs.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Changed {
    file: String,
    /// ` `, `-` or `+` in front of each.
    lines: Vec<String>,
}

/// In what two sets differ, and what the second one is to the first.
#[derive(Serialize)]
struct Differs {
    #[serde(flatten)]
    related: Relates,
    files: Vec<Changed>,
}

pub async fn diff(from: &str, to: &str, ask: &Ask) -> Result<(), Failure> {
    let (one, other) = (
        source(from, &ask.plane).await?,
        source(to, &ask.plane).await?,
    );
    let related =
        relate(&one, &other).map_err(|problems| Failure::new(FAILED, problems.to_string()))?;
    let found = Differs {
        files: changes(&one, &other),
        related: related.into(),
    };
    print(ask.output, found, |found| {
        let mut text = found.related.to_string();
        for changed in found.files {
            text += &format!("{}\n", changed.file);
            for line in changed.lines.iter().filter(|line| !line.starts_with(' ')) {
                text += &format!("  {line}\n");
            }
        }
        text
    })
}

fn changes(one: &Source, other: &Source) -> Vec<Changed> {
    let (before, after) = (parts(one), parts(other));
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let empty = String::new();
    names
        .into_iter()
        .filter_map(|name| {
            let of = |parts: &BTreeMap<String, String>| {
                parts
                    .get(name)
                    .unwrap_or(&empty)
                    .lines()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            let (a, b) = (of(&before), of(&after));
            (a != b).then(|| Changed {
                file: name.clone(),
                lines: compare(&a, &b),
            })
        })
        .collect()
}

/// A set as texts: what its files say, whatever they were written like.
fn parts(source: &Source) -> BTreeMap<String, String> {
    let json = |value: serde_json::Result<String>| value.unwrap_or_default();
    let mode = match source.mode {
        Mode::Enforce => "enforce".to_owned(),
        Mode::DryRun { until } => format!("dry-run until {}", crate::table::moment(until)),
    };
    let mut head = format!("name: {}\nmode: {mode}\n", source.name);
    for role in &source.roles {
        head += &format!("role: {}\n", json(serde_json::to_string(role)));
    }
    let mut all = BTreeMap::from([
        ("set.yaml".to_owned(), head),
        (
            "entities.yaml".to_owned(),
            json(serde_json::to_string_pretty(&source.entities)),
        ),
    ]);
    for file in &source.policies {
        all.insert(file.name.clone(), file.text.clone());
    }
    all
}

/// The shortest way from one to the other, by lines.
fn compare(a: &[String], b: &[String]) -> Vec<String> {
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (head, a) = a.split_at(same);
    let (_, b) = b.split_at(same);
    let same = a.iter().rev().zip(b.iter().rev());
    let same = same.take_while(|(x, y)| x == y).count();
    let (a, tail) = a.split_at(a.len() - same);
    let (b, _) = b.split_at(b.len() - same);
    let mut lines: Vec<String> = head.iter().map(|line| format!(" {line}")).collect();
    if a.len() > MOST || b.len() > MOST {
        lines.extend(a.iter().map(|line| format!("-{line}")));
        lines.extend(b.iter().map(|line| format!("+{line}")));
    } else {
        walk(a, b, &mut lines);
    }
    lines.extend(tail.iter().map(|line| format!(" {line}")));
    lines
}

/// Longest common subsequence.
fn walk(a: &[String], b: &[String], lines: &mut Vec<String>) {
    let width = b.len() + 1;
    let mut longest = vec![0_u16; (a.len() + 1) * width];
    let at = |x: usize, y: usize| x * width + y;
    for (x, one) in a.iter().enumerate().rev() {
        for (y, other) in b.iter().enumerate().rev() {
            longest[at(x, y)] = if one == other {
                longest[at(x + 1, y + 1)] + 1
            } else {
                longest[at(x + 1, y)].max(longest[at(x, y + 1)])
            };
        }
    }
    let (mut x, mut y) = (0, 0);
    while x < a.len() || y < b.len() {
        if x < a.len() && y < b.len() && a[x] == b[y] {
            lines.push(format!(" {}", a[x]));
            (x, y) = (x + 1, y + 1);
        } else if y == b.len() || (x < a.len() && longest[at(x + 1, y)] >= longest[at(x, y + 1)]) {
            lines.push(format!("-{}", a[x]));
            x += 1;
        } else {
            lines.push(format!("+{}", b[y]));
            y += 1;
        }
    }
}

#[cfg(test)]
mod tests;
