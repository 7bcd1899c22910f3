//! Join tokens: made, looked at, revoked. How one is used is said in `enrol`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use skans_identity::id::SpiffeId;
use skans_identity::token::{Address, JoinToken, secret_sha256};
use skans_store::registrations::{self, Evidence};
use skans_store::{Tx, tokens};
use utoipa::ToSchema;

use super::registrations::{NewRegistration, add, checked, owned, random_id};
use super::{Listed, Paging, place};
use crate::error::Error;
use crate::event::{self, Kind};
use crate::gate::Permit;
use crate::problem::Problem;
use crate::{clock, hex};

/// How long a token is good, unless given: an hour, as SPIRE and Teleport have it, for it is used by whoever made it.
const LIFE: u64 = 3600;

/// A token. Its secret was shown once, when it was made.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Token {
    /// Its name.
    pub id: String,
    /// The id of the registration that it is for.
    pub registration: String,
    /// `open`, `used`, `revoked` or `expired`.
    pub state: String,
    /// Who made it.
    pub owner: String,
    /// When it was made, Unix time.
    pub created: u64,
    /// Until when it can be used, Unix time.
    pub expires: u64,
    /// When it was used, Unix time.
    pub used_at: Option<u64>,
}

/// A token to be made: for a registration that is there, for a new one, or for a person. Exactly one of the three.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// A registration that is there, by id or name.
    #[serde(default)]
    pub registration: Option<String>,
    /// A new one, for agents that enrol by token.
    #[serde(default)]
    pub register: Option<NewRegistration>,
    /// The name of a person. What the person may do is said by grants.
    #[serde(default)]
    pub person: Option<String>,
    /// How long it is good, in seconds; an hour unless given, 30 days at most.
    #[serde(default)]
    pub seconds: Option<u64>,
}

/// A token that was made.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct MadeToken {
    /// Its name.
    pub id: String,
    /// The token itself, one string. It is not kept: this is the only time that it is shown.
    pub token: String,
    /// The id of the registration that it is for.
    pub registration: String,
    /// Until when it can be used, Unix time.
    pub expires: u64,
}

fn view(row: tokens::Token, now: u64) -> Token {
    let state = if row.revoked_at.is_some() {
        "revoked"
    } else if row.used_at.is_some() {
        "used"
    } else if now >= row.expires {
        "expired"
    } else {
        "open"
    };
    Token {
        id: hex::of(&row.id),
        registration: row.registration,
        state: state.to_owned(),
        owner: row.owner,
        created: row.created,
        expires: row.expires,
        used_at: row.used_at,
    }
}

/// All tokens that are remembered
#[utoipa::path(get, path = "/v1/tokens", params(Paging), responses((status = 200, body = Listed<Token>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    permit: Permit,
    Query(paging): Query<Paging>,
) -> Result<Json<Listed<Token>>, Error> {
    permit.within_home()?;
    let limit = paging.limit();
    let after = paging.after.as_deref().map(id).transpose()?;
    let read = permit
        .control
        .store
        .read(move |tx| tokens::list(tx, after.as_ref(), limit));
    let now = clock::seconds();
    let items = read.await?.into_iter().map(|row| view(row, now)).collect();
    Ok(Json(Listed::new(items, limit, |one: &Token| {
        one.id.clone()
    })))
}

/// Makes a token, and shows it
#[utoipa::path(post, path = "/v1/tokens", request_body = NewToken, responses((status = 201, body = MadeToken), (status = "default", body = Problem)))]
pub(crate) async fn create(
    permit: Permit,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<MadeToken>), Error> {
    let wanted: NewToken = super::body(bytes)?;
    let control = &permit.control;
    let (row, new) = match (wanted.registration, wanted.register, wanted.person) {
        (Some(id), None, None) => (control.registration(&id).await?, false),
        (None, Some(register), None) => {
            if register.kubernetes.is_some() || register.spiffe_id.is_some() {
                return Err(Error::Invalid(
                    "register: found other evidence, wanted none: the token is it".to_owned(),
                ));
            }
            (checked(control, register, Evidence::JoinToken)?, true)
        }
        (None, None, Some(person)) => return for_person(permit, &person, wanted.seconds).await,
        _ => {
            return Err(Error::Invalid(
                "wanted one of registration, register and person".to_owned(),
            ));
        }
    };
    match row.evidence {
        Evidence::JoinToken => {}
        Evidence::Person => {
            return for_person(permit, &row.patterns.join(""), wanted.seconds).await;
        }
        _ => {
            return Err(Error::Conflict(format!(
                "registration {:?}: it is not for join tokens",
                row.name
            )));
        }
    }
    let by = permit.within(&place(&permit, Some(&row.namespace))?)?;
    let row = if new { owned(row, &by) } else { row };
    draw(&permit, by, row, new, wanted.seconds).await
}

