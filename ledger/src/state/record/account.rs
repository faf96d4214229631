//! What an account has, and what was done to it.

use protocol::{
    ids::{AccountId, JobId},
    time::UnixMillis,
    units::Credits,
};
use serde::{Deserialize, Serialize};

use super::rows;

/// An account, by double entry: everything that ever came and everything that ever went, in µcr.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// Everything that went.
    pub debits: u128,
    /// Everything that came.
    pub credits: u128,
    /// Of what came: what work earned.
    pub earned: u128,
    /// Of what went: what jobs have cost. What they hold besides is in `held`.
    pub spent: u128,
    /// What open jobs hold now.
    pub held: u128,
    /// Nodes of this owner that are approved.
    pub nodes: u32,
    /// Whether the welcome grant was given.
    pub welcomed: bool,
}

impl AccountRecord {
    /// What the account has; negative only for the account that issues.
    #[must_use]
    pub fn balance(&self) -> i128 {
        let (credits, debits) = (i128::try_from(self.credits), i128::try_from(self.debits));
        credits.unwrap_or(i128::MAX).saturating_sub(debits.unwrap_or(i128::MAX))
    }

    /// What can be spent: nothing where the balance is negative.
    #[must_use]
    pub fn available(&self) -> Credits {
        Credits::from_micros(u64::try_from(self.balance().max(0)).unwrap_or(u64::MAX))
    }
}

/// Why an account changed. The number is part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HistoryKind {
    /// The welcome grant came.
    Grant,
    /// A job took its budget.
    Hold,
    /// A job gave back what it did not use.
    Refund,
    /// Work was paid.
    Earning,
    /// Another owner sent credits, or was sent some.
    Transfer,
}

impl HistoryKind {
    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Hold => "hold",
            Self::Refund => "refund",
            Self::Earning => "earning",
            Self::Transfer => "transfer",
        }
    }
}

/// What one ledger entry did to one account. The entry's number is in the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRecord {
    /// Why.
    pub kind: HistoryKind,
    /// What came.
    pub credit: Credits,
    /// What went.
    pub debit: Credits,
    /// The job that it is about.
    pub job: Option<JobId>,
    /// The other account; for the escrow of a job, the job's other party or the ledger's own account.
    pub other: AccountId,
    /// When, in cluster time.
    pub at: UnixMillis,
}

rows! {
    AccountRecord: Accounts, format 1, at most 128;
    HistoryRecord: History, format 1, at most 128;
}
