//! The REST API under `/v1`, for people and tools: what is written down in docs/api/openapi.json.
//!
//! Each handler says where its caller must be allowed to do what it does (`Permit::within`); without that there is no
//! way to a change. What a method may be called by is said in `roles`.

pub mod agents;
pub mod audit;
pub mod authorities;
pub mod backups;
pub mod denials;
pub mod events;
pub mod federation;
pub mod general;
pub mod grants;
pub mod identities;
pub mod incidents;
pub mod policies;
pub mod registrations;
pub mod revocation_lists;
pub mod rollouts;
pub mod tokens;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::BytesRejection;
use axum::routing::{delete, get, post, put};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::error::Error;
use crate::gate::Permit;
use crate::scope::Scope;

/// Largest body of a request, in bytes: a registration with all its patterns has 40 KiB.
const MAX_BODY: usize = 64 * 1024;
/// Items on a page, unless asked otherwise; and the most there are.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

/// The contract, as a document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Skans control plane",
        version = "v1",
        description = "For people and tools. Over the Unix socket of the control plane, or on its API port with a client certificate of a person. Who may call what: roles.txt."
    ),
    paths(
        general::status,
        general::bundle,
        federation::bundle,
        federation::list,
        federation::changed,
        federation::distrust,
        federation::forget,
        revocation_lists::active,
        revocation_lists::of_issuer,
        revocation_lists::all,
        general::openapi,
        general::own,
        general::renew,
        tokens::list,
        tokens::create,
        tokens::revoke,
        registrations::list,
        registrations::create,
        registrations::show,
        registrations::remove,
        identities::list,
        identities::show,
        incidents::list,
        incidents::create,
        incidents::show,
        agents::list,
        denials::list,
        denials::create,
        denials::show,
        denials::lift,
        policies::list,
        policies::create,
        policies::show,
        policies::activate,
        policies::withdraw,
        rollouts::show,
        rollouts::start,
        rollouts::advance,
        rollouts::hold,
        rollouts::roll_back,
        rollouts::forbid,
        authorities::list,
        authorities::prepare,
        authorities::import,
        authorities::activate,
        authorities::taint,
        authorities::revoke,
        authorities::add_root,
        authorities::remove_root,
        events::list,
        audit::find,
        audit::show,
        audit::logs,
        audit::tile,
        audit::entries,
        grants::list,
        grants::create,
        grants::remove,
        backups::create,
        backups::statement,
        backups::recover,
    ),
    components(schemas(crate::problem::Problem))
)]
struct Document;

/// The document, as it is committed.
#[must_use]
pub fn document() -> String {
    let text = Document::openapi().to_pretty_json().unwrap_or_default();
    text + "\n"
}

/// Every operation in the document, as roles name it: `GET /v1/tokens`.
#[must_use]
pub fn operations() -> Vec<String> {
    let document = Document::openapi();
    let mut all = Vec::new();
    for (path, item) in &document.paths.paths {
        let of = [
            ("GET", &item.get),
            ("PUT", &item.put),
            ("POST", &item.post),
            ("DELETE", &item.delete),
            ("PATCH", &item.patch),
            ("HEAD", &item.head),
            ("OPTIONS", &item.options),
            ("TRACE", &item.trace),
        ];
        all.extend(
            of.into_iter()
                .filter(|(_, one)| one.is_some())
                .map(|(method, _)| format!("{method} {path}")),
        );
    }
    all.sort();
    all
}

