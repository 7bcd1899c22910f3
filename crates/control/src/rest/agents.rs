//! Agents: who is enrolled, and what each has acknowledged.

use axum::Json;
use axum::extract::Query;
use serde::{Deserialize, Serialize};
use skans_store::agents;
use utoipa::ToSchema;

use super::{Listed, Paging};
use crate::error::Error;
use crate::gate::Permit;
use crate::problem::Problem;

/// An agent.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Agent {
    /// Its name.
    pub id: String,
    /// Its SPIFFE ID.
    pub spiffe_id: String,
    /// The id of the registration that it enrolled by.
    pub registration: String,
    /// Its host.
    pub host: String,
    /// The version of its program.
    pub program_version: String,
    /// When it enrolled, Unix time.
    pub enrolled: u64,
    /// When it was last heard of, Unix time.
    pub last_seen: u64,
    /// The epoch and the last deny entry that hold on it.
    pub epoch: u64,
    /// See there.
    pub deny_seq: u64,
    /// The version of the bundle that it uses.
    pub bundle_version: u64,
    /// The number of the policy set that decides on it; 0 if it has not said, or uses the one that is built in.
    #[serde(default)]
    pub policy: u64,
    /// When it last said so, Unix time, 0 for never.
    pub acknowledged_at: u64,
}

/// All agents, by name
#[utoipa::path(get, path = "/v1/agents", params(Paging), responses((status = 200, body = Listed<Agent>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    permit: Permit,
    Query(paging): Query<Paging>,
) -> Result<Json<Listed<Agent>>, Error> {
    permit.within_home()?;
    let limit = paging.limit();
    let read = permit
        .control
        .store
        .read(move |tx| agents::list(tx, paging.after(), limit));
    let items = read.await?.into_iter().map(|row| Agent {
        id: row.id,
        spiffe_id: row.spiffe_id,
        registration: row.registration,
        host: row.host,
        program_version: row.program_version,
        enrolled: row.enrolled,
        last_seen: row.last_seen,
        epoch: row.acknowledged.epoch,
        deny_seq: row.acknowledged.deny_seq,
        bundle_version: row.acknowledged.bundle,
        policy: row.policy.map_or(0, |(_, n)| n),
        acknowledged_at: row.acknowledged_at,
    });
    Ok(Json(Listed::new(items.collect(), limit, |one: &Agent| {
        one.id.clone()
    })))
}
