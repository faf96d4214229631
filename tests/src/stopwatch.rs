//! Time that is measured: for figures and for the limits of waiting, never for what a test expects.

use std::time::{Duration, Instant};

/// Runs since it was started.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "processes run on the real clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How long it has been running.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// The same in microseconds for each of `count` things.
    #[must_use]
    #[expect(clippy::float_arithmetic, reason = "a figure for people")]
    pub fn micros_each(self, count: u32) -> f64 {
        self.elapsed().as_secs_f64() * 1e6 / f64::from(count.max(1))
    }
}
