//! Other people's work on the machine: waiting for it to pass, and telling how much of it fell into
//! a sample.

use std::time::{Duration, Instant};

use crate::error::{Doing, Error, Result};
use crate::process::Process;

/// A machine counts as quiet while others use less than this share of it.
pub const QUIET: f64 = 0.08;
/// For how long a machine is watched before it counts as quiet.
const WATCH: Duration = Duration::from_millis(200);

/// CPU seconds of the whole machine since it was started: work of all processes, and time that the
/// hypervisor gave to somebody else. Interrupts are left out: those of loopback are our own.
fn busy_seconds() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/stat").doing("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    // cpu user nice system idle iowait irq softirq steal (proc_stat(5)).
    let fields: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    match fields.as_slice() {
        [user, nice, system, _, _, _, _, steal, ..] => Ok((user + nice + system + steal) / 100.0),
        _ => Err(Error::new("/proc/stat", "cannot be read")),
    }
}

/// How many CPUs there are.
pub fn cpus() -> f64 {
    // Few enough for any conversion.
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(count).map_or(1.0, f64::from)
}

/// Waits until others use little of the machine, or until `patience` is over; whether it is quiet.
pub async fn wait(patience: Duration) -> Result<bool> {
    let deadline = Instant::now() + patience;
    loop {
        let (start, before) = (Instant::now(), busy_seconds()?);
        tokio::time::sleep(WATCH).await;
        let share = (busy_seconds()? - before) / start.elapsed().as_secs_f64() / cpus();
        if share < QUIET {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
    }
}

/// A period in which the CPU time of some processes, and that of all others, is taken.
#[derive(Debug)]
pub struct Watch {
    start: Instant,
    busy: f64,
    own: f64,
}

/// What was used in a period.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// CPU seconds of the processes in question.
    pub own: f64,
    /// The share of the machine that went to others, 0 to 1.
    pub others: f64,
}

impl Watch {
    /// Begins a period.
    pub fn start<'a>(own: impl IntoIterator<Item = &'a Process>) -> Result<Self> {
        Ok(Self {
            start: Instant::now(),
            busy: busy_seconds()?,
            own: total(own)?,
        })
    }

    /// Ends it; `own` are the same processes as at the start.
    pub fn end<'a>(self, own: impl IntoIterator<Item = &'a Process>) -> Result<Used> {
        let own = total(own)? - self.own;
        let busy = busy_seconds()? - self.busy;
        let machine = self.start.elapsed().as_secs_f64() * cpus();
        Ok(Used {
            own,
            others: ((busy - own) / machine).clamp(0.0, 1.0),
        })
    }
}

fn total<'a>(processes: impl IntoIterator<Item = &'a Process>) -> Result<f64> {
    processes.into_iter().map(Process::cpu_seconds).sum()
}