/// Whoever makes a token for a person can be that person, with all that was granted.
async fn for_person(
    permit: Permit,
    person: &str,
    seconds: Option<u64>,
) -> Result<(StatusCode, Json<MadeToken>), Error> {
    let control = &permit.control;
    let by = permit.special("person", &control.home.scope)?;
    SpiffeId::user(&control.home.trust_domain, person)?;
    let name = format!("person:{person}");
    let wanted = name.clone();
    if let Some(found) = control
        .store
        .read(move |tx| registrations::by_name(tx, &wanted))
        .await?
    {
        return draw(&permit, by, found, false, seconds).await;
    }
    let now = clock::seconds();
    let row = registrations::Registration {
        id: random_id()?,
        name,
        evidence: Evidence::Person,
        patterns: vec![person.to_owned()],
        namespace: String::new(),
        workload: String::new(),
        cli: false,
        leaf_life: 0,
        disabled: false,
        owner: by.actor.clone(),
        created: now,
        changed: now,
    };
    draw(&permit, by, row, true, seconds).await
}

async fn draw(
    permit: &Permit,
    by: crate::gate::By,
    row: registrations::Registration,
    new: bool,
    seconds: Option<u64>,
) -> Result<(StatusCode, Json<MadeToken>), Error> {
    let control = &permit.control;
    let addresses = control
        .addresses
        .iter()
        .map(|one| Address::parse(one))
        .collect::<Result<Vec<_>, _>>()?;
    let root = control.root_hash()?;
    let token = JoinToken::draw(root, addresses)?;
    let id: tokens::TokenId = hex::read(&token.id())
        .ok_or_else(|| Error::Internal("a token without a name".to_owned()))?;
    let secret = secret_sha256(token.secret());
    let now = clock::seconds();
    let expires = now.saturating_add(seconds.unwrap_or(LIFE));
    let registration = row.id.clone();
    let work = move |tx: &mut Tx<'_>| {
        if new {
            add(tx, &row, &by)?;
        }
        let made = tokens::NewToken {
            id: &id,
            secret_hash: &secret,
            registration: &row.id,
            owner: &by.actor,
            expires,
        };
        tokens::create(tx, &made, now)?;
        let details = json!({ "registration": row.name, "evidence": row.evidence.word(), "names": row.patterns, "expires": expires });
        event::tell(tx, Kind::TokenCreated, &by.actor, &hex::of(&id), &details)?;
        Ok::<_, Error>(())
    };
    control.store.try_write(work).await?;
    let made = MadeToken {
        id: token.id(),
        token: token.to_text().to_string(),
        registration,
        expires,
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Revokes a token. What it was used for is another matter
#[utoipa::path(delete, path = "/v1/tokens/{id}", params(("id" = String, Path)), responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn revoke(permit: Permit, Path(text): Path<String>) -> Result<StatusCode, Error> {
    let token = id(&text)?;
    let control = &permit.control;
    let read = control.store.read(move |tx| {
        let Some(token) = tokens::get(tx, &token)? else {
            return Ok(None);
        };
        registrations::get(tx, &token.registration)
    });
    let found = read
        .await?
        .ok_or_else(|| Error::not_found("token", text.clone()))?;
    let namespace = Some(found.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    let by = permit.within(&place(&permit, namespace)?)?;
    let work = move |tx: &mut Tx<'_>| {
        let was = tokens::revoke(tx, &token, clock::seconds())?;
        let details = json!({ "registration": found.name, "used_at": was.used_at });
        event::tell(tx, Kind::TokenRevoked, &by.actor, &text, &details)?;
        Ok::<_, Error>(())
    };
    control.store.try_write(work).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn id(text: &str) -> Result<tokens::TokenId, Error> {
    hex::read(text).ok_or_else(|| Error::Invalid("token: wanted 32 hexadecimal digits".to_owned()))
}
