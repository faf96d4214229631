//! How much memory the requests of others may hold at a time.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of requests that are being read or answered, of all peers and protocols together.
pub const IN_FLIGHT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Of those, for requests up to [`SMALL_BYTES_MAX`], so that large ones never keep a heartbeat waiting.
const FOR_SMALL_BYTES: usize = 4 * 1024 * 1024;
/// A request up to this size is a small one, in bytes.
const SMALL_BYTES_MAX: usize = 16 * 1024;
/// What is counted, in bytes.
const UNIT_BYTES: usize = 1024;
/// How long a request waits for its part before it is refused as busy.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Memory for the requests of others. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// A part of a [`Budget`]. Given back when it is dropped.
#[derive(Debug, Default)]
pub struct Permit {
    /// Nothing where no budget is kept.
    _taken: Option<OwnedSemaphorePermit>,
}

impl Default for Budget {
    fn default() -> Self {
        let semaphore = |bytes: usize| Arc::new(Semaphore::new(bytes / UNIT_BYTES));
        Self {
            small: semaphore(FOR_SMALL_BYTES),
            large: semaphore(IN_FLIGHT_BYTES_MAX.saturating_sub(FOR_SMALL_BYTES)),
        }
    }
}

impl Budget {
    /// Takes a part, as soon as it is free; `None` if that takes longer than two seconds. Cancel safe.
    pub(super) async fn take(&self, bytes: usize) -> Option<Permit> {
        let semaphore = if bytes <= SMALL_BYTES_MAX { &self.small } else { &self.large };
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES).max(1)).ok()?;
        let taken = semaphore.clone().acquire_many_owned(units);
        let permit = tokio::time::timeout(WAIT_MAX, taken).await.ok()?.ok()?;
        Some(Permit { _taken: Some(permit) })
    }

    /// Bytes that are taken now.
    #[must_use]
    pub fn taken(&self) -> usize {
        let free = self.small.available_permits().saturating_add(self.large.available_permits());
        IN_FLIGHT_BYTES_MAX.saturating_sub(free.saturating_mul(UNIT_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_is_given_back_and_who_waits_too_long_is_refused() {
        let budget = Budget::default();
        let large = 1024 * 1024;
        let mut held = Vec::new();
        for _ in 0..60 {
            held.push(budget.take(large).await.unwrap());
        }
        assert_eq!(budget.taken(), 60 * large);
        assert!(budget.take(large).await.is_none(), "after two seconds");
        assert!(budget.take(100).await.is_some(), "small ones have their own");
        let waiting = budget.take(large);
        held.pop();
        assert!(waiting.await.is_some());
        held.clear();
        assert_eq!(budget.taken(), 0);
    }
}
