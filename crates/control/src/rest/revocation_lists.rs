//! Revocation lists (RFC 5280, section 5), for those who do not follow the deny stream: one of each issuing authority whose
//! leaves may still be shown to somebody.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use rustls::pki_types::UnixTime;
use skans_identity::authority::{Issuer, MAX_REVOKED, Revoked};
use skans_store::authorities::{self, Authority, Kind};
use skans_store::certificates::{self, Which};
use skans_store::{Tx, bounds, deny};

use crate::error::Error;
use crate::gate::Permit;
use crate::problem::Problem;
use crate::state::Control;
use crate::{clock, hex, pem};

/// How long a list is good, in seconds. Others poll it; whoever needs seconds follows the deny stream.
const LIFE: u64 = 3600;
/// Most lists at once: two slots, and those that were revoked within the life of a leaf.
const MOST: usize = 16;

/// What an authority revoked: serial numbers and when.
type Serials = Vec<(Vec<u8>, u64)>;

/// What the active authority revoked. Others may have leaves as well: `/v1/crls`
#[utoipa::path(get, path = "/v1/crl", responses((status = 200, content_type = "application/pkix-crl", body = Vec<u8>), (status = "default", body = Problem)))]
pub(crate) async fn active(permit: Permit) -> Result<Response, Error> {
    let spki = permit.control.issuer()?.spki_sha256();
    one(&permit.control, spki).await
}

/// What one authority revoked, by the hash of its key (`spki_sha256`)
#[utoipa::path(get, path = "/v1/crl/{id}", params(("id" = String, Path)), responses((status = 200, content_type = "application/pkix-crl", body = Vec<u8>), (status = "default", body = Problem)))]
pub(crate) async fn of_issuer(permit: Permit, Path(id): Path<String>) -> Result<Response, Error> {
    let spki = hex::read::<32>(&id).ok_or_else(|| Error::not_found("revocation list of", id))?;
    one(&permit.control, spki).await
}

/// What every authority revoked whose leaves may still be valid: prepared, active, retired, tainted or revoked. One PEM block each
#[utoipa::path(get, path = "/v1/crls", responses((status = 200, content_type = "application/x-pem-file", body = String), (status = "default", body = Problem)))]
pub(crate) async fn all(permit: Permit) -> Result<Response, Error> {
    let lists = lists(&permit.control, None).await?;
    let text: String = lists.iter().map(|der| pem::revocation_list(der)).collect();
    Ok(([(CONTENT_TYPE, "application/x-pem-file")], text).into_response())
}

async fn one(control: &Arc<Control>, spki: [u8; 32]) -> Result<Response, Error> {
    let mut lists = lists(control, Some(spki)).await?;
    let list = lists
        .pop()
        .ok_or_else(|| Error::not_found("revocation list of", hex::of(&spki)))?;
    Ok(([(CONTENT_TYPE, "application/pkix-crl")], list).into_response())
}

/// The lists, in DER, signed now: all, or that of one authority.
async fn lists(control: &Arc<Control>, only: Option<[u8; 32]>) -> Result<Vec<Vec<u8>>, Error> {
    let now = clock::seconds();
    let read = control.store.read(move |tx| {
        let seq = deny::tail(tx)?.seq;
        let mut found = Vec::new();
        for authority in authorities::list(tx)? {
            let wanted = only.is_none_or(|spki| spki == authority.spki);
            if wanted && found.len() < MOST && has_leaves(tx, &authority, now)? {
                let serials = revoked(tx, &authority.spki, now)?;
                found.push((authority, serials));
            }
        }
        Ok((seq, found))
    });
    let (seq, found) = read.await?;
    // Numbers must rise: the time does, and two lists of one second are the same list unless something was denied.
    let number = now.saturating_mul(1 << 20).saturating_add(seq & 0xf_ffff);
    let lists = found.iter().map(|(authority, serials)| {
        let issuer = control.open_issuer(authority)?;
        sign(&issuer, number, now, serials)
    });
    lists.collect()
}

/// Whether somebody may still be shown a leaf of it; of one that holds a slot, also before there is one.
fn has_leaves(tx: &mut Tx<'_>, authority: &Authority, now: u64) -> skans_store::Result<bool> {
    if authority.kind != Kind::Issuer || authority.sealed_key.is_none() || authority.not_after < now
    {
        return Ok(false);
    }
    Ok(authority.state.takes_slot()
        || certificates::valid_until(tx, &Which::Issuer(&authority.spki), now)?.is_some())
}

fn revoked(tx: &mut Tx<'_>, issuer: &[u8; 32], now: u64) -> skans_store::Result<Serials> {
    let mut all = Serials::new();
    loop {
        let after = all
            .last()
            .map(|(serial, _)| serial.clone())
            .unwrap_or_default();
        let page = certificates::revoked(tx, issuer, now, &after, bounds::MAX_PAGE)?;
        if page.is_empty() || all.len() > MAX_REVOKED {
            return Ok(all);
        }
        all.extend(page);
    }
}

fn sign(issuer: &Issuer, number: u64, now: u64, serials: &Serials) -> Result<Vec<u8>, Error> {
    let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let revoked: Vec<Revoked> = serials
        .iter()
        .map(|(serial, at)| Revoked {
            serial: hex::of(serial),
            at: *at,
        })
        .collect();
    Ok(issuer.revocation_list(number, at(now), at(now + LIFE), &revoked)?)
}
