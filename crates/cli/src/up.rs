//! `skans up`: shows what the lab tells.
//!
//! With `--output json`, standard output holds one object a second, or one a proof, each on a line
//! of its own; everything else goes to standard error.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use serde_json::json;
use skans_lab::prove::{MIN_NODES, Proof};
use skans_lab::up::{Event, Options, Outcome, Summary};
use skans_lab::view::{NodeRow, View};

use crate::arguments::{Output, Up};
use crate::failure::{FAILED, Failure, NOT_CHECKED, USAGE};
use crate::table;

/// Runs it.
pub async fn run(arguments: &Up) -> Result<(), Failure> {
    let two = arguments.clusters == 2;
    if arguments.prove && !two && arguments.nodes < MIN_NODES {
        return Err(Failure::new(
            USAGE,
            format!(
                "--nodes {}: the proofs need at least {MIN_NODES}",
                arguments.nodes
            ),
        ));
    }
    let options = Options {
        skans: own_program()?,
        nodes: arguments.nodes,
        two,
        limit: arguments.limit,
        prove: arguments.prove,
        leaf: arguments.leaf_ttl,
    };
    let mut screen = Screen {
        output: arguments.output,
        redraw: 0,
        views: 0,
        last: None,
    };
    match skans_lab::up::run(&options, |event| screen.show(event)).await? {
        Outcome::Ended | Outcome::Proven { failed: 0, .. } => Ok(()),
        Outcome::Interrupted => Err(Failure::new(
            NOT_CHECKED,
            "interrupted before the last proof",
        )),
        Outcome::Proven { passed, failed } => Err(Failure::new(
            FAILED,
            format!("{failed} of {} proofs failed", passed + failed),
        )),
    }
}

/// What agents are started from: this program.
pub fn own_program() -> Result<PathBuf, Failure> {
    let skans = std::env::current_exe().map_err(|error| {
        Failure::new(
            NOT_CHECKED,
            format!("cannot tell which program this is, to start agents from it: {error}"),
        )
    })?;
    Ok(own_path(skans))
}

/// A binary that was replaced while it runs is started by what it runs from, not by what is there now.
fn own_path(path: PathBuf) -> PathBuf {
    if path.exists() {
        path
    } else {
        PathBuf::from("/proc/self/exe")
    }
}

struct Screen {
    output: Output,
    /// Lines of the table on the terminal, to be drawn over.
    redraw: usize,
    views: usize,
    last: Option<String>,
}

impl Screen {
    fn show(&mut self, event: Event<'_>) -> io::Result<()> {
        let mut aside = io::stderr().lock();
        match event {
            Event::Progress { elapsed, step } => {
                writeln!(aside, "{:6.2}s  {step}", elapsed.as_secs_f64())
            }
            Event::View(view) => self.view(view),
            Event::Proving(name) if self.output == Output::Table && aside.is_terminal() => {
                write!(aside, "  …   {name}\r")?;
                aside.flush()
            }
            Event::Proving(_) => Ok(()),
            Event::Proof(proof) => self.proof(proof),
            Event::Summary(summary) => self.summary(summary),
            Event::Stopping => writeln!(aside, "stopping: no process and no file stays"),
        }
    }

    fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.output == Output::Json {
            serde_json::to_writer(&mut out, &json!({ "summary": summary }))?;
            return out.write_all(b"\n");
        }
        // What a terminal shows all the time, a file gets once more at the end.
        if let Some(last) = self.last.take().filter(|_| self.views > 1) {
            out.write_all(last.as_bytes())?;
        }
        let traffic = summary.traffic;
        writeln!(
            out,
            "\n{} certificates renewed, {} live links moved to new ones; {} messages arrived, {} lost, {} out of order, {} nodedowns",
            summary.renewals,
            summary.takeovers,
            traffic.received,
            traffic.lost,
            traffic.misplaced,
            traffic.nodedowns
        )
    }

    fn proof(&self, proof: &Proof) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.output {
            Output::Json => {
                serde_json::to_writer(&mut out, proof)?;
                out.write_all(b"\n")?;
            }
            Output::Table => {
                let verdict = if proof.passed { "PASS" } else { "FAIL" };
                writeln!(
                    out,
                    "{verdict}  {}: {}",
                    proof.proof,
                    proof.evidence.replace('\n', " ")
                )?;
            }
        }
        out.flush()
    }

    fn view(&mut self, view: &View) -> io::Result<()> {
        let mut out = io::stdout().lock();
        self.views += 1;
        if self.output == Output::Json {
            serde_json::to_writer(&mut out, view)?;
            out.write_all(b"\n")?;
            return out.flush();
        }
        let text = draw(view);
        if out.is_terminal() {
            if self.redraw > 0 {
                write!(out, "\x1b[{}A\x1b[J", self.redraw)?;
            }
            self.redraw = text.lines().count();
            // Cut at the margin (DECAWM off): a line that wraps would be two to draw over.
            write!(out, "\x1b[?7l{text}\x1b[?7h")?;
        } else if self.views == 1 {
            out.write_all(text.as_bytes())?;
            self.last = Some(String::new());
        } else {
            self.last = Some(format!("\n{text}"));
        }
        out.flush()
    }
}

fn draw(view: &View) -> String {
    let now = table::now();
    let rows: Vec<_> = view.nodes.iter().map(|node| row(node, now)).collect();
    // The widest last: a narrow terminal cuts them.
    let mut text = table::render(
        [
            "NODE", "LINKS", "SENT", "MESSAGES", "RECEIVED", "MESSAGES", "EXPIRES", "IDENTITY",
            "TLS",
        ],
        &rows,
    );
    if let Some(first) = view.nodes.first() {
        text.push_str(&format!(
            "\nCtrl-C ends it. Look closer: skans links --socket {}\n",
            first.socket
        ));
    }
    text
}

fn row(node: &NodeRow, now: u64) -> [String; 9] {
    let mut tls: Vec<_> = node
        .links
        .iter()
        .map(|link| format!("{} {} {}", link.tls, link.suite, link.group))
        .collect();
    tls.sort();
    tls.dedup();
    let links = if node.registered {
        node.links.len().to_string()
    } else {
        "down".to_owned()
    };
    let traffic = node.traffic;
    [
        node.node.clone(),
        links,
        table::bytes(traffic.sent_bytes),
        traffic.sent_messages.to_string(),
        table::bytes(traffic.received_bytes),
        traffic.received_messages.to_string(),
        table::relative(node.not_after, now),
        node.identity.clone(),
        if tls.is_empty() {
            "-".to_owned()
        } else {
            tls.join(", ")
        },
    ]
}
