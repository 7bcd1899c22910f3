//! Heads and recovery statements: which of them count, and what waits for one. Deny entries from peers: `staging`.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use skans_identity::deny::Standing as Against;
use skans_identity::head::{Head, SignedHead, VerifiedHead};
use skans_identity::recovery::{Recovery, SignedRecovery};

use super::{From, Inner, Revocation, Staging, unverifiable};
use crate::Error;
use crate::control::Item;

impl Revocation {
    /// Takes a head, whoever sent it. If entries up to it are missing, says which.
    ///
    /// # Errors
    /// [`Error::Unverifiable`] if it is not one of our control plane, or tells of another stream than the one known; from
    /// the control plane also if it goes back. Whoever sent it is at fault, or the control plane was copied.
    pub fn hear(&self, bytes: &[u8], from: From) -> Result<Option<Staging>, Error> {
        if self.newest.borrow().as_deref() == Some(bytes) {
            return Ok(None);
        }
        let signed = SignedHead::decode(bytes).map_err(unverifiable)?;
        let claimed = Head::decode(&signed.head).map_err(unverifiable)?;
        let mut inner = self.lock();
        // Not worth a signature check: an older one proves nothing, for or against an agent that hands it on.
        let newest = inner.ahead.as_ref().or(inner.head.as_ref());
        let older = newest.is_some_and(|known| {
            (claimed.mark(), claimed.time) <= (known.head().mark(), known.head().time)
        });
        let below = inner
            .horizon
            .mark()
            .is_some_and(|mark| claimed.mark() < mark);
        if from == From::Peer && (older || below) {
            return Ok(inner.missing());
        }
        let head = signed
            .verify(&self.verifier, &self.audience, UnixTime::now())
            .map_err(unverifiable)?;
        let before = inner.horizon;
        let lacks = matches!(inner.chain.standing(&head), Against::Missing { .. });
        if let Err(refusal) = inner.horizon.accept(&head) {
            // Ours has signed it: whatever is wrong with the control plane, it is not this peer's fault.
            if from == From::Peer {
                tracing::error!(
                    "a peer knows another control plane than this agent does: {refusal}"
                );
                return Ok(inner.missing());
            }
            return Err(unverifiable(refusal));
        }
        inner.unkept |= inner.horizon != before;
        // Before anything rests on it. But entries that a peer has come first: a disk may take its time, and who was revoked
        // talks meanwhile.
        if from == From::Control || !lacks {
            self.keep_horizon(&mut inner)?;
        }
        if from == From::Control && inner.candidate.is_some() {
            self.confirm(&mut inner, &head)?;
        }
        self.place(&mut inner, head)?;
        Ok(inner.missing())
    }

    /// Takes a statement that the control plane was restored from a backup and begins a new epoch. What was denied stays so
    /// until a snapshot of the new epoch is here.
    ///
    /// It must be signed by a root of the bundle; people cannot, since who is an owner is known to nobody here.
    ///
    /// # Errors
    /// [`Error::Unverifiable`]; one of an epoch that is known already is none.
    pub fn recover(&self, signed: &[u8]) -> Result<(), Error> {
        let signed = SignedRecovery::decode(signed).map_err(unverifiable)?;
        let claimed = Recovery::decode(&signed.statement).map_err(unverifiable)?;
        let mut inner = self.lock();
        if inner
            .horizon
            .mark()
            .is_some_and(|mark| claimed.epoch <= mark.epoch)
        {
            return Ok(());
        }
        let recovery = signed
            .verify(&self.verifier, &self.audience, UnixTime::now())
            .map_err(unverifiable)?;
        let mut horizon = inner.horizon;
        horizon.recover(&recovery).map_err(unverifiable)?;
        self.state.write(Item::Horizon, &horizon.to_bytes())?;
        inner.horizon = horizon;
        inner.ahead = None;
        tracing::warn!(
            epoch = claimed.epoch,
            "the control plane was restored from a backup: a new epoch begins"
        );
        Ok(())
    }

    /// The control plane's snapshot takes the place of the chain if a head of its own bears it out.
    fn confirm(&self, inner: &mut Inner, head: &VerifiedHead) -> Result<(), Error> {
        let Some(chain) = inner.candidate.take() else {
            return Ok(());
        };
        match chain.standing(head) {
            Against::Complete => {
                let targets: Vec<_> = chain.denied().map(|entry| entry.target().clone()).collect();
                let (seq, denied) = (chain.seq(), targets.len());
                inner.chain = chain;
                self.enforce(inner, &targets);
                self.keep_chain(inner)?;
                tracing::info!(seq, denied, "deny list taken from the control plane");
                Ok(())
            }
            Against::Missing { .. } | Against::Ahead => {
                inner.candidate = Some(chain);
                Ok(())
            }
            Against::Forked => Err(forked(head)),
        }
    }

    /// A verified head counts once its entries are here; until then it says which are missing.
    pub(super) fn place(&self, inner: &mut Inner, head: VerifiedHead) -> Result<(), Error> {
        match inner.chain.standing(&head) {
            Against::Complete | Against::Ahead => {
                // Seconds are coarse: two heads may have one time.
                let at = |head: &VerifiedHead| (head.head().mark(), head.head().time);
                if inner
                    .head
                    .as_ref()
                    .is_some_and(|known| at(&head) <= at(known))
                {
                    return Ok(());
                }
                let bytes = head.signed().encode();
                inner
                    .standing
                    .hear(Duration::from_secs(head.head().time), self.moment());
                self.newest.send_replace(Some(bytes.as_slice().into()));
                if inner.epoch != head.head().epoch {
                    inner.epoch = head.head().epoch;
                    self.changes.send_modify(|count| *count += 1);
                }
                inner.head = Some(head);
                inner.ahead = None;
                self.state.write(Item::Head, &bytes)
            }
            Against::Missing { .. } => {
                inner.ahead = Some(head);
                Ok(())
            }
            Against::Forked => Err(forked(&head)),
        }
    }
}

fn forked(head: &VerifiedHead) -> Error {
    Error::Unverifiable(format!(
        "head {} tells of another deny stream than the one known here",
        head.head().mark()
    ))
}
