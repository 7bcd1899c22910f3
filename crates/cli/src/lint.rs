//! `skans lint`: what is said, and the exit status.

use std::io::{self, IsTerminal, Write};

use skans_lint::{Options, collect, report, rules};

use crate::arguments::lint::{Form, Lint};
use crate::failure::{FAILED, Failure, NOT_CHECKED, USAGE};

/// Looks, and says what was found.
pub fn run(arguments: &Lint) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if let Some(name) = &arguments.explain {
        let rule = rules::find(name).map_err(|error| Failure::new(USAGE, error.to_string()))?;
        write!(out, "{}", report::explain(rule))?;
        return Ok(());
    }
    if arguments.rules {
        for rule in rules::all() {
            writeln!(
                out,
                "{:7} {:8} {}",
                rule.id,
                rule.severity.name(),
                rule.name
            )?;
        }
        return Ok(());
    }
    let collected = collect::collect(&arguments.paths, &mut io::stdin().lock());
    for error in &collected.errors {
        writeln!(io::stderr(), "skans: {error}")?;
    }
    if collected.files.is_empty() {
        return Err(Failure::new(NOT_CHECKED, "found nothing to look at"));
    }
    let options = Options {
        profile: arguments.profile.into(),
    };
    let checked = skans_lint::check(collected.files, &options);
    match arguments.output {
        Form::Text => {
            let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
            write!(out, "{}", report::text(&checked, colour))?;
        }
        Form::Json => writeln!(out, "{}", report::json(&checked))?,
        Form::Sarif => writeln!(out, "{}", report::sarif(&checked))?,
        Form::Github => write!(out, "{}", report::github(&checked))?,
    }
    out.flush()?;
    let worst = checked.findings.first().map(|found| found.rule.severity);
    match (worst, arguments.fail_on.severity()) {
        (Some(worst), Some(from)) if worst <= from => Err(Failure::silent(FAILED)),
        _ if !collected.errors.is_empty() => Err(Failure::silent(NOT_CHECKED)),
        _ => Ok(()),
    }
}
