//! Incidents: keys that may be stolen, what was done about them, and when.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use skans_store::Tx;
use skans_store::incidents::{self, Key, State};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::{Listed, Paging};
use crate::denial;
use crate::error::Error;
use crate::gate::Permit;
use crate::hex;
use crate::incident::Wanted;
use crate::problem::Problem;

/// Longest time that a look may wait for the end of an incident, in seconds.
const MAX_WAIT: u64 = 60;
/// Between two looks of one who waits.
const LOOK: Duration = Duration::from_millis(100);

/// An incident.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Incident {
    /// Its number.
    pub id: u64,
    /// `watching`: people were told, nothing is done by itself. `renewing`: whoever has the keys was told to get others. `cutting`: they
    /// are denied. `over`: everywhere, and their owners have others.
    pub state: String,
    /// Why it was opened: `reported`, `key-in-two-places`, `never-issued`, `name-spoofed`, `denial-burst`.
    pub cause: String,
    /// What it is about.
    pub subject: String,
    /// Who reported it: agents, or a person.
    pub sources: Vec<String>,
    /// When it was opened, in milliseconds since 1970.
    pub opened_ms: u64,
}

/// A key of an incident.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct IncidentKey {
    /// The SHA-256 of its `SubjectPublicKeyInfo`.
    pub spki_sha256: String,
    /// Whose it is; empty if nobody here knows.
    pub spiffe_id: String,
    /// On which host.
    pub host: String,
    /// The entry of the deny stream, 0 before there is one.
    pub deny_seq: u64,
    /// When its owner was found to have another one, in milliseconds since 1970; 0 before.
    pub renewed_ms: u64,
}

/// A line of a time line.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct IncidentStep {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// A stable word: `opened`, `reported`, `renewed`, `waiting`, `denied`, `held`, `over`.
    pub kind: String,
    /// What happened.
    pub text: String,
}

/// An incident, whole.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct IncidentDetail {
    /// What it is.
    #[serde(flatten)]
    pub incident: Incident,
    /// Its keys.
    pub keys: Vec<IncidentKey>,
    /// What happened, oldest first.
    pub timeline: Vec<IncidentStep>,
}

/// What is compromised.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewIncident {
    /// `id` (a SPIFFE ID), `node` (`alive@host`), or `key` (the SHA-256 of a `SubjectPublicKeyInfo` in hex).
    pub kind: String,
    /// Whom it touches.
    pub target: String,
    /// Why: a sentence.
    pub reason: String,
    /// Have keys replaced before they are denied, so that no honest link is cut; whoever stole one has it for some seconds more.
    #[serde(default)]
    pub keep_links: bool,
    /// Say which keys it would be about, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// How long to wait.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    /// Wait up to so many seconds until nothing more is to be done; 60 at most.
    pub wait: Option<u64>,
}

fn view(row: incidents::Incident) -> Incident {
    Incident {
        id: row.id,
        state: row.state.word().to_owned(),
        cause: row.cause,
        subject: row.subject,
        sources: row.sources.lines().map(str::to_owned).collect(),
        opened_ms: row.opened_ms,
    }
}

fn key(row: Key) -> IncidentKey {
    IncidentKey {
        spki_sha256: hex::of(&row.spki),
        spiffe_id: row.spiffe_id,
        host: row.host,
        deny_seq: row.deny_seq,
        renewed_ms: row.renewed_ms,
    }
}

/// Incidents, newest first
#[utoipa::path(get, path = "/v1/incidents", params(Paging), responses((status = 200, body = Listed<Incident>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    permit: Permit,
    Query(paging): Query<Paging>,
) -> Result<Json<Listed<Incident>>, Error> {
    permit.within_home()?;
    let limit = paging.limit();
    let before = match paging.after() {
        "" => u64::MAX,
        text => number(text)?,
    };
    let read = permit
        .control
        .store
        .read(move |tx| incidents::list(tx, before, limit));
    let items = read.await?.into_iter().map(view).collect();
    Ok(Json(Listed::new(items, limit, |one: &Incident| {
        one.id.to_string()
    })))
}

/// Says that keys are compromised: they are denied everywhere, and whoever they belong to gets others
#[utoipa::path(post, path = "/v1/incidents", request_body = NewIncident, responses((status = 201, body = IncidentDetail), (status = 200, body = IncidentDetail, description = "A dry run: number 0."), (status = "default", body = Problem)))]
pub(crate) async fn create(
    permit: Permit,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<IncidentDetail>), Error> {
    let wanted: NewIncident = super::body(bytes)?;
    let by = permit.within_home()?;
    let dry_run = wanted.dry_run;
    let wanted = Wanted {
        target: denial::target(&wanted.kind, &wanted.target)?,
        reason: wanted.reason,
        keep_links: wanted.keep_links,
    };
    let control = &permit.control;
    if dry_run {
        let keys = control.affected(&wanted).await?;
        let would_be = IncidentDetail {
            incident: Incident {
                id: 0,
                state: "none".to_owned(),
                cause: "reported".to_owned(),
                subject: wanted.target.text(),
                sources: vec![by.actor],
                opened_ms: 0,
            },
            keys: keys.into_iter().map(key).collect(),
            timeline: Vec::new(),
        };
        return Ok((StatusCode::OK, Json(would_be)));
    }
    let id = control.compromised(&by, wanted).await?;
    let found = control.store.read(move |tx| whole(tx, id)).await?;
    let found = found.ok_or_else(|| Error::not_found("incident", id.to_string()))?;
    Ok((StatusCode::CREATED, Json(found)))
}

/// One incident, with its time line
#[utoipa::path(get, path = "/v1/incidents/{id}", params(("id" = u64, Path), Ending), responses((status = 200, body = IncidentDetail), (status = "default", body = Problem)))]
pub(crate) async fn show(
    permit: Permit,
    Path(text): Path<String>,
    Query(ending): Query<Ending>,
) -> Result<Json<IncidentDetail>, Error> {
    permit.within_home()?;
    let id = number(&text)?;
    let patience = Duration::from_secs(ending.wait.unwrap_or(0).min(MAX_WAIT));
    let deadline = Instant::now() + patience;
    loop {
        let found = permit.control.store.read(move |tx| whole(tx, id)).await?;
        let found = found.ok_or_else(|| Error::not_found("incident", id.to_string()))?;
        let ends = [State::Over, State::Watching].map(State::word);
        if ends.contains(&found.incident.state.as_str()) || Instant::now() >= deadline {
            return Ok(Json(found));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn whole(tx: &mut Tx<'_>, id: u64) -> skans_store::Result<Option<IncidentDetail>> {
    let Some(row) = incidents::get(tx, id)? else {
        return Ok(None);
    };
    let keys = incidents::keys(tx, id)?.into_iter().map(key).collect();
    let steps = incidents::steps(tx, id)?.into_iter();
    let timeline = steps.map(|step| IncidentStep {
        time_ms: step.time_ms,
        kind: step.kind,
        text: step.text,
    });
    Ok(Some(IncidentDetail {
        incident: view(row),
        keys,
        timeline: timeline.collect(),
    }))
}

fn number(text: &str) -> Result<u64, Error> {
    text.parse()
        .map_err(|_| Error::Invalid("id: wanted the number of an incident".to_owned()))
}
