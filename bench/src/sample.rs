//! What is measured: the samples of a round, and the rows of the tables that each fills.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::pair::{Pair, Shape};
use crate::quiet::{Used, Watch};
use crate::stats::median;

/// A row of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is, and in which unit.
    pub title: &'static str,
    /// Digits behind the point.
    pub digits: usize,
}

/// One kind of measurement; all opponents take it one after the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sample {
    /// Messages of 1 MiB, one sender; and what they cost.
    Bulk1M,
    /// Messages of 100 kB, one sender.
    Bulk100k,
    /// Messages of so many bytes from so many senders.
    Messages(usize, usize),
    /// One call after the other.
    Calls,
    /// 64 callers.
    Callers,
    /// One call after the other, while messages of 64 B go to the same node at 70 % of their greatest rate.
    LoadedCalls,
    /// Connections, one after the other.
    SetUp,
    /// The most memory used in the whole round.
    Memory,
    /// So many connections at once: messages of 1 MiB with a sender each, and of 64 B with 32 senders together.
    Connections(usize),
}

/// The share of the greatest rate at which latency is looked at.
const LOADED: f64 = 0.7;
/// Senders of messages when there are many.
const SENDERS: usize = 32;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How long a load lasts, after a quarter of that to warm up: buffers grow, code is loaded.
    pub load: Duration,
    /// How many connections are made.
    pub set_ups: usize,
}

/// A sample of one opponent.
#[derive(Debug)]
pub struct Taken {
    /// A value for each row; none for the agents of an opponent that has no agents.
    pub values: Vec<Option<f64>>,
    /// What was used meanwhile.
    pub used: Used,
}

impl Sample {
    /// All of them, in the order in which they are taken. Memory comes last of those that are taken of two nodes; more nodes
    /// are started for what comes behind it.
    pub const ALL: [Self; 17] = [
        Self::Bulk1M,
        Self::Bulk100k,
        Self::Messages(64, 1),
        Self::Messages(64, 32),
        Self::Messages(1024, 1),
        Self::Messages(1024, 32),
        Self::Calls,
        Self::Callers,
        Self::LoadedCalls,
        Self::SetUp,
        Self::Memory,
        Self::Connections(1),
        Self::Connections(2),
        Self::Connections(4),
        Self::Connections(8),
        Self::Connections(16),
        Self::Connections(32),
    ];

    /// The nodes that it needs: of each of one side to each of the other go its connections. `None` for one on each side.
    pub const fn shape(self) -> Option<Shape> {
        let Self::Connections(count) = self else {
            return None;
        };
        let a = match count {
            1 | 2 => 1,
            4 | 8 => 2,
            _ => 4,
        };
        Some(Shape { a, b: count / a })
    }

