//! Jobs.

use protocol::{
    ids::{AccountId, Hash, JobId, ReceiptId},
    time::UnixMillis,
    units::{Credits, Fuel},
    wire::{
        job,
        view::{self, JobState},
    },
};
use serde::{Deserialize, Serialize};

use super::{Kind, ListKind};
use crate::{names, rfc3339, text};

/// Receipts that a job lists. The others are found with `GET /api/v1/receipts?job=`.
pub const RECEIPTS_SHOWN_MAX: usize = 1_000;

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    #[serde(with = "text")]
    pub id: JobId,
    /// What people call it.
    pub name: String,
    /// Its state.
    #[serde(with = "names")]
    pub state: JobState,
    /// For a job that failed: the first reason, as a code.
    pub reason: Option<String>,
    /// Its tasks, with the reducing one.
    pub tasks: TaskCounts,
    /// What it has cost.
    pub cost_ucr: Credits,
    /// The most that it may cost.
    pub budget_ucr: Credits,
    /// What it holds of the account now; nothing after its end.
    pub held_ucr: Credits,
    /// Fuel that was paid for.
    pub fuel: Fuel,
    /// The ids of its receipts, in the order of the tasks. At most [`RECEIPTS_SHOWN_MAX`], and none in a list of
    /// jobs.
    #[serde(with = "text::list")]
    pub receipts: Vec<ReceiptId>,
    /// Whether there are more receipts than are listed here.
    pub receipts_more: bool,
    /// When it was submitted.
    #[serde(with = "rfc3339")]
    pub submitted_at: UnixMillis,
    /// When it ended.
    #[serde(with = "rfc3339::option", default)]
    pub ended_at: Option<UnixMillis>,
    /// The module.
    #[serde(with = "text")]
    pub module: Hash,
    /// How the outputs of the tasks become one.
    pub reduce: Option<Reduce>,
    /// Who pays.
    #[serde(with = "text")]
    pub account: AccountId,
    /// Grows with every change that a watcher should see; for `?wait=`.
    pub version: u64,
}

/// How many tasks are where. Those that are in none of the other counts wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    /// All.
    pub total: u32,
    /// Succeeded.
    pub done: u32,
    /// Ended otherwise.
    pub failed: u32,
    /// Attempts after the first ones.
    pub retried: u32,
    /// With a worker now.
    pub running: u32,
}

impl Kind for Job {
    const KIND: &'static str = "Job";
}

impl ListKind for Job {
    const LIST_KIND: &'static str = "JobList";
}

impl From<&view::JobView> for Job {
    /// Without receipts: see [`Job::with_receipts`].
    fn from(job: &view::JobView) -> Self {
        let held = job.budget.saturating_sub(job.captured);
        Self {
            id: job.job,
            name: job.spec.name.clone(),
            state: job.state,
            reason: job.reason.clone(),
            tasks: TaskCounts {
                total: job.total,
                done: job.done,
                failed: job.failed,
                retried: job.retried,
                running: job.leased,
            },
            cost_ucr: job.captured,
            budget_ucr: job.budget,
            held_ucr: if job.state.is_terminal() { Credits::ZERO } else { held },
            fuel: job.fuel,
            receipts: Vec::new(),
            receipts_more: job.done > 0 || job.failed > 0,
            submitted_at: job.submitted,
            ended_at: job.ended,
            module: job.spec.module,
            reduce: job.spec.reduce.map(Reduce::from),
            account: job.account,
            version: job.version,
        }
    }
}

impl Job {
    /// The job with the ids of its receipts, of which at most [`RECEIPTS_SHOWN_MAX`] are kept.
    #[must_use]
    pub fn with_receipts(mut self, mut receipts: Vec<ReceiptId>) -> Self {
        self.receipts_more = receipts.len() > RECEIPTS_SHOWN_MAX;
        receipts.truncate(RECEIPTS_SHOWN_MAX);
        self.receipts = receipts;
        self
    }
}

/// How the outputs of all tasks become one: `"concat"`, `"json-sum"`, `"last"` or `{"module": HASH}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reduce {
    /// One after the other, in the order of the tasks.
    Concat,
    /// JSON objects of numbers, added key by key.
    JsonSum,
    /// The last that is not empty.
    Last,
    /// One more task: this module over all outputs.
    Module(#[serde(with = "text")] Hash),
}

impl From<job::Reduce> for Reduce {
    fn from(reduce: job::Reduce) -> Self {
        match reduce {
            job::Reduce::Concat => Self::Concat,
            job::Reduce::JsonSum => Self::JsonSum,
            job::Reduce::Last => Self::Last,
            job::Reduce::Module(module) => Self::Module(module),
        }
    }
}

impl From<Reduce> for job::Reduce {
    fn from(reduce: Reduce) -> Self {
        match reduce {
            Reduce::Concat => Self::Concat,
            Reduce::JsonSum => Self::JsonSum,
            Reduce::Last => Self::Last,
            Reduce::Module(module) => Self::Module(module),
        }
    }
}
