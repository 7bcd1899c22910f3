//! Forbids that wait for no stage: added to the set in force at once, and to the candidate of a roll-out that is under way. Permits are never
//! added this way.

use std::collections::BTreeSet;

use serde_json::json;
use skans_policy::rollout::{reach, with_forbids, with_forbids_of};
use skans_policy::{File, Source};
use skans_store::certificates::Which;
use skans_store::policies::{self, PolicySet};
use skans_store::rollouts::{self, Rollout};

use super::source;
use crate::clock;
use crate::denial;
use crate::error::Error;
use crate::event::{self, Kind};
use crate::gate::By;
use crate::policies::Checked;
use crate::state::Control;
use crate::writer::Urgency;

/// Longest text of forbids, in bytes: some hundred of them, written in a hurry.
pub(crate) const MAX_FORBIDS: usize = 32 * 1024;

/// Whom forbids could touch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touched {
    /// Nodes with a valid certificate that the widest of them names at its narrower end.
    pub(crate) nodes: usize,
    /// All nodes with a valid certificate.
    pub(crate) of: usize,
}

impl Touched {
    /// More than a tenth: then one person could cut a cluster by a mistake, or on purpose.
    pub(crate) const fn is_much(self) -> bool {
        self.nodes.saturating_mul(10) > self.of
    }
}

impl Control {
    /// Whom these forbids could touch, by the scopes that they have.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they are no forbids; those of the store.
    pub(crate) async fn touched(&self, forbids: &str) -> Result<Touched, Error> {
        if forbids.len() > MAX_FORBIDS {
            return Err(Error::Invalid(format!(
                "forbids: found {} bytes, wanted at most {MAX_FORBIDS}",
                forbids.len()
            )));
        }
        let read = self.store.read(|tx| {
            let valid = denial::valid(tx, &Which::All, clock::seconds())?;
            Ok((policies::active(tx)?, valid))
        });
        let (active, valid) = read.await?;
        let ids = valid.into_iter().map(|one| one.spiffe_id);
        let nodes: BTreeSet<String> = ids.filter(|id| id.contains("/node/")).collect();
        let active = active.ok_or_else(nothing)?;
        let text = forbids.to_owned();
        let looked = tokio::task::spawn_blocking(move || {
            let active = source(&active)?;
            let wrong = |problems: skans_policy::Problems| Error::Invalid(problems.to_string());
            with_forbids(&active, &text).map_err(wrong)?;
            let alone = Source {
                policies: vec![File {
                    name: "forbid.cedar".to_owned(),
                    text,
                }],
                roles: Vec::new(),
                ..active
            };
            let touched = reach(&alone, &nodes).map_err(wrong)?;
            Ok(Touched {
                nodes: touched,
                of: nodes.len(),
            })
        });
        looked
            .await
            .map_err(|error| Error::Internal(format!("forbids: {error}")))?
    }

    /// Puts the set in force with these forbids more in its place. Gives its number.
    ///
    /// A candidate that is being rolled out gets them as well, and the roll-out goes on with it: it ends for nobody's emergency, and
    /// what is forbidden is forbidden in every cohort.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they are no forbids, or do not fit; [`Error::Conflict`] if the set in force changed meanwhile; those of the store.
    pub(crate) async fn forbid(
        &self,
        by: By,
        forbids: String,
        reason: String,
    ) -> Result<u64, Error> {
        let read = self.store.try_read(|tx| {
            let row = rollouts::under_way(tx)?;
            let candidate = match &row {
                Some(row) => policies::get(tx, row.n)?,
                None => None,
            };
            Ok::<_, Error>((policies::active(tx)?, row, candidate))
        });
        let (active, row, candidate) = read.await?;
        let active = active.ok_or_else(nothing)?;
        let (base, home) = (active.summary.n, self.home.clone());
        // Who forbids something in it has not written it: neither may its author take it on now, nor is somebody else kept from that.
        let author = candidate.as_ref().map(|set| set.summary.author.clone());
        let made = tokio::task::spawn_blocking(move || {
            // What is forbidden is the same in both, whatever the candidate calls by the names of its groups.
            let of = source(&active)?;
            let made = |set: &PolicySet| {
                let more = with_forbids_of(&source(set)?, &of, &forbids)
                    .map_err(|problems| Error::Invalid(problems.to_string()))?;
                Checked::made_of(&more.to_canonical(), &[], &home)
            };
            Ok::<_, Error>((made(&active)?, candidate.as_ref().map(made).transpose()?))
        });
        let (checked, candidate) = made
            .await
            .map_err(|error| Error::Internal(format!("forbids: {error}")))??;
        let n = self
            .as_writer(Urgency::Urgent, move |tx, writer, now| {
                by.spend(tx, now)?;
                let same = policies::active(tx)?.is_some_and(|set| set.summary.n == base);
                let present = rollouts::under_way(tx)?;
                if !same || present.as_ref().map(|row| row.n) != row.as_ref().map(|row| row.n) {
                    return Err(Error::Conflict(
                        "the sets have changed meanwhile: ask again".to_owned(),
                    ));
                }
                let n = checked.propose_in_any_case(tx, writer, &by.actor, now)?;
                crate::policies::activate(tx, writer, n, &by.actor, now)?;
                let mut rolled = None;
                if let (Some(row), Some(candidate), Some(author)) = (present, &candidate, &author) {
                    // Above the other one: agents of a cohort go on to it, all others to the other one.
                    let next = candidate.propose_for(tx, writer, author, &by.actor, now)?;
                    rolled = Some(next);
                    rollouts::change(
                        tx,
                        writer,
                        &Rollout {
                            n: next,
                            base: n,
                            ..row
                        },
                    )?;
                }
                let details = json!({ "reason": reason, "before": base, "candidate": rolled });
                event::tell(
                    tx,
                    Kind::PolicyForbidden,
                    &by.actor,
                    &n.to_string(),
                    &details,
                )?;
                Ok(n)
            })
            .await?;
        if let Err(error) = self.rollout_moved().await {
            tracing::error!("policy set {n} is kept, and will be told with the next head: {error}");
        }
        Ok(n)
    }
}

fn nothing() -> Error {
    Error::Conflict("no set is in force that something could be forbidden in".to_owned())
}
