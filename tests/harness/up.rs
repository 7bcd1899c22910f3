//! `skans up` as a person runs it, and the summary that it ends with.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use skans_lab::plan::find_skans;
use tokio::process::Command;

/// What became of a cluster whose certificates rotated under traffic.
#[derive(Debug)]
pub struct Summary(Value);

impl Summary {
    /// Runs three nodes whose leaves live for `leaf`, for so long.
    ///
    /// # Panics
    /// If it fails, or is not done after `limit`.
    #[expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
    pub async fn of(leaf: &str, time: &str, limit: Duration) -> Self {
        let mut command = Command::new(find_skans().unwrap());
        command
            .args(["up", "--nodes", "3", "--output", "json"])
            .args(["--leaf-ttl", leaf, "--for", time])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let done = tokio::time::timeout(limit, command.output())
            .await
            .unwrap()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{}: {said}", done.status);
        let summary = String::from_utf8(done.stdout)
            .unwrap()
            .lines()
            .rev()
            .find_map(|line| {
                let mut value: Value = serde_json::from_str(line).ok()?;
                value.get_mut("summary").map(Value::take)
            });
        Self(summary.unwrap_or_else(|| panic!("no summary: {said}")))
    }

    /// One of its numbers.
    ///
    /// # Panics
    /// If it is not there: a summary without it proves nothing.
    #[must_use]
    #[expect(clippy::panic, reason = "tests fail by panicking")]
    pub fn count(&self, key: &str) -> u64 {
        self.0[key]
            .as_u64()
            .unwrap_or_else(|| panic!("{key} in {}", self.0))
    }

    /// No node missed another, and every message arrived once and in its place.
    ///
    /// # Panics
    /// If it was otherwise.
    pub fn assert_unseen(&self) {
        for key in ["nodedowns", "lost", "misplaced"] {
            assert_eq!(self.count(key), 0, "{key} in {}", self.0);
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
