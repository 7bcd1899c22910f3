//! Revocation: what is denied, told to everybody at once, and who has it. What an entry touches is `skans_identity::deny`'s.

use std::time::Duration;

use serde_json::json;
use skans_identity::deny::{Entry, Order, Target};
use skans_store::certificates::{self, Which};
use skans_store::{Tx, agents, authorities, deny};
use tokio::time::Instant;

use crate::clock;
use crate::error::Error;
use crate::event::{self, Kind};
use crate::gate::By;
use crate::state::Control;
use crate::writer::Urgency;

/// Added to the end of the last certificate that an entry touches: clocks differ, and a link may be opened in the last
/// second.
const MARGIN: u64 = 300;
/// For a key that no certificate here has: the longest life of a leaf.
const LONGEST: u64 = 24 * 3600;
/// An agent that was not seen for so long, in seconds, is not waited for: its leaf has run out, or it has no link.
const AWAY: u64 = 3600;

/// How far an entry has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spread {
    /// Agents that were seen lately.
    pub(crate) agents: u64,
    /// Those of them on which it holds.
    pub(crate) acknowledged: u64,
    /// Some of those on which it does not hold yet, by name.
    pub(crate) missing: Vec<String>,
}

impl Control {
    /// Denies a target from now on: the entry is durable and every watcher of this replica has been told when it returns.
    ///
    /// # Errors
    /// [`Error::Identity`] for a reason that is none, and those of the store.
    pub(crate) async fn deny(&self, by: &By, target: Target, reason: &str) -> Result<u64, Error> {
        let actor = by.actor.clone();
        let reason = reason.to_owned();
        let seq = self
            .as_writer(Urgency::Urgent, move |tx, writer, now| {
                deny_in(tx, writer, now, &target, &reason, &actor)
            })
            .await?;
        // It is durable: whatever fails from here on, the next head tells of it.
        if let Err(error) = self.refresh().await {
            tracing::error!(
                "deny entry {seq} is kept, and will be told with the next head: {error}"
            );
        }
        Ok(seq)
    }

    /// Takes a denial back.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such entry, and those of the store.
    pub(crate) async fn allow_again(
        &self,
        by: &By,
        lifted: u64,
        reason: &str,
    ) -> Result<u64, Error> {
        let actor = by.actor.clone();
        let reason = reason.to_owned();
        let seq = self
            .as_writer(Urgency::Quick, move |tx, writer, now| {
                let unknown = || Error::not_found("deny entry", lifted.to_string());
                let entry = deny::get(tx, lifted)?.ok_or_else(unknown)?;
                let target = Target::parse(entry.kind, &entry.target)?;
                if matches!(target, Target::Allow(_)) {
                    return Err(Error::Conflict(format!("deny entry {lifted} takes back another one")));
                }
                let order = Order {
                    target: Target::Allow(lifted),
                    time: now,
                    until: 0,
                    reason: reason.clone(),
                };
                let seq = append(tx, writer, order)?;
                if !crate::issue::in_force(tx, &target, now)? {
                    unmark(tx, &target, now)?;
                }
                let details = json!({ "seq": seq, "lifted": lifted, "kind": target.label(), "reason": reason });
                event::tell(tx, Kind::AllowedAgain, &actor, &target.text(), &details)?;
                Ok(seq)
            })
            .await?;
        self.refresh().await?;
        Ok(seq)
    }

