//! Grants: who has which role, and where.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use skans_identity::id::SpiffeId;
use skans_store::{Tx, grants};
use utoipa::ToSchema;

use super::{Listed, Paging};
use crate::caller::sha256;
use crate::error::Error;
use crate::event::{self, Kind};
use crate::gate::Permit;
use crate::problem::Problem;
use crate::roles::RoleName;
use crate::scope::Scope;
use crate::{clock, hex};

/// A grant.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Grant {
    /// Its name: made of the three below.
    pub id: String,
    /// The person.
    pub user: String,
    /// The role.
    pub role: String,
    /// Where it holds: `TRUST-DOMAIN[/CLUSTER[/NAMESPACE]]`.
    pub scope: String,
    /// Who gave it.
    pub granted_by: String,
    /// When, Unix time. One of break-glass holds for an hour.
    pub granted_at: u64,
}

/// A grant to be made.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGrant {
    /// The person.
    pub user: String,
    /// The role.
    pub role: RoleName,
    /// Where it is to hold; this cluster unless given.
    #[serde(default)]
    pub scope: Option<String>,
}

fn view(row: grants::Grant) -> Grant {
    Grant {
        id: id(&row.user, &row.role, &row.scope),
        user: row.user,
        role: row.role,
        scope: row.scope,
        granted_by: row.granted_by,
        granted_at: row.granted_at,
    }
}

fn id(user: &str, role: &str, scope: &str) -> String {
    let hash = sha256(format!("{user}\n{role}\n{scope}").as_bytes());
    hex::of(hash.get(..8).unwrap_or_default())
}

/// All grants
#[utoipa::path(get, path = "/v1/grants", params(Paging), responses((status = 200, body = Listed<Grant>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    permit: Permit,
    Query(paging): Query<Paging>,
) -> Result<Json<Listed<Grant>>, Error> {
    permit.within_home()?;
    let limit = paging.limit();
    let read = permit.control.store.read(move |tx| {
        let mut after = paging.after().splitn(3, ' ');
        let mut next = || after.next().unwrap_or_default();
        grants::list(tx, (next(), next(), next()), limit)
    });
    let items = read.await?.into_iter().map(view).collect();
    Ok(Json(Listed::new(items, limit, |one: &Grant| {
        format!("{} {} {}", one.user, one.role, one.scope)
    })))
}

/// Gives a person a role
#[utoipa::path(post, path = "/v1/grants", request_body = NewGrant, responses((status = 201, body = Grant), (status = "default", body = Problem)))]
pub(crate) async fn create(
    permit: Permit,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Grant>), Error> {
    let wanted: NewGrant = super::body(bytes)?;
    let home = &permit.control.home;
    SpiffeId::user(&home.trust_domain, &wanted.user)?;
    let scope: Scope = match &wanted.scope {
        Some(text) => text.parse()?,
        None => home.scope.clone(),
    };
    let by = permit.within(&scope)?;
    let row = grants::Grant {
        user: wanted.user,
        role: wanted.role.as_str().to_owned(),
        scope: scope.to_string(),
        granted_by: by.actor.clone(),
        granted_at: clock::seconds(),
    };
    let made = row.clone();
    let work = move |tx: &mut Tx<'_>| {
        // The hour of break-glass begins anew with each grant of it.
        if row.role == RoleName::BreakGlass.as_str() {
            grants::remove(tx, &row.user, &row.role, &row.scope)?;
        }
        if grants::add(tx, &row)? {
            let details = json!({ "role": row.role, "scope": row.scope });
            event::tell(tx, Kind::RoleGranted, &by.actor, &row.user, &details)?;
        }
        Ok::<_, Error>(())
    };
    permit.control.store.try_write(work).await?;
    Ok((StatusCode::CREATED, Json(view(made))))
}

/// Takes a role away
#[utoipa::path(delete, path = "/v1/grants/{id}", params(("id" = String, Path)), responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn remove(
    permit: Permit,
    Path(wanted): Path<String>,
) -> Result<StatusCode, Error> {
    let control = &permit.control;
    let name = wanted.clone();
    let found = control.store.read(move |tx| {
        let mut after = (String::new(), String::new(), String::new());
        loop {
            let page = grants::list(tx, (&after.0, &after.1, &after.2), super::MAX_PAGE)?;
            let Some(last) = page.last() else {
                return Ok(None);
            };
            after = (last.user.clone(), last.role.clone(), last.scope.clone());
            let hit = page
                .into_iter()
                .find(|one| id(&one.user, &one.role, &one.scope) == name);
            if hit.is_some() {
                return Ok(hit);
            }
        }
    });
    let row = found
        .await?
        .ok_or_else(|| Error::not_found("grant", wanted))?;
    let by = permit.within(&row.scope.parse()?)?;
    let work = move |tx: &mut Tx<'_>| {
        grants::remove(tx, &row.user, &row.role, &row.scope)?;
        let details = json!({ "role": row.role, "scope": row.scope });
        event::tell(tx, Kind::RoleWithdrawn, &by.actor, &row.user, &details)?;
        Ok::<_, Error>(())
    };
    control.store.try_write(work).await?;
    Ok(StatusCode::NO_CONTENT)
}
