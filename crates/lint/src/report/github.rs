//! For GitHub Actions: workflow commands, which become annotations of the lines they name.

use std::fmt::Write;

use crate::Checked;
use crate::rule::Severity;

/// One command a finding.
#[must_use]
pub fn github(checked: &Checked) -> String {
    let mut out = String::new();
    for finding in &checked.findings {
        let location = checked.set.sources.location(finding.place);
        let command = match finding.rule.severity {
            Severity::Blocker | Severity::Critical | Severity::High => "error",
            Severity::Medium => "warning",
            Severity::Low => "notice",
        };
        let message = format!(
            "{}\n{}\nRight: {}\n{}",
            finding.message,
            finding.rule.happens,
            finding.fix.as_deref().unwrap_or(finding.rule.right),
            finding.rule.page(),
        );
        let _ = writeln!(
            out,
            "::{command} file={},line={},col={},endLine={},endColumn={},title={}::{}",
            property(location.file),
            location.line,
            location.column,
            location.end_line,
            location.end_column,
            property(&format!("{} {}", finding.rule.id, finding.rule.name)),
            data(&message),
        );
    }
    out
}

/// What ends a command or a line must not come from a file.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
