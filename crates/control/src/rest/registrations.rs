//! Registrations: which attested caller may carry which names.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use skans_identity::id::{NodeId, SpiffeId};
use skans_store::Tx;
use skans_store::registrations::{self, Evidence};
use utoipa::ToSchema;

use super::{Listed, Paging, place};
use crate::error::Error;
use crate::event::{self, Kind};
use crate::gate::{By, Permit};
use crate::problem::Problem;
use crate::registered::check_pattern;
use crate::state::Control;
use crate::{clock, hex};

/// A registration.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Registration {
    /// Its name for programs.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// By what a caller proves to be the one: `join_token`, `kubernetes`, `spiffe_id`, `person`.
    pub evidence: String,
    /// Which one, within the kind: `NAMESPACE/SERVICE-ACCOUNT`, or a SPIFFE ID.
    pub subject: String,
    /// The node names that it may carry, as patterns; for a person, the user's name.
    pub names: Vec<String>,
    /// The namespace in its SPIFFE IDs.
    pub namespace: String,
    /// The workload in its SPIFFE IDs.
    pub workload: String,
    /// Whether it may carry names of short-lived nodes.
    pub cli: bool,
    /// The longest life of its leaves in seconds; 0 for the default.
    pub leaf_seconds: u64,
    /// Nothing is issued as long as it is.
    pub disabled: bool,
    /// Who answers for it.
    pub owner: String,
    /// When it was made, Unix time.
    pub created: u64,
}

/// A registration to be made.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRegistration {
    /// Its name for people.
    pub name: String,
    /// The service account that enrols: `NAMESPACE/NAME`.
    #[serde(default)]
    pub kubernetes: Option<String>,
    /// The SPIFFE ID that enrols with a certificate of its own, or that of an agent that is to carry more names.
    #[serde(default)]
    pub spiffe_id: Option<String>,
    /// The node names that it may carry: `alive@host`, each half with `*` and `?`. A wildcard in the host stands for the
    /// agent's own host.
    pub names: Vec<String>,
    /// The namespace in its SPIFFE IDs; `default` unless given.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The workload in its SPIFFE IDs; the registration's name unless given.
    #[serde(default)]
    pub workload: Option<String>,
    /// Whether it may carry names of short-lived nodes.
    #[serde(default)]
    pub cli: bool,
    /// The longest life of its leaves in seconds, 300 to 86400; the default unless given.
    #[serde(default)]
    pub leaf_seconds: Option<u64>,
    /// Who answers for it; who makes it unless given.
    #[serde(default)]
    pub owner: Option<String>,
}

impl From<registrations::Registration> for Registration {
    fn from(row: registrations::Registration) -> Self {
        let subject = match &row.evidence {
            Evidence::JoinToken | Evidence::Person => String::new(),
            Evidence::Kubernetes { namespace, name } => format!("{namespace}/{name}"),
            Evidence::SpiffeId(id) => id.clone(),
        };
        Self {
            evidence: row.evidence.word().to_owned(),
            subject,
            id: row.id,
            name: row.name,
            names: row.patterns,
            namespace: row.namespace,
            workload: row.workload,
            cli: row.cli,
            leaf_seconds: row.leaf_life,
            disabled: row.disabled,
            owner: row.owner,
            created: row.created,
        }
    }
}

/// All registrations, by name
#[utoipa::path(get, path = "/v1/registrations", params(Paging), responses((status = 200, body = Listed<Registration>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    permit: Permit,
    Query(paging): Query<Paging>,
) -> Result<Json<Listed<Registration>>, Error> {
    permit.within_home()?;
    let limit = paging.limit();
    let read = permit
        .control
        .store
        .read(move |tx| registrations::list(tx, paging.after(), limit));
    let items = read.await?.into_iter().map(Into::into).collect();
    Ok(Json(Listed::new(items, limit, |one: &Registration| {
        one.name.clone()
    })))
}

/// One registration, by id or name
#[utoipa::path(get, path = "/v1/registrations/{id}", params(("id" = String, Path, description = "id or name")), responses((status = 200, body = Registration), (status = "default", body = Problem)))]
pub(crate) async fn show(
    permit: Permit,
    Path(id): Path<String>,
) -> Result<Json<Registration>, Error> {
    let found = permit.control.registration(&id).await?;
    permit.within(&place(&permit, Some(&found.namespace))?)?;
    Ok(Json(found.into()))
}

