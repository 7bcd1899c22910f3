//! Events: everything that was changed, by whom.

use axum::Json;
use axum::extract::Query;
use serde::{Deserialize, Serialize};
use skans_store::events;
use utoipa::ToSchema;

use super::{Listed, Paging};
use crate::error::Error;
use crate::gate::Permit;
use crate::problem::Problem;

/// An event.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Event {
    /// Its number.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// A stable word for what happened.
    pub kind: String,
    /// Who did it.
    pub actor: String,
    /// To what.
    pub object: String,
    /// The whole event, in the words of OCSF.
    pub body: serde_json::Value,
}

impl From<events::Event> for Event {
    fn from(row: events::Event) -> Self {
        Self {
            seq: row.seq,
            time_ms: row.time_ms,
            kind: row.kind,
            actor: row.actor,
            object: row.object,
            body: serde_json::from_str(&row.body).unwrap_or_default(),
        }
    }
}

/// Events, oldest first
#[utoipa::path(get, path = "/v1/events", params(Paging), responses((status = 200, body = Listed<Event>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    permit: Permit,
    Query(paging): Query<Paging>,
) -> Result<Json<Listed<Event>>, Error> {
    permit.within_home()?;
    let limit = paging.limit();
    let after = match paging.after() {
        "" => 0,
        text => text
            .parse()
            .map_err(|_| Error::Invalid("after: wanted the number of an event".to_owned()))?,
    };
    let read = permit
        .control
        .store
        .read(move |tx| events::since(tx, after, limit));
    let items = read.await?.into_iter().map(Event::from);
    Ok(Json(Listed::new(items.collect(), limit, |one: &Event| {
        one.seq.to_string()
    })))
}
