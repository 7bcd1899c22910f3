//! What agents report of keys, and what is made of it: the guard rails of the automatic response. An agent may lie; what it says
//! alone never costs an honest node more than a new certificate.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use skans_api::v1;
use skans_api::v1::suspicion::Kind as Behaviour;
use skans_api::v1::whose_answer::Answer as Said;
use skans_identity::peer::PeerIdentity;
use skans_identity::recovery::{Recovery, SignedRecovery};
use skans_store::certificates::{self, Certificate, Which};
use skans_store::incidents::{self, Incident, Key, State};
use skans_store::shown::{self, Answer, Shown};
use skans_store::writer::Epoch;
use skans_store::{Tx, bounds};

use super::{Opening, may_touch, open, short, told, whose};
use crate::clock;
use crate::config::{Response, ResponseMode};
use crate::denial;
use crate::error::Error;
use crate::event::{self, Kind};
use crate::hex;
use crate::news::News;
use crate::state::Control;
use crate::writer::Urgency;

#[cfg(test)]
mod tests;

/// Over which time reports are added up, in milliseconds: what two agents say within ten minutes speaks of the same.
const WINDOW: u64 = 600_000;
/// How many identities the reports of one agent have replaced within that time. An honest agent reports what is: a thief who goes
/// from node to node with one key is one identity. Ours; others act by hand.
const OF_ONE_REPORTER: usize = 3;
/// How many incidents are opened within that time for what one agent reports, those included about which nothing is done: it must not use up
/// what there is for all.
const TOLD_OF_ONE_REPORTER: usize = 10;
/// How many agents are remembered that report the same.
const SOURCES: usize = 8;
/// How many incidents are opened within that time in all, those included about which nothing is done: the table must not fill.
const OF_ALL: usize = 100;
/// The longest life of a leaf, in seconds: what was issued before a restore has run out by then.
const LONGEST: u64 = 24 * 3600;

/// Why an incident is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cause {
    /// A person says so.
    Reported,
    /// A link with the key that whoever it was issued to did not open.
    KeyElsewhere,
    /// A certificate that an authority of ours signed, and that was never issued.
    NeverIssued,
    /// Two agents were told names that are not in the certificate.
    NameSpoofed,
    /// Two agents refused very much of what it asked for.
    DenialBurst,
}

impl Cause {
    /// The word for it, everywhere.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::KeyElsewhere => "key-in-two-places",
            Self::NeverIssued => "never-issued",
            Self::NameSpoofed => "name-spoofed",
            Self::DenialBurst => "denial-burst",
        }
    }
}

/// What was found, and speaks for a stolen key.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) cause: Cause,
    /// Whose key it is.
    pub(crate) spiffe_id: String,
    pub(crate) host: String,
    /// The key; `None` for whichever the identity has now.
    pub(crate) spki: Option<[u8; 32]>,
    /// The agents that say so.
    pub(crate) reporters: Vec<String>,
    /// What they say, for people.
    pub(crate) text: String,
}

/// What agents may do with what was found.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Verdict {
    /// Have the key replaced, then deny it.
    Replace,
    /// Deny it: it never was anybody's.
    Deny,
    /// Tell people, and why nothing else is done.
    Tell(String),
}

impl Control {
    /// Notes by which links an agent saw which certificates, and asks whoever they were issued to whether those are its own.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what the contract does not allow.
    pub(crate) fn shown(
        leaves: &[Vec<u8>],
        seen: &[v1::Shown],
        reporter: &str,
        now: u64,
    ) -> Result<Vec<([u8; 32], Shown)>, Error> {
        if !seen.is_empty() && seen.len() != leaves.len() {
            return Err(Error::Invalid(format!(
                "observed.shown: found {}, wanted one for each of {} certificates, or none",
                seen.len(),
                leaves.len()
            )));
        }
        let mut all = Vec::new();
        for (leaf, seen) in leaves.iter().zip(seen) {
            // Where no link came of it, there is nobody to ask.
            let Ok(session) = <[u8; 32]>::try_from(seen.session_sha256.as_slice()) else {
                continue;
            };
            if !matches!(seen.address.len(), 4 | 16) {
                return Err(Error::Invalid(format!(
                    "observed.shown.address: found {} bytes, wanted 4 or 16",
                    seen.address.len()
                )));
            }
            let identity = PeerIdentity::from_der(&CertificateDer::from(leaf.as_slice()));
            let shown = Shown {
                spki: identity.map_or([0; 32], |identity| identity.spki_sha256),
                address: seen.address.clone(),
                reporter: reporter.to_owned(),
                session,
                owner: String::new(),
                asked: now.saturating_sub(u64::from(seen.seconds_ago)),
                answer: Answer::Open,
            };
            all.push((crate::caller::sha256(leaf), shown));
        }
        Ok(all)
    }

