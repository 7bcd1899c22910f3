//! A report as one page of HTML: no script, nothing loaded from elsewhere, light and dark as the reader has it. Whatever was not written here is
//! escaped: a part of it is what nodes and logs said.

use std::fmt::{self, Write as _};

use super::report::{Casts, Check, Experimented, Outcome, Report, Verdict};

/// The page.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = page(&mut out, report);
    out
}

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1d2129;--dim:#5b6472;--line:#d9dee6;--paper:#f6f7f9;--card:#fff;--held:#14713d;--held-bg:#e2f4e8;--failed:#b3261e;--failed-bg:#fbe4e2;--skipped:#7a5200;--skipped-bg:#fdf0d0}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--dim:#9aa4b2;--line:#313742;--paper:#14171c;--card:#1b1f26;--held:#7ddba0;--held-bg:#16341f;--failed:#ff9c94;--failed-bg:#43191a;--skipped:#f2c666;--skipped-bg:#3b2e10}}
*{box-sizing:border-box}
body{margin:0;padding:2rem 1rem 4rem;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:62rem;margin:0 auto}
h1{font-size:1.6rem;margin:0 0 .25rem}
h2{font-size:1.15rem;margin:0;font-family:ui-monospace,monospace}
h3{font-size:.8rem;margin:1.5rem 0 .5rem;color:var(--dim);text-transform:uppercase;letter-spacing:.06em}
p{margin:.5rem 0}
a{color:inherit}
.dim{color:var(--dim)}
.card{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:1.25rem 1.5rem;margin-top:1.25rem}
.head{display:flex;gap:.75rem;align-items:center;flex-wrap:wrap}
.verdict{display:inline-block;padding:.1rem .65rem;border-radius:1rem;font-weight:600;font-size:.85rem}
.held{color:var(--held);background:var(--held-bg)}.failed{color:var(--failed);background:var(--failed-bg)}.skipped{color:var(--skipped);background:var(--skipped-bg)}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--dim);font-weight:500;white-space:nowrap}
td.n,th.n{text-align:right}
td.word{overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.5rem,1fr));gap:.75rem;margin:0}
dt{color:var(--dim);font-size:.8rem}dd{margin:0;font-size:1.25rem;font-weight:600;font-variant-numeric:tabular-nums}
dd small{font-size:.8rem;font-weight:400;color:var(--dim)}
summary{cursor:pointer;color:var(--dim);margin-top:1rem}
@media print{body{background:#fff}.card{break-inside:avoid}}
";

fn page(out: &mut String, report: &Report) -> fmt::Result {
    let word = report.verdict.word();
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Skans chaos: {word}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
    )?;
    write!(
        out,
        "<div class=\"head\"><h1>What breaks between clusters</h1>{}</div>\n\
         <p class=\"dim\">Skans {}, upgraded to {}; Erlang/OTP {}; from {} to {}</p>\n",
        badge(report.verdict),
        Escaped(&report.versions.skans),
        Escaped(&report.versions.newer),
        Escaped(&report.versions.otp),
        Escaped(report.started_at.as_str()),
        Escaped(report.ended_at.as_str()),
    )?;
    overview(out, report)?;
    for one in &report.experiments {
        experiment(out, one)?;
    }
    out.write_str("</main>\n</body>\n</html>\n")
}

fn overview(out: &mut String, report: &Report) -> fmt::Result {
    out.write_str(
        "<div class=\"card wide\"><table>\n<tr><th>Experiment</th><th>Verdict</th><th class=\"n\">Calls</th><th class=\"n\">Failed</th>\
         <th class=\"n\">Longest pause</th><th class=\"n\">Nodedowns</th><th class=\"n\">Refused</th><th class=\"n\">Let through</th></tr>\n",
    )?;
    for one in &report.experiments {
        let numbers = &one.numbers;
        let name = Escaped(one.name);
        writeln!(
            out,
            "<tr><td><a href=\"#{name}\">{name}</a></td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{} ms</td>\
             <td class=\"n\">{}</td><td class=\"n\">{} of {}</td><td class=\"n\">{}</td></tr>",
            badge(one.verdict),
            numbers.calls.made,
            numbers.calls.failed,
            numbers.calls.longest_pause_ms,
            numbers.nodedowns.iter().sum::<u64>(),
            one.rows.refused,
            one.rows.tried,
            one.rows.passed,
        )?;
    }
    out.write_str("</table></div>\n")
}

fn experiment(out: &mut String, one: &Experimented) -> fmt::Result {
    writeln!(
        out,
        "<section class=\"card\" id=\"{name}\">\n<div class=\"head\"><h2>{name}</h2>{}<span class=\"dim\">{:.1} s from {}</span></div>\n<p>{}</p>",
        badge(one.verdict),
        std::time::Duration::from_millis(one.took_ms).as_secs_f64(),
        Escaped(one.started_at.as_str()),
        Escaped(one.hypothesis),
        name = Escaped(one.name),
    )?;
    if let Some(why) = &one.why {
        let word = one.verdict.word();
        writeln!(
            out,
            "<p class=\"{word}\"><strong>{word}:</strong> {}</p>",
            Escaped(why)
        )?;
    }
    if one.verdict != Verdict::Skipped {
        checks(out, &one.checks)?;
        numbers(out, one)?;
        steps(out, one)?;
        attempts(out, one)?;
    }
    out.write_str("</section>\n")
}

fn checks(out: &mut String, checks: &[Check]) -> fmt::Result {
    out.write_str("<h3>Checked</h3>\n<div class=\"wide\"><table>\n")?;
    for check in checks {
        let verdict = if check.held {
            Verdict::Held
        } else {
            Verdict::Failed
        };
        writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"word dim\">{}</td></tr>",
            badge(verdict),
            Escaped(&check.what),
            Escaped(&check.found)
        )?;
    }
    out.write_str("</table></div>\n")
}

