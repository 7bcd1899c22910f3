//! For code scanning: SARIF 2.1.0 (OASIS).

use serde_json::{Value, json as object};

use crate::Checked;
use crate::rule::{Finding, Severity};
use crate::rules;
use crate::source::Place;

/// The whole report.
#[must_use]
pub fn sarif(checked: &Checked) -> Value {
    let descriptors: Vec<_> = rules::all()
        .map(|rule| {
            object!({
                "id": rule.id,
                "name": rule.name,
                "shortDescription": { "text": rule.wrong },
                "fullDescription": { "text": format!("{} {}", rule.wrong, rule.happens) },
                "help": { "text": rule.right, "markdown": rule.right },
                "helpUri": rule.page(),
                "defaultConfiguration": { "level": level(rule.severity) },
                "properties": {
                    "security-severity": score(rule.severity),
                    "tags": ["security", "erlang"],
                },
            })
        })
        .collect();
    let mut results: Vec<_> = checked
        .findings
        .iter()
        .map(|finding| result(checked, finding))
        .collect();
    for (finding, reason) in &checked.allowed {
        let mut value = result(checked, finding);
        if let Some(map) = value.as_object_mut() {
            map.insert(
                "suppressions".to_owned(),
                object!([{ "kind": "inSource", "justification": reason }]),
            );
        }
        results.push(value);
    }
    object!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "skans lint",
                "informationUri": "https://github.com/skans/skans",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": descriptors,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(checked: &Checked, finding: &Finding) -> Value {
    let index = rules::all().position(|rule| rule == finding.rule);
    object!({
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": level(finding.rule.severity),
        "message": { "text": format!(
            "{}. {} Right: {}",
            finding.message,
            finding.rule.happens,
            finding.fix.as_deref().unwrap_or(finding.rule.right),
        )},
        "locations": [location(checked, finding.place, None)],
        "relatedLocations": finding.related.iter()
            .map(|(place, what)| location(checked, *place, Some(what)))
            .collect::<Vec<_>>(),
    })
}

fn location(checked: &Checked, place: Place, message: Option<&str>) -> Value {
    let found = checked.set.sources.location(place);
    let mut value = object!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(found.file) },
            "region": {
                "startLine": found.line,
                "startColumn": found.column,
                "endLine": found.end_line,
                "endColumn": found.end_column,
            },
        },
    });
    if let Some(map) = value.as_object_mut() {
        if let Some(message) = message {
            map.insert("message".to_owned(), object!({ "text": message }));
        }
        if let Some((name, ..)) = found.within {
            map.insert(
                "logicalLocations".to_owned(),
                object!([{ "fullyQualifiedName": name }]),
            );
        }
    }
    value
}

/// A relative reference; what may not stand in one is escaped.
fn uri(path: &str) -> String {
    use std::fmt::Write;
    let mut uri = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Blocker | Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    }
}

/// What GitHub sorts by.
const fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Blocker | Severity::Critical => "9.0",
        Severity::High => "7.0",
        Severity::Medium => "5.0",
        Severity::Low => "2.0",
    }
}