    /// On how many agents an entry holds.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn spread(&self, seq: u64) -> Result<Spread, Error> {
        let epoch = self.news.borrow().epoch;
        let since = clock::seconds().saturating_sub(AWAY);
        let spread = self.store.read(move |tx| {
            // All that were seen are "behind" the highest number there is.
            let seen = count(tx, u64::from(u32::MAX), u64::from(u32::MAX), since)?.0;
            let (behind, missing) = count(tx, epoch, seq, since)?;
            Ok(Spread {
                agents: seen,
                acknowledged: seen - behind,
                missing,
            })
        });
        Ok(spread.await?)
    }

    /// Waits until an entry holds on all agents that were seen lately, but not longer than `patience`.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn spread_within(
        &self,
        seq: u64,
        patience: Duration,
    ) -> Result<Spread, Error> {
        let deadline = Instant::now() + patience;
        let mut written = self.acknowledgements.written();
        loop {
            let spread = self.spread(seq).await?;
            if spread.acknowledged >= spread.agents || Instant::now() >= deadline {
                return Ok(spread);
            }
            // Others write acknowledgements as well, on their replicas: look once a second at the latest.
            let next = (Instant::now() + Duration::from_secs(1)).min(deadline);
            let _ = tokio::time::timeout_at(next, written.changed()).await;
        }
    }
}

/// Denies a target inside a transaction, with its event. Gives the number of the entry.
///
/// # Errors
/// [`Error::Identity`] for a reason that is none, and those of the store.
pub(crate) fn deny_in(
    tx: &mut Tx<'_>,
    writer: skans_store::writer::Epoch,
    now: u64,
    target: &Target,
    reason: &str,
    actor: &str,
) -> Result<u64, Error> {
    let until = until(tx, target, now)?;
    let order = Order {
        target: target.clone(),
        time: now,
        until,
        reason: reason.to_owned(),
    };
    let seq = append(tx, writer, order)?;
    let revoked = mark(tx, target, now)?;
    let details = json!({
        "seq": seq, "kind": target.label(), "reason": reason, "until": until, "certificates": revoked,
    });
    event::tell(tx, Kind::Denied, actor, &target.text(), &details)?;
    Ok(seq)
}

/// How many of the agents that were seen lately lack an entry, and how many of them there are.
///
/// # Errors
/// Those of the store.
pub(crate) fn lacking(tx: &mut Tx<'_>, epoch: u64, seq: u64) -> skans_store::Result<(u64, u64)> {
    let since = clock::seconds().saturating_sub(AWAY);
    // All that were seen are "behind" the highest number there is.
    let seen = count(tx, u64::from(u32::MAX), u64::from(u32::MAX), since)?.0;
    Ok((count(tx, epoch, seq, since)?.0, seen))
}

/// How many agents seen since a time lack an entry, and the names of the first of them.
fn count(
    tx: &mut Tx<'_>,
    epoch: u64,
    seq: u64,
    since: u64,
) -> skans_store::Result<(u64, Vec<String>)> {
    const SHOWN: usize = 20;
    let (mut count, mut names) = (0, Vec::new());
    let mut after = String::new();
    loop {
        let page = agents::behind(tx, epoch, seq, since, &after, skans_store::bounds::MAX_PAGE)?;
        let Some(last) = page.last() else {
            return Ok((count, names));
        };
        after.clone_from(&last.id);
        count += page.len() as u64;
        names.extend(
            page.into_iter()
                .take(SHOWN.saturating_sub(names.len()))
                .map(|agent| agent.id),
        );
    }
}

fn append(tx: &mut Tx<'_>, writer: skans_store::writer::Epoch, order: Order) -> Result<u64, Error> {
    deny::append(tx, writer, move |seq, previous| {
        let entry = Entry::after(seq - 1, *previous, order)?;
        Ok(deny::NewEntry {
            entry: entry.encode(),
            hash: entry.hash(),
            time: entry.order().time,
            until: entry.order().until,
            kind: entry.target().kind(),
            target: entry.target().text(),
        })
    })
}

/// When the entry may be forgotten. A name is denied until somebody takes it back: its next certificate would be as good
/// as the last. A key and an authority are gone with what they made.
fn until(tx: &mut Tx<'_>, target: &Target, now: u64) -> Result<u64, Error> {
    let last = match target {
        Target::Id(_) | Target::Node(_) | Target::Allow(_) => return Ok(0),
        Target::Key(key) => certificates::valid_until(tx, &Which::Key(key), now)?,
        Target::Issuer(key) => authorities::by_spki(tx, key)?.map(|authority| authority.not_after),
    };
    Ok(last.unwrap_or(now + LONGEST).max(now) + MARGIN)
}

