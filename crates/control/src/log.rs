//! The log over the events: what is told becomes an entry, entries a tree, and the tree is signed (docs/decisions/0023). The writer does it
//! for all replicas.
//!
//! An event is durable with the change that it tells of; here it gets its place a moment later. Only what is committed is signed, and what is
//! committed never changes: so whichever replica signs, signs what the others would, and there is no fork.

pub(crate) mod copy;
mod guard;
mod proof;
pub(crate) mod tree;
mod witnesses;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use skans_audit::checkpoint::Checkpoint;
use skans_audit::note::SigningKey;
use skans_store::log::{self, Log};
use skans_store::writer::Epoch;
use skans_store::{Tx, events, meta};

use crate::clock;
use crate::error::Error;
use crate::state::{Control, Home};

/// Between two looks at what waits. It is how long the newest event can be changed by whoever has the database, and a fifth of what a
/// checkpoint of Certificate Transparency or Sigstore takes.
const OFTEN: Duration = Duration::from_millis(200);
/// Events that get their place in one transaction: some ten milliseconds of the store's writer.
const AT_ONCE: usize = 1000;

/// What a log is called: no two of them alike, nor of one cluster in two epochs.
pub(crate) fn origin(home: &Home, epoch: u64) -> String {
    format!(
        "{}/cluster/{}/audit/{epoch}",
        home.trust_domain, home.cluster
    )
}

/// What the sealed key of a log is bound to.
fn sealing_label(epoch: u64) -> String {
    format!("audit {epoch}")
}

impl Control {
    /// Does it, until the process stops.
    pub(crate) async fn keep_log(self: Arc<Self>) {
        let mut turns = clock::turns(OFTEN);
        let mut failing = false;
        while let Some(writer) = self.turn(&mut turns).await {
            match self.log_what_waits(writer).await {
                Ok(()) => failing = false,
                Err(error) => {
                    // Once, and not five times a second.
                    if !failing {
                        tracing::error!("events are kept, and get no place in the log: {error}");
                    }
                    failing = true;
                    self.metrics.log_failed();
                }
            }
        }
    }

    async fn log_what_waits(&self, writer: Epoch) -> Result<(), Error> {
        let (epoch, found, last) = self
            .store
            .read(|tx| {
                let epoch = meta::get(tx)?.map_or(0, |meta| meta.epoch);
                Ok((epoch, log::get(tx, epoch)?, events::last(tx)?))
            })
            .await?;
        let mut log = match found {
            Some(log) => log,
            None => self.begin_log(writer, epoch).await?,
        };
        self.metrics
            .log(log.size, last.saturating_sub(log.last_seq));
        while last > log.last_seq {
            let before = log.size;
            log = self
                .store
                .write_though_held::<_, Error, _>(move |tx| {
                    Ok(tree::grow(tx, writer, epoch, AT_ONCE)?)
                })
                .await?;
            if log.size == before {
                break;
            }
        }
        if log.size > log.signed_size {
            self.sign_log(writer, &log).await?;
        }
        Ok(())
    }

    async fn begin_log(&self, writer: Epoch, epoch: u64) -> Result<Log, Error> {
        let key = SigningKey::generate(&origin(&self.home, epoch))?;
        let sealed = self.sealing.seal(&sealing_label(epoch), &*key.to_seed())?;
        let vkey = key.vkey();
        let log = self
            .store
            .write_though_held::<_, Error, _>(move |tx| {
                // Another replica may have been faster, and be the writer no more.
                if log::get(tx, epoch)?.is_none() {
                    log::begin(tx, writer, epoch, &sealed, &vkey)?;
                }
                Ok(current(tx, epoch)?)
            })
            .await?;
        tracing::info!(origin = origin(&self.home, epoch), "a log was begun");
        Ok(log)
    }

    /// Signs what a log has become.
    async fn sign_log(&self, writer: Epoch, log: &Log) -> Result<(), Error> {
        let key = self.log_key(log)?;
        let (epoch, size) = (log.epoch, log.size);
        let root = self
            .store
            .try_read(move |tx| tree::root(tx, epoch, size))
            .await?;
        let checkpoint = Checkpoint::new(origin(&self.home, epoch), size, root);
        let signed = checkpoint.sign(&key)?;
        self.store
            .write_though_held::<_, Error, _>(move |tx| {
                Ok(log::sign(tx, writer, epoch, size, &signed)?)
            })
            .await?;
        Ok(())
    }

    /// The key of a log, opened once.
    fn log_key(&self, log: &Log) -> Result<Arc<SigningKey>, Error> {
        let mut known = self.log_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((epoch, key)) = &*known
            && *epoch == log.epoch
        {
            return Ok(Arc::clone(key));
        }
        let seed = self
            .sealing
            .open(&sealing_label(log.epoch), &log.sealed_key)?;
        let seed = <&[u8; 32]>::try_from(seed.as_slice())
            .map_err(|_| Error::Internal("the key of the log has another length".to_owned()))?;
        let key = Arc::new(SigningKey::from_seed(&origin(&self.home, log.epoch), seed)?);
        *known = Some((log.epoch, Arc::clone(&key)));
        Ok(key)
    }
}

/// A checkpoint without what witnesses have signed: what every head carries has to be short.
pub(crate) fn signed_by_the_log(checkpoint: &str) -> String {
    let Some((text, signatures)) = checkpoint.split_once("\n\n") else {
        return String::new();
    };
    // The first line is that of the log; a witness only ever adds one.
    let own = signatures.lines().next().unwrap_or_default();
    format!("{text}\n\n{own}\n")
}

/// The log of an epoch, if that is the one that counts: a database that was recovered meanwhile goes on with another log.
fn current(tx: &mut Tx<'_>, epoch: u64) -> skans_store::Result<Log> {
    let present = meta::get(tx)?.map_or(0, |meta| meta.epoch);
    if present != epoch {
        return Err(skans_store::Error::Conflict(format!(
            "the log of epoch {epoch} has ended, this is {present}"
        )));
    }
    log::get(tx, epoch)?.ok_or_else(|| skans_store::Error::NotFound {
        what: "log",
        which: epoch.to_string(),
    })
}
