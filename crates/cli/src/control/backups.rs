//! `skans backup`, and `skans control recover`.

use std::path::Path;

use serde_json::json;
use skans_control::rest::backups::{Recovered, Recovery};
use skans_control::{backup as backups, root};

use super::{client, print, say};
use crate::arguments::control::{Backup, BackupFile, Plane};
use crate::failure::Failure;
use crate::table;

/// `skans backup`.
pub async fn backup(command: Backup) -> Result<(), Failure> {
    match command {
        Backup::Create { out, plane } => {
            Ok(client(&plane).download("POST", "/v1/backups", &out).await?)
        }
        Backup::Verify(file) => {
            let config = skans_control::config::load(&file.config)?;
            shown(&file, backups::verify(&config, &file.backup).await?)
        }
        Backup::Restore(file) => {
            let config = skans_control::config::load(&file.config)?;
            let found = backups::restore(&config, &file.backup).await?;
            shown(&file, found)
        }
    }
}

/// `skans control recover`.
pub async fn recover(directory: &Path, plane: &Plane) -> Result<(), Failure> {
    let client = client(plane);
    let wanted: Recovery = client.get("/v1/recovery").await?;
    let signed = Recovery {
        statement: root::sign_recovery(directory, &wanted.statement)?,
    };
    let done: Recovered = client.send("POST", "/v1/recovery", &signed).await?;
    say(&format!(
        "epoch {} is open: agents accept this control plane again\n",
        done.epoch
    ))
}

fn shown(file: &BackupFile, found: backups::Summary) -> Result<(), Failure> {
    let found = json!({
        "trust_domain": found.meta.trust_domain,
        "cluster": found.meta.cluster,
        "epoch": found.meta.epoch,
        "deny_seq": found.deny_seq,
        "last_event": found.last_event,
        "certificates": found.certificates,
        "schema": found.schema,
    });
    print(file.output, found, |found| {
        let text = |key: &str| {
            found[key]
                .as_str()
                .map_or_else(|| found[key].to_string(), str::to_owned)
        };
        table::facts(&[
            ("trust domain", text("trust_domain")),
            ("cluster", text("cluster")),
            ("epoch", text("epoch")),
            ("deny entries", text("deny_seq")),
            ("events", text("last_event")),
            ("certificates", text("certificates")),
            ("schema", text("schema")),
        ])
    })
}
