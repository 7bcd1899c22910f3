//! What only root can do: namespaces, other users. Skipped loudly elsewhere, and never in CI.

use std::io::Write;

/// A user that runs nothing here: `nobody`.
pub const NOBODY: u32 = 65534;

/// Whether this is root; says so where it is not.
///
/// # Panics
/// In CI, where a skipped test would pass for a kept promise.
pub fn or_skip(what: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{what}: needs root, and CI must not skip it"
    );
    // Not by eprintln, which is kept from view where a test passes. script/test counts these lines.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: needs root");
    false
}

/// A command that runs `program` as [`NOBODY`], without any group or capability of ours.
pub fn as_nobody(program: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("setpriv");
    command
        .arg(format!("--reuid={NOBODY}"))
        .arg(format!("--regid={NOBODY}"))
        .args(["--clear-groups", "--", program])
        .kill_on_drop(true);
    command
}
