//! Lines of events, as agents write them, and what each says that was asked. Lines come from files; where else they might come
//! from does not matter here.

#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use skans_host::plain;
use skans_policy::learn::{By, Said, Seen, Told, What, Why};
use skans_policy::{Action, Subject, test};

use crate::failure::{Failure, NOT_CHECKED};

/// Longest line in bytes. An event shows at most 32 names of at most 512 bytes twice; collectors add to it.
const MAX_LINE: u64 = 256 * 1024;
/// Most lines of all files: a week of a large cluster. More are a mistake, or somebody's who wants this to take long.
const MAX_LINES: u64 = 10_000_000;

/// Which events count: seconds since 1970, `until` not included.
#[derive(Clone, Copy, Debug)]
pub struct Period {
    pub since: u64,
    pub until: u64,
}

impl Period {
    pub const ALL: Self = Self {
        since: 0,
        until: u64::MAX,
    };
}

/// What the lines of files say.
pub struct Lines {
    files: VecDeque<PathBuf>,
    open: Option<Box<dyn BufRead>>,
    period: Period,
    told: VecDeque<Told>,
    lines: u64,
    passed_over: u64,
    failed: Option<Failure>,
    known: HashSet<u64>,
    keys: RandomState,
}

impl Lines {
    /// Of these files, one after the other; `-` is standard input.
    pub fn of(files: &[PathBuf], period: Period) -> Self {
        Self {
            files: files.iter().cloned().collect(),
            open: None,
            period,
            told: VecDeque::new(),
            lines: 0,
            passed_over: 0,
            failed: None,
            known: HashSet::new(),
            keys: RandomState::new(),
        }
    }

    /// Whether a line is the first with its event. The file of an agent and the log of its control plane have the same ones, and what was seen once
    /// must not be seen twice by being read twice.
    fn is_new(&mut self, line: &[u8]) -> bool {
        let numbered = serde_json::from_slice::<Numbered>(line).ok();
        let uid = numbered.and_then(|line| line.metadata.uid);
        let key = match &uid {
            Some(uid) => self.keys.hash_one(uid),
            None => self.keys.hash_one(line),
        };
        self.known.insert(key)
    }

    /// How many lines were passed over.
    ///
    /// # Errors
    /// What kept it from reading on.
    pub fn finish(self) -> Result<u64, Failure> {
        match self.failed {
            Some(failure) => Err(failure),
            None => Ok(self.passed_over),
        }
    }

    /// The next line; nothing at the end of all files.
    fn line(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            let Some(open) = &mut self.open else {
                let Some(file) = self.files.pop_front() else {
                    return Ok(None);
                };
                self.open = Some(opened(&file)?);
                continue;
            };
            let mut line = Vec::new();
            let read = open.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
            let read = read.map_err(|error| Failure::new(NOT_CHECKED, error.to_string()))?;
            if read == 0 {
                self.open = None;
                continue;
            }
            self.lines += 1;
            if self.lines > MAX_LINES {
                let text = format!("more than {MAX_LINES} lines: wanted fewer files at a time");
                return Err(Failure::new(NOT_CHECKED, text));
            }
            if line.ends_with(b"\n") || line.len() < usize::try_from(MAX_LINE).unwrap_or(0) {
                return Ok(Some(line));
            }
            open.skip_until(b'\n')
                .map_err(|error| Failure::new(NOT_CHECKED, error.to_string()))?;
            self.passed_over += 1;
        }
    }
}

impl Iterator for Lines {
    type Item = Told;

    fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(told);
            }
            match self.line() {
                Ok(Some(line)) if !self.is_new(&line) => {}
                Ok(Some(line)) => match told(&line, self.period) {
                    Some(told) => self.told.extend(told),
                    None => self.passed_over += 1,
                },
                Ok(None) => return None,
                Err(failure) => {
                    self.failed = Some(failure);
                    return None;
                }
            }
        }
    }
}

fn opened(file: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let open = File::open(file)
        .map_err(|error| Failure::new(NOT_CHECKED, format!("{}: {error}", file.display())))?;
    Ok(Box::new(BufReader::new(open)))
}

/// The number of an event, which goes with it wherever it goes.
#[derive(Deserialize)]
struct Numbered {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    uid: Option<String>,
}

