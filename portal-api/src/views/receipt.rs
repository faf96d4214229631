//! Receipts, as people read them. The signed bytes are in [`ReceiptFile`](super::ReceiptFile).

use protocol::{
    codec::DecodeError,
    ids::{AccountId, Hash, LeaseId, NodeId, ReceiptId},
    time::UnixMillis,
    units::{Credits, Fuel},
    wire::view,
};
use serde::{Deserialize, Serialize};

use super::{Kind, ListKind};
use crate::{rfc3339, text};

/// A receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Which.
    #[serde(with = "text")]
    pub id: ReceiptId,
    /// Who did the work.
    #[serde(with = "text")]
    pub worker: NodeId,
    /// How it ended, for people.
    pub outcome: String,
    /// The exit code that the task records: 124 for a timeout, 134 for a trap.
    pub exit_code: u32,
    /// How it ended, as a code: `ok` or why it failed.
    pub reason: String,
    /// The fuel that it used.
    pub fuel: Fuel,
    /// The most linear memory that it had.
    pub memory_peak_bytes: u64,
    /// What it cost.
    pub cost_ucr: Credits,
    /// The hash of the manifest of what it put out.
    #[serde(with = "text")]
    pub output: Hash,
    /// The ledger entry that settled it.
    pub entry: u64,
    /// When it was settled.
    #[serde(with = "rfc3339")]
    pub settled_at: UnixMillis,
    /// What else its worker signed. Only where one receipt is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<ReceiptDetail>,
}

impl Kind for Receipt {
    const KIND: &'static str = "Receipt";
}

impl ListKind for Receipt {
    const LIST_KIND: &'static str = "ReceiptList";
}

impl From<&view::ReceiptView> for Receipt {
    fn from(receipt: &view::ReceiptView) -> Self {
        Self {
            id: receipt.receipt,
            worker: receipt.worker,
            outcome: receipt.outcome.to_string(),
            exit_code: receipt.outcome.exit_code(),
            reason: receipt.outcome.reason().to_owned(),
            fuel: receipt.fuel,
            memory_peak_bytes: receipt.peak.bytes(),
            cost_ucr: receipt.cost,
            output: receipt.output,
            entry: receipt.entry,
            settled_at: receipt.at,
            detail: None,
        }
    }
}

/// What the worker signed besides, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptDetail {
    /// The job's name.
    pub job_name: String,
    /// The module that ran.
    #[serde(with = "text")]
    pub module: Hash,
    /// The profile of the engine.
    pub profile: u16,
    /// The hash of the submitter's signed authorization.
    #[serde(with = "text")]
    pub authorization: Hash,
    /// The lease under which it ran.
    #[serde(with = "text")]
    pub lease: LeaseId,
    /// The account that was paid.
    #[serde(with = "text")]
    pub payee: AccountId,
    /// Which attempt it was; counts from 1.
    pub attempt: u16,
    /// The hash of the description of its input.
    #[serde(with = "text")]
    pub input: Hash,
    /// The length of all output.
    pub output_bytes: u64,
    /// When it started, by the worker's clock.
    #[serde(with = "rfc3339")]
    pub started_at: UnixMillis,
    /// When it ended, by the worker's clock.
    #[serde(with = "rfc3339")]
    pub finished_at: UnixMillis,
}

impl TryFrom<&view::ReceiptProof> for ReceiptDetail {
    type Error = DecodeError;

    fn try_from(proof: &view::ReceiptProof) -> Result<Self, DecodeError> {
        let header = proof.header.peek()?;
        Ok(Self {
            job_name: proof.spec.name.clone(),
            module: header.module,
            profile: header.profile,
            authorization: header.authorization,
            lease: header.lease,
            payee: header.payee,
            attempt: proof.item.attempt,
            input: proof.item.input,
            output_bytes: proof.item.output_bytes,
            started_at: proof.item.started,
            finished_at: proof.item.finished,
        })
    }
}
