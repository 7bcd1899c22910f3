//! Policy sets: propose, look, approve, take back.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use skans_identity::peer::PeerIdentity;
use skans_identity::policy_set::{Author, decode_authors};
use skans_store::{agents, policies};
use utoipa::ToSchema;

use super::{Listed, Paging};
use crate::error::Error;
use crate::gate::Permit;
use crate::policies::{audience, check, mode_and_end};
use crate::problem::Problem;
use crate::{clock, hex};

/// Largest body that proposes a set, in bytes: 4 MiB, which a text in JSON can double, and a signature.
pub(super) const MAX_BODY: usize = 9 * 1024 * 1024;
/// For how long an agent counts that was not heard of, in seconds.
const SEEN: u64 = 3600;

/// A policy set, without what it says.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Policy {
    /// Its number.
    pub n: u64,
    /// `proposed`, `active`, `superseded` or `withdrawn`.
    pub state: String,
    /// Its name, from its `set.yaml`.
    pub name: String,
    /// `enforce` or `dry-run`.
    pub mode: String,
    /// When its dry run ends, Unix time: from then on it is enforced. Absent for others.
    #[serde(default)]
    pub until: Option<u64>,
    /// SHA-256 of what it says, in hex.
    pub sha256: String,
    /// Who proposed it.
    pub author: String,
    /// When, Unix time.
    pub proposed: u64,
    /// Who put it in force; empty if nobody did.
    pub approver: String,
    /// When, Unix time; 0 for never.
    pub activated: u64,
}

/// A policy set, whole.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct PolicyContent {
    /// All but what it says.
    #[serde(flatten)]
    pub policy: Policy,
    /// What it says: the canonical JSON of its directory.
    pub source: String,
    /// The SPIFFE IDs of those who signed it.
    pub authors: Vec<String>,
    /// Agents that were seen within the last hour.
    pub agents: u64,
    /// Those of them that have this set in force, or a later one.
    pub holding: u64,
}

/// A set to be proposed.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPolicy {
    /// What it says: the canonical JSON of its directory, as a text.
    pub source: String,
    /// The signature of whoever calls. Only through the socket it goes without.
    #[serde(default)]
    pub author: Option<AuthorSignature>,
}

/// An author's signature (docs/decisions/0015).
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorSignature {
    /// In DER, hex.
    pub signature: String,
    /// The certificates of the person, PEM, leaf first.
    pub chain: String,
}

impl AuthorSignature {
    /// As it is sent.
    #[must_use]
    pub fn of(author: &Author) -> Self {
        Self {
            signature: hex::of(&author.signature),
            chain: author
                .chain
                .iter()
                .map(|der| crate::pem::certificate(der))
                .collect(),
        }
    }

    fn read(&self) -> Result<Author, Error> {
        let signature = hex::bytes(&self.signature)
            .ok_or_else(|| Error::Invalid("author.signature: wanted hexadecimal digits".into()))?;
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Error::Invalid("author.chain: wanted CERTIFICATE blocks (PEM)".into()))?;
        Ok(Author { signature, chain })
    }
}

fn view(row: policies::Summary) -> Policy {
    let (mode, until) = mode_and_end(&row.mode);
    Policy {
        n: row.n,
        state: row.state.as_str().to_owned(),
        name: row.name,
        mode: mode.to_owned(),
        until,
        sha256: hex::of(&row.content_hash),
        author: row.author,
        proposed: row.proposed,
        approver: row.approver,
        activated: row.activated,
    }
}

/// The sets that are remembered, newest first
#[utoipa::path(get, path = "/v1/policies", params(Paging), responses((status = 200, body = Listed<Policy>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    permit: Permit,
    Query(paging): Query<Paging>,
) -> Result<Json<Listed<Policy>>, Error> {
    permit.within_home()?;
    let limit = paging.limit();
    let before = match paging.after() {
        "" => None,
        text => Some(number(text)?),
    };
    let read = permit
        .control
        .store
        .read(move |tx| policies::list(tx, before, limit));
    let items = read.await?.into_iter().map(view).collect();
    Ok(Json(Listed::new(items, limit, |one: &Policy| {
        one.n.to_string()
    })))
}

