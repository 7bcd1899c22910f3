//! Authorities: what signs, what is to sign, and what is not to be trusted any more.

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use skans_store::authorities;
use utoipa::ToSchema;

use super::Listed;
use crate::authority::Prepared;
use crate::error::Error;
use crate::gate::Permit;
use crate::hex;
use crate::problem::Problem;

/// An authority.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Authority {
    /// Its name.
    pub id: String,
    /// What it signs: `root` or `issuer`.
    pub kind: String,
    /// `a` or `b`.
    pub slot: String,
    /// `prepared`, `active`, `retired`, `tainted`, `revoked` or `expired`.
    pub state: String,
    /// SHA-256 of its `SubjectPublicKeyInfo`, in hex.
    pub spki_sha256: String,
    /// From when on it is valid, Unix time.
    pub not_before: u64,
    /// Until when it is valid, Unix time.
    pub not_after: u64,
    /// When its state last changed, Unix time.
    pub changed: u64,
    /// Itself, PEM.
    pub certificate: String,
}

/// What became of the wish for a new authority.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct NextAuthority {
    /// Its name.
    pub id: String,
    /// `prepared`; or `requested`, if the root is elsewhere and has to sign.
    pub state: String,
    /// What the root has to sign, PEM: `skans ca sign`.
    pub request: Option<String>,
}

/// A certificate that came back from the root.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedAuthority {
    /// PEM.
    pub certificate: String,
}

pub(super) fn view(row: &authorities::Authority) -> Authority {
    Authority {
        id: row.id.clone(),
        kind: row.kind.word().to_owned(),
        slot: row.slot.word().to_owned(),
        state: row.state.word().to_owned(),
        spki_sha256: hex::of(&row.spki),
        not_before: row.not_before,
        not_after: row.not_after,
        changed: row.changed,
        certificate: crate::pem::certificate(&row.certificate),
    }
}

/// All authorities, newest first
#[utoipa::path(get, path = "/v1/authorities", responses((status = 200, body = Listed<Authority>), (status = "default", body = Problem)))]
pub(crate) async fn list(permit: Permit) -> Result<Json<Listed<Authority>>, Error> {
    permit.within_home()?;
    let rows = permit.control.store.read(authorities::list).await?;
    Ok(Json(Listed {
        items: rows.iter().map(view).collect(),
        next: None,
    }))
}

/// Prepares the next issuing authority
#[utoipa::path(post, path = "/v1/authorities", responses((status = 201, body = NextAuthority), (status = "default", body = Problem)))]
pub(crate) async fn prepare(permit: Permit) -> Result<(StatusCode, Json<NextAuthority>), Error> {
    let by = permit.within_home()?;
    let (id, state, request) = match permit.control.prepare(&by.actor).await? {
        Prepared::Ready(id) => (id, "prepared", None),
        Prepared::Request { id, csr } => (id, "requested", Some(csr)),
    };
    let next = NextAuthority {
        id,
        state: state.to_owned(),
        request,
    };
    Ok((StatusCode::CREATED, Json(next)))
}

/// Takes the certificate that the root signed for a request
#[utoipa::path(put, path = "/v1/authorities/{id}/certificate", params(("id" = String, Path)), request_body = SignedAuthority, responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn import(
    permit: Permit,
    Path(id): Path<String>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Error> {
    let by = permit.within_home()?;
    let signed: SignedAuthority = super::body(bytes)?;
    permit
        .control
        .import(&by.actor, &id, &signed.certificate)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Signs with a prepared authority from now on
#[utoipa::path(post, path = "/v1/authorities/{id}/activate", params(("id" = String, Path)), responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn activate(permit: Permit, Path(id): Path<String>) -> Result<StatusCode, Error> {
    let by = permit.within_home()?;
    permit.control.activate(&by.actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has everything replaced that an authority signed. Two people
#[utoipa::path(post, path = "/v1/authorities/{id}/taint", params(("id" = String, Path)), responses((status = 204), (status = 202, description = "A second person has to ask for the same."), (status = "default", body = Problem)))]
pub(crate) async fn taint(permit: Permit, Path(id): Path<String>) -> Result<StatusCode, Error> {
    let Some(by) = permit.with_a_second(&id).await? else {
        return Ok(StatusCode::ACCEPTED);
    };
    permit.control.taint(&by.actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Denies everything that an authority signed. Two people
#[utoipa::path(post, path = "/v1/authorities/{id}/revoke", params(("id" = String, Path)), responses((status = 204), (status = 202, description = "A second person has to ask for the same."), (status = "default", body = Problem)))]
pub(crate) async fn revoke(permit: Permit, Path(id): Path<String>) -> Result<StatusCode, Error> {
    let Some(by) = permit.with_a_second(&id).await? else {
        return Ok(StatusCode::ACCEPTED);
    };
    permit.control.revoke_authority(&by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
