//! What a caller is told when something fails: `application/problem+json` (RFC 9457) over REST, a status over gRPC.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tonic::{Code, Status};
use utoipa::ToSchema;

use crate::error::Error;

/// What an error is, to HTTP (RFC 9457).
const PROBLEM: &str = "application/problem+json";

/// Why a request failed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// A stable word for programs.
    pub reason: String,
    /// A sentence for people: what was found, what was wanted.
    pub detail: String,
    /// Whether trying again later can help.
    pub may_retry: bool,
}

/// The answer over REST.
pub(crate) fn rest(error: &Error) -> Response {
    let (status, _) = codes(error);
    let problem = Problem {
        status: status.as_u16(),
        reason: error.label().to_owned(),
        detail: told(error),
        may_retry: error.may_retry(),
    };
    let mut answer = (status, Json(problem)).into_response();
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    answer
}

/// Longest text of somebody else's that is told on, in bytes.
const MAX_TOLD: usize = 4096;

/// An answer that the framework made (a query that cannot be read, a method that a path has not), told as all others are.
pub(crate) async fn typed(answer: Response) -> Response {
    let status = answer.status();
    let kind = answer.headers().get(header::CONTENT_TYPE);
    let ours = kind.is_some_and(|kind| {
        kind.as_bytes() == PROBLEM.as_bytes() || kind.as_bytes().starts_with(b"application/grpc")
    });
    if ours || !(status.is_client_error() || status.is_server_error()) {
        return answer;
    }
    let said = axum::body::to_bytes(answer.into_body(), MAX_TOLD).await;
    let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
    if status.is_server_error() {
        return rest(&Error::Internal(said));
    }
    rest(&Error::Invalid(said))
}

/// The answer over gRPC, as a status.
pub(crate) fn status(error: &Error) -> Status {
    let (_, code) = codes(error);
    Status::new(code, told(error))
}

/// The answer over gRPC, whole.
pub(crate) fn grpc(error: &Error) -> Response {
    let (parts, ()) = status(error).into_http::<()>().into_parts();
    Response::from_parts(parts, axum::body::Body::empty())
}

/// What fails inside is for the log; a caller could do nothing with it but learn how we are built.
fn told(error: &Error) -> String {
    match error {
        Error::Internal(_) | Error::File(_) | Error::Config { .. } | Error::Bind { .. } => {
            tracing::error!("{error}");
            "something failed here; its log says what".to_owned()
        }
        Error::Store(inner)
            if !matches!(
                inner.blame(),
                skans_store::Blame::Caller | skans_store::Blame::Configuration
            ) =>
        {
            tracing::error!("{error}");
            format!("the store failed ({})", inner.label())
        }
        other => other.to_string(),
    }
}

fn codes(error: &Error) -> (StatusCode, Code) {
    match error {
        Error::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, Code::Unauthenticated),
        Error::Denied { .. } => (StatusCode::FORBIDDEN, Code::PermissionDenied),
        Error::Evidence(_) | Error::Revoked(_) => (StatusCode::FORBIDDEN, Code::PermissionDenied),
        Error::Invalid(_) => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
        Error::NotFound { .. } => (StatusCode::NOT_FOUND, Code::NotFound),
        Error::Conflict(_) => (StatusCode::CONFLICT, Code::FailedPrecondition),
        Error::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted),
        Error::NoAuthority(_) => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
        Error::Identity(_) if error.blame() == crate::Blame::Caller => {
            (StatusCode::BAD_REQUEST, Code::InvalidArgument)
        }
        Error::Store(inner) => match inner {
            skans_store::Error::NotFound { .. } => (StatusCode::NOT_FOUND, Code::NotFound),
            skans_store::Error::Conflict(_) => (StatusCode::CONFLICT, Code::FailedPrecondition),
            skans_store::Error::Bound { .. } => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
            skans_store::Error::DiskFull(_) => {
                (StatusCode::INSUFFICIENT_STORAGE, Code::ResourceExhausted)
            }
            other if other.may_retry() => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
            skans_store::Error::ReadOnly(_) => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
        },
        _ => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
    }
}
