//! Keys that may be stolen: an incident is opened by a person or by what agents report, has its keys replaced and denied, and
//! keeps a time line. What comes next is decided in `course`, done in `respond`; what agents report is weighed in `signals`.

mod course;
mod respond;
mod signals;

use std::collections::BTreeSet;

use serde_json::json;
use skans_identity::deny::Target;
use skans_identity::id::{Role, SpiffeId};
use skans_store::certificates::{Certificate, Which};
use skans_store::incidents::{self, Incident, Key, State, Step};
use skans_store::writer::Epoch;
use skans_store::{Tx, bounds};

use crate::clock;
use crate::denial;
use crate::error::Error;
use crate::event::{self, Kind};
use crate::gate::By;
use crate::hex;
use crate::state::Control;
use crate::writer::Urgency;

pub(crate) use signals::{Cause, Found, note};

/// What a person says is compromised.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// A SPIFFE ID, a node name or a key.
    pub(crate) target: Target,
    /// Why, for people and for the deny stream.
    pub(crate) reason: String,
    /// Have the keys replaced before they are denied, so that no honest link is cut.
    pub(crate) keep_links: bool,
}

impl Control {
    /// The keys that a person's incident would be about, as things are now.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no valid certificate, [`Error::Invalid`] for what is not replaced this way, and those of the
    /// store.
    pub(crate) async fn affected(&self, wanted: &Wanted) -> Result<Vec<Key>, Error> {
        let target = checked(wanted)?.clone();
        self.store
            .try_read(move |tx| affected(tx, &target, clock::seconds()))
            .await
    }

    /// Opens an incident for a person. Unless links are to be kept, the keys are denied when it returns.
    ///
    /// # Errors
    /// As [`Control::affected`]; [`Error::Conflict`] if there are too many incidents.
    pub(crate) async fn compromised(&self, by: &By, mut wanted: Wanted) -> Result<u64, Error> {
        // Nobody is kept from saying it by a line break.
        wanted.reason = wanted.reason.replace(char::is_control, " ");
        signals::bounded(&mut wanted.reason, MAX_REASON);
        checked(&wanted)?;
        let actor = by.actor.clone();
        let id = self
            .as_writer(Urgency::Urgent, move |tx, writer, now| {
                let keys = affected(tx, &wanted.target, now)?;
                let agents = |key: &Key| key.spiffe_id.contains("/skans/agent/");
                if wanted.keep_links && keys.iter().any(agents) {
                    return Err(Error::Conflict(format!(
                        "{} is an agent's: whoever has its key could get another certificate by it. It goes at once, or not at all",
                        wanted.target.text()
                    )));
                }
                let state = if wanted.keep_links {
                    State::Renewing
                } else {
                    State::Cutting
                };
                let opening = Opening {
                    state,
                    cause: Cause::Reported,
                    subject: wanted.target.text(),
                    keys,
                    sources: actor.clone(),
                    actor: actor.clone(),
                    text: format!("{actor} says that it is compromised: {}", wanted.reason),
                };
                let id = open(tx, writer, &opening)?;
                if state == State::Cutting {
                    cut(tx, writer, now, id, &wanted.reason)?;
                }
                Ok(id)
            })
            .await?;
        self.incident_moved(id).await;
        Ok(id)
    }

    /// Everybody is told; whatever fails here is told with the next head.
    async fn incident_moved(&self, id: u64) {
        self.incidents.notify_one();
        if let Err(error) = self.refresh().await {
            tracing::error!("incident {id} is kept, and will be told with the next head: {error}");
        }
    }
}

/// Longest reason, in bytes: it goes into entries of the deny stream, behind the number of the incident.
const MAX_REASON: usize = 400;

/// Whose keys are not replaced by the response to an incident.
fn checked(wanted: &Wanted) -> Result<&Target, Error> {
    match &wanted.target {
        Target::Id(id) => match id.role() {
            Some(Role::Control(_)) => Err(Error::Invalid(format!(
                "target: found {id}, wanted a node, an agent, a gateway or a person. A control plane has the keys of the authority: \
                 skans ca revoke, and another authority"
            ))),
            Some(Role::Agent(_)) if wanted.keep_links => Err(Error::Conflict(format!(
                "{id} is an agent: whoever has its key could get another certificate by it. It goes at once, or not at all"
            ))),
            _ => Ok(&wanted.target),
        },
        Target::Key(_) | Target::Node(_) => Ok(&wanted.target),
        Target::Issuer(_) | Target::Allow(_) => Err(Error::Invalid(
            "target: wanted a SPIFFE ID, a node name or a key; of an authority: skans ca taint, skans ca revoke".to_owned(),
        )),
    }
}

