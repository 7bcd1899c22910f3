//! The control plane itself, what everybody may know, and who one is.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use skans_store::{certificates, tokens, writer};
use utoipa::ToSchema;

use crate::enrol::PERSON;
use crate::error::Error;
use crate::gate::Permit;
use crate::issue::{Subject, keep};
use crate::problem::Problem;
use crate::{clock, hex, pem};

/// For how long after enrolment a person may renew, in seconds (0011): a working day.
const SESSION: u64 = 12 * 3600;

/// The control plane at a glance.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// Which replica answers.
    pub replica: String,
    /// The trust domain.
    pub trust_domain: String,
    /// The cluster.
    pub cluster: String,
    /// What agents do without news: `available` or `strict`.
    pub class: String,
    /// Counts restores from a backup.
    pub epoch: u64,
    /// The last entry of the deny stream.
    pub deny_seq: u64,
    /// The version of the trust bundle.
    pub bundle_version: u64,
    /// The number of the policy set in force, 0 for none: agents then use the one that is built into them.
    #[serde(default)]
    pub policy: u64,
    /// When the dry run of that set ends, Unix time, if it is one: until then nothing is refused, from then on it is enforced.
    #[serde(default)]
    pub policy_dry_run_until: Option<u64>,
    /// Which replica is the writer.
    pub writer: String,
    /// How many replicas took over so far.
    pub writer_epoch: u64,
    /// Certificates that are valid now.
    pub certificates: u64,
    /// Until when the active authority is valid, Unix time; absent without one.
    pub issuer_not_after: Option<u64>,
    /// Why nothing can be changed, if so; or nothing but what denies, since events get no place in the log.
    pub read_only: Option<String>,
}

/// Who one is, to the control plane.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Own {
    /// A SPIFFE ID, or `unix:<uid>`.
    pub caller: String,
    /// The roles, each with its scope.
    pub roles: Vec<OwnRole>,
    /// Until when the certificate is valid, Unix time.
    pub not_after: Option<u64>,
}

/// A role and where it holds.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct OwnRole {
    /// The role.
    pub role: String,
    /// `TRUST-DOMAIN[/CLUSTER[/NAMESPACE]]`.
    pub scope: String,
}

/// A request for the caller's next certificate.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// PKCS #10, PEM. Only its public key is used.
    pub csr: String,
}

/// A certificate and what is above it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Renewed {
    /// PEM, leaf first.
    pub chain: String,
}

/// The control plane at a glance
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status), (status = "default", body = Problem)))]
pub(crate) async fn status(permit: Permit) -> Result<Json<Status>, Error> {
    permit.within_home()?;
    let control = &permit.control;
    let now = clock::seconds();
    let read = control
        .store
        .read(move |tx| Ok((writer::holder(tx)?, certificates::count_valid(tx, now)?)));
    let (holder, certificates) = read.await?;
    let news = control.news.borrow().clone();
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        replica: control.config.name.clone(),
        trust_domain: control.home.trust_domain.to_string(),
        cluster: control.home.cluster.clone(),
        class: control.config.class.word().to_owned(),
        epoch: news.epoch,
        deny_seq: news.chain.seq(),
        bundle_version: news.bundle.version,
        policy: news.policy,
        policy_dry_run_until: news.dry_run_until(),
        writer: holder.name,
        writer_epoch: holder.epoch,
        certificates,
        issuer_not_after: control
            .issuer
            .load()
            .as_ref()
            .map(|issuer| issuer.not_after()),
        read_only: (control.store.read_only()).or_else(|| control.store.held()),
    }))
}

/// The roots of the trust domain
#[utoipa::path(get, path = "/v1/bundle", responses((status = 200, content_type = "application/x-pem-file", body = String)))]
pub(crate) async fn bundle(permit: Permit) -> Response {
    let bundle = permit.control.news.borrow().bundle.clone();
    let text: String = bundle
        .roots
        .iter()
        .map(|der| pem::certificate(der))
        .collect();
    ([(CONTENT_TYPE, "application/x-pem-file")], text).into_response()
}

/// This document
#[utoipa::path(get, path = "/v1/openapi.json", responses((status = 200, content_type = "application/json", body = String)))]
pub(crate) async fn openapi(_: Permit) -> Response {
    ([(CONTENT_TYPE, "application/json")], super::document()).into_response()
}

/// Who one is, and may do what where
#[utoipa::path(get, path = "/v1/self", responses((status = 200, body = Own), (status = "default", body = Problem)))]
pub(crate) async fn own(permit: Permit) -> Result<Json<Own>, Error> {
    let by = permit.within_home()?;
    let roles = permit.held().iter().map(|held| OwnRole {
        role: held.role.as_str().to_owned(),
        scope: held.scope.to_string(),
    });
    Ok(Json(Own {
        caller: by.actor,
        roles: roles.collect(),
        not_after: permit.caller.identity().map(|identity| identity.not_after),
    }))
}

/// The caller's next certificate, within twelve hours of enrolment
#[utoipa::path(post, path = "/v1/self/certificate", request_body = Renewal, responses((status = 200, body = Renewed), (status = "default", body = Problem)))]
pub(crate) async fn renew(
    permit: Permit,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Json<Renewed>, Error> {
    let by = permit.within_home()?;
    let wanted: Renewal = super::body(bytes)?;
    let control = &permit.control;
    let Some((identity, leaf)) = permit.caller.identity().zip(permit.caller.leaf()) else {
        return Err(Error::Conflict(
            "the Unix socket needs no certificate".to_owned(),
        ));
    };
    let csr =
        CertificateSigningRequestDer::from_pem_slice(wanted.csr.as_bytes()).map_err(|_| {
            Error::Invalid("csr: wanted one CERTIFICATE REQUEST block (PEM)".to_owned())
        })?;
    let key = skans_identity::csr::public_key(&csr)?;
    let hash = crate::caller::sha256(leaf);
    let now = clock::seconds();
    let session = control.store.read(move |tx| {
        let Some(row) = certificates::by_leaf_hash(tx, &hash)? else {
            return Ok(None);
        };
        let Some(id) = hex::read::<16>(&row.agent) else {
            return Ok(None);
        };
        Ok(tokens::get(tx, &id)?
            .and_then(|token| token.used_at)
            .map(|since| (row.agent, row.owner, since)))
    });
    let (agent, owner, _) = session
        .await?
        .filter(|(_, _, since)| now < since.saturating_add(SESSION))
        .ok_or(Error::Evidence(
            "twelve hours are over, or the enrolment is forgotten: a new join token is needed",
        ))?;
    let subject = Subject {
        id: identity.id.clone(),
        host: None,
        key,
        lifetime: PERSON,
        agent,
        owner,
    };
    let signed = control.sign(&subject)?;
    let chain = signed
        .chain
        .iter()
        .map(|der| pem::certificate(der))
        .collect();
    control
        .store
        .try_write(move |tx| keep(tx, &signed, &by.actor))
        .await?;
    control.metrics.issued(1);
    Ok(Json(Renewed { chain }))
}
