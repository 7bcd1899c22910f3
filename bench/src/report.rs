//! The tables, and everything that somebody needs to judge or repeat them.

use std::fmt::Write as _;
use std::process::Command;

use crate::goals;
use crate::limits;
use crate::opponents::{Opponent, Stage};
use crate::quiet;
use crate::rounds::{Plan, Results};
use crate::stats::{median, spread};

/// Where and with what something was measured.
#[derive(Debug)]
pub struct Setting {
    /// Year, month, day.
    pub date: String,
    /// The command line that made the report.
    pub command: String,
    /// `name: version` of everything that matters.
    pub versions: Vec<String>,
    /// What whoever measured has to say.
    pub notes: Vec<String>,
}

impl Setting {
    /// Asks the machine. What it does not say is `unknown`.
    pub fn of_this_machine(command: String, otp: &str, stage: &Stage, notes: &[String]) -> Self {
        let today = time::OffsetDateTime::now_utc().date();
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown", |(_, model)| model);
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let kernel = read("/proc/sys/kernel/osrelease");
        let congestion = read("/proc/sys/net/ipv4/tcp_congestion_control");
        let commit = said_by("git", &["rev-parse", "--short=12", "HEAD"]);
        let changed = said_by(
            "git",
            &["status", "--porcelain", "--", "crates", "beam", "bench"],
        );
        let changed = if changed.is_empty() {
            ""
        } else {
            ", with local changes"
        };
        let mut versions = vec![
            format!("skans: {commit}{changed}"),
            format!("Erlang/OTP: {otp}"),
            format!("rustc: {}", said_by("rustc", &["--version"])),
            format!(
                "kernel: {}, TCP congestion control {}",
                kernel.trim(),
                congestion.trim()
            ),
            format!("CPU: {} x {model}", quiet::cpus()),
        ];
        versions.extend(
            stage
                .tunnels
                .iter()
                .map(|tunnel| format!("{}: {}", tunnel.kind.program(), tunnel.version)),
        );
        versions.extend(
            stage
                .missing()
                .iter()
                .map(|kind| format!("**{}**", kind.missing())),
        );
        Self {
            date: today.to_string(),
            command,
            versions,
            notes: notes.to_vec(),
        }
    }
}

