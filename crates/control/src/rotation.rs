//! Authorities in time: the next one is made ready at half of the life of the present one, a cohort lives on it first, and
//! it takes over when that was seen to work. A root that nothing hangs on any more leaves the bundle.
//!
//! SPIRE prepares at 1/2 and activates at 5/6; cert-manager, Istio and Linkerd leave the issuing authority to the operator.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use skans_identity::authority::Issuer;
use skans_store::authorities::{self, Authority, Kind, State};
use skans_store::certificates::{self, Which};
use skans_store::{Tx, agents};

use crate::authority::Prepared;
use crate::caller::sha256;
use crate::clock::{self, Belief};
use crate::error::Error;
use crate::roots;
use crate::state::Control;
use crate::writer::Urgency;

/// One agent in so many belongs to the cohort, by a hash of its name; one at least.
const COHORT: usize = 16;
/// Agents that were not seen for so long are not waited for, in seconds: their leaves have run out.
const AWAY: u64 = 3600;

/// How far the cohort has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cohort {
    /// Its agents that were seen lately.
    pub(crate) seen: u64,
    /// Those of them that came with a certificate of the next authority.
    pub(crate) have: u64,
}

impl Cohort {
    /// Counts it among the agents that were seen lately. `known` is its last place, if it was settled already; when nobody of it
    /// is there any more, others have to show first that the next authority works.
    fn count(seen: &[(u64, Option<[u8; 32]>)], known: Option<u64>, next: &[u8; 32]) -> Self {
        let known = known.filter(|last| seen.iter().any(|(place, _)| place <= last));
        let fresh = || last_of_cohort(seen.iter().map(|(place, _)| *place).collect());
        let Some(last) = known.or_else(fresh) else {
            return Self::default();
        };
        let mut cohort = Self::default();
        for (_, issuer) in seen.iter().filter(|(place, _)| *place <= last) {
            cohort.seen += 1;
            cohort.have += u64::from(issuer.as_ref() == Some(next));
        }
        cohort
    }

    /// At least half: one that is seen may be between two renewals, and one host that is broken must not hold up a cluster. Also
    /// if there is nobody at all.
    pub(crate) const fn is_well(self) -> bool {
        self.have * 2 >= self.seen
    }
}

/// Which steps are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing yet.
    Nothing,
    /// The next one is to be made ready.
    Prepare,
    /// The cohort lives on the next one.
    Cohort,
    /// The next one takes over, if the cohort is well.
    Activate,
    /// The next one takes over, whatever is known of the cohort: the present one runs out.
    Must,
}

/// Says which, by the clock alone. `leaf` is the life of a leaf: the present authority must go before it cuts leaves short.
pub(crate) fn due(active: &Authority, prepared: Option<&Authority>, leaf: u64, now: u64) -> Due {
    let life = active.not_after.saturating_sub(active.not_before);
    let at = |part: u64| active.not_before + life / 12 * part;
    let Some(prepared) = prepared else {
        return if now >= at(6) {
            Due::Prepare
        } else {
            Due::Nothing
        };
    };
    if now >= active.not_after.saturating_sub(leaf).max(at(11)) {
        return Due::Must;
    }
    // The cohort has a twelfth of the life to show that it is well: half a day of a week.
    if now >= at(10) && now >= prepared.created + life / 12 {
        return Due::Activate;
    }
    if now >= at(8) {
        Due::Cohort
    } else {
        Due::Nothing
    }
}

/// The authority that is to follow, and who lives on it already.
pub(crate) struct Next {
    issuer: Arc<Issuer>,
    /// The last place of the cohort.
    last: u64,
}

impl Next {
    fn serves(&self, agent: &str) -> bool {
        // A replica's own certificate has no agent, and is signed by the active one.
        !agent.is_empty() && place(agent) <= self.last
    }
}

