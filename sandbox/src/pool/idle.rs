//! Processes that wait for work.

use std::sync::PoisonError;

use tokio::time::Instant;

use super::{Key, process::Runner};

/// A process that waits for work.
#[derive(Debug)]
struct Waiting {
    /// Whom it serves; `None` for one that has no module yet.
    key: Option<Key>,
    runner: Runner,
    since: Instant,
}

/// Processes that wait for work, in the order in which they became idle.
#[derive(Debug)]
pub(super) struct Idle {
    max: usize,
    #[expect(
        clippy::disallowed_types,
        reason = "a list shared by all tasks of a pool, never held across an await"
    )]
    runners: std::sync::Mutex<Vec<Waiting>>,
}

impl Idle {
    /// Keeps at most `max`.
    pub(super) fn new(max: usize) -> Self {
        Self { max, runners: Default::default() }
    }

    /// The one that became idle last and is still there, for that key, that may have so much memory.
    pub(super) fn take(&self, key: Key, memory_bytes: u64) -> Option<Runner> {
        self.take_if(|waiting| waiting.key == Some(key) && waiting.runner.may_have(memory_bytes))
    }

    /// One that has no module yet.
    pub(super) fn take_spare(&self) -> Option<Runner> {
        self.take_if(|waiting| waiting.key.is_none())
    }

    fn take_if(&self, suits: impl Fn(&Waiting) -> bool) -> Option<Runner> {
        loop {
            let mut runner = {
                let mut runners = self.runners.lock().unwrap_or_else(PoisonError::into_inner);
                let place = runners.iter().rposition(&suits)?;
                runners.remove(place).runner
            };
            // One that died while it waited harms nobody: the next is tried.
            if runner.is_alive() {
                return Some(runner);
            }
        }
    }

    /// Whether one waits that has no module yet.
    pub(super) fn has_spare(&self) -> bool {
        let runners = self.runners.lock().unwrap_or_else(PoisonError::into_inner);
        runners.iter().any(|waiting| waiting.key.is_none())
    }

    /// Keeps one; the one that waited longest goes if there are too many. One without a key has no module yet.
    pub(super) fn put(&self, key: Option<Key>, runner: Runner, since: Instant) {
        let mut runners = self.runners.lock().unwrap_or_else(PoisonError::into_inner);
        runners.push(Waiting { key, runner, since });
        let excess = runners.len().saturating_sub(self.max);
        runners.drain(..excess);
    }

    /// The process ids of all.
    pub(super) fn processes(&self) -> Vec<u32> {
        let runners = self.runners.lock().unwrap_or_else(PoisonError::into_inner);
        runners.iter().filter_map(|waiting| waiting.runner.process()).collect()
    }

    /// Ends those that have waited since before `since`.
    pub(super) fn retire(&self, since: Instant) {
        let mut runners = self.runners.lock().unwrap_or_else(PoisonError::into_inner);
        runners.retain(|waiting| waiting.since >= since);
    }

    /// Ends all.
    pub(super) fn clear(&self) {
        self.runners.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