/// Marks the certificates that it touches, for lists and for the CRL.
fn mark(tx: &mut Tx<'_>, target: &Target, now: u64) -> Result<u64, Error> {
    match target {
        Target::Key(key) => Ok(certificates::revoke(tx, &Which::Key(key), now)?
            + certificates::revoke(tx, &Which::Issuer(key), now)?),
        Target::Id(id) => Ok(certificates::revoke(
            tx,
            &Which::SpiffeId(id.as_str()),
            now,
        )?),
        Target::Issuer(key) => Ok(certificates::revoke(tx, &Which::Issuer(key), now)?),
        Target::Node(name) => {
            let mut count = 0;
            for serial in carrying(tx, name, now)? {
                count += certificates::revoke(tx, &Which::Serial(&serial), now)?;
            }
            Ok(count)
        }
        Target::Allow(_) => Ok(0),
    }
}

fn unmark(tx: &mut Tx<'_>, target: &Target, now: u64) -> Result<(), Error> {
    match target {
        Target::Key(key) => certificates::allow_again(tx, &Which::Key(key), now).map(drop)?,
        Target::Id(id) => {
            certificates::allow_again(tx, &Which::SpiffeId(id.as_str()), now).map(drop)?
        }
        Target::Issuer(key) => certificates::allow_again(tx, &Which::Issuer(key), now).map(drop)?,
        Target::Node(name) => {
            for serial in carrying(tx, name, now)? {
                certificates::allow_again(tx, &Which::Serial(&serial), now)?;
            }
        }
        Target::Allow(_) => {}
    }
    Ok(())
}

/// The valid certificates that carry a node name: those of its host whose ID ends in its first half.
pub(crate) fn carrying(
    tx: &mut Tx<'_>,
    name: &skans_identity::node_name::NodeName,
    now: u64,
) -> Result<Vec<Vec<u8>>, Error> {
    let host = name.host().to_string();
    let end = format!("/node/{}", name.alive());
    let rows = valid(tx, &Which::Host(&host), now)?;
    Ok(rows
        .into_iter()
        .filter(|row| row.spiffe_id.ends_with(&end))
        .map(|row| row.serial)
        .collect())
}

/// All valid certificates of a kind, revoked ones as well.
///
/// # Errors
/// Those of the store.
pub(crate) fn valid(
    tx: &mut Tx<'_>,
    which: &Which<'_>,
    now: u64,
) -> skans_store::Result<Vec<certificates::Certificate>> {
    let mut found = Vec::new();
    let mut after: Option<(u64, Vec<u8>)> = None;
    loop {
        let page = certificates::Page {
            valid_after: now,
            expiring_before: None,
            after: after
                .as_ref()
                .map(|(not_after, serial)| certificates::Cursor {
                    not_after: *not_after,
                    serial,
                }),
            limit: skans_store::bounds::MAX_PAGE,
        };
        let rows = certificates::list(tx, which, &page)?;
        let Some(last) = rows.last() else {
            return Ok(found);
        };
        after = Some((last.not_after, last.serial.clone()));
        found.extend(rows);
    }
}

/// A target as people and programs name it: `id`, `key`, `node` or `issuer`, and its text.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Identity`].
pub(crate) fn target(kind: &str, text: &str) -> Result<Target, Error> {
    let kind = match kind {
        "key" => 1,
        "id" => 2,
        "node" => 3,
        "issuer" => 4,
        other => {
            return Err(Error::Invalid(format!(
                "kind: found {other:?}, wanted id, key, node or issuer"
            )));
        }
    };
    Ok(Target::parse(kind, text)?)
}