    /// Takes the answer of an agent.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn answered(&self, agent: &str, said: &v1::WhoseAnswer) -> Result<(), Error> {
        let answer = match said.answer() {
            Said::Mine => Answer::Mine,
            Said::NotMine => Answer::NotMine,
            Said::Unsure => Answer::Unsure,
            // From a newer agent: it says something that is not known here.
            Said::Unspecified => return Ok(()),
        };
        let session = <[u8; 32]>::try_from(said.session_sha256.as_slice());
        let spki = <[u8; 32]>::try_from(said.spki_sha256.as_slice());
        let (Ok(session), Ok(spki)) = (session, spki) else {
            return Err(Error::Invalid(
                "whose: wanted two hashes of 32 bytes".to_owned(),
            ));
        };
        self.metrics.whose(answer);
        let owner = agent.to_owned();
        let work = move |tx: &mut Tx<'_>| {
            let about = shown::answer(tx, &owner, &spki, &session, answer)?;
            let now = clock::seconds();
            let all = denial::valid(tx, &Which::Key(&spki), now)?;
            let whose = all.into_iter().find(|row| row.agent == owner);
            Ok((about, whose))
        };
        let (about, whose) = self
            .store
            .write_though_held::<_, skans_store::Error, _>(work)
            .await?;
        let (Answer::NotMine, Some(certificate)) = (answer, whose) else {
            return Ok(());
        };
        for seen in about {
            let from = address(&seen.address);
            self.found(Found {
                cause: Cause::KeyElsewhere,
                spiffe_id: certificate.spiffe_id.clone(),
                host: certificate.host.clone(),
                spki: Some(spki),
                text: format!(
                    "agent {} has a link with its key {} from {from}; agent {agent}, to which it was issued, knows nothing of that link",
                    seen.reporter,
                    short(&spki)
                ),
                reporters: vec![seen.reporter],
            })
            .await?;
        }
        Ok(())
    }

    /// Takes what an agent finds suspicious of a peer.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn suspected(&self, agent: &str, said: v1::Suspicion) -> Result<(), Error> {
        let cause = match said.kind() {
            Behaviour::NameSpoofed => Cause::NameSpoofed,
            Behaviour::DenialBurst => Cause::DenialBurst,
            Behaviour::Unspecified => return Ok(()),
        };
        let leaf = crate::caller::sha256(&said.leaf);
        let mut detail: String = said.detail.chars().filter(|c| !c.is_control()).collect();
        bounded(&mut detail, 256);
        let (reporter, count) = (agent.to_owned(), said.count);
        let work = move |tx: &mut Tx<'_>| {
            let Some(row) = certificates::by_leaf_hash(tx, &leaf)? else {
                return Ok(None);
            };
            let now = clock::milliseconds();
            let about = (cause.word(), row.spiffe_id.as_str(), row.host.as_str());
            let since = now.saturating_sub(WINDOW);
            let reporters = shown::suspect(tx, about, &reporter, (now, since))?;
            let details = serde_json::json!({
                "kind": cause.word(), "count": count, "detail": detail, "seen_by": reporter, "host": row.host,
            });
            event::tell(tx, Kind::Suspected, &reporter, &row.spiffe_id, &details)?;
            Ok(Some((row, reporters, detail.clone())))
        };
        let Some((row, reporters, detail)) = self
            .store
            .write_though_held::<_, skans_store::Error, _>(work)
            .await?
        else {
            return Ok(());
        };
        if reporters.len() < 2 {
            return Ok(());
        }
        let text = match cause {
            Cause::NameSpoofed => format!(
                "{} agents were told a name that is not in its certificate, the last one {detail:?}",
                reporters.len()
            ),
            _ => format!(
                "{} agents refused very much of what it asked for",
                reporters.len()
            ),
        };
        self.found(Found {
            cause,
            spiffe_id: row.spiffe_id,
            host: row.host,
            spki: None,
            reporters,
            text,
        })
        .await
    }

    /// Opens an incident for what was found, or adds it to the one that there is.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn found(&self, found: Found) -> Result<(), Error> {
        if self.config.response.mode == ResponseMode::Off {
            return Ok(());
        }
        let settings = self.config.response.clone();
        let recovered = recovered(&self.news.borrow());
        let opened = self
            .as_writer(Urgency::Urgent, move |tx, writer, now| {
                weigh(tx, writer, now, &found, &settings, recovered)
            })
            .await?;
        if let Some(id) = opened {
            self.incident_moved(id).await;
        }
        Ok(())
    }
}

