//! `Agents/Watch`: a snapshot, then every change and every head, as long as the agent is connected.
//!
//! An agent that reads slowly costs one place in memory, not one for each piece of news: it is told what is new since it
//! was last told something. One that does not read at all is cut off.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use serde_json::json;
use skans_api::v1;
use skans_api::v1::watch_reply::Message as Reply;
use skans_api::v1::watch_request::Message as Said;
use skans_identity::Refusal;
use skans_identity::deny::Entry;
use skans_identity::peer::PeerIdentity;
use skans_identity::verify::Usage;
use skans_store::agents::Acknowledged;
use skans_store::{agents, authorities, observed};
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::caller::sha256;
use crate::clock;
use crate::config::Class;
use crate::error::Error;
use crate::event::{self, Kind};
use crate::gate::Permit;
use crate::hex;
use crate::incident::{self, Cause, Found};
use crate::news::News;
use crate::problem;
use crate::state::Control;

/// What a stream of replies is.
pub(super) type Replies = Pin<Box<dyn Stream<Item = Result<v1::WatchReply, Status>> + Send>>;

/// Replies that may wait for an agent that reads slowly.
const AHEAD: usize = 8;
/// How long one may wait, before the agent is cut off: three heads.
const PATIENCE: Duration = Duration::from_secs(30);
/// For the first message of a stream.
const START: Duration = Duration::from_secs(10);
/// Entries in one message: 500 of them have 100 KiB as a rule, and fit one message in any case.
const PART: usize = 500;
/// Between two signs of life that are written down.
const ALIVE: Duration = Duration::from_secs(60);
/// Certificates in one report of what was seen.
const MAX_OBSERVED: usize = 256;
/// Suspicions in one message.
const MAX_SUSPECTED: usize = 64;
/// Over how many seconds agents spread the renewal of what a tainted authority signed.
const RENEW_WITHIN: u32 = 60;