/// All routes, without the gate in front of them.
pub(crate) fn routes() -> Router {
    Router::new()
        .route("/v1/status", get(general::status))
        .route("/v1/bundle", get(general::bundle))
        .route("/v1/federation/bundle", get(federation::bundle))
        .route("/v1/federation", get(federation::list))
        .route("/v1/federation/{domain}", delete(federation::forget))
        .route("/v1/federation/{domain}/changed", post(federation::changed))
        .route(
            "/v1/federation/{domain}/distrust",
            post(federation::distrust),
        )
        .route("/v1/crl", get(revocation_lists::active))
        .route("/v1/crl/{id}", get(revocation_lists::of_issuer))
        .route("/v1/crls", get(revocation_lists::all))
        .route("/v1/openapi.json", get(general::openapi))
        .route("/v1/self", get(general::own))
        .route("/v1/self/certificate", post(general::renew))
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/{id}", delete(tokens::revoke))
        .route(
            "/v1/registrations",
            get(registrations::list).post(registrations::create),
        )
        .route(
            "/v1/registrations/{id}",
            get(registrations::show).delete(registrations::remove),
        )
        .route("/v1/identities", get(identities::list))
        .route("/v1/identities/{serial}", get(identities::show))
        .route(
            "/v1/incidents",
            get(incidents::list).post(incidents::create),
        )
        .route("/v1/incidents/{id}", get(incidents::show))
        .route("/v1/agents", get(agents::list))
        .route("/v1/denials", get(denials::list).post(denials::create))
        .route(
            "/v1/denials/{seq}",
            get(denials::show).delete(denials::lift),
        )
        .route(
            "/v1/policies",
            get(policies::list)
                .post(policies::create)
                .layer(DefaultBodyLimit::max(policies::MAX_BODY)),
        )
        .route(
            "/v1/policies/{n}",
            get(policies::show).delete(policies::withdraw),
        )
        .route("/v1/policies/{n}/activate", post(policies::activate))
        .route("/v1/policies/{n}/rollout", post(rollouts::start))
        .route("/v1/policies/{n}/advance", post(rollouts::advance))
        .route("/v1/policies/{n}/hold", post(rollouts::hold))
        .route("/v1/policies/{n}/rollback", post(rollouts::roll_back))
        .route("/v1/policies/forbid", post(rollouts::forbid))
        .route("/v1/rollout", get(rollouts::show))
        .route(
            "/v1/authorities",
            get(authorities::list).post(authorities::prepare),
        )
        .route("/v1/authorities/{id}/certificate", put(authorities::import))
        .route("/v1/authorities/{id}/activate", post(authorities::activate))
        .route("/v1/authorities/{id}/taint", post(authorities::taint))
        .route("/v1/authorities/{id}/revoke", post(authorities::revoke))
        .route("/v1/roots", post(authorities::add_root))
        .route("/v1/roots/{id}", delete(authorities::remove_root))
        .route("/v1/events", get(events::list))
        .route("/v1/audit/events", get(audit::find))
        .route("/v1/audit/events/{seq}", get(audit::show))
        .route("/v1/audit/logs", get(audit::logs))
        .route("/v1/audit/logs/{epoch}/tiles/{level}/{n}", get(audit::tile))
        .route("/v1/audit/logs/{epoch}/entries/{n}", get(audit::entries))
        .route("/v1/grants", get(grants::list).post(grants::create))
        .route("/v1/grants/{id}", delete(grants::remove))
        .route("/v1/backups", post(backups::create))
        .route(
            "/v1/recovery",
            get(backups::statement).post(backups::recover),
        )
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

/// A part of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// What the page before called `next`.
    pub after: Option<String>,
    /// At most so many: 100 unless given, 1000 at most.
    pub limit: Option<usize>,
}

impl Paging {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE)
    }

    fn after(&self) -> &str {
        self.after.as_deref().unwrap_or_default()
    }
}

/// A page of a list.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Listed<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one starts, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}

impl<T> Listed<T> {
    fn new(items: Vec<T>, limit: usize, place: impl FnOnce(&T) -> String) -> Self {
        let next = items.last().filter(|_| items.len() >= limit).map(place);
        Self { items, next }
    }
}

/// The body of a request, whose errors say where what was found.
fn body<T: DeserializeOwned>(bytes: Result<Bytes, BytesRejection>) -> Result<T, Error> {
    let bytes = bytes.map_err(|error| Error::Invalid(format!("body: {error}")))?;
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(text).map_err(|error| Error::Invalid(format!("body: {error}")))
}

/// The namespace of this cluster that a caller names, or all of the cluster.
fn place(permit: &Permit, namespace: Option<&str>) -> Result<Scope, Error> {
    let home = &permit.control.home.scope;
    namespace.map_or_else(|| Ok(home.clone()), |namespace| home.namespace(namespace))
}
