//! Changes that need one writer: deny entries, versions, authorities. Whoever has one to make takes the fence and makes it.

use skans_store::Tx;
use skans_store::writer::{self, Epoch};
use tokio::time::Interval;

use crate::clock;
use crate::error::Error;
use crate::state::Control;

/// How a change is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// As space and turn allow.
    Ordinary,
    /// The same, and also while ordinary changes are held: what a revocation needs before it.
    Needed,
    /// As fast as what is urgent, with the space that is kept for that, and held with ordinary changes: what takes a denial back.
    Quick,
    /// Before everything else, and with the space that is kept for it: what denies or forbids, and nothing else.
    Urgent,
}

impl Control {
    /// Runs a unit of work as the writer.
    ///
    /// # Errors
    /// What the unit says, and those of the store.
    pub(crate) async fn as_writer<T: Send + 'static>(
        &self,
        urgency: Urgency,
        mut work: impl FnMut(&mut Tx<'_>, Epoch, u64) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let held = self.writer();
        let name = self.config.name.clone();
        let unit = move |tx: &mut Tx<'_>| {
            let now = clock::seconds();
            let epoch = match held {
                Some(epoch) if writer::holder(tx)?.epoch == epoch.number() => epoch,
                _ => writer::claim(tx, &name, now)?,
            };
            Ok::<_, Error>((work(tx, epoch, now)?, epoch))
        };
        let (done, epoch) = match urgency {
            Urgency::Ordinary => self.store.try_write(unit).await?,
            Urgency::Needed => self.store.write_though_held(unit).await?,
            Urgency::Quick => {
                self.store.not_held()?;
                self.store.write_urgent(unit).await?
            }
            Urgency::Urgent => self.store.write_urgent(unit).await?,
        };
        self.set_writer(Some(epoch));
        Ok(done)
    }

    /// Waits for the next turn of what only the writer does, again and again, and only where something can be written. `None`: the process stops.
    pub(crate) async fn turn(&self, ticks: &mut Interval) -> Option<Epoch> {
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.stopping.cancelled() => return None,
            }
            if self.store.read_only().is_none()
                && let Some(writer) = self.writer()
            {
                return Some(writer);
            }
        }
    }
}
