//! Work handed to a worker (`docs/protocol.md`, "Leases").

use serde::{Deserialize, Serialize};

use crate::{
    batch::{Batch, BatchHeader, Commitment},
    ids::{AccountId, Hash, JobId, LeaseId, NodeId, TaskIndex},
    limits::RPC_BYTES_MAX,
    merkle::Digest,
    price::Price,
    reject::RejectReason,
    sign::Signed,
    wire::{canonical, job::JobSpec, manifest::BlobRef, order::NodeOrder},
};

/// Orders everything that leaders do outside the log. A worker refuses what is older than what it has seen.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Fence {
    /// Counts recoveries that started a new log.
    pub epoch: u32,
    /// The leader's term.
    pub term: u64,
    /// The log index at which the leader began to lead.
    pub index: u64,
}

/// The leader gives tasks of one job to one worker, in one slot. Signed by the leader's node key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseHeader {
    /// The batch.
    pub lease: LeaseId,
    /// The worker: the only one who may report.
    pub worker: NodeId,
    /// The job.
    pub job: JobId,
    /// The hash of the submitter's signed authorization.
    pub authorization: Hash,
    /// Whose job it is: a worker treats its own owner's work differently.
    pub account: AccountId,
    /// The price that will be paid.
    pub price: Price,
    /// How long the lease is good for unless it is renewed, in milliseconds.
    pub duration_ms: u32,
    /// Orders this after everything that earlier leaders did.
    pub fence: Fence,
    /// Which tasks.
    pub commitment: Commitment,
}

/// One task of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseItem {
    /// The task.
    pub task: TaskIndex,
    /// Counts from 1.
    pub attempt: u16,
}

/// A lease and what is needed to start on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseOffer {
    /// The signed lease.
    pub batch: Batch<LeaseHeader, LeaseItem>,
    /// The job. Checked against the authorization's hash of it.
    pub spec: JobSpec,
    /// The encoded [`TaskInput`](crate::wire::manifest::TaskInput) of the reducing task, which the leader makes:
    /// only in a lease of that task alone.
    pub reduce_input: Option<BlobRef>,
    /// Who has the blobs, best first. At most 8.
    pub providers: Vec<NodeId>,
}

/// Leader to worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseRequest {
    /// Take these.
    Offer(Box<LeaseOffer>),
    /// Stop working on these, whatever their state. At most 500.
    Withdraw {
        /// Which.
        leases: Vec<LeaseId>,
        /// Orders this.
        fence: Fence,
    },
    /// Somebody tells this node what to do.
    Order(Signed<NodeOrder>),
}

/// Worker to leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseResponse {
    /// Taken, or stopped.
    Done,
    /// No.
    Refused(RejectReason),
}

canonical! {
    LeaseHeader: 1024, signed as LeaseBatch;
    LeaseItem: 16;
    LeaseRequest: RPC_BYTES_MAX;
    LeaseResponse: 64;
}

impl BatchHeader for LeaseHeader {
    fn items_root(&self) -> Digest {
        self.commitment.root
    }

    fn items(&self) -> u32 {
        self.commitment.items
    }
}
