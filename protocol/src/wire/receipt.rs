//! What a worker claims to have done (`docs/protocol.md`, "Receipts").

use serde::{Deserialize, Serialize};

use crate::{
    batch::{Batch, BatchHeader, Commitment},
    ids::{AccountId, Hash, JobId, LeaseId, NodeId, TaskIndex},
    limits::RPC_BYTES_MAX,
    merkle::Digest,
    outcome::Outcome,
    reject::RejectReason,
    time::UnixMillis,
    units::{Fuel, Pages},
    wire::{
        canonical,
        lease::{LeaseHeader, LeaseItem},
        manifest::OutputManifest,
    },
};

/// What the receipts of one batch have in common. Signed by the worker's node key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptHeader {
    /// The job.
    pub job: JobId,
    /// The hash of the submitter's signed authorization.
    pub authorization: Hash,
    /// The lease under which the tasks were run.
    pub lease: LeaseId,
    /// The worker: the signer.
    pub worker: NodeId,
    /// The account that is paid.
    pub payee: AccountId,
    /// The module that ran.
    pub module: Hash,
    /// The profile of the engine.
    pub profile: u16,
    /// Which tasks.
    pub commitment: Commitment,
}

/// What one task did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReceipt {
    /// The task.
    pub task: TaskIndex,
    /// Counts from 1.
    pub attempt: u16,
    /// The hash of the encoded [`TaskInput`](crate::wire::manifest::TaskInput).
    pub input: Hash,
    /// The hash of the encoded [`OutputManifest`].
    pub output: Hash,
    /// The length of all output, in bytes.
    pub output_bytes: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The fuel that it used.
    pub fuel: Fuel,
    /// The most linear memory that it had.
    pub peak: Pages,
    /// When it started, by the worker's clock. For information: never priced.
    pub started: UnixMillis,
    /// When it ended, by the worker's clock. For information: never priced.
    pub finished: UnixMillis,
}

/// Receipts and their outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultRequest {
    /// The signed receipts.
    pub receipts: Batch<ReceiptHeader, TaskReceipt>,
    /// The outputs, one for each receipt.
    pub outputs: Vec<OutputManifest>,
    /// The content of small outputs. Larger ones are fetched from the worker.
    pub inline: Vec<Vec<u8>>,
    /// The lease as a leader signed it: for a leader that has not seen it, since it began to lead later.
    pub proof: Box<Batch<LeaseHeader, LeaseItem>>,
}

/// What came of a batch of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResultResponse {
    /// Dealt with for good: settled, or not wanted any more. The worker forgets them.
    Taken,
    /// Not now: deliver again.
    Retry(RejectReason),
    /// Never: the worker forgets them.
    Refused(RejectReason),
}

canonical! {
    ReceiptHeader: 1024, signed as ReceiptBatch;
    TaskReceipt: 256;
    ResultRequest: RPC_BYTES_MAX;
    ResultResponse: 64;
}

impl BatchHeader for ReceiptHeader {
    fn items_root(&self) -> Digest {
        self.commitment.root
    }

    fn items(&self) -> u32 {
        self.commitment.items
    }
}
