//! Time that is measured, and nothing else: no decision depends on it.

use std::time::{Duration, Instant};

/// Runs since it was started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures the real clock")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// How long it has been running.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// The same in microseconds for each of `count` things.
    pub(crate) fn micros_each(self, count: u32) -> f64 {
        self.elapsed().as_secs_f64() * 1e6 / f64::from(count.max(1))
    }
}
