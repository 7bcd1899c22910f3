//! A unit of work without its types: what the threads of the store run, and answer when it is durable.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::tx::{Engine, PendingEvent, Tx};

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Ran {
    /// It is to be kept, with these events at the end of its transaction.
    Keep(Vec<PendingEvent>),
    /// The unit itself said no: nothing of it is to be kept, and its own answer stands.
    Discard,
    /// The database said no: nothing of it can be kept.
    Failed(Error),
}

/// Something that runs inside a transaction, perhaps several times, and is answered once.
pub(crate) trait Unit: Send {
    /// Runs it.
    fn run(&mut self, engine: &mut dyn Engine) -> Ran;
    /// What it did is durable; or its own no stands.
    fn answer(self: Box<Self>);
    /// It was not kept since the database said no to a statement of it. Its own answer stands, if it made one of that.
    fn refuse(self: Box<Self>, error: Error);
    /// It was not kept, whatever it said.
    fn fail(self: Box<Self>, error: Error);
}

/// The unit of work of one closure, and the place where its answer is awaited.
pub(crate) fn unit<T, E, F>(work: F) -> (Box<dyn Unit>, oneshot::Receiver<Result<T, E>>)
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let job = Job {
        work,
        result: None,
        sender,
    };
    (Box::new(job), receiver)
}

struct Job<T, E, F> {
    work: F,
    result: Option<Result<T, E>>,
    sender: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Unit for Job<T, E, F>
where
    T: Send,
    E: From<Error> + Send,
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send,
{
    fn run(&mut self, engine: &mut dyn Engine) -> Ran {
        self.result = None;
        let mut tx = Tx::new(engine);
        // A unit that panics must not take the writer with it, which serves everybody.
        let Ok(result) = catch_unwind(AssertUnwindSafe(|| (self.work)(&mut tx))) else {
            return Ran::Failed(Error::Internal("a unit of work panicked".into()));
        };
        let ended = match (&result, tx.failure()) {
            (_, Some(error)) => Ran::Failed(error),
            (Ok(_), None) => Ran::Keep(tx.into_events()),
            (Err(_), None) => Ran::Discard,
        };
        self.result = Some(result);
        ended
    }

    fn answer(self: Box<Self>) {
        let result = self
            .result
            .unwrap_or_else(|| Err(Error::Internal("a unit of work was never run".into()).into()));
        // Whoever asked may have gone; the work is done all the same.
        let _ = self.sender.send(result);
    }

    fn refuse(self: Box<Self>, error: Error) {
        let result = match self.result {
            Some(Err(own)) => Err(own),
            Some(Ok(_)) | None => Err(error.into()),
        };
        let _ = self.sender.send(result);
    }

    fn fail(self: Box<Self>, error: Error) {
        let _ = self.sender.send(Err(error.into()));
    }
}

#[cfg(test)]
mod tests;
