//! Whether a quiet link still leads somewhere. Who finds out nothing about a connection for long enough asks, and who gets
//! no answer and no acknowledgement of the other kernel either gives it up; what follows is in `resume`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::config::Links;
use crate::live::Live;
use crate::loopback;
use crate::registry::Link;

/// What a node has that does not say: OTP's default `net_ticktime`.
const DEFAULT_TICK: Duration = Duration::from_secs(60);

/// How long without a sign of life a connection is trusted at most. Envoy and gRPC ping after 10 s and more, and then wait
/// for 20 s; `RabbitMQ`'s failure detector suspects a node within seconds.
const MOST_SILENCE: Duration = Duration::from_secs(5);

/// After how many looks at a link over which nothing has moved its memory is given back: a second, so that a node that says
/// something large from time to time does not find it gone each time.
const STILL: u32 = 5;

/// How much time a link has for what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Patience {
    /// Without a sign of life from the other host, the connection is given up.
    pub silence: Duration,
    /// To find another one, from the loss on.
    pub resume: Duration,
    /// What is kept for it in each direction, in bytes.
    pub window: usize,
}

impl Patience {
    /// Both together stay below half of the smaller tick time, whatever was configured: a node takes a peer for dead that
    /// it has not heard for that time, give or take a quarter (`net_kernel`, `net_ticktime`), and may have been silent for
    /// a quarter before.
    pub fn of(link: &Link, config: &Links) -> Self {
        let tick = match link.tick_seconds.load(Relaxed) {
            0 => DEFAULT_TICK,
            seconds => Duration::from_secs(seconds.into()),
        };
        let half = tick / 2;
        let silence = (half / 6).min(MOST_SILENCE);
        Self {
            silence,
            // Finding out may take as long again, since links are looked at from time to time.
            resume: config.resume_timeout.min(half.saturating_sub(silence * 2)),
            window: config.window,
        }
    }
}

/// What is remembered of each link from one look to the next.
#[derive(Debug, Default)]
pub struct Pulses(BTreeMap<u64, Pulse>);

#[derive(Debug)]
struct Pulse {
    /// When something had come from the peer.
    heard: Instant,
    /// When it was last asked for a sign of life.
    asked: Option<Instant>,
    pings: u64,
    /// Bytes sent and received when it was last looked at.
    moved: u64,
    /// How often it was looked at since then.
    still: u32,
}

impl Pulses {
    /// Looks at every link.
    pub fn beat(&mut self, agent: &Agent) {
        let now = Instant::now();
        let settings = agent.settings();
        let mut before = std::mem::take(&mut self.0);
        for link in agent.registry.snapshot() {
            let Some(live) = link.live() else {
                continue;
            };
            let mut pulse = before.remove(&link.id).unwrap_or_else(|| Pulse::new(now));
            let patience = Patience::of(&link, &settings.config.links);
            pulse.beat(&link, live, &patience, now);
            self.0.insert(link.id, pulse);
        }
    }
}

impl Pulse {
    const fn new(now: Instant) -> Self {
        Self {
            heard: now,
            asked: None,
            pings: 0,
            moved: 0,
            still: 0,
        }
    }

    fn beat(&mut self, link: &Link, live: &Live, patience: &Patience, now: Instant) {
        let (ack, resumable, unacknowledged) = {
            let mut session = live.session();
            let resumable = session.is_resumable();
            let ack = resumable.then(|| session.ack_now()).flatten();
            (ack, resumable, session.unacknowledged())
        };
        if let Some(offset) = ack {
            live.send(&skans_link::ack(offset));
        }
        self.rest(link, live, unacknowledged);
        if live.heard.swap(false, Relaxed) || !resumable || live.is_adrift() {
            (self.heard, self.asked) = (now, None);
            return;
        }
        let silent = now.duration_since(self.heard);
        // Behind gateways the kernel that acknowledges is that of the first one, and says nothing of the rest of the way.
        if silent >= patience.silence && (link.foreign || is_gone(live, patience.silence)) {
            let (local, peer) = link.names();
            tracing::warn!(link = link.id, %local, %peer, ?silent, "no sign of life from the other host: the connection is given up");
            (self.heard, self.asked) = (now, None);
            live.give_up();
            return;
        }
        let pause = patience.silence / 3;
        if silent >= pause
            && self
                .asked
                .is_none_or(|asked| now.duration_since(asked) >= pause)
        {
            self.asked = Some(now);
            self.pings += 1;
            live.send(&skans_link::ping(self.pings));
        }
    }

    /// Has memory given back once nothing is kept and nothing is sent or received.
    fn rest(&mut self, link: &Link, live: &Live, unacknowledged: u64) {
        let traffic = &link.traffic;
        let [sent, received] =
            [&traffic.sent, &traffic.received].map(|way| way.bytes.load(Relaxed));
        let moved = sent.wrapping_add(received);
        if moved != self.moved || unacknowledged > 0 {
            (self.moved, self.still) = (moved, 0);
        } else {
            self.still = self.still.saturating_add(1);
            if self.still == STILL {
                live.rest();
            }
        }
    }
}

/// A peer whose node reads nothing answers nothing either, and is there all the same: its kernel acknowledges. Where the
/// kernel here says nothing of it, no answer counts as none; a good connection that is given up costs a handshake.
fn is_gone(live: &Live, silence: Duration) -> bool {
    let Some((ours, theirs)) = live.path() else {
        return true;
    };
    loopback::acknowledged(ours, theirs).map_or(true, |ago| ago >= silence / 2)
}

#[cfg(test)]
mod tests;