/// Answers the call.
pub(super) async fn watch(
    control: &Arc<Control>,
    permit: &Permit,
    mut said: Streaming<v1::WatchRequest>,
) -> Result<Replies, Error> {
    let by = permit.within_home()?;
    let agent = permit.caller.agent().unwrap_or_default().to_owned();
    let first = tokio::time::timeout(START, said.message()).await;
    let Ok(Ok(Some(v1::WatchRequest {
        message: Some(Said::Start(start)),
    }))) = first
    else {
        return Err(Error::Invalid("the first message: wanted start".to_owned()));
    };
    let id = agent.clone();
    let known = control.store.read(move |tx| agents::get(tx, &id)).await?;
    let Some(known) = known else {
        return Err(Error::Unauthenticated(format!(
            "{} is not enrolled here: enrol again",
            by.actor
        )));
    };
    let place = Place::take(control, &agent);
    let version: String = start
        .program_version
        .chars()
        .filter(|c| !c.is_control())
        .take(64)
        .collect();
    let issuer = permit
        .caller
        .evidence()
        .and_then(|evidence| evidence.signers.first().copied());
    control.acknowledgements.seen(&agent, &version, issuer);
    control.epoch_seen(start.epoch);
    let (sender, receiver) = mpsc::channel(AHEAD);
    let watcher = Watcher {
        control: Arc::clone(control),
        actor: by.actor,
        // Cohorts are of hosts: an agent that was enrolled anew stays in its own.
        host: if known.host.is_empty() {
            agent.clone()
        } else {
            known.host
        },
        knows_rollouts: false,
        agent,
        version,
        issuer,
        acknowledged: None,
        policy: None,
        sender,
        news: control.news.subscribe(),
        told: Told::default(),
        place,
    };
    tokio::spawn(watcher.run(start, said));
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

/// What the agent has been told.
#[derive(Default)]
struct Told {
    settings: bool,
    /// The epoch whose opening it has seen.
    recovered: u64,
    epoch: u64,
    deny_seq: u64,
    /// Epoch and version.
    bundle: (u64, u64),
    /// Epoch and number of the policy set, and until when it may be used.
    policy: Option<(u64, u64, u64)>,
    /// What it compares with: the candidate, the cohort that the agent is in, and which set, signed until when.
    candidate: Option<(u64, u8, (u64, u64), u64)>,
    /// The version of what is believed of other domains.
    foreign: u64,
    head: Option<Arc<v1::SignedHead>>,
    tainted: Option<Arc<[[u8; 32]]>>,
    /// The keys that it was told to replace.
    renewing: Arc<[[u8; 32]]>,
    /// The sessions that it was asked about, as long as they are news.
    asked: HashSet<[u8; 32]>,
}

struct Watcher {
    control: Arc<Control>,
    actor: String,
    agent: String,
    host: String,
    /// It has said so: others get a candidate when all do.
    knows_rollouts: bool,
    version: String,
    /// The key of the authority that signed the agent's certificate.
    issuer: Option<[u8; 32]>,
    /// What it said last: said again, it is not written again.
    acknowledged: Option<Acknowledged>,
    /// The same for the policy set.
    policy: Option<(u64, u64)>,
    sender: mpsc::Sender<Result<v1::WatchReply, Status>>,
    news: watch::Receiver<Arc<News>>,
    told: Told,
    place: Place,
}

/// Why a stream ends.
enum End {
    /// The agent went away, or the process stops.
    Left,
    /// Another stream of the same agent took over.
    Replaced,
    /// It does not read.
    Slow,
    /// It broke a rule.
    Wrong(Error),
}

impl Watcher {
    async fn run(mut self, start: v1::WatchStart, mut said: Streaming<v1::WatchRequest>) {
        let present = Arc::clone(&self.news.borrow_and_update());
        // Before a restore there were other versions, and perhaps later ones.
        if start.epoch == present.epoch {
            let version = start.bundle_version.min(present.bundle.version);
            self.told.bundle = (present.epoch, version);
        }
        self.told.policy = start
            .policy
            .map(|held| (held.epoch, held.n, held.not_after));
        // Who has a candidate knows what that is.
        let candidate = present.rollout.as_ref().map(|one| one.candidate.version());
        let held = start.policy.map(|held| (held.epoch, held.n));
        self.knows_rollouts = held.is_some() && held == candidate;
        if holds(&present, &start) {
            (self.told.epoch, self.told.deny_seq) = (start.epoch, start.deny_seq);
        }
        match self.serve(&mut said).await {
            End::Left => {}
            End::Replaced => self.control.metrics.watcher_cut("replaced"),
            End::Slow => self.control.metrics.watcher_cut("slow"),
            End::Wrong(error) => {
                self.control.metrics.watcher_cut(error.label());
                let _ = self.sender.try_send(Err(problem::status(&error)));
            }
        }
    }

    async fn serve(&mut self, said: &mut Streaming<v1::WatchRequest>) -> End {
        let mut alive = tokio::time::interval_at(tokio::time::Instant::now() + ALIVE, ALIVE);
        loop {
            if let Err(end) = self.tell().await {
                return end;
            }
            tokio::select! {
                changed = self.news.changed() => if changed.is_err() { return End::Left },
                message = said.message() => match message {
                    Ok(Some(message)) => if let Err(error) = self.hear(message).await { return End::Wrong(error) },
                    Ok(None) | Err(_) => return End::Left,
                },
                _ = alive.tick() => self.control.acknowledgements.seen(&self.agent, &self.version, self.issuer),
                () = self.sender.closed() => return End::Left,
                () = self.place.replaced.cancelled() => return End::Replaced,
                () = self.control.stopping.cancelled() => return End::Left,
            }
        }
    }

    /// Tells what is new since the last time.
    async fn tell(&mut self) -> Result<(), End> {
        let news = Arc::clone(&self.news.borrow_and_update());
        if !self.told.settings {
            self.told.settings = true;
            let class = match self.control.config.class {
                Class::Available => v1::settings::Class::Available,
                Class::Strict => v1::settings::Class::Strict,
            };
            self.send(Reply::Settings(v1::Settings {
                class: class.into(),
            }))
            .await?;
        }
        // First of all: agents take nothing of an epoch that they do not know.
        if let Some(signed) = &news.recovery
            && self.told.recovered != news.epoch
        {
            self.told.recovered = news.epoch;
            self.send(Reply::Recovery(v1::Recovery {
                signed: signed.to_vec(),
            }))
            .await?;
        }
        let bundle = (news.bundle.epoch, news.bundle.version);
        if self.told.bundle != bundle {
            self.told.bundle = bundle;
            self.send(Reply::Bundle(v1::Bundle::clone(&news.bundle)))
                .await?;
        }
        // In whatever state it is: distrust as well has to arrive before anything else does.
        if self.told.foreign != news.believed.version {
            self.told.foreign = news.believed.version;
            let state = news.believed.foreign.to_bytes();
            self.send(Reply::Foreign(v1::ForeignBundles { state }))
                .await?;
        }
        // What is denied is small, and waits for nothing.
        self.tell_denied(&news).await?;
        self.tell_policy(&news).await?;
        self.tell_candidate(&news).await?;
        if let Some(head) = &news.head
            && !self
                .told
                .head
                .as_ref()
                .is_some_and(|told| Arc::ptr_eq(told, head))
        {
            self.told.head = Some(Arc::clone(head));
            self.send(Reply::Head(v1::SignedHead::clone(head))).await?;
        }
        if self.told.tainted.as_deref() != Some(&*news.tainted) {
            self.told.tainted = Some(Arc::clone(&news.tainted));
            for issuer in news.tainted.iter() {
                let renew = v1::RenewNow {
                    issuer_spki_sha256: issuer.to_vec(),
                    within: RENEW_WITHIN,
                };
                self.send(Reply::RenewNow(renew)).await?;
            }
        }
        self.tell_of_incidents(&news).await
    }

    /// Which keys are to be replaced at once, and whose links they are that keys were seen on.
    async fn tell_of_incidents(&mut self, news: &News) -> Result<(), End> {
        let told = std::mem::replace(&mut self.told.renewing, Arc::clone(&news.renewing));
        for key in news.renewing.iter().filter(|key| !told.contains(key)) {
            let renew = v1::RenewNow {
                issuer_spki_sha256: key.to_vec(),
                within: 0,
            };
            self.send(Reply::RenewNow(renew)).await?;
        }
        let now = clock::seconds();
        let asks = news.asks.iter().filter(|ask| ask.owner == self.agent);
        let asks: Vec<_> = asks.collect();
        self.told
            .asked
            .retain(|session| asks.iter().any(|ask| ask.session == *session));
        for ask in asks {
            if !self.told.asked.insert(ask.session) {
                continue;
            }
            let ago = now.saturating_sub(ask.asked);
            let whose = v1::Whose {
                session_sha256: ask.session.to_vec(),
                spki_sha256: ask.spki.to_vec(),
                seconds_ago: u32::try_from(ago).unwrap_or(u32::MAX),
            };
            self.send(Reply::Whose(whose)).await?;
        }
        Ok(())
    }

    /// Before the head that names it, and again when half of the life of what the agent has is over.
    async fn tell_policy(&mut self, news: &News) -> Result<(), End> {
        let rollout = news.rollout.as_ref().filter(|_| self.knows_rollouts);
        let cohort = rollout.map_or(0, |rollout| rollout.cohort_of(&self.host));
        let candidate = rollout.filter(|_| cohort > 0).map(|one| &one.candidate);
        let Some(set) = candidate.or(news.policy_set.as_ref()) else {
            return Ok(());
        };
        let (epoch, n) = set.version();
        // It has the candidate, and would refuse what is below: what follows is above it.
        let held = self.told.policy.map(|(epoch, n, _)| (epoch, n));
        let candidate = news.rollout.as_ref().map(|one| one.candidate.version());
        if held.is_some() && held == candidate && candidate > Some((epoch, n)) {
            return Ok(());
        }
        let has = self.told.policy.is_some_and(|(known_epoch, known, until)| {
            (known_epoch, known) == (epoch, n) && !set.is_due(until, clock::seconds())
        });
        if has {
            return Ok(());
        }
        self.told.policy = Some((epoch, n, set.not_after));
        let signed = set.signed.clone();
        self.send(Reply::Policy(v1::PolicySet { signed })).await
    }

    /// The other one of the two sets, behind the one that decides.
    async fn tell_candidate(&mut self, news: &News) -> Result<(), End> {
        if !self.knows_rollouts {
            return Ok(());
        }
        let Some((rollout, active)) = news.rollout.as_ref().zip(news.policy_set.as_ref()) else {
            if self.told.candidate.take().is_some() {
                self.send(Reply::Candidate(v1::CandidateSet::default()))
                    .await?;
            }
            return Ok(());
        };
        let cohort = rollout.cohort_of(&self.host);
        let other = if cohort > 0 {
            active
        } else {
            &rollout.candidate
        };
        let n = rollout.row.n;
        let same = self
            .told
            .candidate
            .is_some_and(|(known, of, version, until)| {
                (known, of, version) == (n, cohort, other.version())
                    && !other.is_due(until, clock::seconds())
            });
        if same {
            return Ok(());
        }
        self.told.candidate = Some((n, cohort, other.version(), other.not_after));
        let candidate = v1::CandidateSet {
            signed: other.signed.clone(),
            stage: u32::from(cohort),
            n,
        };
        self.send(Reply::Candidate(candidate)).await
    }

    async fn tell_denied(&mut self, news: &News) -> Result<(), End> {
        let same_stream = self.told.epoch == news.epoch;
        if same_stream && self.told.deny_seq == news.chain.seq() {
            return Ok(());
        }
        let delta = if same_stream {
            news.chain.since(self.told.deny_seq)
        } else {
            None
        };
        if let Some(entries) = delta {
            let entries: Vec<_> = entries.map(Entry::encode).collect();
            for part in entries.chunks(PART) {
                let delta = v1::DenyDelta {
                    entries: part.to_vec(),
                };
                self.send(Reply::DenyDelta(delta)).await?;
            }
        } else {
            let mut snapshot = news.chain.snapshot();
            let rest = snapshot.entries.split_off(snapshot.entries.len().min(PART));
            let mut parts = vec![snapshot.entries];
            parts.extend(rest.chunks(PART).map(<[_]>::to_vec));
            let last = parts.len() - 1;
            for (at, entries) in parts.into_iter().enumerate() {
                let snapshot = v1::DenySnapshot {
                    entries,
                    seq: snapshot.seq,
                    hash: snapshot.hash.to_vec(),
                    more: at != last,
                };
                self.send(Reply::DenySnapshot(snapshot)).await?;
            }
        }
        (self.told.epoch, self.told.deny_seq) = (news.epoch, news.chain.seq());
        Ok(())
    }

    async fn send(&self, message: Reply) -> Result<(), End> {
        let reply = Ok(v1::WatchReply {
            message: Some(message),
        });
        match self.sender.send_timeout(reply, PATIENCE).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(End::Slow),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(End::Left),
        }
    }

    async fn hear(&mut self, message: v1::WatchRequest) -> Result<(), Error> {
        match message.message {
            Some(Said::Ack(ack)) => self.acknowledged(ack),
            Some(Said::Observed(seen)) => self.observed(seen.leaves, &seen.shown).await,
            Some(Said::Whose(answer)) => {
                self.go_on(self.control.answered(&self.agent, &answer).await)
            }
            Some(Said::Suspected(suspected)) => {
                self.go_on(self.suspected(suspected.suspicions).await)
            }
            Some(Said::Rollout(report)) => {
                self.knows_rollouts = true;
                let told = self.control.rollout_told(&self.agent, &self.host, report);
                self.go_on(told.await)
            }
            Some(Said::Start(_)) => Err(Error::Invalid("start: found a second one".to_owned())),
            // From a newer agent.
            None => Ok(()),
        }
    }

    /// Nobody can have what does not exist yet: believing it would count a revocation as done that is not.
    fn acknowledged(&mut self, ack: v1::WatchAck) -> Result<(), Error> {
        let news = self.news.borrow();
        let known =
            ack.epoch < news.epoch || (ack.epoch == news.epoch && ack.deny_seq <= news.chain.seq());
        // What it had before a restore says nothing about what there is now.
        let has = ack.epoch < news.epoch || ack.bundle_version <= news.bundle.version;
        if !known || !has {
            return Err(Error::Invalid(format!(
                "ack: found ({}, {}) and bundle {}, wanted at most ({}, {}) and {}",
                ack.epoch,
                ack.deny_seq,
                ack.bundle_version,
                news.epoch,
                news.chain.seq(),
                news.bundle.version
            )));
        }
        let what = Acknowledged {
            epoch: ack.epoch,
            deny_seq: ack.deny_seq,
            bundle: ack.bundle_version,
        };
        // What a replica that is ahead has told is not known here yet; it is said again.
        let policy = ack.policy.map(|held| (held.epoch, held.n));
        let candidate = news.rollout.as_ref().map_or(0, |one| one.row.n);
        let newest = news.policy.max(candidate);
        let policy = policy.filter(|&held| held <= (news.epoch, newest));
        drop(news);
        if let Some(policy) = policy
            && self.policy.replace(policy) != Some(policy)
        {
            self.control
                .acknowledgements
                .holds_policy(&self.agent, policy);
        }
        if self.acknowledged.replace(what) != Some(what) {
            self.control.acknowledgements.acknowledge(&self.agent, what);
        }
        Ok(())
    }

    /// What was seen is compared with what was issued.
    async fn observed(&self, leaves: Vec<Vec<u8>>, seen: &[v1::Shown]) -> Result<(), Error> {
        if leaves.len() > MAX_OBSERVED || leaves.iter().any(|leaf| leaf.len() > 16 * 1024) {
            return Err(Error::Invalid(format!(
                "observed: found {} certificates, wanted at most {MAX_OBSERVED}, of 16 KiB each",
                leaves.len()
            )));
        }
        if !self
            .control
            .reports
            .take(self.agent.clone(), 1, Instant::now())
        {
            return Ok(());
        }
        let hashes: Vec<[u8; 32]> = leaves.iter().map(|leaf| sha256(leaf)).collect();
        let agent = self.agent.clone();
        let now = clock::seconds();
        let seen = Control::shown(&leaves, seen, &agent, now)?;
        // What comes of it may be a denial, which goes also where nothing else does.
        let strange = self
            .control
            .store
            .write_though_held::<_, skans_store::Error, _>(move |tx| {
                let strange = observed::record(tx, &agent, &hashes, now)?;
                Ok((strange, incident::note(tx, &seen)?))
            });
        let strange = match strange.await {
            Ok((strange, asks)) => {
                if asks {
                    self.go_on(self.control.refresh().await)?;
                }
                strange
            }
            Err(error) => {
                // What was seen can wait; the stream, which carries revocations, must not end for it.
                tracing::warn!("a report of {} was not kept: {error}", self.agent);
                return Ok(());
            }
        };
        for leaf in strange.into_iter().filter_map(|at| leaves.get(at)) {
            self.go_on(self.strange(leaf).await)?;
        }
        Ok(())
    }

    /// What the contract does not allow ends the stream. All else can wait: it must not end what carries revocations.
    fn go_on(&self, outcome: Result<(), Error>) -> Result<(), Error> {
        match outcome {
            Err(error) if !matches!(error, Error::Invalid(_)) => {
                tracing::warn!("a report of {} came to nothing: {error}", self.agent);
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// What this agent finds suspicious of its peers.
    async fn suspected(&self, suspicions: Vec<v1::Suspicion>) -> Result<(), Error> {
        if suspicions.len() > MAX_SUSPECTED {
            return Err(Error::Invalid(format!(
                "suspected: found {}, wanted at most {MAX_SUSPECTED}",
                suspicions.len()
            )));
        }
        for one in suspicions {
            let (agent, now) = (self.agent.clone(), Instant::now());
            if self.control.reports.take(agent, 1, now) {
                self.control.suspected(&self.agent, one).await?;
            }
        }
        Ok(())
    }

    /// A certificate that is not among those issued. If an authority of ours signed it, then somebody else has its key.
    async fn strange(&self, leaf: &[u8]) -> Result<(), Error> {
        let control = &self.control;
        let leaf = CertificateDer::from(leaf);
        let authorities = Arc::clone(&self.news.borrow().authorities);
        let issuers = authorities
            .iter()
            .filter(|one| one.kind == authorities::Kind::Issuer);
        let ours = issuers.into_iter().find(|one| {
            let chain = [
                leaf.clone(),
                CertificateDer::from(one.certificate.as_slice()),
            ];
            matches!(
                control
                    .verifier
                    .evidence(&chain, Usage::Client, clock::now()),
                Ok(_) | Err(Refusal::Denied { .. })
            )
        });
        let Some(authority) = ours else { return Ok(()) };
        control.metrics.strange(1);
        let fingerprint = hex::of(&sha256(&leaf));
        tracing::error!(
            agent = self.agent,
            fingerprint,
            authority = authority.id,
            "a certificate that authority signed was seen, and never issued here: its key may be stolen"
        );
        let details = json!({ "fingerprint_sha256": fingerprint, "authority": authority.id, "seen_by": self.agent });
        let actor = self.actor.clone();
        let told = control
            .store
            .write_though_held::<_, skans_store::Error, _>(move |tx| {
                event::tell(tx, Kind::StrangeCertificate, &actor, &fingerprint, &details)
            });
        told.await?;
        let Ok(identity) = PeerIdentity::from_der(&leaf) else {
            return Ok(());
        };
        let text = format!(
            "agent {} was shown a certificate that authority {} signed and that was never issued: its key may be stolen (skans ca taint, skans ca revoke)",
            self.agent, authority.id
        );
        self.control
            .found(Found {
                cause: Cause::NeverIssued,
                spiffe_id: identity.id.to_string(),
                host: identity
                    .host
                    .map(|host| host.to_string())
                    .unwrap_or_default(),
                spki: Some(identity.spki_sha256),
                reporters: vec![self.agent.clone()],
                text,
            })
            .await
    }
}

/// Whether the agent holds a part of this very stream: the same epoch, and the same hash where it stands.
fn holds(news: &News, start: &v1::WatchStart) -> bool {
    if start.epoch != news.epoch || start.deny_seq > news.chain.seq() {
        return false;
    }
    if start.deny_seq == news.chain.seq() {
        return start.deny_hash == news.chain.hash();
    }
    let mut after = news.chain.since(start.deny_seq).into_iter().flatten();
    after
        .next()
        .is_some_and(|next| start.deny_hash == next.previous())
}

/// The stream of an agent. A new one takes the place of the one before, which may be dead without having noticed.
struct Place {
    control: Arc<Control>,
    agent: String,
    number: u64,
    /// Cancelled when another stream of the same agent begins.
    replaced: CancellationToken,
}

impl Place {
    fn take(control: &Arc<Control>, agent: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let replaced = CancellationToken::new();
        let former = control
            .streams()
            .insert(agent.to_owned(), (number, replaced.clone()));
        if let Some((_, former)) = former {
            former.cancel();
        }
        control.metrics.watching(1);
        Self {
            control: Arc::clone(control),
            agent: agent.to_owned(),
            number,
            replaced,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.control.metrics.watching(-1);
        let mut streams = self.control.streams();
        if streams
            .get(&self.agent)
            .is_some_and(|(number, _)| *number == self.number)
        {
            streams.remove(&self.agent);
        }
    }
}
