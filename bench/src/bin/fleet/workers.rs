//! The processes that agents live in, as their parent sees them: started, told what to do all at one moment, heard, and
//! stopped by their ids whatever happens. What they do stands in `worker`.

#[cfg(test)]
mod tests;

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::Result;
use crate::wire::{Answer, Done, Order};

/// For an answer, beside the time that an order itself names: 100,000 agents enrol within it on a slow machine.
const PATIENCE: Duration = Duration::from_secs(600);
/// For a process to end that has closed its standard output.
const END: Duration = Duration::from_secs(5);

/// All of them.
pub struct Workers {
    all: Vec<Worker>,
    /// A line that one of them said, or nothing: it will not say anything again.
    heard: mpsc::Receiver<(usize, Option<String>)>,
}

struct Worker {
    child: Child,
    id: u32,
    orders: ChildStdin,
}

impl Workers {
    /// Starts so many of a program.
    pub fn start(count: usize, program: impl Fn() -> Command) -> Result<Self> {
        let (sender, heard) = mpsc::channel(count.max(1));
        let mut all = Vec::new();
        for number in 0..count {
            let mut child = program()
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .map_err(|error| format!("process {} of {count}: {error}", number + 1))?;
            let parts = (child.id(), child.stdin.take(), child.stdout.take());
            let (Some(id), Some(orders), Some(answers)) = parts else {
                return Err("a process without an id or without pipes".to_owned());
            };
            tokio::spawn(forward(number, answers, sender.clone()));
            all.push(Worker { child, id, orders });
        }
        Ok(Self { all, heard })
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Tells one of them.
    pub async fn tell(&mut self, number: usize, order: &Order) -> Result<()> {
        let mut line = serde_json::to_string(order).map_err(|error| error.to_string())?;
        line.push('\n');
        let Some(worker) = self.all.get_mut(number) else {
            return Err(format!("there is no process {number}"));
        };
        match worker.orders.write_all(line.as_bytes()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.ended(number, order).await),
        }
    }

    /// Tells all of them.
    pub async fn tell_all(&mut self, order: &Order) -> Result<()> {
        for number in 0..self.all.len() {
            self.tell(number, order).await?;
        }
        Ok(())
    }

    /// The answers of all to what they were told last.
    ///
    /// # Errors
    /// As soon as one of them has failed or ended, whatever the others do.
    pub async fn answers(&mut self, order: &Order) -> Result<Vec<Done>> {
        let own = match order {
            Order::Renew { seconds, .. } => Duration::from_secs(*seconds),
            _ => Duration::ZERO,
        };
        let mut all = Vec::new();
        let hear = async {
            while all.len() < self.all.len() {
                let Some((number, said)) = self.heard.recv().await else {
                    return Err("all processes have ended".to_owned());
                };
                let Some(line) = said else {
                    return Err(self.ended(number, order).await);
                };
                match serde_json::from_str(&line) {
                    Ok(Answer::Done(done)) => all.push(done),
                    Ok(Answer::Failed(why)) => {
                        return Err(format!("{}, told to {order}: {why}", self.name(number)));
                    }
                    Err(error) => {
                        return Err(format!("{}: no answer: {error}", self.name(number)));
                    }
                }
            }
            Ok(())
        };
        let heard = timeout(PATIENCE + own, hear).await;
        heard.map_err(|_| {
            format!(
                "told to {order}, {} of {} processes gave no answer within {:?}",
                self.all.len() - all.len(),
                self.all.len(),
                PATIENCE + own
            )
        })??;
        Ok(all)
    }

    /// Tells all of them, and hears all of them.
    pub async fn all(&mut self, order: &Order) -> Result<Vec<Done>> {
        self.tell_all(order).await?;
        self.answers(order).await
    }

    /// Stops each, by its id, and waits until it is gone.
    pub async fn stop(mut self) {
        for worker in &mut self.all {
            // One that has ended by itself was waited for, or is below.
            let _ = worker.child.start_kill();
        }
        for mut worker in self.all {
            let _ = worker.child.wait().await;
        }
    }

    fn name(&self, number: usize) -> String {
        let id = self.all.get(number).map_or(0, |worker| worker.id);
        format!("process {} of {} (id {id})", number + 1, self.all.len())
    }

    async fn ended(&mut self, number: usize, order: &Order) -> String {
        let how = match self.all.get_mut(number) {
            Some(worker) => timeout(END, worker.child.wait()).await,
            None => return format!("there is no process {number}"),
        };
        let how = match how {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it says no more".to_owned(),
        };
        format!("{} has ended ({how}), told to {order}", self.name(number))
    }
}

async fn forward(
    number: usize,
    answers: ChildStdout,
    sender: mpsc::Sender<(usize, Option<String>)>,
) {
    let mut lines = BufReader::new(answers).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if sender.send((number, Some(line))).await.is_err() {
            return;
        }
    }
    let _ = sender.send((number, None)).await;
}
