//! The stream of everything that this agent must hear of: heads, what is denied, bundles, renewals. When it is lost it is
//! opened again, at another replica; what was missed comes first.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use skans_api::v1;
use skans_api::v1::agents_client::AgentsClient;
use skans_api::v1::watch_reply::Message as Reply;
use skans_api::v1::watch_request::Message as Request;
use skans_identity::deny::MAX_DENIED;
use skans_identity::head::SignedHead;
use skans_policy::Verdict;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::session::MAX_MESSAGE;
use super::{Control, Enrolment, Item, read_json, rekey, write_json};
use crate::Error;
use crate::agent::Agent;
use crate::policies::Beside;
use crate::renewal::Chance;
use crate::revocation::From;
use crate::standing::Class;

/// A stream that says nothing for this long is dead: a head comes every 10 s.
const SILENCE: Duration = Duration::from_secs(25);
/// Between two reports of what a set that is compared with decides otherwise, as often as heads come.
const REPORT: Duration = Duration::from_secs(10);
/// The first wait after a failure, and the longest. Short: revocation comes this way, and an agent that does not hear is
/// told by its peers 10 s later at best.
const WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long an agent that starts holds its links back until it has heard what was revoked meanwhile. A control plane that
/// answers takes milliseconds; one that does not must not keep a cluster down.
const HOLD: Duration = Duration::from_secs(5);

/// Keeps a stream open until the agent stops.
pub async fn keep_watching(agent: Arc<Agent>, control: Arc<Control>) {
    let stopping = agent.stopping.clone();
    tokio::select! {
        () = again_and_again(&agent, &control) => {}
        () = release(&control) => {}
        () = stopping.cancelled() => {}
    }
}

/// Nobody answers: go on with what was kept.
async fn release(control: &Control) {
    tokio::time::sleep(HOLD).await;
    control.set_ready();
    std::future::pending().await
}

async fn again_and_again(agent: &Arc<Agent>, control: &Control) {
    let mut wait = WAIT;
    let mut renewed = control.sessions.renewed();
    loop {
        if control.own().is_none() {
            if renewed.changed().await.is_err() {
                return;
            }
            continue;
        }
        let mut heard = false;
        match watch(agent, control, &mut heard).await {
            // The agent has a new certificate: the same again with that.
            Ok(()) => continue,
            Err(error) => {
                tracing::warn!(
                    reason = error.label(),
                    "not connected to the control plane: {error}"
                );
                // All of its addresses were tried.
                if error.label() == "unreachable" {
                    control.set_ready();
                }
            }
        }
        wait = if heard {
            WAIT
        } else {
            (wait * 2).min(LONGEST_WAIT)
        };
        tokio::time::sleep(wait / 2 + Chance::draw().of(wait / 2)).await;
    }
}

