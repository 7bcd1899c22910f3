//! What the kernel says about processes and about the machine: `/proc`, and nothing else.

use std::fs;
use std::time::{Duration, Instant};

use crate::Result;

/// The unit of times in `/proc`: 1/100 s on every architecture that Erlang runs on.
const TICK: Duration = Duration::from_millis(10);

/// Processor time of a process so far, user and system, all threads; to 10 ms.
pub fn cpu(id: u32) -> Result<Duration> {
    // utime and stime are the 14th and 15th field (proc_pid_stat(5)).
    sum(&stat(id)?, 11, 2)
}

/// Resident memory of a process, in bytes.
pub fn memory(id: u32) -> Result<u64> {
    let text = read(&format!("/proc/{id}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| format!("process {id}: no VmRSS"))
}

/// What the machine does beside this process and its children.
pub struct Machine {
    load: String,
    began: Instant,
    busy: Duration,
    own: Duration,
}

impl Machine {
    /// From now on.
    pub fn watch() -> Result<Self> {
        Ok(Self {
            load: read("/proc/loadavg")?,
            began: Instant::now(),
            busy: busy()?,
            own: own()?,
        })
    }

    /// Load averages of the last 1, 5 and 15 minutes, when the watch began.
    pub fn load(&self) -> String {
        let three: Vec<_> = self.load.split_whitespace().take(3).collect();
        three.join(" ")
    }

    /// How many cores others kept busy since then. All children must have ended and been waited for: only then does the
    /// kernel tell what they took.
    pub fn others(&self) -> Result<f64> {
        let busy = busy()?.saturating_sub(self.busy);
        let others = busy.saturating_sub(own()?.saturating_sub(self.own));
        Ok(others.as_secs_f64() / self.began.elapsed().as_secs_f64())
    }
}

/// Time of all processes since the machine was started, and what the hypervisor gave to somebody else. Interrupts are left
/// out: those of loopback are our own.
fn busy() -> Result<Duration> {
    let text = read("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    // cpu user nice system idle iowait irq softirq steal (proc_stat(5)).
    let line = line.trim_start_matches("cpu");
    Ok(sum(line, 0, 3)? + sum(line, 7, 1)?)
}

/// Of this process and of those of its children that it has waited for.
fn own() -> Result<Duration> {
    // cutime and cstime come behind utime and stime.
    sum(&stat(std::process::id())?, 11, 4)
}

/// What follows the program's name, which may hold anything.
fn stat(id: u32) -> Result<String> {
    let text = read(&format!("/proc/{id}/stat"))?;
    let rest = text.rsplit_once(')').map(|(_, rest)| rest.to_owned());
    rest.ok_or_else(|| format!("/proc/{id}/stat cannot be understood"))
}

fn sum(line: &str, skip: usize, take: usize) -> Result<Duration> {
    let mut all = Duration::ZERO;
    for field in line.split_whitespace().skip(skip).take(take) {
        let ticks: u32 = field
            .parse()
            .map_err(|_| format!("{field}: wanted a number of ticks"))?;
        all += TICK * ticks;
    }
    Ok(all)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}