/// An event of an agent, as far as it is needed.
#[derive(Deserialize)]
struct Line {
    unmapped: Unmapped,
    src_endpoint: Endpoint,
    dst_endpoint: Endpoint,
    #[serde(default)]
    time: u64,
    #[serde(default)]
    start_time: u64,
    #[serde(default)]
    end_time: u64,
}

#[derive(Deserialize)]
struct Unmapped {
    skans: Skans,
}

#[derive(Deserialize)]
struct Endpoint {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Skans {
    action: String,
    verdict: String,
    principal: String,
    target: String,
    resources: Vec<Resource>,
    /// Beyond those that are shown.
    #[serde(default)]
    others: u64,
    /// Which agent tells everything that it sees: `sender` or `receiver`.
    #[serde(default)]
    observed_by: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    r#type: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    module: String,
    #[serde(default)]
    function: String,
    #[serde(default)]
    arity: u32,
    #[serde(default)]
    carries_function: bool,
    #[serde(default)]
    forbidden: bool,
    #[serde(default)]
    count: u64,
}

/// What a line says; nothing if it is no event of that kind. Outside of the period it says nothing of note.
pub fn told(line: &[u8], period: Period) -> Option<Vec<Told>> {
    let line: Line = serde_json::from_slice(line).ok()?;
    let skans = &line.unmapped.skans;
    let passed = match skans.verdict.as_str() {
        "seen" | "would_deny" => true,
        "deny" => false,
        _ => return None,
    };
    let last = line.end_time.max(line.time) / 1000;
    let first = match line.start_time / 1000 {
        0 => last,
        first => first,
    };
    if last < period.since || first >= period.until {
        return Some(Vec::new());
    }
    let by = match skans.observed_by.as_deref() {
        Some("sender") => By::Sender,
        Some("receiver") => By::Receiver,
        _ => By::Either,
    };
    let strange = |why, words: String, count: u64| Told::Strange {
        why,
        words,
        count,
        first,
        last,
    };
    let words = |what: &str| {
        let (from, to) = (&skans.principal, &skans.target);
        format!("{from} {} {what} at {to}", skans.action)
    };
    let ends = (
        end(&skans.principal, &line.src_endpoint.name),
        end(&skans.target, &line.dst_endpoint.name),
    );
    let (Some(from), Some(to)) = ends else {
        let of = (&line.src_endpoint.name, &line.dst_endpoint.name);
        let words = format!("{}, from {} to {}", words(""), of.0, of.1);
        return Some(vec![strange(Why::Spoofed, words, 1)]);
    };
    let mut all = Vec::new();
    if skans.others > 0 && by != By::Either {
        all.push(strange(Why::Untold, words("something else"), skans.others));
    }
    for resource in &skans.resources {
        let shown = match resource.r#type.as_str() {
            "Function" => format!(
                "{}:{}/{}",
                resource.module, resource.function, resource.arity
            ),
            _ => resource.name.clone(),
        };
        let count = resource.count.max(1);
        let action = Action::parse(&skans.action);
        all.push(match (action, what(resource)) {
            (Some(action), Some(what)) => Told::Seen(Seen {
                from: from.clone(),
                to: to.clone(),
                action,
                what,
                carries_function: resource.carries_function,
                said: match (passed, resource.forbidden) {
                    (false, _) => Said::Refused,
                    (true, true) => Said::Forbidden,
                    (true, false) => Said::Passed,
                },
                by,
                count,
                first,
                last,
            }),
            (None, _) => strange(Why::Unknown, words(&shown), count),
            (_, None) => strange(Why::CutShort, words(&shown), count),
        });
    }
    Some(all)
}

fn what(resource: &Resource) -> Option<What> {
    Some(match resource.r#type.as_str() {
        "Node" => What::Node,
        "Process" => What::Process(plain::read(&resource.name)?),
        "Service" => What::Service(plain::read(&resource.name)?),
        "Function" => What::Function(
            plain::read(&resource.module)?,
            plain::read(&resource.function)?,
            resource.arity,
        ),
        _ => return None,
    })
}

/// One end, if its name is that of its identity: agents let in no other, so an event that says so is not theirs.
fn end(id: &str, name: &str) -> Option<Subject> {
    let name = plain::read(name)?;
    let (alive, host) = name.rsplit_once('@')?;
    let subject = test::subject(&format!("{}@{host}", plain::read(id)?))?;
    (subject.is_cli() || subject.node == alive).then_some(subject)
}
