//! Waiting after failed accepts.

use std::io;
use std::time::Duration;

/// Waits between failed accepts: 10 ms, doubled up to a second. Without it a process that is out of file descriptors would
/// spin; with more, it would be deaf long after they are back.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(Duration::from_millis(10))
    }
}

impl Backoff {
    /// An accept succeeded.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// An accept failed. `port` names it for people.
    pub async fn wait(&mut self, port: &str, error: &io::Error) {
        tracing::warn!(port, wait = ?self.0, "cannot accept: {error}");
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(1));
    }
}
