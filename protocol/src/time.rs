//! Two kinds of time that never mix: a node's own clock, and the clock that signed statements carry.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on a node's own clock: microseconds since an arbitrary origin.
///
/// Unlike [`std::time::Instant`] it can be written in a test, stored in an event log and replayed. It is never
/// sent to another node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    micros: u64,
}

impl Timestamp {
    /// The beginning.
    pub const ORIGIN: Self = Self { micros: 0 };
    /// Later than everything that happens.
    pub const END: Self = Self { micros: u64::MAX };

    /// The point that lies `elapsed` after the origin; saturates at [`Self::END`].
    #[must_use]
    pub fn after_origin(elapsed: Duration) -> Self {
        Self { micros: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX) }
    }

    /// This point moved by `by`; saturates at [`Self::END`].
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        Self { micros: self.micros.saturating_add(by) }
    }

    /// How long ago `earlier` was; zero if it is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros.saturating_sub(earlier.micros))
    }
}

/// A source of [`Timestamp`]s. Only shells have one.
pub trait Clock {
    /// The time now. Never goes backwards.
    fn now(&self) -> Timestamp;
}

/// Milliseconds since 1970-01-01T00:00:00Z.
///
/// Only inside signed statements and ledger entries. Shells read it; statements are compared with a tolerance;
/// it never orders anything except ledger entries, whose times the leader stamps and everyone checks.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// This time moved by `by`; saturates.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero if it is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
