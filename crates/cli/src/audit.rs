//! `skans audit`: the log, as it comes, as it was, and as a copy.

mod verify;

use std::time::Duration;

use serde_json::Value;
use skans_control::client::audit::{Redaction, export, rules_of_redaction};
use skans_control::rest::Listed;
use skans_control::rest::events::Event;

use crate::arguments::audit::{AuditCommand, Redact};
use crate::arguments::control::Ask;
use crate::control::{client, escaped, look, print, say};
use crate::failure::{Failure, USAGE};
use crate::table;

/// Between two looks for new events.
const OFTEN: Duration = Duration::from_millis(500);
/// Events that are asked for at once.
const PAGE: usize = 1000;

/// Does it.
pub async fn audit(command: &AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Tail {
            after,
            no_follow,
            redact,
            plane,
        } => {
            let client = client(plane);
            let redaction = redaction(redact)?;
            let mut after = match after {
                Some(after) => *after,
                None => {
                    let newest: Listed<Event> =
                        client.get("/v1/audit/events?limit=1").await.map_err(look)?;
                    newest.items.first().map_or(0, |newest| newest.seq)
                }
            };
            loop {
                let path = format!("/v1/events?limit={PAGE}&after={after}");
                let page: Listed<Event> = client.get(&path).await.map_err(look)?;
                for event in &page.items {
                    after = event.seq;
                    say(&line(event.body.clone(), redaction.as_ref()))?;
                }
                match (page.next.is_some(), no_follow) {
                    (true, _) => {}
                    (false, true) => return Ok(()),
                    (false, false) => tokio::time::sleep(OFTEN).await,
                }
            }
        }
        AuditCommand::Query {
            since,
            until,
            kind,
            actor,
            object,
            limit,
            redact,
            ask,
        } => {
            let redaction = redaction(redact)?;
            let mut query = Vec::new();
            let times = [("since", since), ("until", until)];
            for (name, text) in times {
                if let Some(text) = text {
                    query.push(format!("{name}={}", time(name, text)?));
                }
            }
            for (name, text) in [("kind", kind), ("actor", actor), ("object", object)] {
                if let Some(text) = text {
                    query.push(format!("{name}={}", escaped(text)));
                }
            }
            let mut found = find(ask, &query.join("&"), *limit).await?;
            for event in &mut found {
                if let Some(redaction) = &redaction {
                    redaction.apply(&mut event.body);
                    // What the table of the store has beside the event is the same once more.
                    (event.actor, event.object) = (String::new(), String::new());
                }
            }
            print(ask.output, found, |found| {
                let rows: Vec<_> = found
                    .into_iter()
                    .map(|one| {
                        [
                            one.seq.to_string(),
                            table::moment(one.time_ms / 1000),
                            one.kind,
                            one.actor,
                            one.object,
                        ]
                    })
                    .collect();
                table::render(["EVENT", "TIME", "KIND", "BY", "OBJECT"], &rows)
            })
        }
        AuditCommand::Verify(arguments) => verify::verify(arguments),
        AuditCommand::Export {
            directory,
            epoch,
            plane,
            output,
        } => {
            let exported = export(&client(plane), *epoch, directory).await?;
            print(*output, exported, |done| {
                table::facts(&[
                    ("log", done.origin),
                    ("key", done.key),
                    ("entries", done.size.to_string()),
                    ("pruned", done.pruned.to_string()),
                    (
                        "witnessed",
                        if done.witnessed { "yes" } else { "no" }.to_owned(),
                    ),
                    ("files written", done.written.to_string()),
                ])
            })
        }
    }
}

/// All pages that it takes.
async fn find(ask: &Ask, query: &str, limit: usize) -> Result<Vec<Event>, Failure> {
    let client = client(&ask.plane);
    let mut found = Vec::new();
    let mut after = String::new();
    while found.len() < limit {
        let page = PAGE.min(limit - found.len());
        let path = format!("/v1/audit/events?limit={page}&after={after}&{query}");
        let events: Listed<Event> = client.get(path.trim_end_matches('&')).await.map_err(look)?;
        found.extend(events.items);
        match events.next {
            Some(next) => after = next,
            None => break,
        }
    }
    Ok(found)
}

/// The event, on a line.
fn line(mut body: Value, redaction: Option<&Redaction>) -> String {
    if let Some(redaction) = redaction {
        redaction.apply(&mut body);
    }
    format!("{body}\n")
}

fn redaction(from: &Redact) -> Result<Option<Redaction>, Failure> {
    let Some(rules) = &from.redact else {
        return Ok(None);
    };
    Ok(Some(rules_of_redaction(rules, from.redact_key.as_deref())?))
}

/// A moment, in milliseconds since 1970: as people write it, or so long ago.
fn time(name: &str, text: &str) -> Result<u64, Failure> {
    let ago = skans_host::duration::parse(text).map(|ago| {
        table::now()
            .saturating_sub(ago.as_secs())
            .saturating_mul(1000)
    });
    ago.or_else(|| table::parse_moment(text)).ok_or_else(|| {
        Failure::new(
            USAGE,
            format!(
                "--{name}: found {text:?}, wanted 2026-11-20T08:00:00Z, or so long ago, such as 2h"
            ),
        )
    })
}
