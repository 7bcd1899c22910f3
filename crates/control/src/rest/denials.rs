//! The deny stream: revoke, look how far it has come, take back.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use skans_identity::deny::{Entry, Target};
use skans_identity::id::Role;
use skans_store::deny;
use utoipa::{IntoParams, ToSchema};

use super::{Listed, Paging};
use crate::denial;
use crate::error::Error;
use crate::gate::Permit;
use crate::problem::Problem;
use crate::scope::Scope;

/// Longest time that a look may wait for acknowledgements, in seconds.
const MAX_WAIT: u64 = 60;

/// An entry of the deny stream.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Denial {
    /// Its number.
    pub seq: u64,
    /// What is denied: `id`, `key`, `node`, `issuer`; or `allow`, which takes back the entry that `target` names.
    pub kind: String,
    /// Whom it touches.
    pub target: String,
    /// Why.
    pub reason: String,
    /// When, Unix time.
    pub time: u64,
    /// When it may be forgotten, Unix time; 0 for never.
    pub until: u64,
}

/// What is to be denied.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDenial {
    /// `id` (a SPIFFE ID), `key` or `issuer` (the SHA-256 of a `SubjectPublicKeyInfo` in hex), or `node` (`alive@host`).
    pub kind: String,
    /// Whom it touches.
    pub target: String,
    /// Why: a sentence, at most 512 bytes.
    pub reason: String,
}

/// An entry, and how far it has come.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct DenialSpread {
    /// The entry.
    #[serde(flatten)]
    pub denial: Denial,
    /// Agents that were seen within the last hour.
    pub agents: u64,
    /// Those of them that say that it holds: what it touches forwards nothing any more.
    pub acknowledged: u64,
    /// Some of those that have not said so.
    pub missing: Vec<String>,
}

/// How long to wait.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// Wait up to so many seconds until it holds on all agents; 60 at most.
    pub wait: Option<u64>,
}

fn view(row: &deny::Entry) -> Result<Denial, Error> {
    let entry = Entry::decode(&row.entry)?;
    let order = entry.order();
    Ok(Denial {
        seq: row.seq,
        kind: order.target.label().to_owned(),
        target: order.target.text(),
        reason: order.reason.clone(),
        time: order.time,
        until: order.until,
    })
}

/// The entries that are remembered, oldest first
#[utoipa::path(get, path = "/v1/denials", params(Paging), responses((status = 200, body = Listed<Denial>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    permit: Permit,
    Query(paging): Query<Paging>,
) -> Result<Json<Listed<Denial>>, Error> {
    permit.within_home()?;
    let limit = paging.limit();
    let after = match paging.after() {
        "" => 0,
        text => number(text)?,
    };
    let read = permit.control.store.read(move |tx| {
        // From the oldest that is still there: the list is for people, who need no snapshot.
        let from = after.max(deny::tail(tx)?.floor);
        Ok(deny::since(tx, from, limit)?.unwrap_or_default())
    });
    let items = read
        .await?
        .iter()
        .map(view)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Json(Listed::new(items, limit, |one: &Denial| {
        one.seq.to_string()
    })))
}

/// Denies somebody, from now on and everywhere
#[utoipa::path(post, path = "/v1/denials", request_body = NewDenial, responses((status = 201, body = Denial), (status = "default", body = Problem)))]
pub(crate) async fn create(
    permit: Permit,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Denial>), Error> {
    let wanted: NewDenial = super::body(bytes)?;
    let target = denial::target(&wanted.kind, &wanted.target)?;
    let by = permit.within(&scope(&permit, &target)?)?;
    let seq = permit.control.deny(&by, target, &wanted.reason).await?;
    let row = permit
        .control
        .store
        .read(move |tx| deny::get(tx, seq))
        .await?;
    let row = row.ok_or_else(|| Error::not_found("deny entry", seq.to_string()))?;
    Ok((StatusCode::CREATED, Json(view(&row)?)))
}

/// One entry, and on how many agents it holds
#[utoipa::path(get, path = "/v1/denials/{seq}", params(("seq" = u64, Path), Waiting), responses((status = 200, body = DenialSpread), (status = "default", body = Problem)))]
pub(crate) async fn show(
    permit: Permit,
    Path(text): Path<String>,
    Query(waiting): Query<Waiting>,
) -> Result<Json<DenialSpread>, Error> {
    permit.within_home()?;
    let seq = number(&text)?;
    let control = &permit.control;
    let row = control.store.read(move |tx| deny::get(tx, seq)).await?;
    let row = row.ok_or_else(|| Error::not_found("deny entry", text))?;
    let patience = Duration::from_secs(waiting.wait.unwrap_or(0).min(MAX_WAIT));
    let spread = control.spread_within(seq, patience).await?;
    Ok(Json(DenialSpread {
        denial: view(&row)?,
        agents: spread.agents,
        acknowledged: spread.acknowledged,
        missing: spread.missing,
    }))
}

/// Takes an entry back
#[utoipa::path(delete, path = "/v1/denials/{seq}", params(("seq" = u64, Path)), responses((status = 200, body = Denial), (status = "default", body = Problem)))]
pub(crate) async fn lift(permit: Permit, Path(text): Path<String>) -> Result<Json<Denial>, Error> {
    let seq = number(&text)?;
    let control = &permit.control;
    let row = control.store.read(move |tx| deny::get(tx, seq)).await?;
    let row = row.ok_or_else(|| Error::not_found("deny entry", text))?;
    let target = Target::parse(row.kind, &row.target)?;
    let by = permit.within(&scope(&permit, &target)?)?;
    let lift = control.allow_again(&by, seq, "taken back").await?;
    let row = control.store.read(move |tx| deny::get(tx, lift)).await?;
    let row = row.ok_or_else(|| Error::not_found("deny entry", lift.to_string()))?;
    Ok(Json(view(&row)?))
}

/// Where a target lies: the namespace of a node's ID; for all else the cluster, since a key may be anybody's.
fn scope(permit: &Permit, target: &Target) -> Result<Scope, Error> {
    let home = &permit.control.home;
    if let Target::Id(id) = target
        && let Some(Role::Node {
            cluster, namespace, ..
        }) = id.role()
        && *id.trust_domain() == home.trust_domain
        && cluster == home.cluster
    {
        return home.scope.namespace(namespace);
    }
    Ok(home.scope.clone())
}

fn number(text: &str) -> Result<u64, Error> {
    text.parse()
        .map_err(|_| Error::Invalid("seq: wanted the number of an entry".to_owned()))
}
