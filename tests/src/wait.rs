//! Waiting for a state.

use std::{thread, time::Duration};

use anyhow::bail;

use crate::Stopwatch;

/// The pause between two looks, so that looking does not slow down what is looked at.
const PACE: Duration = Duration::from_millis(10);

/// Looks again and again, until `look` finds something. Returns what it found.
///
/// # Errors
///
/// If nothing is found within `limit`, with `what` was waited for; or whatever `look` fails with, at once.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let watch = Stopwatch::start();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if watch.elapsed() > limit {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        thread::sleep(PACE);
    }
}
