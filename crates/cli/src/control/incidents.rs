//! `skans identity compromise` and `skans identity incidents`.

use std::time::Duration;

use skans_control::rest::incidents::{Incident, IncidentDetail, NewIncident};

use super::{client, print};
use crate::arguments::control::Ask;
use crate::failure::{Failure, NOT_CHECKED};
use crate::table;

/// `skans identity compromise`.
pub async fn compromise(
    ask: &Ask,
    wanted: &NewIncident,
    wait: Option<Duration>,
) -> Result<(), Failure> {
    let client = client(&ask.plane);
    let mut found: IncidentDetail = client.send("POST", "/v1/incidents", wanted).await?;
    if let Some(wait) = wait {
        let path = format!(
            "/v1/incidents/{}?wait={}",
            found.incident.id,
            wait.as_secs()
        );
        found = client.get(&path).await?;
    }
    let (id, state) = (found.incident.id, found.incident.state.clone());
    print(ask.output, found, draw)?;
    if wait.is_some() && state != "over" {
        return Err(Failure::new(
            NOT_CHECKED,
            format!("not over yet: {state}; skans identity incidents {id} goes on telling"),
        ));
    }
    Ok(())
}

/// A list of them.
pub fn draw_all(rows: Vec<Incident>) -> String {
    let rows: Vec<_> = rows
        .into_iter()
        .map(|one| {
            [
                one.id.to_string(),
                one.state,
                one.cause,
                table::moment(one.opened_ms / 1000),
                one.subject,
                one.sources.join(" "),
            ]
        })
        .collect();
    table::render(
        ["INCIDENT", "STATE", "CAUSE", "OPENED", "SUBJECT", "SOURCES"],
        &rows,
    )
}

/// One, with its time line: times are those since it was opened.
pub fn draw(found: IncidentDetail) -> String {
    let one = found.incident;
    let mut facts = vec![
        ("state", one.state),
        ("cause", one.cause),
        ("subject", one.subject),
        ("sources", one.sources.join(" ")),
    ];
    if one.id == 0 {
        facts.insert(0, ("incident", "none: a dry run".to_owned()));
    } else {
        facts.insert(0, ("incident", one.id.to_string()));
        facts.push(("opened", table::moment(one.opened_ms / 1000)));
    }
    let mut text = table::facts(&facts);
    let keys: Vec<_> = found
        .keys
        .into_iter()
        .map(|key| {
            let denied = match key.deny_seq {
                0 => "no".to_owned(),
                seq => format!("entry {seq}"),
            };
            let replaced = match key.renewed_ms {
                0 => "no".to_owned(),
                at => after(at, one.opened_ms),
            };
            [
                key.spki_sha256.chars().take(16).collect(),
                denied,
                replaced,
                key.spiffe_id,
                key.host,
            ]
        })
        .collect();
    text.push('\n');
    text.push_str(&table::render(
        ["KEY", "DENIED", "REPLACED", "IDENTITY", "HOST"],
        &keys,
    ));
    let steps: Vec<_> = found
        .timeline
        .into_iter()
        .map(|step| [after(step.time_ms, one.opened_ms), step.kind, step.text])
        .collect();
    if !steps.is_empty() {
        text.push('\n');
        text.push_str(&table::render(["AFTER", "STEP", "WHAT"], &steps));
    }
    text
}

/// A moment of an incident, in seconds since it was opened.
fn after(at_ms: u64, opened_ms: u64) -> String {
    let passed = at_ms.saturating_sub(opened_ms);
    format!("+{}.{:03} s", passed / 1000, passed % 1000)
}
