//! `skans top`: what the links carry, once a second.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde::Serialize;
use skans_agent::admin::{LinkView, TrafficView};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::arguments::{From, Output};
use crate::failure::Failure;
use crate::{show, table};

/// Between two looks.
const REFRESH: Duration = Duration::from_secs(1);
/// Cursor home, and clear from there on: less flicker than clearing first.
const REDRAW: &str = "\x1b[H\x1b[J";

/// What a link carries in a second.
#[derive(Clone, Debug, Serialize)]
struct Rate {
    local: String,
    peer: String,
    sent_bytes: u64,
    sent_messages: u64,
    received_bytes: u64,
    received_messages: u64,
    unacknowledged: u64,
}

/// Runs until Ctrl-C, or for so many looks.
pub async fn run(from: &From, iterations: Option<u64>) -> Result<(), Failure> {
    let mut ticks = interval(REFRESH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: Option<(Instant, Vec<LinkView>)> = None;
    let mut shown = 0;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    while iterations.is_none_or(|most| shown < most) {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = &mut interrupted => break,
        }
        let links: Vec<LinkView> = show::read(&show::fetch(&from.agent, "/v1/links").await?)?;
        let now = Instant::now();
        // A rate takes two looks.
        if let Some((then, old)) = before.replace((now, links.clone())) {
            print(from.output, &rates(&old, &links, now - then))?;
            shown += 1;
        }
    }
    Ok(())
}

fn rates(old: &[LinkView], new: &[LinkView], span: Duration) -> Vec<Rate> {
    let old: HashMap<u64, &TrafficView> = old.iter().map(|link| (link.id, &link.traffic)).collect();
    let milliseconds = span.as_millis().max(1);
    new.iter()
        .filter(|link| link.state == "up")
        .map(|link| {
            // A link that is new has carried everything since the last look.
            let before = old.get(&link.id).copied().copied().unwrap_or_default();
            let per_second = |now: u64, then: u64| {
                let rate = u128::from(now.saturating_sub(then)) * 1000 / milliseconds;
                u64::try_from(rate).unwrap_or(u64::MAX)
            };
            let now = link.traffic;
            Rate {
                local: link.local.clone(),
                peer: link.peer.clone(),
                sent_bytes: per_second(now.sent_bytes, before.sent_bytes),
                sent_messages: per_second(now.sent_messages, before.sent_messages),
                received_bytes: per_second(now.received_bytes, before.received_bytes),
                received_messages: per_second(now.received_messages, before.received_messages),
                unacknowledged: link.unacknowledged,
            }
        })
        .collect()
}

fn print(output: Output, rates: &[Rate]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => {
            serde_json::to_writer(&mut out, rates).map_err(std::io::Error::from)?;
            out.write_all(b"\n")?;
        }
        Output::Table if out.is_terminal() => {
            let rows: Vec<_> = rates.iter().map(cells).collect();
            out.write_all(REDRAW.as_bytes())?;
            out.write_all(
                table::render(
                    [
                        "NODE",
                        "PEER",
                        "SENT/s",
                        "MSG/s",
                        "RECEIVED/s",
                        "MSG/s",
                        "UNDER WAY",
                    ],
                    &rows,
                )
                .as_bytes(),
            )?;
        }
        Output::Table => {
            for rate in rates {
                let [
                    local,
                    peer,
                    sent,
                    sent_messages,
                    received,
                    received_messages,
                    under_way,
                ] = cells(rate);
                writeln!(
                    out,
                    "{local} {peer} sent {sent}/s {sent_messages} msg/s received {received}/s {received_messages} msg/s under way {under_way}"
                )?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

fn cells(rate: &Rate) -> [String; 7] {
    [
        rate.local.clone(),
        rate.peer.clone(),
        table::bytes(rate.sent_bytes),
        rate.sent_messages.to_string(),
        table::bytes(rate.received_bytes),
        rate.received_messages.to_string(),
        table::bytes(rate.unacknowledged),
    ]
}
