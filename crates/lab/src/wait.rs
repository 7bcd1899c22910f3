//! Waiting for a condition, on a deadline.

use std::time::Duration;

use tokio::time::Instant;

use crate::Error;

/// Between two looks. Short beside anything that is waited for, long beside the cost of a look.
pub(crate) const PAUSE: Duration = Duration::from_millis(25);

/// Looks until `look` finds what it wants; `Err` of a look says what it saw instead.
///
/// # Errors
/// [`Error::TimedOut`] with what the last look saw.
pub async fn until<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, Error> {
    let deadline = Instant::now() + limit;
    let mut last = "nothing yet".to_owned();
    loop {
        match tokio::time::timeout_at(deadline, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(seen)) => last = seen,
            Err(_) => {}
        }
        if Instant::now() + PAUSE >= deadline {
            return Err(Error::TimedOut {
                what: what.to_owned(),
                limit,
                last,
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}