/// Notes in a transaction what [`Control::shown`] read. Gives whether somebody is to be asked.
///
/// # Errors
/// Those of the store.
pub(crate) fn note(tx: &mut Tx<'_>, seen: &[([u8; 32], Shown)]) -> skans_store::Result<bool> {
    let mut asks = false;
    for (leaf, shown) in seen {
        let row = match certificates::by_leaf_hash(tx, leaf)? {
            Some(row) => Some(row),
            // A signature can be written in two ways: the key is what counts.
            None => denial::valid(tx, &Which::Key(&shown.spki), clock::seconds())?
                .into_iter()
                .next(),
        };
        let Some(row) = row else {
            continue;
        };
        if row.agent.is_empty() {
            continue;
        }
        let new = Shown {
            spki: row.spki,
            owner: row.agent,
            ..shown.clone()
        };
        asks |= shown::note(tx, &new)?;
    }
    Ok(asks)
}

/// Opens an incident or adds to one, within the guard rails. Gives its number if something is to be done.
fn weigh(
    tx: &mut Tx<'_>,
    writer: Epoch,
    now: u64,
    found: &Found,
    settings: &Response,
    recovered: Option<u64>,
) -> Result<Option<u64>, Error> {
    let keys = keys(tx, found, now)?;
    if keys.is_empty() {
        // It has run out meanwhile, or was denied.
        return Ok(None);
    }
    let recent = incidents::opened_since(tx, clock::milliseconds().saturating_sub(WINDOW))?;
    for incident in &recent {
        let known = incidents::keys(tx, incident.id)?;
        let same = keys
            .iter()
            .all(|key| known.iter().any(|old| old.spki == key.spki));
        // Of what a node does, with whatever key: once within the window.
        let same = same || (found.spki.is_none() && incident.subject == subject(found));
        // One about which nothing is done must not keep what somebody else says from being heard.
        let told = |reporter: &String| incident.sources.lines().any(|source| source == reporter);
        if same && (incident.state != State::Watching || found.reporters.iter().all(told)) {
            return add(tx, incident, found).map(|()| None);
        }
    }
    let of_reporter = recent
        .iter()
        .filter(|one| one.sources.lines().next() == found.reporters.first().map(String::as_str));
    if recent.len() >= OF_ALL || of_reporter.count() >= TOLD_OF_ONE_REPORTER {
        tracing::error!(
            cause = found.cause.word(),
            identity = found.spiffe_id,
            reporter = found.reporters.first(),
            "an incident more is not kept: too many were opened within ten minutes"
        );
        return Ok(None);
    }
    let agents = denial::lacking(tx, 0, 0)?.1;
    let issued = keys.iter().any(|key| !key.spiffe_id.is_empty());
    let verdict = verdict(found, settings, &recent, agents, issued, recovered);
    let (state, text) = match &verdict {
        Verdict::Replace => (State::Renewing, found.text.clone()),
        Verdict::Deny => (State::Cutting, found.text.clone()),
        Verdict::Tell(why) => (
            State::Watching,
            format!("{}. Nothing is done by itself: {why}", found.text),
        ),
    };
    tracing::error!(
        cause = found.cause.word(),
        identity = found.spiffe_id,
        host = found.host,
        response = state.word(),
        "a key may be stolen: {text}"
    );
    let opening = Opening {
        state,
        cause: found.cause,
        subject: subject(found),
        keys,
        sources: found
            .reporters
            .iter()
            .take(SOURCES)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n"),
        actor: found
            .reporters
            .first()
            .cloned()
            .unwrap_or_else(|| "control".to_owned()),
        text,
    };
    let id = open(tx, writer, &opening)?;
    if verdict == Verdict::Deny {
        super::cut(tx, writer, now, id, found.cause.word())?;
    }
    Ok((state != State::Watching).then_some(id))
}

