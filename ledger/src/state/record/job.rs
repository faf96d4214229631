//! A job, in two records: what was agreed, which never changes, and how far it is, which is small.

use protocol::{
    codec::DecodeError,
    ids::Hash,
    limits,
    outcome::Outcome,
    price::Price,
    sign::Signed,
    time::UnixMillis,
    units::{Credits, Fuel},
    wire::{
        job::{JobAuthorization, JobSpec},
        owner::Delegation,
        view::JobState,
    },
};
use serde::{Deserialize, Serialize};

use super::rows;

/// What was agreed when the job was submitted. Never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobTerms {
    /// Who pays, and how much at most: as it was signed.
    pub authorization: Signed<JobAuthorization>,
    /// Where a node signed that acts for who pays: what allows it to.
    pub delegation: Option<Signed<Delegation>>,
    /// What is to be done.
    pub spec: JobSpec,
    /// What the mesh asks: its price when the job was submitted; nothing for work on one's own machines.
    pub price: Price,
    /// When it was submitted, in cluster time.
    pub submitted: UnixMillis,
    /// The ledger entry of its submission: jobs are in the order of these.
    pub entry: u64,
}

impl JobTerms {
    /// The hash that receipts and leases name the authorization by.
    #[must_use]
    pub fn authorization_hash(&self) -> Hash {
        self.authorization.hash()
    }

    /// What was signed; it was checked when the job was submitted.
    ///
    /// # Errors
    ///
    /// If the record is damaged.
    pub fn authorized(&self) -> Result<JobAuthorization, DecodeError> {
        self.authorization.peek()
    }
}

/// Why a job ended otherwise than well. The number is part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// A task ended like this.
    Task(Outcome),
    /// A task was tried as often as allowed and its workers never reported.
    NodeLost,
    /// The budget was used up.
    OutOfBudget,
    /// Its submitter gave it up.
    Cancelled,
    /// Its time was over.
    Expired,
}

impl EndReason {
    /// The stable code, for people and scripts.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Task(outcome) => outcome.reason(),
            Self::NodeLost => "node-lost",
            Self::OutOfBudget => "out-of-budget",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

/// How far a job is. Rewritten with every batch of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProgress {
    /// Its state: `Queued` until a result or retry is known here, then `Running`, then one that is final.
    pub state: JobState,
    /// Tasks that succeeded.
    pub done: u32,
    /// Tasks that ended otherwise.
    pub failed: u32,
    /// Attempts after the first ones.
    pub retried: u32,
    /// What was held.
    pub budget: Credits,
    /// What it has cost.
    pub captured: Credits,
    /// What was given back.
    pub refunded: Credits,
    /// Fuel that was settled.
    pub fuel: Fuel,
    /// When it ended, in cluster time.
    pub ended: Option<UnixMillis>,
    /// The first thing that went wrong.
    pub reason: Option<EndReason>,
    /// Grows with every change.
    pub version: u64,
}

impl JobProgress {
    /// A job that was just submitted and holds `budget`.
    #[must_use]
    pub const fn new(budget: Credits) -> Self {
        Self {
            state: JobState::Queued,
            done: 0,
            failed: 0,
            retried: 0,
            budget,
            captured: Credits::ZERO,
            refunded: Credits::ZERO,
            fuel: Fuel(0),
            ended: None,
            reason: None,
            version: 1,
        }
    }

    /// Tasks that have ended.
    #[must_use]
    pub const fn ended_tasks(&self) -> u32 {
        self.done.saturating_add(self.failed)
    }

    /// What is left of what was held.
    #[must_use]
    pub const fn left(&self) -> Credits {
        self.budget.saturating_sub(self.captured).saturating_sub(self.refunded)
    }
}

rows! {
    JobTerms: Jobs, format 2, at most limits::JOB_SPEC_BYTES_MAX + limits::ENVELOPE_BYTES_MAX + 1024;
    JobProgress: Jobs, format 2, at most 256;
}
