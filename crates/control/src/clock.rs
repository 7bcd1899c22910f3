//! What time it is. The rest of the crate takes it from here, and hands it on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;

/// Now. A clock before 1970 is at 1970: then nothing is valid yet.
pub(crate) fn now() -> UnixTime {
    UnixTime::since_unix_epoch(since_1970())
}

/// Now, in seconds since 1970.
pub(crate) fn seconds() -> u64 {
    since_1970().as_secs()
}

/// Now, in milliseconds since 1970.
pub(crate) fn milliseconds() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
