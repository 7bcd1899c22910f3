//! Findings that are allowed in place, with a reason. No rules.
//!
//! `# skans-lint: allow ERL001 because …` on the line of the finding or on one before it, with the sign that begins a
//! comment there. In JSON, which has no comments, the annotation `skans-lint/allow-ERL001: because …` of the object.

#[cfg(test)]
mod tests;

use crate::rule::Finding;
use crate::set::Set;
use crate::source::{Place, SourceId};

const MARK: &str = "skans-lint: allow ";
const ANNOTATION: &str = "skans-lint/allow-";
/// How far above a finding comments may begin: a few rules may be allowed at one place.
const REACH: usize = 5;

/// Takes out what is allowed, and returns it with the reasons. What is allowed without a reason is not.
pub(crate) fn apply(set: &Set, findings: &mut Vec<Finding>) -> Vec<(Finding, String)> {
    let mut allowed = Vec::new();
    findings.retain(|finding| {
        let reason = in_text(set, finding).or_else(|| in_object(set, finding));
        match reason {
            Some(reason) => {
                allowed.push((finding.clone(), reason));
                false
            }
            None => true,
        }
    });
    allowed
}

/// In the text of the finding, or in one that it stands in.
fn in_text(set: &Set, finding: &Finding) -> Option<String> {
    let outer = set.sources.in_file(finding.place);
    [finding.place, outer]
        .into_iter()
        .find_map(|place| at(set, place, finding.rule.id))
}

fn at(set: &Set, place: Place, rule: &str) -> Option<String> {
    let line = set.sources.line_of(place);
    if let Some(reason) = comment(set, place.source, line, rule) {
        return Some(reason);
    }
    // Lines above, as long as they are comments.
    for above in (line.saturating_sub(REACH)..line).rev() {
        if above == 0 {
            break;
        }
        let text = set.sources.line(place.source, above).trim();
        let is_comment = text.starts_with(['#', '%']) || text.starts_with("//");
        if !is_comment {
            return None;
        }
        if let Some(reason) = comment(set, place.source, above, rule) {
            return Some(reason);
        }
    }
    None
}

fn comment(set: &Set, source: SourceId, line: usize, rule: &str) -> Option<String> {
    let text = set.sources.line(source, line);
    let (before, said) = text.split_once(MARK)?;
    if !before.contains(['#', '%']) && !before.contains("//") {
        return None;
    }
    let (rules, reason) = said.trim_start().split_once(char::is_whitespace)?;
    let reason = reason.trim();
    let ours = rules.split(',').any(|id| id.eq_ignore_ascii_case(rule));
    (ours && !reason.is_empty()).then(|| reason.to_owned())
}

fn in_object(set: &Set, finding: &Finding) -> Option<String> {
    let place = set.sources.in_file(finding.place);
    let object = set.objects.iter().find(|object| {
        let span = object.node.span;
        object.source == place.source
            && span.start <= place.span.start
            && place.span.start <= span.end
    })?;
    let annotations = object.node.path(&["metadata", "annotations"])?;
    let reason = annotations
        .get(&format!("{ANNOTATION}{}", finding.rule.id))?
        .as_str()?
        .trim();
    (!reason.is_empty()).then(|| reason.to_owned())
}
