//! One of the processes that agents live in: it does what it is told on its standard input, and ends with that.

use std::io::BufRead as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::wire::{Answer, Done, Order, Share};
use crate::{Result, kernel};

/// After a call that failed, before the next one.
const PAUSE: Duration = Duration::from_millis(50);

/// Works until its parent is gone.
pub async fn run() -> Result<()> {
    let mut orders = orders();
    let mut agents = Agents::new(Share::default());
    while let Some(order) = orders.recv().await {
        let order = order?;
        let done = tokio::select! {
            done = agents.measured(order) => done,
            // Its parent is gone, or does not wait for answers.
            early = orders.recv() => match early {
                None => return Ok(()),
                Some(_) => Err("found an order before the answer to the last one".to_owned()),
            },
        };
        say(&done.map_or_else(Answer::Failed, Answer::Done))?;
    }
    Ok(())
}

/// From a thread of its own: a read of standard input cannot be called off, and must not keep the process from its end.
fn orders() -> mpsc::Receiver<Result<Order>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let order = line.map_err(|error| error.to_string()).and_then(|line| {
                // Never the line itself: it holds tokens.
                serde_json::from_str(&line).map_err(|error| format!("an order: {error}"))
            });
            if sender.blocking_send(order).is_err() {
                return;
            }
        }
    });
    receiver
}

fn say(answer: &Answer) -> Result<()> {
    let line = serde_json::to_string(answer).map_err(|error| error.to_string())?;
    println!("{line}");
    Ok(())
}

/// All that live here.
struct Agents {
    share: Share,
    gate: Arc<Semaphore>,
    all: Vec<Arc<Agent>>,
}

impl Agents {
    fn new(share: Share) -> Self {
        Self {
            gate: Arc::new(Semaphore::new(share.at_once as usize)),
            share,
            all: Vec::new(),
        }
    }

    async fn measured(&mut self, order: Order) -> Result<Done> {
        let (began, cpu) = (Instant::now(), kernel::cpu(std::process::id())?);
        let mut held = Vec::new();
        let count = match order {
            Order::Prepare(share) => {
                *self = Self::new(share);
                self.share.tokens.len() as u64
            }
            Order::Enrol => self.enrol().await?,
            Order::Watch => self.watch().await?,
            Order::Hear { denials } => self.hear(denials).await?,
            Order::Renew {
                seconds,
                nodes,
                in_spite,
            } => {
                let end = began + Duration::from_secs(seconds);
                self.renew(end, nodes, in_spite).await?
            }
            Order::Show => {
                held.extend(self.all.iter().flat_map(|agent| agent.held()));
                held.len() as u64
            }
        };
        let cpu = kernel::cpu(std::process::id())?.saturating_sub(cpu);
        Ok(Done {
            count,
            seconds: began.elapsed().as_secs_f64(),
            cpu_seconds: cpu.as_secs_f64(),
            held,
        })
    }

    async fn enrol(&mut self) -> Result<u64> {
        let mut all = JoinSet::new();
        let tokens = std::mem::take(&mut self.share.tokens);
        for (number, token) in (self.share.first..).zip(tokens) {
            let gate = Arc::clone(&self.gate);
            all.spawn(async move {
                let _place = gate.acquire().await;
                Agent::enrol(&token, &format!("host-{number}")).await
            });
        }
        while let Some(done) = all.join_next().await {
            let agent = done.map_err(|error| error.to_string())??;
            self.all.push(Arc::new(agent));
        }
        Ok(self.all.len() as u64)
    }

    async fn watch(&self) -> Result<u64> {
        let mut all = JoinSet::new();
        for agent in &self.all {
            let (agent, gate) = (Arc::clone(agent), Arc::clone(&self.gate));
            all.spawn(async move {
                let _place = gate.acquire().await;
                agent.watch().await
            });
        }
        let mut count = 0;
        while let Some(done) = all.join_next().await {
            done.map_err(|error| error.to_string())??;
            count += 1;
        }
        Ok(count)
    }

    async fn hear(&self, denials: u64) -> Result<u64> {
        for agent in &self.all {
            agent.until_denied(denials).await?;
            // Otherwise a later one would count as heard before it was made.
            if agent.denied() > denials {
                return Err(format!(
                    "heard of {} denials, wanted {denials}",
                    agent.denied()
                ));
            }
        }
        Ok(self.all.len() as u64)
    }

    /// As fast as they are let; gives how many certificates came.
    async fn renew(&self, end: Instant, nodes: u32, in_spite: bool) -> Result<u64> {
        let issued = Arc::new(AtomicU64::new(0));
        let mut all = JoinSet::new();
        for agent in &self.all {
            let (agent, gate) = (Arc::clone(agent), Arc::clone(&self.gate));
            let issued = Arc::clone(&issued);
            all.spawn(async move {
                while Instant::now() < end {
                    let _place = gate.acquire().await;
                    match agent.renew(nodes).await {
                        Ok(count) => _ = issued.fetch_add(count, Ordering::Relaxed),
                        Err(_) if in_spite => tokio::time::sleep(PAUSE).await,
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            });
        }
        while let Some(done) = all.join_next().await {
            done.map_err(|error| error.to_string())??;
        }
        Ok(issued.load(Ordering::Relaxed))
    }
}
