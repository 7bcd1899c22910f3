//! Witnesses of the log (C2SP tlog-witness): other processes, with keys and disks of their own, that sign what only ever grows.
//!
//! What they sign is of the checkpoint that they were asked about, and kept beside the newest one, which has moved on meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use skans_audit::checkpoint::Checkpoint;
use skans_audit::note::{self, Note, VerifyingKey};
use skans_audit::proof;
use skans_audit::witness::Request;
use skans_store::log::{self, Log};
use skans_store::writer::Epoch;

use super::tree;
use crate::clock;
use crate::config::Witness;
use crate::error::Error;
use crate::event::{self, Kind};
use crate::state::Control;

mod post;

/// Between two rounds. What was cut off the log in this time by whoever has the database is noticed by agents alone; witnesses of Go's
/// checksum database are asked every few seconds as well.
const ROUND: Duration = Duration::from_secs(5);

/// What a witness answered.
enum Answer {
    /// It signed: its line.
    Signed(String),
    /// It has signed another size last: we start from there.
    From(u64),
    /// It will not sign what we have: its status and words.
    Refused(u16, String),
}

/// How it stands with a witness.
#[derive(Default)]
struct Standing {
    /// What it signed last, as far as we know.
    size: u64,
    /// It says that our log does not go on from what it signed.
    refused: bool,
    /// It could not be asked the last time.
    silent: bool,
}

impl Control {
    /// Has the log witnessed, until the process stops.
    pub(crate) async fn have_witnessed(self: Arc<Self>) {
        if self.config.events.witnesses.is_empty() {
            return;
        }
        let mut rounds = clock::turns(ROUND);
        let mut standings: BTreeMap<(u64, usize), Standing> = BTreeMap::new();
        while let Some(writer) = self.turn(&mut rounds).await {
            if let Err(error) = self.round(writer, &mut standings).await {
                tracing::warn!("the log is not witnessed: {error}");
            }
        }
    }

    async fn round(
        &self,
        writer: Epoch,
        standings: &mut BTreeMap<(u64, usize), Standing>,
    ) -> Result<(), Error> {
        let epoch = self.news.borrow().epoch;
        let log = self.store.read(move |tx| log::get(tx, epoch)).await?;
        let Some(log) = log.filter(|log| log.signed_size > log.witnessed_size) else {
            return Ok(());
        };
        let mut signed = Note::parse(super::signed_by_the_log(&log.checkpoint).as_bytes())?;
        let mut count = 0;
        for (at, witness) in self.config.events.witnesses.iter().enumerate() {
            let standing = standings.entry((epoch, at)).or_default();
            match self.ask(&log, witness, standing).await {
                Ok(line) => {
                    for signature in note::signatures(&line)? {
                        signed.add(signature)?;
                    }
                    count += 1;
                    (standing.refused, standing.silent) = (false, false);
                    standing.size = log.signed_size;
                }
                Err(Missing::Refused(why)) => {
                    self.metrics.not_witnessed("refused");
                    if !standing.refused {
                        match self.tell_of_refusal(witness, &why).await {
                            Ok(()) => standing.refused = true,
                            Err(error) => tracing::warn!("that is told later: {error}"),
                        }
                    }
                }
                Err(Missing::Silent(why)) => {
                    self.metrics.not_witnessed("unreachable");
                    if !std::mem::replace(&mut standing.silent, true) {
                        tracing::warn!(witness = witness.url, "it does not sign the log: {why}");
                    }
                }
            }
        }
        if count < self.config.events.quorum() {
            return Ok(());
        }
        let (size, text) = (log.signed_size, signed.encode());
        self.store
            .write_though_held::<_, Error, _>(move |tx| {
                Ok(log::witness(tx, writer, epoch, size, &text)?)
            })
            .await?;
        self.metrics.witnessed(size);
        Ok(())
    }

    /// Has one witness sign the newest checkpoint. Gives its line, verified.
    async fn ask(
        &self,
        log: &Log,
        witness: &Witness,
        standing: &Standing,
    ) -> Result<String, Missing> {
        let mut old = standing.size;
        // Once more from where the witness says that it is.
        for _ in 0..2 {
            if old > log.signed_size {
                let (found, ours) = (old, log.signed_size);
                return Err(Missing::Refused(format!(
                    "it has signed {found} entries, and there are {ours}"
                )));
            }
            let request = self.request(log, old).await?;
            match post::post(witness, &request)
                .await
                .map_err(Missing::Silent)?
            {
                Answer::Signed(line) => {
                    check(log, witness, &line)?;
                    return Ok(line);
                }
                Answer::From(size) if size != old => old = size,
                Answer::From(size) => {
                    return Err(Missing::Refused(format!(
                        "it has signed another log of {size} entries"
                    )));
                }
                Answer::Refused(status, words) => {
                    let why = format!("{status}: {words}");
                    return Err(match status {
                        422 => Missing::Refused(why),
                        _ => Missing::Silent(why),
                    });
                }
            }
        }
        Err(Missing::Silent(
            "it says twice that it is elsewhere".to_owned(),
        ))
    }

    async fn request(&self, log: &Log, old: u64) -> Result<Request, Error> {
        let (epoch, size) = (log.epoch, log.signed_size);
        let proof = match old {
            0 => Vec::new(),
            old => {
                let read = self.store.try_read(move |tx| {
                    tree::look(tx, epoch, size, |tree| proof::consistency(tree, old, size))
                });
                read.await?
            }
        };
        let note = Note::parse(super::signed_by_the_log(&log.checkpoint).as_bytes())?;
        Ok(Request { old, proof, note })
    }

    /// A witness says that this is not the log that it knows: somebody has rewritten it, there or here.
    async fn tell_of_refusal(&self, witness: &Witness, why: &str) -> Result<(), Error> {
        tracing::error!(
            witness = witness.url,
            "it does not know this log as its own: {why}"
        );
        let (name, why) = (witness.url.clone(), skans_host::plain::show(why));
        let work = move |tx: &mut skans_store::Tx<'_>| {
            let details = json!({ "why": why });
            event::tell(tx, Kind::LogRefused, "control", &name, &details)
        };
        let told = self
            .store
            .write_though_held::<_, skans_store::Error, _>(work);
        Ok(told.await?)
    }
}

/// Why there is no signature.
enum Missing {
    /// The witness knows another log.
    Refused(String),
    /// It could not be asked, or does not answer as it should.
    Silent(String),
}

impl<E: Into<Error>> From<E> for Missing {
    fn from(error: E) -> Self {
        Self::Silent(error.into().to_string())
    }
}

/// Whether a line is the signature of that witness, under what it was asked about.
fn check(log: &Log, witness: &Witness, line: &str) -> Result<(), Error> {
    let key = VerifyingKey::parse(&witness.key)?;
    let mut note = Note::parse(super::signed_by_the_log(&log.checkpoint).as_bytes())?;
    for signature in note::signatures(line)? {
        note.add(signature)?;
    }
    note.verify(&[&key])?;
    Checkpoint::parse_text(note.text())?;
    Ok(())
}
