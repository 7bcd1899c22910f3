//! Authorities: what signs, what is to sign, and what is not to be trusted any more.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use skans_store::authorities;
use utoipa::{IntoParams, ToSchema};

use super::Listed;
use crate::authority::Prepared;
use crate::error::Error;
use crate::gate::Permit;
use crate::hex;
use crate::problem::Problem;
use crate::scope::Scope;
use crate::writer::Urgency;

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
    let (id, state, request) = match permit.control.prepare(&by.actor, Urgency::Ordinary).await? {
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

/// Whether to go on although agents lack something.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Forcing {
    /// Go on although some agents do not have the root that is above it yet: they refuse what it signs until they do.
    pub force: Option<bool>,
}

/// Signs with a prepared authority from now on
#[utoipa::path(post, path = "/v1/authorities/{id}/activate", params(("id" = String, Path), Forcing), responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn activate(
    permit: Permit,
    Path(id): Path<String>,
    Query(forcing): Query<Forcing>,
) -> Result<StatusCode, Error> {
    let by = permit.within_home()?;
    permit
        .control
        .activate(
            &by.actor,
            &id,
            forcing.force.unwrap_or(false),
            Urgency::Ordinary,
        )
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has everything replaced that an authority signed. Two people
#[utoipa::path(post, path = "/v1/authorities/{id}/taint", params(("id" = String, Path)), responses((status = 204), (status = 202, description = "A second person has to ask for the same."), (status = "default", body = Problem)))]
pub(crate) async fn taint(permit: Permit, Path(id): Path<String>) -> Result<StatusCode, Error> {
    let Some(by) = permit
        .with_a_second(&permit.control.home.scope, &id, &[])
        .await?
    else {
        return Ok(StatusCode::ACCEPTED);
    };
    permit.control.taint(&by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Denies everything that an authority signed. Two people
#[utoipa::path(post, path = "/v1/authorities/{id}/revoke", params(("id" = String, Path)), responses((status = 204), (status = 202, description = "A second person has to ask for the same."), (status = "default", body = Problem)))]
pub(crate) async fn revoke(permit: Permit, Path(id): Path<String>) -> Result<StatusCode, Error> {
    let Some(by) = permit
        .with_a_second(&permit.control.home.scope, &id, &[])
        .await?
    else {
        return Ok(StatusCode::ACCEPTED);
    };
    permit.control.revoke_authority(&by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Adds a root to the bundle, so that authorities under it can follow when all agents have it. Two people
#[utoipa::path(post, path = "/v1/roots", request_body = SignedAuthority, responses((status = 201, body = Authority), (status = 202, description = "A second person has to ask for the same."), (status = "default", body = Problem)))]
pub(crate) async fn add_root(
    permit: Permit,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    let wanted: SignedAuthority = super::body(bytes)?;
    let control = &permit.control;
    let scope = Scope::trust_domain(control.home.trust_domain.clone());
    let root = control.read_root(&wanted.certificate)?;
    let Some(by) = permit.with_a_second(&scope, &root.id, &root.der).await? else {
        return Ok(StatusCode::ACCEPTED.into_response());
    };
    let added = control.add_root(&by, root).await?;
    Ok((StatusCode::CREATED, Json(view(&added))).into_response())
}

/// Takes a root out of the bundle: what hangs on it is refused from then on. Two people
#[utoipa::path(delete, path = "/v1/roots/{id}", params(("id" = String, Path)), responses((status = 204), (status = 202, description = "A second person has to ask for the same."), (status = "default", body = Problem)))]
pub(crate) async fn remove_root(
    permit: Permit,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    let control = &permit.control;
    let scope = Scope::trust_domain(control.home.trust_domain.clone());
    let Some(by) = permit.with_a_second(&scope, &id, &[]).await? else {
        return Ok(StatusCode::ACCEPTED);
    };
    control.remove_root(&by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
