//! The log, for auditors: what is in it, and what proves that.

use axum::Json;
use axum::extract::{Path, Query};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use skans_audit::tile;
use skans_store::log::{self, Filter};
use skans_store::{Tx, events};
use utoipa::{IntoParams, ToSchema};

use super::events::Event;
use super::{Listed, PAGE};
use crate::error::Error;
use crate::gate::Permit;
use crate::log::origin;
use crate::problem::Problem;
use crate::state::Home;

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// What the page before called `next`.
    pub after: Option<String>,
    /// At most so many: 100 unless given, 1000 at most.
    pub limit: Option<usize>,
    /// From this time on, in milliseconds since 1970.
    pub since: Option<u64>,
    /// Before this time, in milliseconds since 1970.
    pub until: Option<u64>,
    /// What happened.
    pub kind: Option<String>,
    /// Who did it.
    pub actor: Option<String>,
    /// To what.
    pub object: Option<String>,
}

/// An event with its place.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Placed {
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    /// In which log it is: that of this epoch. Absent for the moment before it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<u64>,
    /// The number of its entry, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
}

/// A log. There is one for each epoch: a database that was restored goes on with another.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Log {
    /// The epoch.
    pub epoch: u64,
    /// What it is called in checkpoints.
    pub origin: String,
    /// The key that its checkpoints are verified with, as C2SP signed-note writes it.
    pub key: String,
    /// How many entries it has.
    pub size: u64,
    /// How many of them, from the first on, are no longer here. Their hashes are.
    pub pruned: u64,
    /// How many entries the checkpoint is of.
    pub signed: u64,
    /// The newest checkpoint; empty for the moment before there is one.
    pub checkpoint: String,
    /// How many entries the newest one is of that was witnessed.
    pub witnessed: u64,
    /// The newest one that was witnessed, with the signatures of its witnesses; empty if there is none.
    pub witnessed_checkpoint: String,
}

fn view(home: &Home, log: log::Log) -> Log {
    Log {
        epoch: log.epoch,
        origin: origin(home, log.epoch),
        key: log.vkey,
        size: log.size,
        pruned: log.pruned,
        signed: log.signed_size,
        checkpoint: log.checkpoint,
        witnessed: log.witnessed_size,
        witnessed_checkpoint: log.witnessed,
    }
}

/// Events that were asked for, newest first
#[utoipa::path(get, path = "/v1/audit/events", params(Wanted), responses((status = 200, body = Listed<Event>), (status = "default", body = Problem)))]
pub(crate) async fn find(
    permit: Permit,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Listed<Event>>, Error> {
    permit.within_home()?;
    let limit = wanted.limit.unwrap_or(PAGE).clamp(1, super::MAX_PAGE);
    let before = match wanted.after.as_deref() {
        None | Some("") => None,
        Some(text) => Some(number("after", text)?),
    };
    let filter = Filter {
        before,
        since_ms: wanted.since.unwrap_or(0),
        until_ms: wanted.until,
        kind: wanted.kind.unwrap_or_default(),
        actor: wanted.actor.unwrap_or_default(),
        object: wanted.object.unwrap_or_default(),
    };
    let store = &permit.control.store;
    let read = store.read(move |tx| log::find(tx, &filter, limit));
    let items = read.await?.into_iter().map(Event::from).collect();
    Ok(Json(Listed::new(items, limit, |one: &Event| {
        one.seq.to_string()
    })))
}

/// One event, and its place in the log
#[utoipa::path(get, path = "/v1/audit/events/{seq}", params(("seq" = u64, Path)), responses((status = 200, body = Placed), (status = "default", body = Problem)))]
pub(crate) async fn show(permit: Permit, Path(text): Path<String>) -> Result<Json<Placed>, Error> {
    permit.within_home()?;
    let seq = number("seq", &text)?;
    let store = &permit.control.store;
    let read = store.read(move |tx| Ok((events::get(tx, seq)?, log::place(tx, seq)?)));
    let (event, place) = read.await?;
    let event = event.ok_or_else(|| Error::not_found("event", text))?;
    Ok(Json(Placed {
        event: event.into(),
        log: place.map(|(log, _)| log),
        entry: place.map(|(_, entry)| entry),
    }))
}

/// All logs, oldest first
#[utoipa::path(get, path = "/v1/audit/logs", responses((status = 200, body = Listed<Log>), (status = "default", body = Problem)))]
pub(crate) async fn logs(permit: Permit) -> Result<Json<Listed<Log>>, Error> {
    permit.within_home()?;
    let found = permit.control.store.read(log::list).await?.into_iter();
    let items: Vec<_> = found.map(|log| view(&permit.control.home, log)).collect();
    let limit = items.len() + 1;
    Ok(Json(Listed::new(items, limit, |one: &Log| {
        one.epoch.to_string()
    })))
}

/// A tile of hashes, as wide as it is now: what C2SP tlog-tiles has at `tile/{level}/{n}`
#[utoipa::path(get, path = "/v1/audit/logs/{epoch}/tiles/{level}/{n}", params(("epoch" = u64, Path), ("level" = u8, Path), ("n" = u64, Path)), responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = "default", body = Problem)))]
pub(crate) async fn tile(
    permit: Permit,
    Path((epoch, level, n)): Path<(String, String, String)>,
) -> Result<Response, Error> {
    permit.within_home()?;
    let name = format!("{level}/{n}");
    let (epoch, n) = (number("epoch", &epoch)?, number("n", &n)?);
    let level = u8::try_from(number("level", &level)?)
        .map_err(|_| Error::Invalid("level: wanted at most 7".to_owned()))?;
    let read = permit
        .control
        .store
        .read(move |tx| log::tile(tx, epoch, level, n));
    let found = read.await?;
    let found = found.ok_or_else(|| Error::not_found("tile", name))?;
    Ok(octets(found.hashes))
}

/// A bundle of entries, as long as it is now: what C2SP tlog-tiles has at `tile/entries/{n}`. Not found if it was pruned
#[utoipa::path(get, path = "/v1/audit/logs/{epoch}/entries/{n}", params(("epoch" = u64, Path), ("n" = u64, Path)), responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = "default", body = Problem)))]
pub(crate) async fn entries(
    permit: Permit,
    Path((epoch, n)): Path<(String, String)>,
) -> Result<Response, Error> {
    permit.within_home()?;
    let name = n.clone();
    let (epoch, n) = (number("epoch", &epoch)?, number("n", &n)?);
    let read = permit.control.store.read(move |tx: &mut Tx<'_>| {
        let Some(log) = log::get(tx, epoch)? else {
            return Ok(Vec::new());
        };
        log::entries(tx, &log, n)
    });
    let found = read.await?;
    if found.is_empty() {
        return Err(Error::not_found("bundle", name));
    }
    Ok(octets(tile::encode_bundle(&found)?))
}

fn octets(bytes: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
}

fn number(what: &str, text: &str) -> Result<u64, Error> {
    text.parse()
        .map_err(|_| Error::Invalid(format!("{what}: wanted a number")))
}
