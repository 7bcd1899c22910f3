//! `skans chaos`: shows what the lab finds. With `--output json`, standard output holds the report and nothing else.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::json;
use skans_lab::chaos::report::{Experimented, Report, Verdict};
use skans_lab::chaos::{self, Event, Options, page};

use crate::arguments::Output;
use crate::arguments::chaos::{Chaos, Run};
use crate::failure::{FAILED, Failure, NOT_CHECKED, USAGE};
use crate::{table, up};

/// Lists, or runs.
pub async fn chaos(command: Chaos) -> Result<(), Failure> {
    match command {
        Chaos::List { output } => Ok(list(output)?),
        Chaos::Run(arguments) => run(&arguments).await,
    }
}

fn list(output: Output) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if output == Output::Json {
        let all = chaos::ALL.iter().map(|one| {
            json!({"name": one.name, "hypothesis": one.hypothesis, "takesSeconds": one.takes.as_secs()})
        });
        serde_json::to_writer(&mut out, &all.collect::<Vec<_>>())?;
        return out.write_all(b"\n");
    }
    for one in chaos::ALL {
        let takes = table::span(one.takes);
        writeln!(out, "{:22} takes {takes}\n    {}", one.name, one.hypothesis)?;
    }
    Ok(())
}

async fn run(arguments: &Run) -> Result<(), Failure> {
    let experiments = chaos::named(&arguments.names).map_err(|name| {
        let known: Vec<_> = chaos::ALL.iter().map(|one| one.name).collect();
        let known = known.join(", ");
        Failure::new(
            USAGE,
            format!("no experiment is called {name:?}; wanted {known}"),
        )
    })?;
    let options = Options {
        skans: up::own_program()?,
        newer: arguments.newer.clone(),
        address: arguments.address,
        experiments,
    };
    let report = chaos::run(&options, aside).await?;
    let Some(report) = report else {
        return Err(Failure::new(
            NOT_CHECKED,
            "interrupted before the last experiment; nothing is left running",
        ));
    };
    // First: a page that cannot be written takes nothing from it.
    show(&report, arguments.output)?;
    if let Some(file) = &arguments.page {
        std::fs::write(file, page::render(&report))
            .map_err(|error| Failure::new(FAILED, format!("{}: {error}", file.display())))?;
    }
    match report.verdict {
        Verdict::Held => Ok(()),
        Verdict::Failed => Err(Failure::new(FAILED, count(&report, Verdict::Failed))),
        Verdict::Skipped => Err(Failure::new(NOT_CHECKED, count(&report, Verdict::Skipped))),
    }
}

/// What happens, while it does.
fn aside(event: Event<'_>) -> io::Result<()> {
    let mut aside = io::stderr().lock();
    match event {
        Event::Begun(experiment) => writeln!(
            aside,
            "{}: {} (takes {})",
            experiment.name,
            experiment.hypothesis,
            table::span(experiment.takes)
        ),
        Event::Step { elapsed, what } => {
            writeln!(
                aside,
                "{:7.2}s  {}",
                elapsed.as_secs_f64(),
                table::clean(what)
            )
        }
        Event::Done(done) => {
            writeln!(
                aside,
                "{}: {}",
                done.name,
                done.verdict.word().to_uppercase()
            )?;
            match (&done.why, done.verdict) {
                (Some(why), _) => writeln!(aside, "    {}", table::clean(why)),
                (None, _) => Ok(()),
            }
        }
    }
}

fn show(report: &Report, output: Output) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if output == Output::Json {
        serde_json::to_writer(&mut out, report)?;
        return out.write_all(b"\n");
    }
    let rows: Vec<_> = report.experiments.iter().map(row).collect();
    let headings = [
        "EXPERIMENT",
        "VERDICT",
        "TOOK",
        "CALLS",
        "FAILED",
        "LONGEST",
        "MESSAGES",
        "LOST",
        "DOUBLED",
        "MISPLACED",
        "NODEDOWNS",
        "REFUSED",
        "PASSED",
    ];
    out.write_all(table::render(headings, &rows).as_bytes())?;
    for one in &report.experiments {
        for check in one.checks.iter().filter(|check| !check.held) {
            let (what, found) = (table::clean(&check.what), table::clean(&check.found));
            writeln!(out, "{}: not so: {what}: {found}", one.name)?;
        }
        if let Some(why) = &one.why {
            writeln!(
                out,
                "{}: {}: {}",
                one.name,
                one.verdict.word(),
                table::clean(why)
            )?;
        }
    }
    Ok(())
}

fn row(one: &Experimented) -> [String; 13] {
    let numbers = &one.numbers;
    let both = |pick: fn(&chaos::report::Casts) -> u64| {
        (pick(&numbers.casts) + pick(&numbers.echoes)).to_string()
    };
    [
        one.name.to_owned(),
        one.verdict.word().to_owned(),
        table::span(Duration::from_millis(one.took_ms)),
        numbers.calls.made.to_string(),
        numbers.calls.failed.to_string(),
        format!("{} ms", numbers.calls.longest_pause_ms),
        both(|casts| casts.sent),
        both(|casts| casts.lost),
        both(|casts| casts.doubled),
        both(|casts| casts.out_of_order),
        numbers.nodedowns.iter().sum::<u64>().to_string(),
        format!("{} of {}", one.rows.refused, one.rows.tried),
        one.rows.passed.to_string(),
    ]
}

fn count(report: &Report, verdict: Verdict) -> String {
    let all = report.experiments.len();
    let such = report.experiments.iter();
    let such = such.filter(|one| one.verdict == verdict).count();
    format!("{such} of {all} experiments: {}", verdict.word())
}
