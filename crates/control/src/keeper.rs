//! What the writer does for all replicas: it keeps the fence, sees to a first policy set, replaces authorities in time, and forgets what has run out.
//!
//! When an authority is replaced is decided in `rotation`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use skans_store::writer::{self, Epoch};
use skans_store::{
    Tx, approvals, bounds, certificates, deny, incidents, log, observed, requests, shown, spools,
    tokens,
};

use crate::clock::{self, Belief};
use crate::error::Error;
use crate::event::{self, Kind};
use crate::state::Control;

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(5);
/// For how long a writer may be silent before another takes over, in seconds (0010): three rounds.
const SILENCE: u64 = 15;
/// For how long a certificate is remembered that has run out, in seconds: whoever looks into an incident asks about last
/// week. Vault suffers beyond 100,000 rows; here they cost disk alone.
const CERTIFICATES: u64 = 30 * 24 * 3600;
/// For how long it is remembered who saw a certificate, in seconds.
const SIGHTINGS: u64 = 7 * 24 * 3600;
/// For how long a token is remembered that has run out, in seconds.
const TOKENS: u64 = 30 * 24 * 3600;
/// For how long it is remembered where a key was shown, in seconds: a little longer than the longest life of a leaf.
const SHOWN: u64 = 25 * 3600;
/// For how long an incident is remembered that is over, in milliseconds: a year, for whoever has to report what happened.
const INCIDENTS: u64 = 365 * 24 * 3600 * 1000;
/// For how long it is remembered up to where a spool of an agent was taken, in seconds: as long as events by default. Who comes back later
/// is a new agent.
const SPOOLS: u64 = 90 * 24 * 3600;
/// Deny entries that are kept although they have run out, so that agents that come back need no snapshot.
const DENIALS: u64 = 1024;
/// Bundles of events that are removed at once: a thousand events.
const BUNDLES: u64 = 4;
/// How often that is done in one round: 4,000 a second, more than can be written for long.
const PAGES: usize = 20;

/// What the writer last said of itself, its epoch and the time of its clock, and since when. Its clock may be ahead of ours: who says nothing new is silent,
/// whatever time he said it was.
#[derive(Debug, Default)]
struct Heard(Option<((u64, u64), Instant)>);

impl Heard {
    fn from(&mut self, said: (u64, u64)) {
        if self.0.is_none_or(|(known, _)| known != said) {
            self.0 = Some((said, Instant::now()));
        }
    }

    /// What it said last, if it has said nothing new for as long as silence takes.
    fn silent(&self) -> Option<(u64, u64)> {
        let (said, since) = self.0?;
        (since.elapsed() >= Duration::from_secs(SILENCE)).then_some(said)
    }
}

impl Control {
    /// Does it, until the process stops.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut rounds = clock::turns(ROUND);
        let mut settling = clock::Settling::new();
        let mut holder = Heard::default();
        loop {
            tokio::select! {
                _ = rounds.tick() => {}
                () = self.stopping.cancelled() => return,
            }
            if self.store.read_only().is_some() {
                continue;
            }
            match self.hold(&mut holder).await {
                Ok(Some(_)) => {}
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!("the writer's fence: {error}");
                    continue;
                }
            }
            if let Err(error) = self.first_policy().await {
                tracing::warn!("no first policy set yet: {error}");
            }
            // A clock that is ahead for a moment would take revocations with it, and the log.
            let (now, belief) = settling.now();
            let settled = (belief == Belief::Settled).then_some(now);
            if let Err(error) = self.rotate_in_time(now, belief).await {
                tracing::warn!("authorities are not replaced: {error}");
            }
            if let Some(now) = settled
                && let Err(error) = self.forget(now).await
            {
                tracing::warn!("what has run out is not forgotten: {error}");
            }
            if let Err(error) = self.forget_events(settled).await {
                tracing::warn!("old events are not removed: {error}");
            }
        }
    }

    /// Says that this replica lives, if it is the writer; takes over, if the writer has not been heard of.
    async fn hold(&self, heard: &mut Heard) -> Result<Option<Epoch>, Error> {
        let (held, name) = (self.writer(), self.config.name.clone());
        let silent = heard.silent();
        let work = move |tx: &mut Tx<'_>| {
            let now = clock::seconds();
            let present = writer::holder(tx)?;
            let said = (present.epoch, present.seen);
            if let Some(epoch) = held.filter(|epoch| epoch.number() == present.epoch) {
                writer::touch(tx, epoch, now)?;
                return Ok((Some(epoch), said));
            }
            // Of our own name: this replica before it was restarted.
            if present.name == name || silent == Some(said) {
                return Ok((Some(writer::claim(tx, &name, now)?), said));
            }
            Ok((writer::claim_if_silent(tx, &name, now, SILENCE)?, said))
        };
        let (epoch, said) = self.store.write_though_held::<_, Error, _>(work).await?;
        heard.from(said);
        if epoch.is_some() && held != epoch {
            tracing::info!(replica = self.config.name, "this replica is the writer");
        }
        self.set_writer(epoch);
        Ok(epoch)
    }

    /// Forgets a page of each: what is left is forgotten the next time.
    async fn forget(&self, now: Duration) -> Result<(), Error> {
        let Some(writer) = self.writer() else {
            return Ok(());
        };
        let work = move |tx: &mut Tx<'_>| {
            let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
            let now = now.as_secs();
            // Sightings first: one without its certificate would look like a forgery.
            observed::prune(tx, now.saturating_sub(SIGHTINGS), bounds::MAX_PAGE)?;
            certificates::prune(tx, now.saturating_sub(CERTIFICATES), bounds::MAX_PAGE)?;
            tokens::prune(tx, now.saturating_sub(TOKENS), bounds::MAX_PAGE)?;
            approvals::prune(tx, now, bounds::MAX_PAGE)?;
            requests::prune(tx, now)?;
            shown::prune(tx, now.saturating_sub(SHOWN), bounds::MAX_PAGE)?;
            spools::prune(tx, now.saturating_sub(SPOOLS), bounds::MAX_PAGE)?;
            let before = millis.saturating_sub(INCIDENTS);
            incidents::prune(tx, before, bounds::MAX_PAGE)?;
            deny::forget(tx, writer, now, DENIALS)?;
            Ok(())
        };
        Ok(self.store.write(work).await?)
    }

    /// Removes the oldest events, as the settings say: some pages in a round, each in a transaction of its own, so that others
    /// get their turn. What was removed is told, and so is in the log. While the clock is not believed, only what there is no room for goes.
    async fn forget_events(&self, now: Option<Duration>) -> Result<(), Error> {
        let Some(writer) = self.writer() else {
            return Ok(());
        };
        let retention = self.config.events.retention;
        let most = self.config.events.at_most;
        for _ in 0..PAGES {
            let name = self.config.name.clone();
            let work = move |tx: &mut Tx<'_>| {
                let retention = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
                let now = now.map_or(0, |now| now.as_millis());
                let now = u64::try_from(now).unwrap_or(u64::MAX);
                let before = now.saturating_sub(retention);
                let gone = log::prune(tx, writer, before, most, BUNDLES)?;
                if let Some(gone) = gone {
                    let details = json!({ "log": gone.epoch, "from": gone.from, "to": gone.to });
                    event::tell(tx, Kind::LogPruned, "control", &name, &details)?;
                }
                Ok::<_, Error>(gone)
            };
            let Some(gone) = self.store.write_though_held(work).await? else {
                break;
            };
            self.metrics.removed_events(gone.events);
        }
        Ok(())
    }
}