/// The keys of all certificates that a target touches: valid, not revoked. Of an agent, those of its nodes as well: whoever has its
/// key could have got them.
fn affected(tx: &mut Tx<'_>, target: &Target, now: u64) -> Result<Vec<Key>, Error> {
    let rows = match target {
        Target::Key(key) => denial::valid(tx, &Which::Key(key), now)?,
        Target::Id(id) => {
            let mut rows = denial::valid(tx, &Which::SpiffeId(id.as_str()), now)?;
            if let Some(Role::Agent(agent)) = id.role() {
                rows.extend(denial::valid(tx, &Which::Agent(agent), now)?);
            }
            rows
        }
        Target::Node(name) => {
            let carrying: BTreeSet<_> = denial::carrying(tx, name, now)?.into_iter().collect();
            let rows = denial::valid(tx, &Which::Host(&name.host().to_string()), now)?;
            let carries = |row: &Certificate| carrying.contains(&row.serial);
            rows.into_iter().filter(carries).collect()
        }
        Target::Issuer(_) | Target::Allow(_) => Vec::new(),
    };
    let keys = keys_of(rows);
    if keys.is_empty() {
        return Err(Error::not_found("valid certificate of", target.text()));
    }
    if keys.len() > bounds::MAX_INCIDENT_KEYS {
        return Err(Error::Conflict(format!(
            "found {} keys of {}, wanted at most {} in one incident: name nodes, or revoke the identity (skans identity revoke)",
            keys.len(),
            target.text(),
            bounds::MAX_INCIDENT_KEYS
        )));
    }
    Ok(keys)
}

/// The keys of certificates that were not revoked, each once.
fn keys_of(rows: Vec<Certificate>) -> Vec<Key> {
    let mut seen = BTreeSet::new();
    rows.into_iter()
        .filter(|row| row.revoked_at.is_none() && seen.insert(row.spki))
        .map(|row| Key {
            spki: row.spki,
            spiffe_id: row.spiffe_id,
            host: row.host,
            deny_seq: 0,
            renewed_ms: 0,
        })
        .collect()
}

/// An incident that is to be opened.
struct Opening {
    state: State,
    cause: Cause,
    subject: String,
    keys: Vec<Key>,
    /// Who reported it, one a line.
    sources: String,
    /// Who is said to have opened it.
    actor: String,
    /// The first line of its time line.
    text: String,
}

/// Opens it, with its event and the first line of its time line.
fn open(tx: &mut Tx<'_>, writer: Epoch, opening: &Opening) -> Result<u64, Error> {
    let new = Incident {
        id: 0,
        state: opening.state,
        cause: opening.cause.word().to_owned(),
        subject: opening.subject.clone(),
        sources: opening.sources.clone(),
        by_person: opening.cause == Cause::Reported,
        opened_ms: clock::milliseconds(),
    };
    let id = incidents::open(tx, writer, &new, &opening.keys)?;
    let keys: Vec<_> = opening.keys.iter().map(|key| hex::of(&key.spki)).collect();
    let details = json!({
        "incident": id, "cause": new.cause, "state": new.state.word(), "sources": new.sources,
        "spki_sha256": keys, "text": opening.text,
    });
    event::tell_of(
        tx,
        Kind::IncidentOpened,
        &opening.actor,
        &new.subject,
        &details,
        Some(&correlation(id)),
    )?;
    line(tx, id, "opened", opening.text.clone())?;
    Ok(id)
}

/// Adds a line to a time line, now.
fn line(tx: &mut Tx<'_>, id: u64, kind: &str, mut text: String) -> Result<(), Error> {
    crate::incident::signals::bounded(&mut text, bounds::MAX_TEXT);
    let step = Step {
        time_ms: clock::milliseconds(),
        kind: kind.to_owned(),
        text,
    };
    incidents::tell(tx, id, &step)?;
    Ok(())
}

/// A line, and an event that tells the same.
fn told(tx: &mut Tx<'_>, incident: &Incident, kind: &str, text: String) -> Result<(), Error> {
    let details = json!({ "incident": incident.id, "step": kind, "text": text });
    event::tell_of(
        tx,
        Kind::IncidentStep,
        "control",
        &incident.subject,
        &details,
        Some(&correlation(incident.id)),
    )?;
    line(tx, incident.id, kind, text)
}

/// Denies the keys of an incident that are not denied yet.
fn cut(tx: &mut Tx<'_>, writer: Epoch, now: u64, id: u64, reason: &str) -> Result<(), Error> {
    let reason = format!("incident {id}: {reason}");
    for mut key in incidents::keys(tx, id)? {
        if key.deny_seq != 0 {
            continue;
        }
        let target = Target::Key(key.spki);
        key.deny_seq = denial::deny_in(tx, writer, now, &target, &reason, "control")?;
        incidents::note(tx, id, &key)?;
        let text = format!(
            "key {} of {} is denied, entry {}",
            short(&key.spki),
            whose(&key),
            key.deny_seq
        );
        line(tx, id, "denied", text)?;
    }
    incidents::move_to(tx, writer, id, State::Cutting)?;
    Ok(())
}

/// What joins the events of an incident.
fn correlation(id: u64) -> String {
    format!("incident-{id}")
}

/// The beginning of a key's hash: enough to tell it from others in a time line.
fn short(spki: &[u8; 32]) -> String {
    hex::of(spki.get(..8).unwrap_or_default())
}

/// Whose a key is, for people.
fn whose(key: &Key) -> String {
    match (key.spiffe_id.as_str(), key.host.as_str()) {
        ("", _) => "nobody known here".to_owned(),
        (id, "") => id.to_owned(),
        (id, host) => format!("{id} at {host}"),
    }
}

/// Whether automatic means may touch an identity: never a control plane, a person or an agent, whose keys open more than links.
fn may_touch(id: &str) -> bool {
    SpiffeId::parse(id)
        .is_ok_and(|id| matches!(id.role(), Some(Role::Node { .. } | Role::Gateway(_))))
}
