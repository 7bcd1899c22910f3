//! Backups, and what follows a restore.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;

use crate::error::Error;
use crate::event::{self, Kind};
use crate::gate::Permit;
use crate::problem::Problem;
use crate::{backup, hex};

/// What has to be signed after a restore, or was.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// The encoded statement (docs/decisions/0012), in hex: to be signed; or with its signatures: signed.
    pub statement: String,
}

/// What a recovery led to.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Recovered {
    /// The epoch that is open now.
    pub epoch: u64,
}

/// Everything as of now, encrypted under the encryption key
#[utoipa::path(post, path = "/v1/backups", responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = "default", body = Problem)))]
pub(crate) async fn create(permit: Permit) -> Result<Response, Error> {
    let by = permit.within_home()?;
    let control = permit.control.clone();
    let plain = backup::temporary(&control.config)?;
    let taken = control.store.backup_to(&plain).await?;
    let details = json!({ "deny_seq": taken.deny_seq, "last_event": taken.last_event, "certificates": taken.certificates });
    if control.store.read_only().is_none() {
        let told = control
            .store
            .write_though_held::<_, skans_store::Error, _>(move |tx| {
                event::tell(tx, Kind::BackupTaken, &by.actor, "", &details)
            })
            .await;
        if let Err(error) = told {
            let _ = std::fs::remove_file(&plain);
            return Err(error.into());
        }
    }
    let (sender, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(4);
    tokio::task::spawn_blocking(move || {
        let gone = || Error::Internal("whoever asked for the backup is gone".to_owned());
        let sealed = backup::seal(&control.sealing, &plain, |piece| {
            sender.blocking_send(Ok(piece.into())).map_err(|_| gone())
        });
        let _ = std::fs::remove_file(&plain);
        if let Err(error) = sealed {
            tracing::warn!("a backup was not finished: {error}");
            // Without this, what was sent so far would look whole to whoever does not verify it.
            let _ = sender.blocking_send(Err(std::io::Error::other("the backup failed")));
        }
    });
    let body = Body::from_stream(ReceiverStream::new(receiver));
    Ok(([(CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// What the root has to sign after a restore
#[utoipa::path(get, path = "/v1/recovery", responses((status = 200, body = Recovery), (status = "default", body = Problem)))]
pub(crate) async fn statement(permit: Permit) -> Result<Json<Recovery>, Error> {
    permit.within_home()?;
    let statement = permit.control.recovery_statement()?;
    Ok(Json(Recovery {
        statement: hex::of(&statement.encode()),
    }))
}

/// Opens a new epoch after a restore
#[utoipa::path(post, path = "/v1/recovery", request_body = Recovery, responses((status = 200, body = Recovered), (status = "default", body = Problem)))]
pub(crate) async fn recover(
    permit: Permit,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Json<Recovered>, Error> {
    let by = permit.within_home()?;
    let wanted: Recovery = super::body(bytes)?;
    let signed = hex::bytes(&wanted.statement)
        .ok_or_else(|| Error::Invalid("statement: wanted hexadecimal digits".to_owned()))?;
    let epoch = permit.control.recover(&by.actor, &signed).await?;
    Ok(Json(Recovered { epoch }))
}
