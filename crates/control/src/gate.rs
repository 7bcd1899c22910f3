//! Before every method: is the caller who it was, may it call this at all, and within which bounds of time and size.
//!
//! Whether it may do so *there* is asked by the method itself, which gets a [`Permit`] and cannot change anything without
//! turning it into a [`By`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use skans_host::strangers::counted;
use skans_store::Tx;
use skans_store::approvals::Wish;

use crate::approvals::{self, Wanted};
use crate::caller::Caller;
use crate::error::Error;
use crate::problem;
use crate::roles::{Held, Kind, Question};
use crate::scope::Scope;
use crate::state::Control;

/// How long a method may take, its body included. Streams, and those that wait for others, are not bound by it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a caller may try: this method, somewhere.
#[derive(Clone)]
pub(crate) struct Permit {
    pub(crate) control: Arc<Control>,
    pub(crate) caller: Caller,
    action: String,
    held: Arc<[Held]>,
}

/// Who does something, where they may. There is no other way to one than [`Permit::within`].
#[derive(Clone, Debug)]
pub(crate) struct By {
    /// A SPIFFE ID, or `unix:<uid>`.
    pub(crate) actor: String,
    /// What somebody else asked for, where it takes two.
    first: Option<Wish>,
}

impl By {
    /// In the transaction of a change that takes two people: what the first one asked for is used up. Nothing where one was
    /// enough.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it was used up by somebody else, or has run out.
    pub(crate) fn spend(&self, tx: &mut Tx<'_>, now: u64) -> Result<(), Error> {
        match &self.first {
            Some(first) => approvals::spend(tx, first, &self.actor, now),
            None => Ok(()),
        }
    }
}

impl Permit {
    /// Asks whether the method may be used there.
    ///
    /// # Errors
    /// [`Error::Denied`].
    pub(crate) fn within(&self, scope: &Scope) -> Result<By, Error> {
        self.for_action(&self.action, scope, false)
    }

    /// The roles of the caller.
    pub(crate) fn held(&self) -> &[Held] {
        &self.held
    }

    /// The same for the cluster of this control plane.
    ///
    /// # Errors
    /// [`Error::Denied`].
    pub(crate) fn within_home(&self) -> Result<By, Error> {
        self.within(&self.control.home.scope)
    }

    /// The same, when somebody else asked for it as well.
    ///
    /// # Errors
    /// [`Error::Denied`].
    pub(crate) fn seconded(&self, scope: &Scope) -> Result<By, Error> {
        self.for_action(&self.action, scope, true)
    }

    /// Asks for what takes two people: `None` if a second one has to ask for the same within the hour. The change itself
    /// must spend what it gets ([`By::spend`]). `exact` is what of the request `object` does not say.
    ///
    /// # Errors
    /// [`Error::Denied`] if even two could not; those of the store.
    pub(crate) async fn with_a_second(
        &self,
        scope: &Scope,
        object: &str,
        exact: &[u8],
    ) -> Result<Option<By>, Error> {
        if let Ok(by) = self.within(scope) {
            return Ok(Some(by));
        }
        let mut by = self.seconded(scope)?;
        let wanted = Wanted {
            action: self.action.clone(),
            scope: scope.clone(),
            object: object.to_owned(),
            exact: exact.to_vec(),
        };
        by.first = self.control.second(wanted, &by.actor).await?;
        Ok(by.first.is_some().then_some(by))
    }

    /// Asks for a special case of the method that has a row of its own, such as `POST /v1/tokens person`.
    ///
    /// # Errors
    /// [`Error::Denied`].
    pub(crate) fn special(&self, case: &str, scope: &Scope) -> Result<By, Error> {
        self.for_action(&format!("{} {case}", self.action), scope, false)
    }

    /// The same method as a special case, to be asked as any other.
    pub(crate) fn as_special(&self, case: &str) -> Self {
        Self {
            action: format!("{} {case}", self.action),
            ..self.clone()
        }
    }