/// Where an agent stands in the row of those who go first: stable, and nothing that one could choose.
fn place(agent: &str) -> u64 {
    let hash = sha256(agent.as_bytes());
    hash.first_chunk()
        .map_or(u64::MAX, |part| u64::from_be_bytes(*part))
}

/// The last place of the cohort among these; `None` if there is nobody.
fn last_of_cohort(mut places: Vec<u64>) -> Option<u64> {
    places.sort_unstable();
    let last = places.len().div_ceil(COHORT).checked_sub(1)?;
    places.get(last).copied()
}

/// The agents that were seen lately: their places, and the authorities by which they came. 5 MB of the most agents there may be.
fn seen(tx: &mut Tx<'_>, since: u64) -> skans_store::Result<Vec<(u64, Option<[u8; 32]>)>> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = agents::issuers(tx, since, &after, skans_store::bounds::MAX_PAGE)?;
        let Some((last, _)) = page.last() else {
            return Ok(all);
        };
        after.clone_from(last);
        all.extend(page.iter().map(|(agent, issuer)| (place(agent), *issuer)));
    }
}

/// The last place of the cohort among the agents that were seen lately.
fn cohort(tx: &mut Tx<'_>, since: u64) -> skans_store::Result<Option<u64>> {
    let seen = seen(tx, since)?;
    Ok(last_of_cohort(
        seen.iter().map(|(place, _)| *place).collect(),
    ))
}

impl Control {
    /// The authority that signs for this agent: the next one, if there is one and the agent goes first.
    ///
    /// # Errors
    /// [`Error::NoAuthority`].
    pub(crate) fn issuer_for(&self, agent: &str) -> Result<Arc<Issuer>, Error> {
        match &*self.next.load() {
            Some(next) if next.serves(agent) => Ok(Arc::clone(&next.issuer)),
            _ => self.issuer(),
        }
    }

    /// Has the next authority ready for the cohort while it is its time, and once all agents have the root above it. By the
    /// store and the clock, so that every replica does the same.
    ///
    /// # Errors
    /// [`Error::Identity`] if its key does not open; those of the store.
    pub(crate) async fn take_next(&self, all: &[Authority], epoch: u64) -> Result<(), Error> {
        let leaf = self.config.leaves.lifetime.as_secs();
        let now = clock::seconds();
        let wanted = issuers(all, now).filter(|(active, prepared)| {
            prepared.is_some()
                && matches!(
                    due(active, *prepared, leaf, now),
                    Due::Cohort | Due::Activate
                )
        });
        let Some((_, Some(prepared))) = wanted else {
            self.next.store(None);
            return Ok(());
        };
        let present = self.next.load();
        if present
            .as_ref()
            .is_some_and(|next| next.issuer.spki_sha256() == prepared.spki)
        {
            return Ok(());
        }
        let issuer = prepared.clone();
        let found = self.store.try_read(move |tx| {
            if let Some(root) =
                roots::above(tx, &issuer)?.filter(|root| root.state != State::Active)
            {
                roots::check_adoption(tx, &root, epoch, now)?;
            }
            Ok::<_, Error>(cohort(tx, now.saturating_sub(AWAY))?)
        });
        let last = match found.await {
            Ok(last) => last,
            // Not yet: the others would refuse what the cohort shows.
            Err(Error::Conflict(why)) => {
                tracing::info!("the next authority waits: {why}");
                None
            }
            Err(other) => return Err(other),
        };
        let next = match last {
            Some(last) => Some(Arc::new(Next {
                issuer: Arc::new(self.open_issuer(prepared)?),
                last,
            })),
            None => None,
        };
        self.next.store(next);
        Ok(())
    }

