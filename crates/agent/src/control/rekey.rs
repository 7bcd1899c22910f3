//! What may be known to somebody else is given up: certificates get other keys, and links move to connections with those. An
//! authority that is being replaced is given up in its time, a key of a node at once. What is renewed is in `renew`.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::Control;
use crate::agent::Agent;

/// How long after the last renewal links move that live on an authority that is being replaced.
const SETTLED: Duration = Duration::from_secs(5);
/// When links move whose peer has the key that is to be given up. By the first time whoever has it has another, unless its control plane
/// or machine is slow; the second is for those.
const MOVES: [Duration; 2] = [Duration::from_secs(1), Duration::from_millis(2500)];
/// Authorities that wait to be looked for among our certificates. A cluster replaces one at a time.
const WAITING: usize = 16;
/// Messages whose links are about to move: each takes five seconds and a few hundred bytes. All nodes of a cluster may be given other keys at
/// once; beyond it certificates are renewed all the same, and links follow when their time comes.
pub const AT_ONCE: usize = 1024;

/// Gives up what has this key, or is signed with it: SHA-256 of it, and over how long renewals are spread if it is an authority's.
pub fn renew_now(agent: &Arc<Agent>, control: &Control, key: [u8; 32], within: Duration) {
    if !control.give_up(agent, key) {
        let mut replaced = control.replaced();
        if replaced.len() < WAITING {
            replaced.push((key, within));
        }
        drop(replaced);
        agent.lifecycle.reloaded.notify_one();
    }
    let Ok(place) = Arc::clone(&control.moving).try_acquire_owned() else {
        return tracing::warn!("too much is to be renewed at once: links follow in their own time");
    };
    let agent = Arc::clone(agent);
    tokio::spawn(async move {
        tokio::select! {
            ((), ()) = async { tokio::join!(leave(&agent, key), replace(&agent, key, within)) } => {}
            () = agent.stopping.cancelled() => {}
        }
        drop(place);
    });
}

/// Links leave connections whose peer has this key, and those of our own that were still made with it.
async fn leave(agent: &Agent, key: [u8; 32]) {
    let mut waited = Duration::ZERO;
    for after in MOVES {
        tokio::time::sleep(after.saturating_sub(waited)).await;
        waited = after;
        let ours = !agent.identities.has_key(&key);
        told(agent.registry.leave(&key, ours));
    }
}

/// What an authority signed that is being replaced goes out of live links as well: once both ends have had the time to
/// renew, they move to connections with the new certificates.
async fn replace(agent: &Agent, issuer: [u8; 32], within: Duration) {
    tokio::time::sleep(within + SETTLED).await;
    let moved = agent.registry.reauthenticate(within, |link| {
        let proof = link.proof();
        proof.peer.signers.contains(&issuer) || proof.own.signers.contains(&issuer)
    });
    if moved > 0 {
        tracing::info!(
            moved,
            "an authority is being replaced: links move to new certificates"
        );
    }
}

fn told(moved: usize) {
    if moved > 0 {
        tracing::info!(
            moved,
            "a key may be known to somebody else: links move to new certificates"
        );
    }
}

impl Control {
    /// Renews at once what has this key, if something of ours has.
    pub fn give_up(&self, agent: &Agent, key: [u8; 32]) -> bool {
        let own = self.own();
        let own = own.is_some_and(|own| own.identity().spki_sha256 == key);
        if !own && !agent.identities.has_key(&key) {
            return false;
        }
        let mut replaced = self.replaced();
        // There are no more of these than certificates of ours.
        if replaced.iter().all(|(waiting, _)| *waiting != key) {
            replaced.push((key, Duration::ZERO));
        }
        drop(replaced);
        agent.lifecycle.reloaded.notify_one();
        true
    }

    /// Links leave this key once there is another.
    pub(super) fn gives_up(&self, agent: &Agent, key: [u8; 32]) {
        let mut given_up = self.given_up();
        // What ran out before there was another has no links.
        given_up.retain(|key| agent.identities.has_key(key));
        given_up.insert(key);
    }

    /// There is another than this key now.
    pub(super) fn gave_up(&self, agent: &Agent, key: &[u8; 32]) {
        if self.given_up().remove(key) {
            told(agent.registry.leave(key, true));
        }
    }

    pub(super) fn replaced(&self) -> MutexGuard<'_, Vec<([u8; 32], Duration)>> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn given_up(&self) -> MutexGuard<'_, BTreeSet<[u8; 32]>> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