    /// What it is called on the command line; several may share a name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bulk1M | Self::Bulk100k => "bulk",
            Self::Messages(..) => "messages",
            Self::Calls => "calls",
            Self::Callers => "callers",
            Self::LoadedCalls => "loaded-calls",
            Self::Connections(_) => "connections",
            Self::SetUp => "set-up",
            Self::Memory => "memory",
        }
    }

    /// The rows that it fills.
    pub const fn rows(self) -> &'static [Row] {
        const fn row(title: &'static str, digits: usize) -> Row {
            Row { title, digits }
        }
        macro_rules! connections {
            ($count:literal) => {
                &const {
                    [
                        row(concat!($count, " at once, 1 MiB messages, MB/s"), 0),
                        row(concat!($count, " at once, 64 B messages, k/s"), 0),
                    ]
                }
            };
        }
        match self {
            Self::Bulk1M => {
                &const { [row("1 MiB messages, MB/s", 0), row("CPU seconds per GB", 2)] }
            }
            Self::Bulk100k => &const { [row("100 kB messages, MB/s", 0)] },
            Self::Messages(64, 1) => &const { [row("64 B messages, 1 sender, k/s", 0)] },
            Self::Messages(64, _) => &const { [row("64 B messages, 32 senders, k/s", 0)] },
            Self::Messages(_, 1) => &const { [row("1 kB messages, 1 sender, k/s", 0)] },
            Self::Messages(..) => &const { [row("1 kB messages, 32 senders, k/s", 0)] },
            Self::Calls => &const { [row("call p50, us", 1), row("call p99, us", 1)] },
            Self::Callers => &const { [row("64 callers, k calls/s", 1)] },
            Self::LoadedCalls => {
                &const {
                    [
                        row("call p50 at 70 % load, us", 1),
                        row("call p99 at 70 % load, us", 1),
                        row("that load, k/s", 0),
                    ]
                }
            }
            Self::Connections(1) => connections!(1),
            Self::Connections(2) => connections!(2),
            Self::Connections(4) => connections!(4),
            Self::Connections(8) => connections!(8),
            Self::Connections(16) => connections!(16),
            Self::Connections(_) => connections!(32),
            Self::SetUp => &const { [row("connection set-up p50, ms", 2)] },
            Self::Memory => {
                &const {
                    [
                        row("peak memory of the sending node, MB", 0),
                        row("peak memory of its agent, MB", 1),
                        row("peak memory of the other agent, MB", 1),
                    ]
                }
            }
        }
    }

    /// Takes the sample of one opponent.
    pub async fn take(self, pair: &mut Pair, effort: Effort) -> Result<Taken> {
        match self {
            Self::Bulk1M => {
                load(pair, 1 << 20, 1, effort, |load| {
                    let bytes = load.count * f64::from(1 << 20);
                    vec![bytes / load.seconds / 1e6, load.used.own / (bytes / 1e9)]
                })
                .await
            }
            Self::Bulk100k => {
                load(pair, 100_000, 1, effort, |load| {
                    vec![load.rate() * 100_000.0 / 1e6]
                })
                .await
            }
            Self::Messages(size, senders) => {
                load(pair, size, senders, effort, |load| vec![load.rate() / 1e3]).await
            }
            Self::Calls => calls(pair, effort).await,
            Self::Callers => {
                let command = |ms| format!("{{callers, b@localhost, 64, {ms}}}");
                run_load(pair, command, effort, |load| vec![load.rate() / 1e3]).await
            }
            Self::LoadedCalls => loaded_calls(pair, effort).await,
            Self::SetUp => set_ups(pair, effort).await,
            Self::Memory => memory(pair),
            Self::Connections(_) => {
                let shape = self.shape().unwrap_or(Shape::PAIR);
                connections(pair, shape, effort).await
            }
        }
    }
}

/// What came of a load.
struct Load {
    count: f64,
    seconds: f64,
    used: Used,
}

impl Load {
    fn rate(&self) -> f64 {
        self.count / self.seconds
    }
}

async fn load(
    pair: &mut Pair,
    size: usize,
    senders: usize,
    effort: Effort,
    values: impl FnOnce(&Load) -> Vec<f64>,
) -> Result<Taken> {
    let command = |ms| format!("{{load, b@localhost, {size}, {senders}, {ms}}}");
    run_load(pair, command, effort, values).await
}

async fn run_load(
    pair: &mut Pair,
    command: impl Fn(u128) -> String,
    effort: Effort,
    values: impl FnOnce(&Load) -> Vec<f64>,
) -> Result<Taken> {
    let ms = effort.load.as_millis();
    pair.a.run::<2>(&command(ms / 4)).await?;
    let watch = Watch::start(pair.processes())?;
    let [count, ns] = pair.a.run(&command(ms)).await?;
    let used = watch.end(pair.processes())?;
    if count == 0 || ns == 0 {
        return Err(Error::new(command(ms), "nothing arrived"));
    }
    let load = Load {
        count: real(count),
        seconds: real(ns) / 1e9,
        used,
    };
    Ok(Taken {
        values: values(&load).into_iter().map(Some).collect(),
        used,
    })
}

async fn calls(pair: &mut Pair, effort: Effort) -> Result<Taken> {
    let command = |ms: u128| format!("{{calls, b@localhost, {ms}}}");
    let ms = effort.load.as_millis();
    pair.a.run::<3>(&command(ms / 4)).await?;
    let watch = Watch::start(pair.processes())?;
    let [p50, p99, _count] = pair.a.run(&command(ms)).await?;
    Ok(Taken {
        values: [p50, p99].map(|ns| Some(real(ns) / 1e3)).into(),
        used: watch.end(pair.processes())?,
    })
}

