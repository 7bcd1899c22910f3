//! A thread that reads: one consistent picture for each unit of work.

use crate::queue::Queue;
use crate::sqlite::Sqlite;
use crate::unit::{Ran, Unit};

/// Serves until the queue is closed and empty.
pub(crate) fn serve(mut engine: Sqlite, queue: &Queue) {
    while let Some(waiting) = queue.take(1, 1) {
        for waiting in waiting {
            read(&mut engine, waiting.unit);
        }
    }
}

fn read(engine: &mut Sqlite, mut unit: Box<dyn Unit>) {
    if let Err(error) = engine.run("BEGIN") {
        return unit.fail(error);
    }
    let ran = unit.run(engine);
    // Nothing was changed, so there is nothing that could be lost here.
    if let Err(error) = engine.abandon() {
        tracing::error!(%error, "a read could not be ended");
    }
    match ran {
        Ran::Keep(_) | Ran::Discard => unit.answer(),
        Ran::Failed(error) => unit.refuse(error),
    }
}
