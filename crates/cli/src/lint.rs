//! `skans lint`: what is said, and the exit status.

use std::io::{self, IsTerminal, Write};

use skans_lint::proof::{self, Erl};
use skans_lint::{Checked, Options, Profile, collect, report, rules};

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
        // Whoever asks for a proof of a rule asks for the rule.
        profile: if arguments.proof.is_some() {
            Profile::All
        } else {
            arguments.profile.into()
        },
    };
    let checked = skans_lint::check(collected.files, &options);
    if let Some(name) = &arguments.proof {
        return prove(&checked, name, arguments, &mut out);
    }
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

/// Shows by a real `erl` what comes of a rule's first finding. Shown is as bad as found. Not shown is not as good as
/// nothing found, since the finding stands: another release, or what was left out, may do what this one did not.
fn prove(
    checked: &Checked,
    name: &str,
    arguments: &Lint,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let rule = rules::find(name).map_err(|error| Failure::new(USAGE, error.to_string()))?;
    let proof = proof::prove(checked, rule, &Erl::at(&arguments.erl)).map_err(|error| {
        let status = match &error {
            skans_lint::Error::NoProof { .. } => USAGE,
            _ => NOT_CHECKED,
        };
        Failure::new(status, error.to_string())
    })?;
    let Some(proof) = proof else {
        writeln!(
            out,
            "{} finds nothing here, so that there is nothing to prove",
            rule.id
        )?;
        return Ok(());
    };
    write!(out, "{}", proof.text(&checked.set.sources))?;
    out.flush()?;
    Err(Failure::silent(if proof.shown {
        FAILED
    } else {
        NOT_CHECKED
    }))
}
