//! Packets that get lost, come late and out of order: a forwarder between two taps of the kernel, since not every kernel has
//! been built to do that itself (netem). What it forwards is real: TCP of the hosts on either side meets what it would meet
//! on a bad line.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;

/// The largest packet: a frame of Ethernet, and before it what the kernel says of its checksum.
const PACKET: usize = 2048;
/// Packets that may be under way in one direction: beyond it they are lost, as in any queue.
const QUEUE: usize = 4096;
/// Packets of one direction before it is the turn of the other.
const BURST: usize = 64;
/// How often it is looked whether all this is over.
const GLANCE: Duration = Duration::from_millis(50);

/// What happens to packets, in either direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// How many of a thousand are lost.
    pub lost: u32,
    /// How much later each arrives.
    pub delay: Duration,
    /// How many of a thousand are later still, so that others overtake them...
    pub overtaken: u32,
    /// ...by so much.
    pub late: Duration,
}

/// Forwards packets until it is dropped.
pub struct Forwarder {
    faults: Arc<Mutex<Faults>>,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What has become of packets.
#[derive(Debug, Default)]
pub struct Counts {
    /// They arrived.
    pub passed: AtomicU64,
    /// They did not.
    pub lost: AtomicU64,
    /// They were overtaken by others.
    pub overtaken: AtomicU64,
}

impl Forwarder {
    /// Forwards what comes out of either tap into the other. On a thread of its own: tests have better to do.
    pub fn between(one: &Path, other: &Path) -> Self {
        let open = |tap: &Path| {
            let mut options = OpenOptions::new();
            options.read(true).write(true);
            options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
            options.open(tap).unwrap()
        };
        let taps = [open(one), open(other)];
        let (faults, counts) = (Arc::default(), Arc::default());
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (faults, counts, stop) =
                (Arc::clone(&faults), Arc::clone(&counts), Arc::clone(&stop));
            move || forward(&taps, &faults, &counts, &stop)
        });
        Self {
            faults,
            counts,
            stop,
            thread: Some(thread),
        }
    }

    /// What happens to packets from here on.
    pub fn set(&self, faults: Faults) {
        *self.faults.lock().unwrap() = faults;
    }

    /// What has become of packets so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn forward(taps: &[File; 2], faults: &Mutex<Faults>, counts: &Counts, stop: &AtomicBool) {
    let mut ways = [
        Way::new(0x9E37_79B9_7F4A_7C15),
        Way::new(0xD1B5_4A32_D192_ED03),
    ];
    while !stop.load(Relaxed) {
        let now = Instant::now();
        let due = ways
            .iter()
            .filter_map(|way| Some(way.under_way.peek()?.0.0));
        let wait = due
            .min()
            .map_or(GLANCE, |due| due.saturating_duration_since(now).min(GLANCE));
        let mut ready = taps.each_ref().map(|tap| PollFd::new(tap, PollFlags::IN));
        poll(&mut ready, Some(&wait.try_into().unwrap())).unwrap();
        let faults = *faults.lock().unwrap();
        for (way, [from, to]) in ways.iter_mut().zip([[0, 1], [1, 0]]) {
            way.take(&taps[from], &faults, counts);
            way.give(&taps[to], counts);
        }
    }
}

/// When a packet is due, its number, and itself: the earliest first.
type Due = Reverse<(Instant, u64, Vec<u8>)>;

/// One direction.
struct Way {
    under_way: BinaryHeap<Due>,
    number: u64,
    chance: Chance,
}

impl Way {
    fn new(seed: u64) -> Self {
        Self {
            under_way: BinaryHeap::new(),
            number: 0,
            chance: Chance(seed),
        }
    }

    /// Takes what is there, and decides what becomes of it.
    fn take(&mut self, mut tap: &File, faults: &Faults, counts: &Counts) {
        for _ in 0..BURST {
            let mut packet = vec![0; PACKET];
            // Nothing there; or no tap any more, since its host was taken away.
            let Ok(length) = tap.read(&mut packet) else {
                return;
            };
            packet.truncate(length);
            if self.chance.of(faults.lost) || self.under_way.len() >= QUEUE {
                counts.lost.fetch_add(1, Relaxed);
                continue;
            }
            let mut due = Instant::now() + faults.delay;
            if self.chance.of(faults.overtaken) {
                counts.overtaken.fetch_add(1, Relaxed);
                due += faults.late;
            }
            self.number += 1;
            self.under_way.push(Reverse((due, self.number, packet)));
        }
    }

    /// Passes on what is due.
    fn give(&mut self, mut tap: &File, counts: &Counts) {
        let now = Instant::now();
        while let Some(Reverse((due, ..))) = self.under_way.peek()
            && *due <= now
            && let Some(Reverse((.., packet))) = self.under_way.pop()
        {
            // A cable that is pulled takes nothing, and says so: the packet is lost.
            let count = match tap.write(&packet) {
                Ok(_) => &counts.passed,
                Err(_) => &counts.lost,
            };
            count.fetch_add(1, Relaxed);
        }
    }
}

/// Chance that is the same in each run (xorshift64, Marsaglia 2003).
struct Chance(u64);

impl Chance {
    /// Whether it hits `share` of a thousand.
    fn of(&mut self, share: u32) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % 1000 < u64::from(share)
    }
}