fn numbers(out: &mut String, one: &Experimented) -> fmt::Result {
    let (calls, numbers) = (&one.numbers.calls, &one.numbers);
    out.write_str("<h3>Numbers</h3>\n<dl>\n")?;
    let mut fact = |name: &str, value: String, aside: String| {
        writeln!(
            out,
            "<div><dt>{}</dt><dd>{} <small>{}</small></dd></div>",
            Escaped(name),
            Escaped(&value),
            Escaped(&aside)
        )
    };
    let failures: Vec<_> = calls
        .failures
        .iter()
        .map(|(why, count)| format!("{why} {count}"))
        .collect();
    let plain = String::new;
    fact("calls made", calls.made.to_string(), plain())?;
    fact("answered", calls.answered.to_string(), plain())?;
    fact("failed", calls.failed.to_string(), failures.join(", "))?;
    fact(
        "longest pause",
        calls.longest_pause_ms.to_string(),
        "ms".to_owned(),
    )?;
    for (name, casts) in [
        ("messages", &numbers.casts),
        ("messages back", &numbers.echoes),
    ] {
        fact(name, casts.sent.to_string(), faults(casts))?;
    }
    let [ours, theirs] = numbers.nodedowns;
    fact(
        "nodedowns",
        (ours + theirs).to_string(),
        format!("{ours} at ours, {theirs} at theirs"),
    )?;
    fact("resumed", numbers.resumed.to_string(), plain())?;
    fact(
        "refused",
        one.rows.refused.to_string(),
        format!(
            "of {}, {} without answer",
            one.rows.tried, one.rows.unreached
        ),
    )?;
    out.write_str("</dl>\n")
}

fn faults(casts: &Casts) -> String {
    format!(
        "{} lost, {} doubled, {} out of order",
        casts.lost, casts.doubled, casts.out_of_order
    )
}

fn steps(out: &mut String, one: &Experimented) -> fmt::Result {
    out.write_str("<h3>What was done and seen</h3>\n<div class=\"wide\"><table>\n")?;
    for step in &one.steps {
        writeln!(
            out,
            "<tr><td class=\"n dim\" title=\"{}\">{:.2} s</td><td class=\"word\">{}</td></tr>",
            Escaped(step.at.as_str()),
            std::time::Duration::from_millis(step.elapsed_ms).as_secs_f64(),
            Escaped(&step.what)
        )?;
    }
    out.write_str("</table></div>\n")
}

fn attempts(out: &mut String, one: &Experimented) -> fmt::Result {
    writeln!(
        out,
        "<details><summary>{} attempts at what is not exported</summary>\n<div class=\"wide\"><table>\n<tr><th>When</th><th>What</th><th>Outcome</th><th>The node said</th></tr>",
        one.attempts.len()
    )?;
    for tried in &one.attempts {
        let (class, word) = match tried.outcome {
            Outcome::Refused => ("held", "refused"),
            Outcome::Unreached => ("skipped", "no answer"),
            Outcome::Passed => ("failed", "let through"),
        };
        writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td><span class=\"verdict {class}\">{word}</span></td><td class=\"word dim\">{}</td></tr>",
            Escaped(&tried.when),
            Escaped(tried.row),
            Escaped(&tried.said)
        )?;
    }
    out.write_str("</table></div></details>\n")
}

fn badge(verdict: Verdict) -> String {
    let word = verdict.word();
    format!("<span class=\"verdict {word}\">{word}</span>")
}

/// Text, in an element or in an attribute between quotes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Neither these nor what turns the direction of text round is anything that a report says.
                c if c.is_control()
                    || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
                {
                    f.write_char('\u{fffd}')?;
                }
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
