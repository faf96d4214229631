//! What is known of a task for good. A task without a record has not been reported yet.

use protocol::{
    ids::{Hash, NodeId},
    limits::BATCH_ITEMS_MAX,
    outcome::Outcome,
    units::{Credits, Fuel},
    wire::{receipt::TaskReceipt, view::TaskState},
};
use serde::{Deserialize, Serialize};

use super::rows;

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskEnd {
    /// A worker's receipt was settled.
    Settled {
        /// Who did it.
        worker: NodeId,
        /// How the guest ended.
        outcome: Outcome,
        /// The fuel that it used.
        fuel: Fuel,
        /// What it cost.
        cost: Credits,
        /// The hash of what it put out: of an encoded `OutputManifest`.
        output: Hash,
        /// The ledger entry that settled it.
        entry: u64,
        /// The receipt's place in the batch of that entry.
        item: u16,
    },
    /// It was tried as often as allowed and no worker reported.
    GivenUp {
        /// The ledger entry that says so.
        entry: u64,
    },
}

/// A task that was tried at least once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// How often it was tried, as far as was reported.
    pub attempts: u16,
    /// How it ended; `None` while it will be tried again.
    pub end: Option<TaskEnd>,
}

impl TaskRecord {
    /// Whether it never changes again.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        self.end.is_some()
    }

    /// Its state, as far as the replicated state knows.
    #[must_use]
    pub const fn state(&self) -> TaskState {
        match self.end {
            None => TaskState::Retrying,
            Some(TaskEnd::Settled { outcome, .. }) if outcome.is_success() => TaskState::Completed,
            Some(TaskEnd::Settled { .. } | TaskEnd::GivenUp { .. }) => TaskState::Failed,
        }
    }
}

/// The items of the receipt batch that an entry settled, in the order that their header commits to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRecord {
    /// At most [`BATCH_ITEMS_MAX`].
    pub items: Vec<TaskReceipt>,
}

rows! {
    TaskRecord: Tasks, format 1, at most 128;
    BatchRecord: Batches, format 1, at most BATCH_ITEMS_MAX * 256 + 8;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::record::Row as _;

    #[test]
    fn a_settled_task_takes_little_room() {
        let end = TaskEnd::Settled {
            worker: NodeId([1; 32]),
            outcome: Outcome::Exit(0),
            fuel: Fuel(1),
            cost: Credits::from_micros(1),
            output: Hash([2; 32]),
            entry: 3,
            item: 4,
        };
        assert!(TaskRecord { attempts: 1, end: Some(end) }.to_bytes().len() <= 120);
    }
}
