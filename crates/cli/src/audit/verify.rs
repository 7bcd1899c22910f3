//! `skans audit verify`: what is said of a log, and the exit status.

use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use skans_audit::Error;
use skans_audit::checkpoint::Checkpoint;
use skans_audit::note::MAX_NOTE;
use skans_audit::verify::{self, Files, Report, Wanted, Warning};
use skans_host::error::FileError;
use skans_host::files::{self, Beneath};

use crate::arguments::Output;
use crate::arguments::audit::Verify;
use crate::failure::{FAILED, Failure, NOT_CHECKED, USAGE};
use crate::table;

/// Most files of a copy: a log of 500 million entries.
const MAX_FILES: usize = 4_000_000;

/// A copy of a log in a directory.
struct Copy(Beneath);

impl Files for Copy {
    fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, String> {
        self.0.read(path, limit).map_err(|error| error.problem)
    }

    fn list(&self) -> Result<Vec<String>, String> {
        self.0.list(MAX_FILES).map_err(|error| error.to_string())
    }
}

/// Checks it.
pub fn verify(arguments: &Verify) -> Result<(), Failure> {
    let given = arguments.witness.len();
    let quorum = arguments.quorum.unwrap_or(given);
    if quorum > given || arguments.quorum == Some(0) {
        let problem = format!("--quorum: found {quorum}, wanted 1 to the {given} witnesses given");
        return Err(Failure::new(USAGE, problem));
    }
    let looked = look(arguments, quorum);
    if arguments.output == Output::Json {
        let text = serde_json::to_string_pretty(&match &looked {
            Ok(report) => told(report),
            Err((status, message, label)) => json!({
                "kind": "AuditVerification",
                "verified": (*status == FAILED).then_some(false),
                "error": {"kind": label, "message": message},
            }),
        });
        writeln!(std::io::stdout(), "{}", text.map_err(std::io::Error::from)?)?;
    }
    let report = looked.map_err(|(status, message, _)| Failure::new(status, message))?;
    if arguments.output == Output::Table {
        write!(std::io::stdout(), "{}", shown(&report))?;
    }
    Ok(())
}

/// Exit status, what to say, and its label.
type Found = (u8, String, &'static str);

fn look(arguments: &Verify, quorum: usize) -> Result<Report, Found> {
    let unread = |error: FileError| (NOT_CHECKED, error.to_string(), "unreadable");
    let wrong = |prefix: &str, error: &Error| {
        let status = if error.is_unchecked() {
            NOT_CHECKED
        } else {
            FAILED
        };
        (status, format!("{prefix}{error}"), error.label())
    };
    let copy = Copy(Beneath::open(&arguments.directory).map_err(unread)?);
    let against = match &arguments.against {
        Some(path) => Some(older(path, arguments).map_err(|found| match found {
            Ok(error) => wrong(&format!("{}: ", path.display()), &error),
            Err(error) => unread(error),
        })?),
        None => None,
    };
    let wanted = Wanted {
        key: &arguments.key,
        witnesses: &arguments.witness,
        quorum,
        against: against.as_ref(),
        pruned_before: arguments.pruned_before,
    };
    verify::verify(&copy, &wanted).map_err(|error| wrong("", &error))
}

fn older(path: &Path, arguments: &Verify) -> Result<Checkpoint, Result<Error, FileError>> {
    let text = files::read_text(path, MAX_NOTE as u64).map_err(Err)?;
    Checkpoint::open(text.as_bytes(), &arguments.key).map_err(Ok)
}

/// For programs. Times of entries are in milliseconds since 1970, of witnesses in seconds.
fn told(report: &Report) -> Value {
    let witnesses = report.witnesses.iter();
    let warnings = report.warnings.iter();
    json!({
        "kind": "AuditVerification",
        "verified": true,
        "origin": report.checkpoint.origin,
        "size": report.checkpoint.size,
        "root": report.checkpoint.root_text(),
        "entries": report.entries,
        "pruned": report.pruned,
        "against": report.against,
        "witnesses": witnesses.map(|(name, time)| json!({"name": name, "time": time})).collect::<Vec<_>>(),
        "firstTime": report.times.first,
        "lastTime": report.times.last,
        "warnings": warnings.map(|one| json!({"kind": label(one), "message": one.to_string()})).collect::<Vec<_>>(),
        "moreWarnings": report.more_warnings,
    })
}

const fn label(warning: &Warning) -> &'static str {
    match warning {
        Warning::TimeWentBack { .. } => "time_went_back",
        Warning::NoTime { .. } => "no_time",
        Warning::Unknown { .. } => "unknown_file",
        _ => "other",
    }
}

/// For people.
fn shown(report: &Report) -> String {
    let mut facts = vec![
        ("log", report.checkpoint.origin.clone()),
        (
            "entries",
            format!("{}, each as it was logged", report.entries),
        ),
    ];
    if report.pruned > 0 {
        let text = format!("{} more, of which the hashes are there", report.pruned);
        facts.push(("removed", text));
    }
    if let (Some(first), Some(last)) = (report.times.first, report.times.last) {
        let (first, last) = (table::moment(first / 1000), table::moment(last / 1000));
        facts.push(("times", format!("{first} to {last}")));
    }
    facts.push(("root", report.checkpoint.root_text()));
    if let Some(size) = report.against {
        let text = format!("the first {size} entries are those of the older checkpoint");
        facts.push(("against", text));
    }
    for (name, time) in &report.witnesses {
        facts.push(("witness", format!("{name}, {}", table::moment(*time))));
    }
    for warning in &report.warnings {
        facts.push(("warning", warning.to_string()));
    }
    if report.more_warnings > 0 {
        facts.push(("warning", format!("{} more", report.more_warnings)));
    }
    table::facts(&facts)
}
