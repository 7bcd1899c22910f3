//! A copy of the log for a collector, as log records of OTLP. It is a copy: what counts is the log. Each record says which entry it is, so that
//! whoever has it sees what is missing, and can ask for the proof of what is there.
//!
//! What was signed is sent in its order, and where that has come to is kept beside the log: whichever replica is the writer goes on from
//! there. A collector that is away gets all of it later, as long as it is kept. A crash, or another writer, may send the last request twice, and a
//! database that was restored sends again what came after the backup: entries are told apart by their numbers.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use serde_json::Value;
use skans_audit::redact::Redaction;
use skans_otlp::wire::{
    AnyValue, ExportLogsServiceRequest, InstrumentationScope, LogRecord, Resource, ResourceLogs,
    ScopeLogs, any_value,
};
use skans_otlp::{Post, Signal, attribute};
use skans_store::log::{self, Log, WIDTH};
use skans_store::writer::Epoch;

use super::origin;
use crate::client::audit::rules_of_redaction;
use crate::clock;
use crate::config::Copy;
use crate::error::Error;
use crate::state::{Control, Home};

/// Between two looks at what is new. The exporters of the OpenTelemetry SDKs wait as long for others.
const OFTEN: Duration = Duration::from_secs(1);
/// Between two attempts while the collector takes nothing, at first and at most: it is a log, and nobody waits for it.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Entries in a request, unless one of them is refused: those of a bundle.
const ALL: usize = 256;
/// Bytes of events in a request, and one event more. Collectors take 20 MiB by default, gRPC behind them 4 MiB.
const MAX_REQUEST: usize = 1024 * 1024;

/// Who gets the copy, and what of it.
pub(crate) struct Copier {
    post: Post,
    redaction: Option<Redaction>,
    /// Entries in a request, at most.
    most: usize,
    /// What was sent, and is not noted yet.
    sent: Option<Sent>,
}

/// What the collector has, or will never have.
struct Sent {
    epoch: u64,
    /// The number of the entry behind the last of them.
    to: u64,
    pruned: u64,
    rejected: u64,
}

/// Some entries, on their way.
struct Batch {
    epoch: u64,
    /// The number of the entry behind the last of them.
    to: u64,
    /// Entries before them that were pruned before the collector took them.
    gone: u64,
    records: Vec<LogRecord>,
}

impl Copier {
    /// Reads what it takes; sends nothing yet.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::File`]: what cannot be used.
    pub(crate) fn open(copy: &Copy) -> Result<Self, Error> {
        let post = Post::open(&copy.otlp, Signal::Logs).map_err(|error| match error {
            skans_otlp::Error::Field(field, why) => {
                Error::config(&format!("events.copy.otlp.{field}"), why)
            }
            skans_otlp::Error::File(error) => Error::File(error),
        })?;
        let redaction = match &copy.redact {
            Some(rules) => Some(rules_of_redaction(rules, copy.redact_key.as_deref())?),
            None => None,
        };
        Ok(Self {
            post,
            redaction,
            most: ALL,
            sent: None,
        })
    }

    /// An entry as a record.
    fn record(&self, origin: &str, index: u64, body: &str) -> LogRecord {
        // What is in the log is JSON. Of what is not, nothing leaves: no rule could be held against it.
        let mut event: Value = serde_json::from_str(body).unwrap_or_default();
        if let Some(redaction) = &self.redaction {
            redaction.apply(&mut event);
        }
        let number = |pointer| event.pointer(pointer).and_then(Value::as_u64);
        let word = |pointer| event.pointer(pointer).and_then(Value::as_str);
        LogRecord {
            time_unix_nano: number("/time").unwrap_or(0).saturating_mul(1_000_000),
            observed_time_unix_nano: clock::nanoseconds(),
            severity_number: severity(number("/severity_id").unwrap_or(0)),
            severity_text: word("/severity").unwrap_or_default().to_owned(),
            event_name: word("/metadata/event_code").unwrap_or_default().to_owned(),
            attributes: vec![
                attribute::text("tlog.origin", origin),
                attribute::number("tlog.index", index),
            ],
            body: Some(AnyValue {
                value: Some(any_value::Value::StringValue(event.to_string())),
            }),
        }
    }
}

