//! Looks after live links: ends those whose certificates have run out, has the others re-authenticated in time, hands
//! on heads that had to wait, and feels the pulse of those that are quiet. One task; it moves no bytes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use skans_link::{Close, Reason};
use tokio::sync::Semaphore;

use crate::agent::Agent;
use crate::live::Live;
use crate::pulse::Pulses;
use crate::random;
use crate::registry::{Direction, Link, Registry};
use crate::takeover::{self, Went};

/// How often it looks. A link outlives its certificates by this at most; by the wall clock, so that a host that slept or
/// whose clock was set is right again as soon.
const TICK: Duration = Duration::from_millis(200);

/// Takeovers under way at once: each is a TLS handshake, about a millisecond of a core.
const AT_ONCE: usize = 128;

/// What a failed takeover waits at least, and at most. With a link that has half an hour left, a peer that comes back is
/// noticed within a minute and a half.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Keeps at it until the agent stops.
pub async fn run(agent: Arc<Agent>) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut pulses = Pulses::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = agent.stopping.cancelled() => return,
        }
        agent.gossip.tick(&agent.registry, Instant::now());
        pulses.beat(&agent);
        let now = millis(now());
        for link in agent.registry.due(now) {
            if now >= link.ends_at() {
                expire(&agent, &link);
            } else {
                begin(&agent, &link, &turns);
            }
        }
    }
}

/// Not a byte after the last second of the first certificate.
fn expire(agent: &Agent, link: &Link) {
    if link.still_holds().is_err() {
        return;
    }
    let (local, peer) = link.names();
    let proof = link.proof();
    let whose = if proof.own.not_after <= proof.peer.not_after {
        local
    } else {
        peer
    };
    if link.up.load(Relaxed) {
        agent.registry.expired.fetch_add(1, Relaxed);
    }
    tracing::warn!(link = link.id, %local, %peer, direction = link.direction.label(), "the certificate of {whose} has run out: the link ends");
    let text = format!("the certificate of {whose} has run out");
    link.mute(Close::new(Reason::Expired, text), Duration::ZERO);
}

/// Starts a takeover where the bytes of the link are moved.
fn begin(agent: &Arc<Agent>, link: &Arc<Link>, turns: &Arc<Semaphore>) {
    // Nothing further until it is decided how this one went.
    agent.registry.schedule(link, u64::MAX);
    let Some(live) = link
        .live()
        .filter(|_| link.direction == Direction::Outbound)
    else {
        return;
    };
    let (agent, link, turns) = (Arc::clone(agent), Arc::clone(link), Arc::clone(turns));
    let turn = async move {
        let Ok(_turn) = turns.acquire().await else {
            return;
        };
        let asked = link.asked.swap(false, Relaxed);
        let went = tokio::select! {
            went = takeover::attempt(&agent, &link, asked) => went,
            // It is over.
            () = link.quiet() => return,
        };
        let at = match went {
            Went::Over => next(&link, now()),
            Went::Failed => again(&link, now()),
            Went::Busy => now() + RETRY.0,
        };
        agent.registry.schedule(&link, millis(at));
        // Asked for another while this one was under way: in this order, or it would be forgotten.
        if link.asked.load(Relaxed) {
            agent.registry.schedule(&link, millis(now()));
        }
        link.asked.fetch_or(asked && went != Went::Over, Relaxed);
    };
    // Drops with the link; draining need not wait for it.
    drop(live.runtime().spawn(turn));
}

/// Schedules the first takeover of a link that is up.
pub fn watch(registry: &Registry, link: &Arc<Link>) {
    if link.direction == Direction::Outbound && link.live().is_some_and(Live::may_move) {
        registry.schedule(link, millis(next(link, now())));
    }
}

/// At 40 to 60 % of what is left. A leaf is renewed from a sixth of its life on, so by then both ends have another; and
/// as much time is left for it to fail. By chance, or all links that came up together would move together.
fn next(link: &Link, now: Duration) -> Duration {
    let left = Duration::from_millis(link.ends_at()).saturating_sub(now);
    // Not without a pause, if what is left is short.
    now + left.mul_f64(0.2_f64.mul_add(chance(), 0.4)).max(RETRY.0)
}

/// After a quarter of what is left, give or take a half.
fn again(link: &Link, now: Duration) -> Duration {
    let left = Duration::from_millis(link.ends_at()).saturating_sub(now);
    now + (left / 4).clamp(RETRY.0, RETRY.1).mul_f64(0.5 + chance())
}

/// Since 1970.
pub fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// In milliseconds.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// From 0 to 1; the middle if the system gives no random numbers.
pub fn chance() -> f64 {
    random::<4>().map_or(0.5, |bytes| {
        f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
    })
}

#[cfg(test)]
mod tests;
