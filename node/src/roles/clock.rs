//! The clocks of a node. Nothing else reads them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::time::{Clock, Timestamp, UnixMillis};

/// The monotonic clock and the wall clock of this machine.
#[derive(Debug, Clone, Copy)]
pub struct NodeClock {
    origin: Instant,
}

impl NodeClock {
    /// A clock whose origin is now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the monotonic clock is read"
    )]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// The wall clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    pub fn wall() -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl NodeClock {
    /// When it will be that late by the wall clock, as it goes now. What lies behind is now.
    #[must_use]
    pub fn in_time(&self, at: UnixMillis) -> Timestamp {
        self.now().saturating_add(at.saturating_since(Self::wall()))
    }
}

impl Clock for NodeClock {
    fn now(&self) -> Timestamp {
        Timestamp::after_origin(self.origin.elapsed())
    }
}

/// Waits until a deadline of a core; for ever if there is none. Cancel safe.
pub async fn until(clock: NodeClock, deadline: Option<Timestamp>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.saturating_since(clock.now())).await,
        None => std::future::pending().await,
    }
}
