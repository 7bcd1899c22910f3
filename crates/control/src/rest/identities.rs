//! The inventory: every certificate that was issued, its state, and where it was seen.

use axum::Json;
use axum::extract::{Path, Query};
use serde::{Deserialize, Serialize};
use skans_store::certificates::{self, Certificate, Cursor, Page, Which};
use skans_store::observed;
use utoipa::{IntoParams, ToSchema};

use super::Listed;
use crate::error::Error;
use crate::gate::Permit;
use crate::problem::Problem;
use crate::{clock, hex};

/// A certificate.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Identity {
    /// Its serial number, in hex.
    pub serial: String,
    /// Whom it names.
    pub spiffe_id: String,
    /// The host that it names.
    pub host: String,
    /// `valid`, `revoked` or `expired`.
    pub state: String,
    /// From when on it is valid, Unix time.
    pub not_before: u64,
    /// Until when it is valid, Unix time.
    pub not_after: u64,
    /// SHA-256 of its `SubjectPublicKeyInfo`, in hex: what its key is denied by.
    pub spki_sha256: String,
    /// The same of its authority.
    pub issuer_spki_sha256: String,
    /// SHA-256 of itself, in hex.
    pub fingerprint_sha256: String,
    /// The agent that asked for it.
    pub agent: String,
    /// Who answers for it.
    pub owner: String,
    /// When it was revoked, Unix time.
    pub revoked_at: Option<u64>,
}

/// A certificate, and where it was seen.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct IdentityDetail {
    /// The certificate.
    #[serde(flatten)]
    pub identity: Identity,
    /// Agents whose peers showed it.
    pub seen_by: Vec<Seen>,
    /// Itself, PEM.
    pub certificate: String,
}

/// Where a certificate was seen.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Seen {
    /// The agent.
    pub agent: String,
    /// When it was first reported, Unix time.
    pub first: u64,
    /// When it was last reported, Unix time.
    pub last: u64,
}

/// Which certificates.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Only what runs out within so many seconds.
    pub expiring: Option<u64>,
    /// Those that have run out as well.
    pub all: Option<bool>,
    /// Only those that name this SPIFFE ID.
    pub spiffe_id: Option<String>,
    /// Only those that this agent asked for.
    pub agent: Option<String>,
    /// Only those that name this host.
    pub host: Option<String>,
    /// Only those that this owner answers for.
    pub owner: Option<String>,
    /// What the page before called `next`.
    pub after: Option<String>,
    /// At most so many: 100 unless given, 1000 at most.
    pub limit: Option<usize>,
}

fn view(row: &Certificate, now: u64) -> Identity {
    let state = match row.revoked_at {
        _ if row.not_after < now => "expired",
        Some(_) => "revoked",
        None => "valid",
    };
    Identity {
        serial: hex::of(&row.serial),
        spiffe_id: row.spiffe_id.clone(),
        host: row.host.clone(),
        state: state.to_owned(),
        not_before: row.not_before,
        not_after: row.not_after,
        spki_sha256: hex::of(&row.spki),
        issuer_spki_sha256: hex::of(&row.issuer_spki),
        fingerprint_sha256: hex::of(&row.leaf_hash),
        agent: row.agent.clone(),
        owner: row.owner.clone(),
        revoked_at: row.revoked_at,
    }
}

/// Certificates, those that run out first in front
#[utoipa::path(get, path = "/v1/identities", params(Filter), responses((status = 200, body = Listed<Identity>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    permit: Permit,
    Query(filter): Query<Filter>,
) -> Result<Json<Listed<Identity>>, Error> {
    permit.within_home()?;
    let now = clock::seconds();
    let limit = filter
        .limit
        .unwrap_or(super::PAGE)
        .clamp(1, super::MAX_PAGE);
    let cursor = filter.after.as_deref().map(cursor).transpose()?;
    let read = permit.control.store.read(move |tx| {
        let filter = &filter;
        let which = match filter {
            Filter {
                spiffe_id: Some(id),
                ..
            } => Which::SpiffeId(id),
            Filter {
                agent: Some(agent), ..
            } => Which::Agent(agent),
            Filter {
                host: Some(host), ..
            } => Which::Host(host),
            Filter {
                owner: Some(owner), ..
            } => Which::Owner(owner),
            _ => Which::All,
        };
        let page = Page {
            valid_after: if filter.all.unwrap_or(false) {
                0
            } else {
                now.saturating_sub(1)
            },
            expiring_before: filter.expiring.map(|within| now.saturating_add(within)),
            after: cursor.as_ref().map(|(not_after, serial)| Cursor {
                not_after: *not_after,
                serial,
            }),
            limit,
        };
        certificates::list(tx, &which, &page)
    });
    let items = read.await?.iter().map(|row| view(row, now)).collect();
    Ok(Json(Listed::new(items, limit, |one: &Identity| {
        format!("{}.{}", one.not_after, one.serial)
    })))
}

/// One certificate, by its serial number
#[utoipa::path(get, path = "/v1/identities/{serial}", params(("serial" = String, Path, description = "in hex")), responses((status = 200, body = IdentityDetail), (status = "default", body = Problem)))]
pub(crate) async fn show(
    permit: Permit,
    Path(serial): Path<String>,
) -> Result<Json<IdentityDetail>, Error> {
    permit.within_home()?;
    let bytes = self::serial(&serial)?;
    let read = permit.control.store.read(move |tx| {
        let Some(row) = certificates::get(tx, &bytes)? else {
            return Ok(None);
        };
        let seen = observed::of(tx, &row.leaf_hash, super::PAGE)?;
        Ok(Some((row, seen)))
    });
    let (row, seen) = read
        .await?
        .ok_or_else(|| Error::not_found("certificate", serial))?;
    let seen_by = seen.into_iter().map(|one| Seen {
        agent: one.agent,
        first: one.first_seen,
        last: one.last_seen,
    });
    Ok(Json(IdentityDetail {
        identity: view(&row, clock::seconds()),
        seen_by: seen_by.collect(),
        certificate: crate::pem::certificate(&row.der),
    }))
}

fn serial(text: &str) -> Result<Vec<u8>, Error> {
    hex::read::<16>(text)
        .map(Vec::from)
        .ok_or_else(|| Error::Invalid("serial: wanted 32 hexadecimal digits".to_owned()))
}

fn cursor(text: &str) -> Result<(u64, Vec<u8>), Error> {
    let wanted = || Error::Invalid("after: wanted what the page before called next".to_owned());
    let (not_after, text) = text.split_once('.').ok_or_else(wanted)?;
    Ok((not_after.parse().map_err(|_| wanted())?, serial(text)?))
}
