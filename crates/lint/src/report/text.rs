//! For people: a verdict that fits on a screen, then each finding with its place.

use std::fmt::Write;

use crate::Checked;
use crate::example::Example;
use crate::rule::{Finding, Rule, Severity};
use crate::source::{Place, Sources};

/// The widest line of text that is shown, in characters: a base64 blob says nothing.
const WIDTH: usize = 160;
/// How many findings are shown with excerpts; the others are one line each.
const EXCERPTS: usize = 100;

/// The whole report. `colour`: whether a terminal shows it.
#[must_use]
pub fn text(checked: &Checked, colour: bool) -> String {
    let mut out = String::new();
    let paint = Paint { colour };
    verdict(&mut out, checked, &paint);
    let mut findings = checked.findings.iter();
    for finding in findings.by_ref().take(EXCERPTS) {
        excerpt(&mut out, &checked.set.sources, finding, &paint);
    }
    for finding in findings {
        let at = place(&checked.set.sources, finding.place);
        let _ = writeln!(out, "{} {at} {}", finding.rule.id, finding.message);
    }
    unread(&mut out, checked);
    out
}

fn verdict(out: &mut String, checked: &Checked, paint: &Paint) {
    let set = &checked.set;
    if set.units.is_empty() {
        let _ = writeln!(out, "No Erlang node found in what was given.");
    }
    let width = checked
        .verdicts
        .iter()
        .map(|verdict| verdict.unit.chars().count())
        .max()
        .unwrap_or_default()
        .min(40);
    for verdict in checked.verdicts.iter().take(12) {
        let name = verdict.model.name().to_uppercase();
        let _ = writeln!(
            out,
            "{}  {:width$}  {}",
            paint.model(verdict.model, &name),
            verdict.unit,
            verdict.because,
        );
    }
    if let Some(more) = checked
        .verdicts
        .len()
        .checked_sub(12)
        .filter(|more| *more > 0)
    {
        let _ = writeln!(out, "and {more} more");
    }
    if !checked.verdicts.is_empty() {
        out.push('\n');
    }
    let mut models: Vec<_> = checked
        .verdicts
        .iter()
        .map(|verdict| verdict.model)
        .collect();
    models.sort_unstable();
    models.dedup();
    for model in models {
        let _ = writeln!(out, "{}: {}", model.name().to_uppercase(), model.means());
    }
    if !checked.findings.is_empty() {
        let _ = writeln!(out, "\nThe worst:");
    }
    let mut seen = Vec::new();
    for finding in &checked.findings {
        if seen.contains(&finding.rule.id) || seen.len() == 3 {
            continue;
        }
        seen.push(finding.rule.id);
        let _ = writeln!(
            out,
            "  {} {}  {}\n      {}\n      do: {}",
            finding.rule.id,
            paint.severity(finding.rule.severity),
            place(&set.sources, finding.place),
            finding.message,
            finding.fix.as_deref().unwrap_or(finding.rule.right),
        );
    }
    let counts: Vec<_> = Severity::ALL
        .into_iter()
        .filter_map(|severity| {
            let count = checked
                .findings
                .iter()
                .filter(|finding| finding.rule.severity == severity)
                .count();
            (count > 0).then(|| format!("{count} {}", severity.name()))
        })
        .collect();
    let found = if counts.is_empty() {
        "nothing found".to_owned()
    } else {
        counts.join(", ")
    };
    let files = set
        .sources
        .iter()
        .filter(|(_, source)| !source.is_embedded())
        .count();
    let allowed = match checked.allowed.len() {
        0 => String::new(),
        count => format!(", {count} allowed in place"),
    };
    let _ = writeln!(
        out,
        "\n{found}{allowed}; looked at {}, {}, {}",
        count(files, "file"),
        count(set.objects.len(), "object"),
        count(set.units.len(), "node"),
    );
}

fn count(number: usize, what: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{number} {what}{end}")
}