    fn for_action(&self, action: &str, scope: &Scope, seconded: bool) -> Result<By, Error> {
        let question = Question {
            kind: self.caller.kind(),
            held: &self.held,
            action,
            scope,
            seconded,
            local: self.caller.is_local(),
        };
        if self.control.roles.allows(&question) {
            return Ok(By {
                actor: self.caller.to_string(),
                first: None,
            });
        }
        Err(Error::Denied {
            caller: self.caller.to_string(),
            action: action.to_owned(),
            scope: scope.to_string(),
        })
    }

    /// Whether there is any place where the method may be used.
    fn anywhere(&self) -> bool {
        let places = self.held.iter().map(|held| &held.scope);
        places
            .chain([&self.control.home.scope])
            .any(|scope| self.for_action(&self.action, scope, true).is_ok())
    }
}

impl<S: Sync> FromRequestParts<S> for Permit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        // Missing only where the gate was left out: then nothing is allowed.
        parts
            .extensions
            .get()
            .cloned()
            .ok_or_else(|| problem::rest(&Error::Internal("a method without a gate".to_owned())))
    }
}

/// The gate itself, in front of every route.
pub(crate) async fn gate(
    State(control): State<Arc<Control>>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let grpc = request.uri().path().starts_with("/skans.");
    let action = action(&request, grpc);
    let caller = request.extensions().get().cloned();
    let admitted = admit(&control, caller, &action).await;
    let label = control.roles.label(&action);
    let answer = match admitted {
        Err(error) => {
            control.metrics.refused_call(label, error.label());
            tracing::debug!(action, "refused: {error}");
            return if grpc {
                problem::grpc(&error)
            } else {
                problem::rest(&error)
            };
        }
        Ok(permit) => {
            request.extensions_mut().insert(permit);
            next.run(request)
        }
    };
    if is_long(&action) {
        return answer.await;
    }
    let answer = tokio::time::timeout(PATIENCE, answer)
        .await
        .unwrap_or_else(|_| {
            let error = Error::Internal("it took longer than 20 s".to_owned());
            if grpc {
                problem::grpc(&error)
            } else {
                problem::rest(&error)
            }
        });
    control
        .metrics
        .call(label, answer.status().as_u16(), began.elapsed());
    answer
}

/// Streams, what waits for acknowledgements, and what writes a whole database.
fn is_long(action: &str) -> bool {
    matches!(
        action,
        "skans.v1.Agents/Watch"
            | "skans.v1.Agents/Tell"
            | "GET /v1/denials/{seq}"
            | "GET /v1/incidents/{id}"
            | "POST /v1/backups"
    )
}

/// The name that the method has in the table of roles.
fn action(request: &Request<Body>, grpc: bool) -> String {
    if grpc {
        return request.uri().path().trim_start_matches('/').to_owned();
    }
    let path = request.extensions().get().map_or("", MatchedPath::as_str);
    format!("{} {path}", request.method())
}

async fn admit(
    control: &Arc<Control>,
    caller: Option<Caller>,
    action: &str,
) -> Result<Permit, Error> {
    let Some(caller) = caller else {
        return Err(Error::Internal("a request from nowhere".to_owned()));
    };
    control.still_holds(&caller)?;
    if caller.kind() == Kind::Stranger
        && let Some(address) = caller.address()
        && !control.strangers.take(counted(address), 1, Instant::now())
    {
        return Err(Error::TooMany(
            "requests of this address without a certificate",
        ));
    }
    let held = control.roles_of(&caller).await?;
    let permit = Permit {
        control: Arc::clone(control),
        caller,
        action: action.to_owned(),
        held: held.into(),
    };
    if permit.anywhere() {
        return Ok(permit);
    }
    if permit.caller.kind() == Kind::Stranger {
        return Err(Error::Unauthenticated(format!(
            "{action}: found no client certificate, wanted one of this cluster"
        )));
    }
    Err(Error::Denied {
        caller: permit.caller.to_string(),
        action: action.to_owned(),
        scope: "any scope".to_owned(),
    })
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        problem::rest(&self)
    }
}