async fn loaded_calls(pair: &mut Pair, effort: Effort) -> Result<Taken> {
    let ms = effort.load.as_millis();
    let most = format!("{{load, b@localhost, 64, {SENDERS}, {ms}}}");
    let [count, ns] = pair.a.run(&most).await?;
    let most = real(count) / (real(ns) / 1e9);
    let rate = most * LOADED;
    let command = format!("{{loaded_calls, b@localhost, 64, {SENDERS}, {rate:.0}, {ms}}}");
    let watch = Watch::start(pair.processes())?;
    let [p50, p99, count, ns] = pair.a.run(&command).await?;
    let load = real(count) / (real(ns) / 1e9);
    Ok(Taken {
        values: [real(p50) / 1e3, real(p99) / 1e3, load / 1e3]
            .map(Some)
            .into(),
        used: watch.end(pair.processes())?,
    })
}

/// Both loads over all connections of a shape at once.
async fn connections(pair: &mut Pair, shape: Shape, effort: Effort) -> Result<Taken> {
    let count = shape.a * shape.b;
    let (bulk, of_bulk) = spread_load(pair, shape, 1 << 20, 1, effort).await?;
    let (small, of_small) = spread_load(pair, shape, 64, SENDERS / count, effort).await?;
    Ok(Taken {
        values: [bulk * f64::from(1 << 20) / 1e6, small / 1e3]
            .map(Some)
            .into(),
        used: Used {
            own: of_bulk.own + of_small.own,
            others: of_bulk.others.max(of_small.others),
        },
    })
}

/// Messages a second, all connections together.
async fn spread_load(
    pair: &mut Pair,
    shape: Shape,
    size: usize,
    senders: usize,
    effort: Effort,
) -> Result<(f64, Used)> {
    let targets: Vec<_> = pair.b_names().take(shape.b).collect();
    let targets = targets.join(", ");
    let command = |ms| format!("{{loads, [{targets}], {size}, {senders}, {ms}}}");
    let ms = effort.load.as_millis();
    together(pair, shape.a, &command(ms / 4)).await?;
    let watch = Watch::start(pair.processes())?;
    let rate = together(pair, shape.a, &command(ms)).await?;
    Ok((rate, watch.end(pair.processes())?))
}

/// Has the first nodes of one side do the same at once; what they reach together.
async fn together(pair: &mut Pair, nodes: usize, command: &str) -> Result<f64> {
    for node in pair.all_a().take(nodes) {
        node.ask(command).await?;
    }
    let (mut all, mut longest) = (0, 0);
    for node in pair.all_a().take(nodes) {
        let [count, ns] = node.answer(command).await?;
        all += count;
        longest = longest.max(ns);
    }
    if all == 0 || longest == 0 {
        return Err(Error::new(command, "nothing arrived"));
    }
    Ok(real(all) / (real(longest) / 1e9))
}

async fn set_ups(pair: &mut Pair, effort: Effort) -> Result<Taken> {
    set_up(pair).await?;
    let watch = Watch::start(pair.processes())?;
    let mut times = Vec::new();
    for _ in 0..effort.set_ups {
        times.push(real(set_up(pair).await?) / 1e6);
    }
    Ok(Taken {
        values: vec![median(&times)],
        used: watch.end(pair.processes())?,
    })
}

/// Disconnects, waits until both ends have forgotten, and connects; nanoseconds of the last.
async fn set_up(pair: &mut Pair) -> Result<u64> {
    pair.a.run::<0>("{disconnect, b@localhost}").await?;
    pair.b.run::<0>("{await_down, a@localhost}").await?;
    let [ns] = pair.a.run("{connect, b@localhost}").await?;
    Ok(ns)
}

fn memory(pair: &Pair) -> Result<Taken> {
    let agent = |at: usize| pair.between.get(at).map(|agent| agent.peak_memory());
    Ok(Taken {
        values: vec![
            Some(pair.a.process.peak_memory()?),
            agent(0).transpose()?,
            agent(1).transpose()?,
        ],
        used: Used::default(),
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times and counts are far below 2^53"
)]
const fn real(number: u64) -> f64 {
    number as f64
}