    /// One step of the writer, at `now`, and how far that is believed.
    ///
    /// # Errors
    /// Those of the store, of files and of signing. It is tried again.
    pub(crate) async fn rotate_in_time(&self, now: Duration, belief: Belief) -> Result<(), Error> {
        let now = now.as_secs();
        let all = self.store.read(authorities::list).await?;
        // By a clock that jumped nothing hangs on any root.
        if belief != Belief::Jumped {
            self.drop_idle_root(&all).await?;
        }
        let Some((active, prepared)) = issuers(&all, now) else {
            return Ok(());
        };
        let leaf = self.config.leaves.lifetime.as_secs();
        match (due(active, prepared, leaf, now), prepared) {
            (Due::Prepare, _) if self.config.authority.root.is_none() => {
                tracing::warn!(
                    "the active authority is past half of its life: prepare the next one (skans ca rotate)"
                );
            }
            // Either nobody was here for as long as an authority lives, or the clock has jumped: then one that is made now
            // begins to live in days. Who runs the control plane knows which, and need not wait.
            (Due::Prepare, _)
                if belief == Belief::Jumped
                    || active.not_after <= now && belief == Belief::Young =>
            {
                tracing::warn!(
                    "the next authority is made when the clock has gone right for an hour, or by skans ca rotate"
                );
            }
            (Due::Prepare, _) => {
                if let Prepared::Ready(id) = self.prepare("control", Urgency::Ordinary).await? {
                    tracing::info!(id, "the next authority is ready");
                }
            }
            (Due::Activate, Some(next)) => {
                self.refresh().await?;
                if self.cohort_is_well(next.spki).await? {
                    self.activate("control", &next.id, false, Urgency::Ordinary)
                        .await?;
                }
            }
            (Due::Must, Some(next)) => {
                tracing::warn!(
                    id = next.id,
                    "the next authority takes over, since the active one runs out"
                );
                self.activate("control", &next.id, false, Urgency::Ordinary)
                    .await?;
            }
            (Due::Cohort, Some(_)) => self.refresh().await?,
            _ => {}
        }
        Ok(())
    }

    /// Whether the cohort lives on the next authority, as far as agents were seen lately, by whatever replica.
    async fn cohort_is_well(&self, next: [u8; 32]) -> Result<bool, Error> {
        let since = clock::seconds().saturating_sub(AWAY);
        let known = self.next.load().as_ref().map(|next| next.last);
        let cohort = self
            .store
            .read(move |tx| Ok(Cohort::count(&seen(tx, since)?, known, &next)))
            .await?;
        self.metrics.cohort(cohort.seen, cohort.have);
        Ok(cohort.is_well())
    }

    /// Takes a root out of the bundle that is not the active one and that no valid certificate hangs on.
    async fn drop_idle_root(&self, all: &[Authority]) -> Result<(), Error> {
        let retired = all.iter().filter(|one| {
            one.kind == Kind::Root && matches!(one.state, State::Retired | State::Tainted)
        });
        for root in retired {
            let below: Vec<Authority> = all
                .iter()
                .filter(|one| one.kind == Kind::Issuer && roots::issued_by(one, root))
                .cloned()
                .collect();
            if below
                .iter()
                .any(|one| matches!(one.state, State::Active | State::Prepared))
            {
                continue;
            }
            let root = root.clone();
            let work = move |tx: &mut Tx<'_>, writer, now| {
                for issuer in &below {
                    if certificates::valid_until(tx, &Which::Issuer(&issuer.spki), now)?.is_some() {
                        return Ok(false);
                    }
                }
                roots::remove(tx, writer, &root, "control", now)?;
                Ok(true)
            };
            if self.as_writer(Urgency::Ordinary, work).await? {
                self.refresh().await?;
            }
        }
        Ok(())
    }
}

/// The issuing authority that signs, and the one that is to follow, if that is good now: it may have run out as well, or have been made by a
/// clock that was ahead.
fn issuers(all: &[Authority], now: u64) -> Option<(&Authority, Option<&Authority>)> {
    let find = |state| {
        all.iter()
            .find(|one| one.kind == Kind::Issuer && one.state == state)
    };
    let prepared =
        find(State::Prepared).filter(|one| (one.not_before..one.not_after).contains(&now));
    find(State::Active).map(|active| (active, prepared))
}
