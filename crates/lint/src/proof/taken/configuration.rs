//! The configuration of a reader's node that a proof uses: files of `-config`, and what Elixir says at build time.

use super::super::files::{self, KERNEL};
use super::super::machine::Scratch;
use super::Taken;
use super::options::is_absent;
use crate::Set;
use crate::document::{Content, Terms};
use crate::error::Result;
use crate::rule::Finding;
use crate::setting::{Origin, Value};
use crate::source::SourceId;
use crate::units::Unit;

/// A `-config` that names a file that is known not to be there.
pub(super) fn missing_configuration(
    taken: &mut Taken,
    unit: &Unit,
    finding: &Finding,
    scratch: &Scratch,
) {
    for flag in unit.line.flags("-config") {
        let path = flag.value().unwrap_or_default();
        let about = unit.flag_place(flag) == finding.place;
        if about && is_absent(Some(unit), path) {
            taken.arguments.extend([
                "-config".to_owned(),
                scratch.path("there-is-no-such-file.config"),
            ]);
        }
    }
}

/// Files of `-config`: those of the node, and what Elixir says at build time.
pub(super) fn configurations(
    taken: &mut Taken,
    set: &Set,
    unit: Option<&Unit>,
    finding: &Finding,
    scratch: &Scratch,
) -> Result<()> {
    let mut sources: Vec<SourceId> = unit
        .into_iter()
        .flat_map(|unit| unit.terms(set, Terms::Config).map(|(source, _)| source))
        .collect();
    let file = set.sources.get(finding.place.source);
    if file
        .file_name()
        .trim_end_matches(".src")
        .ends_with(".config")
        && !matches!(file.file_name(), "rebar.config" | "relx.config")
        && !sources.contains(&finding.place.source)
    {
        sources.push(finding.place.source);
    }
    for (number, source) in sources.iter().take(8).enumerate() {
        let document = set
            .documents
            .iter()
            .find(|document| document.source == *source)
            .and_then(|document| match &document.content {
                Content::Terms(_, terms) => Some(terms),
                _ => None,
            });
        let changed = files::config(set.sources.text(*source), document);
        for note in changed.notes {
            taken.note(note);
        }
        let path = scratch.write(&format!("sys-{number}.config"), &changed.text)?;
        taken.arguments.extend(["-config".to_owned(), path]);
    }
    let built: Vec<String> = unit
        .into_iter()
        .flat_map(|unit| &unit.settings)
        .filter(|setting| matches!(setting.origin, Origin::Build | Origin::Runtime))
        .filter(|setting| matches!(setting.app.as_str(), "kernel" | "ssl"))
        .filter(|setting| !KERNEL.contains(&setting.key.as_str()))
        .filter_map(|setting| {
            let value = erlang(&setting.value)?;
            Some(format!(
                "{{{}, [{{{}, {value}}}]}}",
                atom(&setting.app),
                atom(&setting.key)
            ))
        })
        .collect();
    if !built.is_empty() {
        let text = format!("[{}].\n", built.join(",\n "));
        let path = scratch.write("elixir.config", &text)?;
        taken.arguments.extend(["-config".to_owned(), path]);
        taken.note("what Elixir says to kernel and ssl stands in a sys.config".to_owned());
    }
    Ok(())
}

/// A value in Erlang's notation, if it is known.
fn erlang(value: &Value) -> Option<String> {
    let all = |values: &[Value]| values.iter().map(erlang).collect::<Option<Vec<_>>>();
    Some(match value {
        Value::Integer(number) => number.to_string(),
        Value::Atom(name) => atom(name),
        Value::Text(text) => format!("<<{:?}>>", text),
        Value::Tuple(values) => format!("{{{}}}", all(values)?.join(", ")),
        Value::List(values) => format!("[{}]", all(values)?.join(", ")),
        Value::Map(_) | Value::Variable(..) | Value::Unknown => return None,
    })
}

fn atom(name: &str) -> String {
    format!("'{}'", name.replace('\\', "\\\\").replace('\'', "\\'"))
}