fn said_by(program: &str, args: &[&str]) -> String {
    Command::new(program)
        .args(args)
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// What stands above every report: what it is about, and of what.
pub fn head(title: &str, setting: &Setting) -> String {
    let mut text = format!(
        "# {title}, {}\n\nMade by `{}`.\n\n",
        setting.date, setting.command
    );
    for version in &setting.versions {
        let _ = writeln!(text, "- {version}");
    }
    text
}

/// The whole report as Markdown.
pub fn render(results: &Results, plan: Plan, setting: &Setting, opponents: &[Opponent]) -> String {
    let mut text = head("Data plane", setting);
    let _ = write!(
        text,
        "\nTwo nodes of one machine over loopback, `a` sends and calls; {} interleaved rounds. Each cell: median [least..most] over the rounds.\n",
        plan.rounds
    );
    let goals = goals::table(results);
    if !goals.is_empty() {
        let _ = write!(
            text,
            "\n## What it must show\n\nRatios within a round. Added to a call is what plain TCP does not take.\n\n{goals}"
        );
    }
    text.push_str("\n## Ratios to plain TCP in the same round\n\nFor times, memory and CPU less is better; for the rest more.\n\n");
    let others: Vec<_> = opponents
        .iter()
        .copied()
        .filter(|opponent| *opponent != Opponent::Tcp)
        .map(|opponent| (opponent, Some(Opponent::Tcp)))
        .collect();
    table(&mut text, results, &others);
    text.push_str("\n## Skans beside the others in the same round\n\n");
    let beside: Vec<_> = opponents
        .iter()
        .filter(|opponent| !matches!(opponent, Opponent::Tcp | Opponent::Skans))
        .map(|other| (Opponent::Skans, Some(*other)))
        .collect();
    table(&mut text, results, &beside);
    text.push_str("\n## As measured\n\n");
    let all: Vec<_> = opponents.iter().map(|opponent| (*opponent, None)).collect();
    table(&mut text, results, &all);
    text.push_str("\n## What the machine can do by itself\n\n| | |\n|---|---|\n");
    for (row, title) in limits::ROWS.iter().enumerate() {
        let _ = writeln!(text, "| {title} | {} |", spread(&results.limit(row), 0));
    }
    text.push_str("\n## How each is set up\n\n");
    for opponent in opponents {
        let _ = writeln!(
            text,
            "- **{}**: {}",
            opponent.title(),
            opponent.configuration()
        );
    }
    remarks(&mut text, results, plan);
    for note in &setting.notes {
        let _ = writeln!(text, "- {note}");
    }
    text
}

/// A table with a column for each opponent, or for each ratio of one to another.
fn table(text: &mut String, results: &Results, columns: &[(Opponent, Option<Opponent>)]) {
    let titles: Vec<_> = columns
        .iter()
        .map(|(opponent, by)| match by {
            Some(by) => format!("{} / {}", opponent.title(), by.title()),
            None => opponent.title().to_owned(),
        })
        .collect();
    let _ = writeln!(text, "| | {} |", titles.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(columns.len()));
    for (sample, at, row) in Results::rows() {
        let cells: Vec<_> = columns
            .iter()
            .map(|(opponent, by)| match by {
                Some(by) => spread(&results.ratios(sample, at, *opponent, *by), 2),
                None => spread(&results.values(sample, at, *opponent), row.digits),
            })
            .collect();
        if cells.iter().any(|cell| cell != "-") {
            // The unit belongs to what was measured, not to ratios.
            let title = match columns.first() {
                Some((_, Some(_))) => row
                    .title
                    .rsplit_once(", ")
                    .map_or(row.title, |(title, _)| title),
                _ => row.title,
            };
            let _ = writeln!(text, "| {title} | {} |", cells.join(" | "));
        }
    }
}

fn remarks(text: &mut String, results: &Results, plan: Plan) {
    let most = results.noise.iter().copied().fold(0.0, f64::max);
    let _ = write!(
        text,
        "\n## Remarks\n\n\
         - Noise: before each sample the machine was to be quiet (others below {:.0} % of it) for up to {} s; {} of {} samples began without that. \
         {} were taken again because others worked meanwhile; the least disturbed one of up to {} counts. \
         Others had {:.1} % of the machine (median) and {:.1} % (most) during the samples that count.\n\
         - All opponents are alive in a round, idle but for the one being measured; each sample is taken of all of them within seconds, in rotating order.\n\
         - A load lasts {} ms after a quarter of that to warm up, and ends when the last receiver has everything; calls are `gen_server:call` to one server; {} connections a round.\n\
         - CPU is user and system time of both nodes and of the agents or relays over the 1 MiB load; Erlang's schedulers spin for a while before they sleep, which counts as well. GB and MB are 10^9 and 10^6 bytes.\n\
         - At 70 % load: a load of 64 B messages by 32 senders finds the greatest rate, each opponent's own; then messages are sent at 70 % of that, each millisecond what is due, and one caller calls meanwhile.\n\
         - At once: so many connections between nodes of one side and nodes of the other, at most {} and {}; a sender each for 1 MiB, 32 together for 64 B. Each side has one agent or tunnel; relays are a pair for each node that is dialled.\n\
         - The machine by itself: two threads of one process write and read 128 KiB at a time; records of 16 KiB are sealed in place, by aws-lc.\n\
         - Loopback has no latency and no loss, and everything shares the same processors: what two machines reach is more.\n",
        quiet::QUIET * 100.0,
        plan.patience.as_secs(),
        results.unquiet,
        results.noise.len() + results.repeated,
        results.repeated,
        plan.tries,
        median(&results.noise).unwrap_or_default() * 100.0,
        most * 100.0,
        plan.effort.load.as_millis(),
        plan.effort.set_ups,
        plan.widest.a,
        plan.widest.b,
    );
}
