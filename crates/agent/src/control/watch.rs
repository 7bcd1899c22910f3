//! The stream of everything that this agent must hear of: heads, what is denied, bundles, renewals. When it is lost it is
//! opened again, at another replica; what was missed comes first.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use skans_api::v1;
use skans_api::v1::agents_client::AgentsClient;
use skans_api::v1::watch_reply::Message as Reply;
use skans_api::v1::watch_request::Message as Request;
use skans_identity::head::SignedHead;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Control;
use super::session::MAX_MESSAGE;
use crate::Error;
use crate::agent::Agent;
use crate::renewal::Chance;
use crate::revocation::From;

/// A stream that says nothing for this long is dead: a head comes every 10 s.
const SILENCE: Duration = Duration::from_secs(25);
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
    send(&say, Request::Start(start(control))).await;
    let mut client = AgentsClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let mut replies = match client.watch(ReceiverStream::new(said)).await {
        Ok(replies) => replies.into_inner(),
        Err(status) => return Err(control.sessions.failed(&address, &status).await),
    };
    tracing::info!(%address, "watching the control plane");
    let mut acknowledged = control.acknowledged.subscribe();
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
                *heard = true;
                if take(agent, control, message)? {
                    control.set_ready();
                }
                acknowledged.mark_changed();
            }
            _ = acknowledged.changed() => {
                let deny_seq = *acknowledged.borrow_and_update();
                let (epoch, ..) = control.revocation.position();
                let bundle_version = control.bundle_version.load(Relaxed);
                send(&say, Request::Ack(v1::WatchAck { epoch, deny_seq, bundle_version })).await;
            }
            () = control.observed.some.notified() => {
                let leaves = control.observed.take();
                if !leaves.is_empty() {
                    if leaves.len() == super::observed::BATCH {
                        control.observed.some.notify_one();
                    }
                    send(&say, Request::Observed(v1::Observed { leaves })).await;
                }
            }
            _ = renewed.changed() => return Ok(()),
        }
    }
}

async fn send(say: &mpsc::Sender<v1::WatchRequest>, message: Request) {
    let message = Some(message);
    // Lost with the stream, whose end is noticed where it is read.
    let _ = say.send(v1::WatchRequest { message }).await;
}

fn start(control: &Control) -> v1::WatchStart {
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
    }
}

/// Takes one message in. Says whether everything up to the newest head is known now.
fn take(agent: &Agent, control: &Control, message: Reply) -> Result<bool, Error> {
    let revocation = &control.revocation;
    match message {
        Reply::Head(head) => {
            let signed = SignedHead {
                head: head.head,
                signature: head.signature,
                chain: head.chain.into_iter().map(CertificateDer::from).collect(),
            };
            return Ok(revocation.hear(&signed.encode(), From::Control)?.is_none());
        }
        Reply::DenySnapshot(snapshot) => {
            let hash = <[u8; 32]>::try_from(snapshot.hash.as_slice())
                .or_else(|error| {
                    if snapshot.seq == 0 {
                        Ok([0; 32])
                    } else {
                        Err(error)
                    }
                })
                .map_err(|_| Error::Unverifiable("a deny snapshot without a hash".to_owned()))?;
            revocation.snapshot(snapshot.seq, hash, &snapshot.entries)?;
        }
        Reply::DenyDelta(delta) => revocation.delta(&delta.entries)?,
        Reply::Settings(_) => {}
        Reply::Bundle(bundle) => drop(control.take_bundle(&agent.identities, &bundle)?),
        Reply::RenewNow(renew) => {
            if let Ok(issuer) = <[u8; 32]>::try_from(renew.issuer_spki_sha256.as_slice()) {
                let within = Duration::from_secs(60);
                if let Ok(mut replaced) = control.replaced.lock()
                    && replaced.len() < 16
                {
                    replaced.push((issuer, within));
                }
                agent.lifecycle.reloaded.notify_one();
            }
        }
    }
    Ok(false)
}