fn excerpt(out: &mut String, sources: &Sources, finding: &Finding, paint: &Paint) {
    let rule = finding.rule;
    let _ = writeln!(
        out,
        "\n{} {}: {}",
        paint.severity(rule.severity),
        rule.id,
        finding.message
    );
    pointer(out, sources, finding.place, "");
    for (place, what) in &finding.related {
        pointer(out, sources, *place, what);
    }
    let _ = writeln!(out, "   = {}", rule.happens);
    let _ = writeln!(
        out,
        "   = right: {}",
        finding.fix.as_deref().unwrap_or(rule.right)
    );
}

/// The line of a place, and what is meant of it underlined.
fn pointer(out: &mut String, sources: &Sources, place_: Place, what: &str) {
    let location = sources.location(place_);
    let _ = write!(
        out,
        "  --> {}:{}:{}",
        location.file, location.line, location.column
    );
    if let Some((name, line, column)) = location.within {
        let _ = write!(out, " ({name}, {line}:{column})");
    }
    if !what.is_empty() {
        let _ = write!(out, ": {what}");
    }
    out.push('\n');
    let file = sources.in_file(place_).source;
    let line: String = sources
        .line(file, location.line)
        .chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .filter(|c| !c.is_control())
        .collect();
    let start = location.column.saturating_sub(1);
    let end = if location.end_line == location.line {
        location.end_column.saturating_sub(1)
    } else {
        line.chars().count()
    };
    // A window around the place, if the line is long.
    let from = start
        .saturating_sub(WIDTH / 3)
        .min(line.chars().count().saturating_sub(WIDTH));
    let shown: String = line.chars().skip(from).take(WIDTH).collect();
    let width = end
        .saturating_sub(start)
        .clamp(1, WIDTH.saturating_sub(start - from).max(1));
    let number = location.line.to_string();
    let gap = " ".repeat(number.len());
    let _ = writeln!(out, " {number} | {}", shown.trim_end());
    let _ = writeln!(
        out,
        " {gap} | {}{}",
        " ".repeat(start - from),
        "^".repeat(width)
    );
}

fn place(sources: &Sources, place: Place) -> String {
    let location = sources.location(place);
    let file = format!("{}:{}:{}", location.file, location.line, location.column);
    match location.within {
        Some((name, line, _)) => format!("{file} ({name}, line {line})"),
        None => file,
    }
}

fn unread(out: &mut String, checked: &Checked) {
    if checked.set.unread.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nNot understood, and so not looked at:");
    for unread in checked.set.unread.iter().take(20) {
        let _ = writeln!(
            out,
            "  {}: {}",
            place(&checked.set.sources, unread.place),
            unread.reason
        );
    }
    if let Some(more) = checked
        .set
        .unread
        .len()
        .checked_sub(20)
        .filter(|more| *more > 0)
    {
        let _ = writeln!(out, "  and {more} more");
    }
}

/// All that is known about a rule.
#[must_use]
pub fn explain(rule: &Rule) -> String {
    let mut out = format!(
        "{} {} ({})\n\nWrong:   {}\nHappens: {}\nRight:   {}\n",
        rule.id,
        rule.name,
        rule.severity.name(),
        rule.wrong,
        rule.happens,
        rule.right,
    );
    let example = Example::read(rule.example);
    for (title, files) in [("Wrong", &example.bad), ("Right", &example.good)] {
        for (name, text) in files {
            let _ = writeln!(out, "\n{title}, {name}:\n");
            for line in text.lines() {
                let _ = writeln!(out, "    {line}");
            }
        }
    }
    let _ = writeln!(out, "\n{}", rule.page());
    out
}

struct Paint {
    colour: bool,
}

impl Paint {
    fn severity(&self, severity: Severity) -> String {
        let code = match severity {
            Severity::Blocker | Severity::Critical => "1;31",
            Severity::High => "31",
            Severity::Medium => "33",
            Severity::Low => "36",
        };
        self.paint(code, severity.name())
    }

    fn model(&self, model: crate::verdict::Model, name: &str) -> String {
        use crate::verdict::Model;
        let code = match model {
            Model::Cookie => "1;31",
            Model::Tls => "33",
            Model::MutualTls => "36",
            Model::Skans => "32",
            Model::Unclear | Model::Off => "0",
        };
        self.paint(code, &format!("{name:10}"))
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}
