//! What agents ask: that the log they know is the beginning of the one they hear of.

use skans_audit::merkle::Hash;
use skans_audit::proof;
use skans_store::log;

use super::tree;
use crate::error::Error;
use crate::state::Control;

impl Control {
    /// Proves that the first `old` entries of a log are the beginning of the first `new` ones.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such log; [`Error::Invalid`] if it is shorter, or the sizes are in the wrong order.
    pub(crate) async fn log_consistency(
        &self,
        epoch: u64,
        old: u64,
        new: u64,
    ) -> Result<Vec<Hash>, Error> {
        let read = self.store.try_read(move |tx| {
            let log = log::get(tx, epoch)?;
            let log = log.ok_or_else(|| Error::not_found("log", epoch.to_string()))?;
            if old == 0 || old > new || new > log.size {
                return Err(Error::Invalid(format!(
                    "sizes: found {old} and {new}, wanted 1 to {} in their order",
                    log.size
                )));
            }
            tree::look(tx, epoch, new, |tree| proof::consistency(tree, old, new))
        });
        read.await
    }
}
