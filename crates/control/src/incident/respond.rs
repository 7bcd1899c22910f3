//! What is done about incidents, step by step: the writer looks at those under way, says to itself what comes next (`course`), and
//! does it in one transaction. A replica that takes over goes on where the other one was.

use std::sync::Arc;
use std::time::Duration;

use skans_store::Tx;
use skans_store::certificates::Which;
use skans_store::incidents::{self, Incident, Key, State};
use skans_store::writer::Epoch;

use super::course::{Facts, Next, next};
use super::{Cause, cut, short, told, whose};
use crate::clock;
use crate::denial;
use crate::error::Error;
use crate::state::Control;
use crate::writer::Urgency;

/// Between two looks while an incident is under way, and while none is.
const BUSY: Duration = Duration::from_millis(200);
const IDLE: Duration = Duration::from_secs(5);

impl Control {
    /// Does it, until the process stops.
    pub(crate) async fn respond(self: Arc<Self>) {
        let mut written = self.acknowledgements.written();
        loop {
            let busy = match self.advance().await {
                Ok(busy) => busy,
                Err(error) => {
                    tracing::warn!("incidents are not followed: {error}");
                    false
                }
            };
            let nap = if busy { BUSY } else { IDLE };
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                () = self.incidents.notified() => {}
                changed = written.changed(), if busy => if changed.is_err() { return },
                () = self.stopping.cancelled() => return,
            }
        }
    }

    /// One step of each. Says whether some are under way.
    async fn advance(&self) -> Result<bool, Error> {
        if self.writer().is_none() || self.store.read_only().is_some() {
            return Ok(false);
        }
        let epoch = self.news.borrow().epoch;
        let looked = self.store.try_read(move |tx| {
            let mut due = Vec::new();
            let under_way = incidents::under_way(tx)?;
            for incident in &under_way {
                let keys = incidents::keys(tx, incident.id)?;
                let fresh = renewed(tx, incident, &keys)?;
                if !fresh.is_empty() || next(&facts(tx, incident, &keys, epoch)?) != Next::Wait {
                    due.push(incident.id);
                }
            }
            Ok::<_, Error>((!under_way.is_empty(), due))
        });
        let (busy, due) = looked.await?;
        let mut failed = false;
        for id in due {
            let stepped = self
                .as_writer(Urgency::Urgent, move |tx, writer, now| {
                    step(tx, writer, now, id, epoch)
                })
                .await;
            let denied = match stepped {
                Ok(denied) => denied,
                Err(error) => {
                    // The others go on.
                    tracing::error!(
                        incident = id,
                        "its next step fails, and is tried again: {error}"
                    );
                    failed = true;
                    continue;
                }
            };
            if denied && let Err(error) = self.refresh().await {
                tracing::error!(
                    "incident {id}: its denials will be told with the next head: {error}"
                );
            }
        }
        // A step that fails, fails again at once.
        Ok(busy && !failed)
    }
}

/// What comes next, done. Says whether something was denied.
fn step(tx: &mut Tx<'_>, writer: Epoch, now: u64, id: u64, epoch: u64) -> Result<bool, Error> {
    let Some(incident) = incidents::get(tx, id)? else {
        return Ok(false);
    };
    let mut keys = incidents::keys(tx, id)?;
    for (spki, serial) in renewed(tx, &incident, &keys)? {
        let Some(key) = keys.iter_mut().find(|key| key.spki == spki) else {
            continue;
        };
        key.renewed_ms = clock::milliseconds();
        incidents::note(tx, id, key)?;
        let text = format!("{} has another key, certificate {serial}", whose(key));
        told(tx, &incident, "renewed", text)?;
    }
    let facts = facts(tx, &incident, &keys, epoch)?;
    match next(&facts) {
        Next::Wait => {}
        Next::Cut => {
            cut(tx, writer, now, id, &incident.cause)?;
            return Ok(true);
        }
        Next::TellOfWaiting => {
            let missing: Vec<_> = keys
                .iter()
                .filter(|key| key.renewed_ms == 0)
                .map(|key| format!("{} of {}", short(&key.spki), whose(key)))
                .collect();
            tracing::error!(
                incident = id,
                "a key may be stolen, and whoever it belongs to has no other yet: it is not denied by itself (skans identity incidents {id})"
            );
            let text = format!(
                "not denied: one report, and no other key yet for {}. If you know better: skans identity compromise",
                missing.join(", ")
            );
            told(tx, &incident, "waiting", text)?;
        }
        Next::TellOfHeld => {
            let (_, seen) = denial::lacking(tx, epoch, last(&keys))?;
            let text = format!("the old keys open nothing on {seen} of {seen} agents any more");
            told(tx, &incident, "held", text)?;
        }
        Next::End => {
            incidents::move_to(tx, writer, id, State::Over)?;
            let behind = keys.iter().filter(|key| key.renewed_ms == 0).count();
            let text = if behind == 0 {
                "over: everybody has another key".to_owned()
            } else {
                format!("over: {behind} keys were not replaced by their owners")
            };
            told(tx, &incident, "over", text)?;
        }
    }
    Ok(false)
}

/// Which of the keys have a successor since the incident was opened, by whose certificate: those that were not known to.
fn renewed(
    tx: &mut Tx<'_>,
    incident: &Incident,
    keys: &[Key],
) -> Result<Vec<([u8; 32], String)>, Error> {
    let mut found = Vec::new();
    // Replicas have clocks of their own; a successor that is a little older is one as well.
    let since = (incident.opened_ms / 1000).saturating_sub(30);
    for key in keys
        .iter()
        .filter(|key| key.renewed_ms == 0 && !key.spiffe_id.is_empty())
    {
        let rows = denial::valid(tx, &Which::SpiffeId(&key.spiffe_id), clock::seconds())?;
        let successor = rows.into_iter().find(|row| {
            row.host == key.host
                && row.issued_at >= since
                && row.revoked_at.is_none()
                && keys.iter().all(|old| old.spki != row.spki)
        });
        found.extend(successor.map(|row| (key.spki, crate::hex::of(&row.serial))));
    }
    Ok(found)
}

fn facts(tx: &mut Tx<'_>, incident: &Incident, keys: &[Key], epoch: u64) -> Result<Facts, Error> {
    let now = clock::milliseconds();
    let since = |time: u64| Duration::from_millis(now.saturating_sub(time));
    let steps = incidents::steps(tx, incident.id)?;
    let is_told = |kind: &str| steps.iter().any(|step| step.kind == kind);
    // Keys that belong to nobody here have no successor to wait for.
    let owned = || keys.iter().filter(|key| !key.spiffe_id.is_empty());
    let renewed = owned().all(|key| key.renewed_ms != 0).then(|| {
        owned()
            .map(|key| key.renewed_ms)
            .max()
            .unwrap_or(incident.opened_ms)
    });
    let lacking = match incident.state {
        State::Cutting => Some(denial::lacking(tx, epoch, last(keys))?.0),
        _ => None,
    };
    Ok(Facts {
        state: incident.state,
        // What is refused may be the fault of a policy: that alone cuts nobody off.
        certain: incident.by_person
            || (incident.sources.lines().count() >= 2
                && incident.cause != Cause::DenialBurst.word()),
        age: since(incident.opened_ms),
        renewed: renewed.map(since),
        lacking,
        waits: is_told("waiting"),
        held: is_told("held"),
    })
}

/// The last entry of the deny stream that is one of theirs.
fn last(keys: &[Key]) -> u64 {
    keys.iter().map(|key| key.deny_seq).max().unwrap_or(0)
}
