//! Whether a node is well, and whether it is going down.

use serde::{Deserialize, Serialize};

use super::Kind;

/// Whether a node is well, and why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether it can be given requests: all checks are good.
    pub ready: bool,
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What: a stable name, like `ledger` or `leader`.
    pub name: String,
    /// Whether it is good.
    pub good: bool,
    /// For people.
    pub detail: String,
}

impl Health {
    /// Ready if all checks are good.
    #[must_use]
    pub fn of(checks: Vec<Check>) -> Self {
        Self { ready: checks.iter().all(|check| check.good), checks }
    }
}

impl Kind for Health {
    const KIND: &'static str = "Health";
}

/// The node is going down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShuttingDown {
    /// Tasks of others that it finishes or hands back first.
    pub tasks_running: u32,
}

impl Kind for ShuttingDown {
    const KIND: &'static str = "ShuttingDown";
}