/// What may be done by itself.
fn verdict(
    found: &Found,
    settings: &Response,
    recent: &[Incident],
    agents: u64,
    issued: bool,
    recovered: Option<u64>,
) -> Verdict {
    let tell = |why: &str| Verdict::Tell(why.to_owned());
    let acted: Vec<_> = recent
        .iter()
        .filter(|one| !one.by_person && one.state != State::Watching)
        .collect();
    let of_reporter = acted
        .iter()
        .filter(|one| one.sources.lines().next() == found.reporters.first().map(String::as_str))
        .count();
    // One in a hundred agents where that is more: a fleet of thousands has more than ten nodes on one broken host.
    let cap = u64::from(settings.at_most).max(agents / 100);
    if settings.mode == ResponseMode::DryRun {
        return tell("response.mode is dry-run");
    }
    if acted.len() as u64 >= cap {
        return Verdict::Tell(format!(
            "{cap} were within ten minutes already (response.atMost); a person has to look"
        ));
    }
    // Whoever showed it has the key: the same certificate, written in another way, is no way around being asked about.
    if found.cause == Cause::NeverIssued && !issued {
        if recovered.is_some_and(|time| clock::seconds() < time + LONGEST) {
            return tell(
                "the control plane was restored from a backup, and may have issued it before",
            );
        }
        return Verdict::Deny;
    }
    if !may_touch(&found.spiffe_id) {
        return tell("only nodes and gateways get other keys by themselves");
    }
    if of_reporter >= OF_ONE_REPORTER {
        return Verdict::Tell(format!(
            "{of_reporter} were for what this agent reported within ten minutes"
        ));
    }
    Verdict::Replace
}

/// Another report of the same.
fn add(tx: &mut Tx<'_>, incident: &Incident, found: &Found) -> Result<(), Error> {
    let mut sources: Vec<&str> = incident.sources.lines().collect();
    let before = sources.len();
    for reporter in &found.reporters {
        if sources.len() < SOURCES && !sources.contains(&reporter.as_str()) {
            sources.push(reporter);
        }
    }
    if sources.len() == before {
        return Ok(());
    }
    incidents::reported_by(tx, incident.id, &sources.join("\n"))?;
    told(tx, incident, "reported", found.text.clone())
}

/// The keys that it is about, with those whom they belong to.
fn keys(tx: &mut Tx<'_>, found: &Found, now: u64) -> Result<Vec<Key>, Error> {
    let rows: Vec<Certificate> = match &found.spki {
        Some(spki) => denial::valid(tx, &Which::Key(spki), now)?,
        None => denial::valid(tx, &Which::SpiffeId(&found.spiffe_id), now)?
            .into_iter()
            .filter(|row| row.host == found.host)
            .collect(),
    };
    // A key may be in certificates of others as well: whose it is said to be has to replace it.
    let is_named = |row: &Certificate| row.spiffe_id == found.spiffe_id && row.host == found.host;
    let rows = if rows.iter().any(is_named) {
        rows.into_iter().filter(is_named).collect()
    } else {
        rows
    };
    let never_issued = found.cause == Cause::NeverIssued && rows.is_empty();
    let mut keys = super::keys_of(rows);
    if never_issued && let Some(spki) = found.spki {
        keys.push(Key {
            spki,
            spiffe_id: String::new(),
            host: String::new(),
            deny_seq: 0,
            renewed_ms: 0,
        });
    }
    keys.truncate(bounds::MAX_INCIDENT_KEYS);
    Ok(keys)
}

fn subject(found: &Found) -> String {
    let key = Key {
        spki: [0; 32],
        spiffe_id: found.spiffe_id.clone(),
        host: found.host.clone(),
        deny_seq: 0,
        renewed_ms: 0,
    };
    match &found.spki {
        Some(spki) if found.spiffe_id.is_empty() => hex::of(spki),
        _ => whose(&key),
    }
}

/// When the root said that a restored database counts from now on, if it ever did.
fn recovered(news: &News) -> Option<u64> {
    let signed = SignedRecovery::decode(news.recovery.as_deref()?).ok()?;
    Recovery::decode(&signed.statement).ok().map(|one| one.time)
}

fn address(bytes: &[u8]) -> String {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return IpAddr::from(four).to_string();
    }
    <[u8; 16]>::try_from(bytes).map_or_else(
        |_| "nowhere".to_owned(),
        |all| IpAddr::from(all).to_string(),
    )
}

/// Cut at a border between characters.
pub(super) fn bounded(text: &mut String, most: usize) {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}
