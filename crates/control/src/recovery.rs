//! A new epoch after a restore: what has to be signed, and what a signature opens.
//!
//! A database that was restored is older than what agents know; whoever plays one again could undo revocations. So it gives
//! answers and changes nothing, until the root says that it is the one that counts from now on. Nobody else can: whoever has
//! an old database has the authority in it, and could make as many owners as they like (0012).

use std::sync::PoisonError;

use serde_json::json;
use skans_identity::head::Audience;
use skans_identity::recovery::{Recovery, SignedRecovery};
use skans_store::{Tx, approvals, meta, writer};

use crate::clock;
use crate::error::Error;
use crate::event::{self, Kind};
use crate::state::Control;

impl Control {
    /// What is to be signed: an epoch above all that were seen, from the deny entry on that is the last one here.
    ///
    /// # Errors
    /// [`Error::Conflict`] if nothing has to be recovered.
    pub(crate) fn recovery_statement(&self) -> Result<Recovery, Error> {
        if self.store.read_only().is_none() {
            return Err(Error::Conflict(
                "this database was not restored: there is nothing to recover".to_owned(),
            ));
        }
        let news = self.news.borrow();
        let seen = *self
            .highest_epoch
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(Recovery {
            epoch: news.epoch.max(seen) + 1,
            deny_seq: news.chain.seq(),
            time: clock::seconds(),
            trust_domain: self.home.trust_domain.clone(),
            cluster: self.home.cluster.clone(),
        })
    }

    /// An agent knows of an epoch.
    pub(crate) fn epoch_seen(&self, epoch: u64) {
        let mut highest = self
            .highest_epoch
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *highest = epoch.max(*highest);
    }

    /// Opens the epoch that a statement names, if it is signed as it must be.
    ///
    /// # Errors
    /// [`Error::Evidence`] if it is not; [`Error::Conflict`] if it is not about this database as it stands.
    pub(crate) async fn recover(&self, actor: &str, signed: &[u8]) -> Result<u64, Error> {
        let wanted = self.recovery_statement()?;
        let audience = Audience {
            trust_domain: self.home.trust_domain.clone(),
            cluster: self.home.cluster.clone(),
        };
        let statement = SignedRecovery::decode(signed)?;
        let verified = statement
            .verify(&self.verifier, &audience, clock::now())
            .map_err(|refusal| {
                tracing::warn!("a recovery statement was refused: {refusal}");
                Error::Evidence(
                    "the recovery statement is not signed by a root of the bundle; owners cannot sign it, for agents could not \
                     tell them from people that an old database made",
                )
            })?;
        let found = verified.statement().clone();
        if found.epoch < wanted.epoch || found.deny_seq != wanted.deny_seq {
            return Err(Error::Conflict(format!(
                "statement: found epoch {} from deny entry {} on, wanted epoch {} or later, from {} on",
                found.epoch, found.deny_seq, wanted.epoch, wanted.deny_seq
            )));
        }
        let (name, actor, signed) = (self.config.name.clone(), actor.to_owned(), signed.to_vec());
        let work = move |tx: &mut Tx<'_>| {
            let writer = writer::claim(tx, &name, clock::seconds())?;
            let epoch = meta::new_epoch(tx, writer, found.epoch - 1)?;
            meta::set_recovery(tx, &signed)?;
            // What was used up since the backup would count again.
            approvals::clear(tx)?;
            let details = json!({ "epoch": epoch, "deny_seq": found.deny_seq });
            event::tell(tx, Kind::ControlRecovered, &actor, &name, &details)?;
            Ok::<_, Error>(epoch)
        };
        let epoch = self.store.recover(work).await?;
        self.refresh().await?;
        Ok(epoch)
    }
}