/// One stream, until it is lost or the agent has another certificate.
async fn watch(agent: &Arc<Agent>, control: &Control, heard: &mut bool) -> Result<(), Error> {
    let mut renewed = control.sessions.renewed();
    renewed.mark_unchanged();
    let (channel, address) = control.sessions.channel().await?;
    let (say, said) = mpsc::channel(16);
    send(&say, Request::Start(start(agent, control))).await;
    // It knows roll-outs: without that no candidate would come.
    send(&say, Request::Rollout(v1::RolloutReport::default())).await;
    let mut client = AgentsClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let mut replies = match client.watch(ReceiverStream::new(said)).await {
        Ok(replies) => replies.into_inner(),
        Err(status) => return Err(control.sessions.failed(&address, &status).await),
    };
    tracing::info!(%address, "watching the control plane");
    let mut parts = Vec::new();
    let mut reports = tokio::time::interval_at(tokio::time::Instant::now() + REPORT, REPORT);
    let mut compared = Compared::default();
    let mut acknowledged = control.acknowledged.subscribe();
    let mut policies = agent.policies.changes();
    acknowledged.mark_changed();
    let lost = |problem: String| Error::Control {
        address: address.clone(),
        problem,
        retry: true,
        label: "lost",
    };
    loop {
        tokio::select! {
            reply = tokio::time::timeout(SILENCE, replies.message()) => {
                let reply = match reply {
                    Ok(Ok(Some(reply))) => reply,
                    Ok(Ok(None)) => return Err(lost("it ended the stream".to_owned())),
                    Ok(Err(status)) => return Err(control.sessions.failed(&address, &status).await),
                    Err(_) => {
                        let silent = tonic::Status::unavailable(format!("silent for {SILENCE:?}"));
                        return Err(control.sessions.failed(&address, &silent).await);
                    }
                };
                let Some(message) = reply.message else { continue };
                if let Reply::Whose(whose) = &message {
                    if let Some(answer) = control.own_links.answer(whose, Instant::now()) {
                        send(&say, Request::Whose(answer)).await;
                    }
                    continue;
                }
                let head = matches!(message, Reply::Head(_));
                if take(agent, control, message, &mut parts)? {
                    control.set_ready();
                }
                // One whose heads are refused, because it was restored, is asked again less and less often.
                *heard |= head;
                acknowledged.mark_changed();
            }
            _ = acknowledged.changed() => {
                let (epoch, deny_seq) = *acknowledged.borrow_and_update();
                let bundle_version = control.bundle_version.load(Relaxed);
                let policy = agent.policies.said();
                send(&say, Request::Ack(v1::WatchAck { epoch, deny_seq, bundle_version, policy })).await;
            }
            changed = policies.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                acknowledged.mark_changed();
            }
            () = control.observed.some.notified() => {
                let seen = control.observed.take();
                if seen.len() == super::observed::BATCH {
                    control.observed.some.notify_one();
                }
                let message = Request::Observed(super::observed::report(&seen));
                if !seen.is_empty() && !send(&say, message).await {
                    control.observed.put_back(seen);
                }
            }
            () = control.suspects.some.notified() => {
                let suspects = control.suspects.take();
                let suspicions = suspects.iter().map(|(_, one)| one.clone()).collect();
                let message = Request::Suspected(v1::Suspected { suspicions });
                if !suspects.is_empty() && !send(&say, message).await {
                    control.suspects.put_back(suspects);
                }
            }
            _ = reports.tick() => {
                let Some((beside, report)) = compared.report(agent) else { continue };
                if !send(&say, Request::Rollout(report.clone())).await {
                    beside.put_back(report);
                }
            }
            _ = renewed.changed() => return Ok(()),
        }
    }
}

/// What was told last of a set that is compared with.
#[derive(Default)]
struct Compared {
    /// With which, and how many permits there had been.
    last: Option<(Arc<Beside>, u64)>,
}

impl Compared {
    /// What is to be told now; nothing where there is nothing to compare with, or has not been for a whole turn.
    fn report(&mut self, agent: &Agent) -> Option<(Arc<Beside>, v1::RolloutReport)> {
        let permits = permits(agent);
        let beside = agent.policies.beside()?;
        let before = self.last.replace((Arc::clone(&beside), permits));
        // What was decided before it was there is not counted.
        let before = before.filter(|(known, _)| Arc::ptr_eq(known, &beside));
        let before = before.map_or(permits, |(_, permits)| permits);
        let report = beside.report(permits.saturating_sub(before));
        Some((beside, report))
    }
}

/// All permits that were ever given here.
fn permits(agent: &Agent) -> u64 {
    let traffic = agent.registry.total();
    let both = [&traffic.sent, &traffic.received];
    both.iter()
        .flat_map(|counters| counters.decisions.all())
        .filter(|(verdict, ..)| *verdict == Verdict::Permit.as_str())
        .map(|(.., count)| count)
        .sum()
}

/// Whether it is on its way. If not, the stream is over, which is noticed where it is read.
async fn send(say: &mpsc::Sender<v1::WatchRequest>, message: Request) -> bool {
    let message = Some(message);
    say.send(v1::WatchRequest { message }).await.is_ok()
}