/// One set with what it says, and on how many agents it is in force
#[utoipa::path(get, path = "/v1/policies/{n}", params(("n" = String, Path, description = "Its number, or `active`")), responses((status = 200, body = PolicyContent), (status = "default", body = Problem)))]
pub(crate) async fn show(
    permit: Permit,
    Path(text): Path<String>,
) -> Result<Json<PolicyContent>, Error> {
    permit.within_home()?;
    let control = &permit.control;
    let wanted = match text.as_str() {
        "active" => None,
        text => Some(number(text)?),
    };
    let epoch = control.news.borrow().epoch;
    let read = control.store.read(move |tx| {
        let found = match wanted {
            Some(n) => policies::get(tx, n)?,
            None => policies::active(tx)?,
        };
        let since = clock::seconds().saturating_sub(SEEN);
        let n = found.as_ref().map_or(0, |found| found.summary.n);
        Ok((found, agents::policy_adoption(tx, (epoch, n), since)?))
    });
    let (found, adoption) = read.await?;
    let found = found.ok_or_else(|| Error::not_found("policy set", text))?;
    let authors = decode_authors(&found.signatures)?;
    let authors = authors.iter().filter_map(|author| author.chain.first());
    Ok(Json(PolicyContent {
        authors: authors
            .filter_map(|leaf| PeerIdentity::from_der(leaf).ok())
            .map(|who| who.id.to_string())
            .collect(),
        policy: view(found.summary),
        source: String::from_utf8_lossy(&found.content).into_owned(),
        agents: adoption.seen,
        holding: adoption.have,
    }))
}

/// Proposes a set: it is checked and kept, and nothing changes until somebody else approves it
#[utoipa::path(post, path = "/v1/policies", request_body = NewPolicy, responses((status = 201, body = Policy), (status = "default", body = Problem)))]
pub(crate) async fn create(
    permit: Permit,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Policy>), Error> {
    let by = permit.within_home()?;
    let wanted: NewPolicy = super::body(bytes)?;
    let control = &permit.control;
    let author = wanted
        .author
        .as_ref()
        .map(AuthorSignature::read)
        .transpose()?;
    match &author {
        Some(author) => {
            let signer = author
                .verify(
                    &audience(&control.home),
                    wanted.source.as_bytes(),
                    &control.verifier,
                    clock::now(),
                )
                .map_err(|refusal| Error::Invalid(format!("author: {refusal}")))?;
            let signer = signer.peer.id.to_string();
            if !permit.caller.is_local() && signer != by.actor {
                return Err(Error::Invalid(format!(
                    "author: found a signature of {signer}, wanted one of {}",
                    by.actor
                )));
            }
        }
        None if permit.caller.is_local() => {}
        None => {
            return Err(Error::Invalid(format!(
                "author: found none, wanted the signature of {}",
                by.actor
            )));
        }
    }
    let author = author.into_iter().collect();
    let checked = check(wanted.source, author, control.home.clone()).await?;
    let n = control.propose(&by, checked).await?;
    Ok((StatusCode::CREATED, Json(summary(&permit, n).await?)))
}

/// Puts a proposed set in force. Not for whoever wrote it
#[utoipa::path(post, path = "/v1/policies/{n}/activate", params(("n" = u64, Path)), responses((status = 200, body = Policy), (status = "default", body = Problem)))]
pub(crate) async fn activate(
    permit: Permit,
    Path(text): Path<String>,
) -> Result<Json<Policy>, Error> {
    let by = permit.within_home()?;
    let n = number(&text)?;
    let local = permit.caller.is_local();
    permit.control.activate_policy(&by, local, n).await?;
    Ok(Json(summary(&permit, n).await?))
}

/// Takes a set back that is not in force yet
#[utoipa::path(delete, path = "/v1/policies/{n}", params(("n" = u64, Path)), responses((status = 200, body = Policy), (status = "default", body = Problem)))]
pub(crate) async fn withdraw(
    permit: Permit,
    Path(text): Path<String>,
) -> Result<Json<Policy>, Error> {
    let by = permit.within_home()?;
    let n = number(&text)?;
    permit.control.withdraw_policy(&by, n).await?;
    Ok(Json(summary(&permit, n).await?))
}

async fn summary(permit: &Permit, n: u64) -> Result<Policy, Error> {
    let found = permit.control.store.read(move |tx| policies::get(tx, n));
    let found = found.await?;
    let found = found.ok_or_else(|| Error::not_found("policy set", n.to_string()))?;
    Ok(view(found.summary))
}

pub(super) fn number(text: &str) -> Result<u64, Error> {
    text.parse()
        .map_err(|_| Error::Invalid("n: wanted the number of a policy set".to_owned()))
}
