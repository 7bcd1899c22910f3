//! Bounds of what may be stored, and the checks that every table uses.
//!
//! Peers choose the sizes; a store that takes everything is a disk that fills.

use crate::error::{Error, Result};

/// The longest SPIFFE ID, in bytes (SPIFFE-ID, section 2.3).
pub const MAX_SPIFFE_ID: usize = 2048;
/// The longest name, label, pattern, host or user, in bytes. DNS and Kubernetes stop at 253; Erlang's atoms at 255.
pub const MAX_NAME: usize = 255;
/// The longest certificate, in bytes of DER. Ours have about 700; 16 KiB leaves room for post-quantum keys.
pub const MAX_CERTIFICATE: usize = 16 * 1024;
/// The longest sealed private key, in bytes. P-256 takes about 200; the room is for larger algorithms.
pub const MAX_SEALED_KEY: usize = 16 * 1024;
/// The longest event, in bytes of JSON. An entry of a C2SP tile log has at most 65,535, its other fields included.
pub const MAX_EVENT: usize = 60 * 1024;
/// The longest checkpoint of the log, in bytes: a note with the signatures of its witnesses, of which each has about 150.
pub const MAX_CHECKPOINT: usize = 16 * 1024;
/// The longest public key of the log, in bytes: its name has up to 512.
pub const MAX_VKEY: usize = 1024;
/// The longest encoded deny entry, in bytes: its two texts have 16 bits of length each, of which nobody needs so much.
pub const MAX_DENY_ENTRY: usize = 8 * 1024;
/// The longest reason or description, in bytes.
pub const MAX_TEXT: usize = 4 * 1024;
/// The most rows that one read gives; there is a next page.
pub const MAX_PAGE: usize = 1000;
/// The most node-name patterns of one registration.
pub const MAX_PATTERNS: usize = 64;
/// The most roots in one bundle: two in ordinary times, some more where several are merged.
pub const MAX_ROOTS: usize = 64;
/// The most registrations, unpruned tokens, and grants. A person made each; nobody needs more, and a script that runs
/// wild stops here.
pub const MAX_MADE_BY_HAND: usize = 100_000;
/// The most agents. Ten times the ten thousand that one control plane is measured with.
pub const MAX_AGENTS: usize = 100_000;
/// The most wishes that wait for a second person. Nobody has more than a few; somebody with a role could ask for what does
/// not exist.
pub const MAX_APPROVALS: usize = 1000;
/// The most keys that wait for an offline root; beyond it the oldest goes. One is the rule, for there is one free slot.
pub const MAX_REQUESTS: usize = 16;
/// The most that is kept of other trust domains, in bytes: 128 of them with a few roots each. A root has about 500.
pub const MAX_FOREIGN_STATE: usize = 8 * 1024 * 1024;
/// The longest policy set, in bytes: every agent compiles it (docs/decisions/0015).
pub const MAX_POLICY_SET: usize = 4 * 1024 * 1024;
/// The longest signatures of a policy set's authors, in bytes: four, with their chains.
pub const MAX_POLICY_AUTHORS: usize = 512 * 1024;
/// The most policy sets that wait to be approved. One or two are usual; they are large, and somebody with a role could
/// propose one after the other.
pub const MAX_PROPOSALS: u64 = 32;
/// The most certificates that one agent may have reported as seen and that are still remembered.
pub const MAX_OBSERVED: usize = 65_536;

/// The most questions that wait because of what one agent has reported. An agent that starts sees all of its peers at once; one that makes
/// questions up must not keep others from being asked.
pub const MAX_ASKED: usize = 256;
/// The most keys of one incident: those of an agent and of all the nodes of its host, with what they had before.
pub const MAX_INCIDENT_KEYS: usize = 256;
/// The most lines in the time line of one incident: some for each key, and what is heard of it again and again.
pub const MAX_INCIDENT_STEPS: u64 = 1024;
/// The most incidents that are remembered. Ten in ten minutes are opened without a person, and after that they are rare.
pub const MAX_INCIDENTS: u64 = 10_000;
/// The most spools of one agent. It has one, and for a while another when one process takes the place of another.
pub const MAX_SPOOLS: usize = 4;
/// The most differences of one roll-out that are kept one by one: more than anybody reads. The rest is counted.
pub const MAX_DIFFERENCES: u64 = 10_000;
/// The most of them from one agent in one stage, so that none takes the place of the others.
pub const MAX_DIFFERENCES_OF_AGENT: u64 = 512;

/// A text of at most `limit` bytes, not empty, without NUL (PostgreSQL has none).
pub(crate) fn text<'a>(what: &'static str, text: &'a str, limit: usize) -> Result<&'a str> {
    if text.is_empty() {
        return Err(out_of_bounds(what, "nothing", "a text"));
    }
    optional_text(what, text, limit)
}

/// The same, and it may be empty.
pub(crate) fn optional_text<'a>(
    what: &'static str,
    text: &'a str,
    limit: usize,
) -> Result<&'a str> {
    if text.len() > limit {
        return Err(out_of_bounds(
            what,
            format!("{} bytes", text.len()),
            format!("at most {limit}"),
        ));
    }
    if text.contains('\0') {
        return Err(out_of_bounds(what, "a NUL", "a text without"));
    }
    Ok(text)
}

/// Bytes, at least one and at most `limit`.
pub(crate) fn bytes<'a>(what: &'static str, bytes: &'a [u8], limit: usize) -> Result<&'a [u8]> {
    if bytes.is_empty() || bytes.len() > limit {
        return Err(out_of_bounds(
            what,
            format!("{} bytes", bytes.len()),
            format!("1 to {limit}"),
        ));
    }
    Ok(bytes)
}

/// A count of at most `limit`.
pub(crate) fn count(what: &'static str, found: usize, limit: usize) -> Result<()> {
    if found > limit {
        return Err(out_of_bounds(
            what,
            found.to_string(),
            format!("at most {limit}"),
        ));
    }
    Ok(())
}

/// How many rows a page may have, as a number for a statement: what was asked for, between 1 and [`MAX_PAGE`].
pub(crate) fn page(limit: usize) -> i64 {
    i64::try_from(limit.clamp(1, MAX_PAGE)).unwrap_or(1)
}

fn out_of_bounds(what: &'static str, found: impl Into<String>, wanted: impl Into<String>) -> Error {
    Error::Bound {
        what,
        found: found.into(),
        wanted: wanted.into(),
    }
}