impl Control {
    /// Sends what is new, until the process stops.
    pub(crate) async fn copy_log(self: Arc<Self>, copier: Option<Copier>) {
        let Some(mut copier) = copier else {
            return;
        };
        let mut turns = clock::turns(OFTEN);
        let mut pause = None;
        while let Some(writer) = self.turn(&mut turns).await {
            match self.copy_what_waits(writer, &mut copier).await {
                Ok(()) => {
                    if pause.take().is_some() {
                        tracing::info!(collector = copier.post.shown(), "it takes the log again");
                    }
                }
                Err(why) => {
                    self.metrics.log_copy_failed();
                    if pause.is_none() {
                        tracing::warn!(
                            collector = copier.post.shown(),
                            "the copy of the log waits: {why}"
                        );
                    }
                    let wait = pause.map_or(PAUSE.0, |pause: Duration| (pause * 2).min(PAUSE.1));
                    pause = Some(wait);
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.stopping.cancelled() => return,
                    }
                }
            }
        }
    }

    /// Sends all that is signed and not sent. Says why it did not.
    async fn copy_what_waits(&self, writer: Epoch, copier: &mut Copier) -> Result<(), String> {
        while !self.stopping.is_cancelled() {
            // What was sent is noted before anything else is: it would be sent again and again where the store takes nothing.
            if let Some(sent) = copier.sent.take() {
                let kept = self.note_copied(writer, &sent).await;
                if let Err(error) = kept {
                    copier.sent = Some(sent);
                    return Err(error.to_string());
                }
            }
            let batch = self.next_batch(copier).await;
            let Some(batch) = batch.map_err(|error| error.to_string())? else {
                break;
            };
            let count = batch.records.len();
            let mut sent = Sent {
                epoch: batch.epoch,
                to: batch.to,
                pruned: batch.gone,
                rejected: 0,
            };
            if count > 0 {
                let request = request(&self.home, batch.records);
                match copier.post.send(request.into()).await {
                    Ok(rejected) => {
                        sent.rejected = rejected.min(count as u64);
                        copier.most = ALL;
                    }
                    // Other than OTLP's clients do, what it answers to a wrong path or a missing right is waited out as well: somebody will
                    // mend it, and should find all of it.
                    Err(failure) if !failure.refused => return Err(failure.why),
                    // One of them, or the size of all.
                    Err(_) if count > 1 => {
                        copier.most = count / 2;
                        continue;
                    }
                    Err(failure) => {
                        // It will not take it another time either, and what is behind it is as good.
                        tracing::error!("the collector does not take an entry: {}", failure.why);
                        sent.rejected = 1;
                        tokio::select! {
                            () = tokio::time::sleep(OFTEN) => {}
                            () = self.stopping.cancelled() => {}
                        }
                    }
                }
            }
            copier.sent = Some(sent);
        }
        Ok(())
    }

    /// Keeps up to where the collector has copies, and counts what it will never have.
    async fn note_copied(&self, writer: Epoch, sent: &Sent) -> Result<(), Error> {
        let (epoch, to) = (sent.epoch, sent.to);
        let work = move |tx: &mut skans_store::Tx<'_>| log::copied(tx, writer, epoch, to);
        let kept = self
            .store
            .write_though_held::<_, skans_store::Error, _>(work);
        kept.await?;
        self.metrics.log_copied(to);
        for (reason, entries) in [("pruned", sent.pruned), ("rejected", sent.rejected)] {
            if entries > 0 {
                tracing::error!(entries, to, reason, "the copy of the log lacks entries");
                self.metrics.log_copy_lost(reason, entries);
            }
        }
        Ok(())
    }

    /// What comes behind what was copied: of the oldest log that has some.
    async fn next_batch(&self, copier: &Copier) -> Result<Option<Batch>, Error> {
        let found = self
            .store
            .read(|tx| {
                let logs = log::list(tx)?;
                let Some(log) = logs
                    .into_iter()
                    .find(|log| log.copied_size < log.signed_size)
                else {
                    return Ok(None);
                };
                let from = log.copied_size.max(log.pruned.min(log.signed_size));
                let entries = log::entries(tx, &log, from / WIDTH)?;
                Ok(Some((log, from, entries)))
            })
            .await?;
        let Some((log, from, entries)) = found else {
            return Ok(None);
        };
        let Log {
            epoch,
            signed_size,
            copied_size,
            ..
        } = log;
        let origin = origin(&self.home, epoch);
        let mut records = Vec::new();
        let (mut to, mut bytes) = (from, 0);
        let behind = entries
            .iter()
            .skip(usize::try_from(from % WIDTH).unwrap_or(0))
            .take(copier.most);
        for body in behind {
            if to >= signed_size || bytes > MAX_REQUEST {
                break;
            }
            bytes += body.len();
            records.push(copier.record(&origin, to, body));
            to += 1;
        }
        if records.is_empty() && from == copied_size {
            return Err(Error::Internal(format!(
                "entry {from} of the log of epoch {epoch} is not there, and was not pruned"
            )));
        }
        Ok(Some(Batch {
            epoch,
            to,
            gone: from - copied_size,
            records,
        }))
    }
}

fn request(home: &Home, log_records: Vec<LogRecord>) -> Vec<u8> {
    let resource = Resource {
        attributes: vec![
            attribute::text("service.name", "skans-control"),
            attribute::text("service.version", env!("CARGO_PKG_VERSION")),
            attribute::text("skans.trust_domain", home.trust_domain.as_str()),
            attribute::text("skans.cluster", &home.cluster),
        ],
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource),
            scope_logs: vec![ScopeLogs {
                scope: Some(InstrumentationScope {
                    name: "skans".to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                }),
                log_records,
            }],
        }],
    };
    request.encode_to_vec()
}

/// `severity_id` of OCSF as `SeverityNumber` of OTLP: INFO, INFO2, WARN, ERROR, ERROR2, FATAL.
const fn severity(id: u64) -> i32 {
    match id {
        1 => 9,
        2 => 10,
        3 => 13,
        4 => 17,
        5 => 18,
        6 => 21,
        _ => 0,
    }
}