fn start(agent: &Agent, control: &Control) -> v1::WatchStart {
    let (epoch, deny_seq, deny_hash) = control.revocation.position();
    v1::WatchStart {
        deny_seq,
        deny_hash: if deny_seq == 0 {
            Vec::new()
        } else {
            deny_hash.to_vec()
        },
        epoch,
        bundle_version: control.bundle_version.load(Relaxed),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        policy: agent.policies.said(),
    }
}

/// Takes one message in; `parts` are those of a snapshot that is not complete. Says whether everything up to the newest head is known now.
fn take(
    agent: &Arc<Agent>,
    control: &Control,
    message: Reply,
    parts: &mut Vec<Vec<u8>>,
) -> Result<bool, Error> {
    let revocation = &control.revocation;
    match message {
        Reply::Head(head) => {
            let signed = SignedHead {
                head: head.head,
                signature: head.signature,
                chain: head.chain.into_iter().map(CertificateDer::from).collect(),
            };
            let complete = revocation.hear(&signed.encode(), From::Control)?.is_none();
            agent.policies.look_at(revocation)?;
            return Ok(complete);
        }
        Reply::DenySnapshot(snapshot) => {
            let hash = <[u8; 32]>::try_from(snapshot.hash.as_slice())
                .map_err(|_| Error::Unverifiable("a deny snapshot without a hash".to_owned()))?;
            parts.extend(snapshot.entries);
            if parts.len() > MAX_DENIED {
                let text = format!("a deny snapshot of more than {MAX_DENIED} entries");
                return Err(Error::Unverifiable(text));
            }
            if !snapshot.more {
                revocation.snapshot(snapshot.seq, hash, &std::mem::take(parts))?;
            }
        }
        Reply::DenyDelta(delta) => revocation.delta(&delta.entries)?,
        // Every stream brings the last one. One that is not believed changes nothing: the head that follows decides.
        Reply::Recovery(recovery) => {
            if let Err(error) = revocation.recover(&recovery.signed) {
                tracing::warn!(
                    "a recovery statement of the control plane is not believed: {error}"
                );
            }
        }
        Reply::Bundle(bundle) => {
            // Where nothing was seen yet, the first head will say which epoch it is.
            let open = revocation.horizon().map(|mark| mark.epoch);
            drop(control.take_bundle(&agent.identities, &bundle, open)?);
        }
        Reply::RenewNow(renew) => {
            if let Ok(key) = <[u8; 32]>::try_from(renew.issuer_spki_sha256.as_slice()) {
                let within = Duration::from_secs(u64::from(renew.within.min(3600)));
                rekey::renew_now(agent, control, key, within);
            }
        }
        Reply::Foreign(bundles) => {
            // First into force: what was distrusted must not wait for a disk.
            agent.believed.take(&bundles.state)?;
            control.state.write(Item::Foreign, &bundles.state)?;
        }
        Reply::Policy(set) => agent.policies.arrived(set.signed),
        Reply::Candidate(candidate) => agent.policies.candidate_arrived(candidate),
        // Answered where it was read.
        Reply::Whose(_) => {}
        Reply::Settings(settings) => set_class(control, settings.class())?,
    }
    Ok(false)
}

/// The control plane may tighten what the configuration says, and not loosen it.
fn set_class(control: &Control, class: v1::settings::Class) -> Result<(), Error> {
    let said = match class {
        v1::settings::Class::Strict => Class::Strict,
        v1::settings::Class::Available | v1::settings::Class::Unspecified => Class::Available,
    };
    control.revocation.set_class(said.max(control.source.class));
    let mut kept: Enrolment = read_json(&control.state, Item::Enrolment)?.unwrap_or_default();
    if kept.class != said {
        kept.class = said;
        write_json(&control.state, Item::Enrolment, &kept)?;
    }
    Ok(())
}
