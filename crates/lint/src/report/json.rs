//! For programs: one JSON object.

use serde_json::{Value, json as object};

use crate::Checked;
use crate::rule::Finding;
use crate::source::{Place, Sources};

/// The whole report. Keys are only ever added.
#[must_use]
pub fn json(checked: &Checked) -> Value {
    let sources = &checked.set.sources;
    let finding = |finding: &Finding| {
        object!({
            "rule": finding.rule.id,
            "name": finding.rule.name,
            "severity": finding.rule.severity.name(),
            "place": place(sources, finding.place),
            "message": finding.message,
            "happens": finding.rule.happens,
            "right": finding.fix.as_deref().unwrap_or(finding.rule.right),
            "related": finding.related.iter().map(|(at, what)| object!({
                "place": place(sources, *at),
                "what": what,
            })).collect::<Vec<_>>(),
            "page": finding.rule.page(),
        })
    };
    object!({
        "version": 1,
        "nodes": checked.verdicts.iter().map(|verdict| object!({
            "node": verdict.unit,
            "place": place(sources, verdict.place),
            "model": verdict.model.name(),
            "because": verdict.because,
        })).collect::<Vec<_>>(),
        "findings": checked.findings.iter().map(finding).collect::<Vec<_>>(),
        "allowed": checked.allowed.iter().map(|(found, reason)| {
            let mut value = finding(found);
            if let Some(map) = value.as_object_mut() {
                map.insert("reason".to_owned(), Value::String(reason.clone()));
            }
            value
        }).collect::<Vec<_>>(),
        "unread": checked.set.unread.iter().map(|unread| object!({
            "place": place(sources, unread.place),
            "reason": unread.reason,
            "broken": unread.broken,
        })).collect::<Vec<_>>(),
    })
}

pub(super) fn place(sources: &Sources, place: Place) -> Value {
    let location = sources.location(place);
    let mut value = object!({
        "file": location.file,
        "line": location.line,
        "column": location.column,
        "endLine": location.end_line,
        "endColumn": location.end_column,
    });
    if let (Some((name, line, column)), Some(map)) = (location.within, value.as_object_mut()) {
        map.insert(
            "within".to_owned(),
            object!({ "name": name, "line": line, "column": column }),
        );
    }
    value
}