/// Registers an attested caller: a service account, or a SPIFFE ID. Join tokens bring their own
#[utoipa::path(post, path = "/v1/registrations", request_body = NewRegistration, responses((status = 201, body = Registration), (status = "default", body = Problem)))]
pub(crate) async fn create(
    permit: Permit,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Registration>), Error> {
    let wanted: NewRegistration = super::body(bytes)?;
    let evidence = match (&wanted.kubernetes, &wanted.spiffe_id) {
        (Some(account), None) => kubernetes(account)?,
        (None, Some(id)) => Evidence::SpiffeId(SpiffeId::parse(id)?.to_string()),
        _ => {
            return Err(Error::Invalid(
                "wanted one of kubernetes and spiffe_id; for join tokens see POST /v1/tokens"
                    .to_owned(),
            ));
        }
    };
    let row = checked(&permit.control, wanted, evidence)?;
    let by = permit.within(&place(&permit, Some(&row.namespace))?)?;
    let row = owned(row, &by);
    let made = row.clone();
    permit
        .control
        .store
        .try_write(move |tx| add(tx, &row, &by))
        .await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// Removes a registration: nothing more is issued by it. What was issued runs out, or is denied
#[utoipa::path(delete, path = "/v1/registrations/{id}", params(("id" = String, Path, description = "id or name")), responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn remove(permit: Permit, Path(id): Path<String>) -> Result<StatusCode, Error> {
    let found = permit.control.registration(&id).await?;
    let by = permit.within(&place(&permit, Some(&found.namespace))?)?;
    let work = move |tx: &mut Tx<'_>| {
        registrations::remove(tx, &found.id)?;
        let details = json!({ "id": found.id, "names": found.patterns });
        event::tell(
            tx,
            Kind::RegistrationRemoved,
            &by.actor,
            &found.name,
            &details,
        )?;
        Ok::<_, Error>(())
    };
    permit.control.store.try_write(work).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Control {
    /// A registration by its id or its name.
    ///
    /// # Errors
    /// [`Error::NotFound`], and those of the store.
    pub(crate) async fn registration(
        &self,
        id: &str,
    ) -> Result<registrations::Registration, Error> {
        let wanted = id.to_owned();
        let found = self
            .store
            .read(move |tx| match registrations::get(tx, &wanted)? {
                Some(found) => Ok(Some(found)),
                None => registrations::by_name(tx, &wanted),
            });
        found
            .await?
            .ok_or_else(|| Error::not_found("registration", id))
    }
}

/// Checks what a person wrote, and makes a row of it; whose it is comes later.
pub(super) fn checked(
    control: &Control,
    wanted: NewRegistration,
    evidence: Evidence,
) -> Result<registrations::Registration, Error> {
    let namespace = wanted.namespace.unwrap_or_else(|| "default".to_owned());
    let workload = wanted.workload.unwrap_or_else(|| wanted.name.clone());
    // Whatever is issued by it will be checked the same way: better now than when a node starts.
    NodeId::cli(
        &control.home.trust_domain,
        &control.home.cluster,
        &namespace,
        &workload,
    )?;
    if wanted.names.is_empty() {
        return Err(Error::Invalid(
            "names: found none, wanted at least one alive@host".to_owned(),
        ));
    }
    for (at, pattern) in wanted.names.iter().enumerate() {
        check_pattern(pattern).map_err(|why| Error::Invalid(format!("names[{at}]: {why}")))?;
    }
    let least = if control.config.leaves.laboratory {
        10
    } else {
        300
    };
    if let Some(seconds) = wanted.leaf_seconds
        && !(least..=86_400).contains(&seconds)
    {
        return Err(Error::Invalid(format!(
            "leaf_seconds: found {seconds}, wanted {least} to 86400"
        )));
    }
    let now = clock::seconds();
    Ok(registrations::Registration {
        id: random_id()?,
        name: wanted.name,
        evidence,
        patterns: wanted.names,
        namespace,
        workload,
        cli: wanted.cli,
        leaf_life: wanted.leaf_seconds.unwrap_or(0),
        disabled: false,
        owner: wanted.owner.unwrap_or_default(),
        created: now,
        changed: now,
    })
}

/// Somebody answers for it: who makes it, unless somebody else was named.
pub(super) fn owned(mut row: registrations::Registration, by: &By) -> registrations::Registration {
    if row.owner.is_empty() {
        row.owner.clone_from(&by.actor);
    }
    row
}

/// Adds it, with its event.
pub(super) fn add(
    tx: &mut Tx<'_>,
    row: &registrations::Registration,
    by: &By,
) -> Result<(), Error> {
    registrations::create(tx, row)?;
    let details = json!({
        "id": row.id, "evidence": row.evidence.word(), "names": row.patterns, "namespace": row.namespace,
        "workload": row.workload, "cli": row.cli, "leaf_seconds": row.leaf_life, "owner": row.owner,
    });
    event::tell(
        tx,
        Kind::RegistrationCreated,
        &by.actor,
        &row.name,
        &details,
    )?;
    Ok(())
}

/// A name that nobody has to think of.
pub(crate) fn random_id() -> Result<String, Error> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Error::Internal("the system gave no random bytes".to_owned()))?;
    Ok(hex::of(&bytes))
}

fn kubernetes(account: &str) -> Result<Evidence, Error> {
    match account.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok(Evidence::Kubernetes {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            })
        }
        _ => Err(Error::Invalid(format!(
            "kubernetes: found {account:?}, wanted NAMESPACE/SERVICE-ACCOUNT"
        ))),
    }
}
