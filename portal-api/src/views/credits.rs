//! Credits. Everything about money says as of which ledger height.

use protocol::{
    ids::{AccountId, JobId},
    time::UnixMillis,
    units::Credits,
    wire::view,
};
use serde::{Deserialize, Serialize};

use super::{Kind, ListKind};
use crate::{rfc3339, text};

/// A point in the history of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerPoint {
    /// Entries in the ledger.
    pub ledger_height: u64,
    /// The time of the newest.
    #[serde(with = "rfc3339")]
    pub as_of: UnixMillis,
}

impl From<&view::BalanceView> for LedgerPoint {
    fn from(balance: &view::BalanceView) -> Self {
        Self { ledger_height: balance.height, as_of: balance.height_at }
    }
}

impl From<&view::MeshView> for LedgerPoint {
    fn from(mesh: &view::MeshView) -> Self {
        Self { ledger_height: mesh.height, as_of: mesh.height_at }
    }
}

/// A balance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Whose.
    #[serde(with = "text")]
    pub account: AccountId,
    /// What can be spent.
    pub available_ucr: Credits,
    /// What open jobs hold.
    pub held_ucr: Credits,
    /// Everything that work earned.
    pub earned_ucr: Credits,
    /// Everything that jobs cost.
    pub spent_ucr: Credits,
    /// As of when.
    #[serde(flatten)]
    pub ledger: LedgerPoint,
}

impl Kind for Balance {
    const KIND: &'static str = "CreditBalance";
}

impl From<&view::BalanceView> for Balance {
    fn from(balance: &view::BalanceView) -> Self {
        Self {
            account: balance.account,
            available_ucr: balance.available,
            held_ucr: balance.held,
            earned_ucr: balance.earned,
            spent_ucr: balance.spent,
            ledger: balance.into(),
        }
    }
}

/// What a ledger entry did to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The entry.
    pub seq: u64,
    /// Its time.
    #[serde(with = "rfc3339")]
    pub at: UnixMillis,
    /// What it is: `grant`, `hold`, `refund`, `earning`, `transfer`.
    pub entry: String,
    /// What came.
    pub credit_ucr: Credits,
    /// What went.
    pub debit_ucr: Credits,
    /// The job that it is about.
    #[serde(with = "text::option", default)]
    pub job: Option<JobId>,
    /// The other account.
    #[serde(with = "text")]
    pub other: AccountId,
}

impl ListKind for HistoryEntry {
    const LIST_KIND: &'static str = "CreditHistory";
}

impl From<&view::HistoryView> for HistoryEntry {
    fn from(entry: &view::HistoryView) -> Self {
        Self {
            seq: entry.seq,
            at: entry.at,
            entry: entry.kind.clone(),
            credit_ucr: entry.credit,
            debit_ucr: entry.debit,
            job: entry.job,
            other: entry.other,
        }
    }
}

/// A list, or one page of it, out of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerList<T> {
    /// As of when.
    #[serde(flatten)]
    pub ledger: LedgerPoint,
    /// What is in it, newest first. At most 500.
    pub items: Vec<T>,
    /// Where the next page begins, for `?cursor=`; `null` after the last.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

impl<T: ListKind> Kind for LedgerList<T> {
    const KIND: &'static str = T::LIST_KIND;
}
