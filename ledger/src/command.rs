//! What can be asked of the replicated state, and what it answers.
//!
//! A command is ordered by consensus, stamped with the leader's time, and then applied by every replica. Its
//! request id makes it idempotent: applied twice, it changes nothing the second time and answers the same.

use protocol::{
    batch::Batch,
    code::Nonce,
    codec::{Canonical, DecodeError, try_encode},
    ids::{Hash, JobId, MeshId, NodeId, RequestId, TaskIndex},
    reject::RejectReason,
    sign::Signed,
    time::UnixMillis,
    wire::{
        enroll::{EnrollStatements, NodeDecision, NodeLabels},
        genesis::Genesis,
        invite::{InviteRevoke, InviteTerms},
        job::{JobAuthorization, JobCancel, JobSpec, Transfer},
        owner::KeyRotation,
        receipt::{ReceiptHeader, TaskReceipt},
    },
};
use serde::{Deserialize, Serialize};

/// One change. Everything that moves credits carries the signature of whoever it takes them from; amounts are
/// computed in `apply`, never carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Founds the mesh. The first command, and only the first.
    Found(Signed<Genesis>),
    /// A node asks to join. Pending, or approved at once where the mesh admits whoever asks.
    Enroll {
        /// What it and its owner signed.
        statements: Box<EnrollStatements>,
        /// The mesh's half of the code that people compare: drawn by the leader.
        nonce: Nonce,
    },
    /// An operator decides about a node.
    Decide(Signed<NodeDecision>),
    /// A submitter submits a job: its budget is held.
    Submit {
        /// Who pays, and how much at most.
        authorization: Signed<JobAuthorization>,
        /// What.
        spec: Box<JobSpec>,
    },
    /// A worker's results, which the leader has checked against the lease and whose outputs it has. Items that
    /// are not final (another attempt will be made) are listed in `retried` and only counted.
    Settle {
        /// The worker's receipts as it signed them.
        receipts: Box<Batch<ReceiptHeader, TaskReceipt>>,
        /// Tasks of the batch that will be tried again.
        retried: Vec<TaskIndex>,
    },
    /// Tasks that were tried as often as allowed and whose workers never reported.
    GiveUp {
        /// The job.
        job: JobId,
        /// Which, and how often each was tried. At most [`protocol::limits::BATCH_ITEMS_MAX`].
        tasks: Vec<(TaskIndex, u16)>,
    },
    /// The submitter gives a job up.
    Cancel(Signed<JobCancel>),
    /// The time of a job is over. Refused while it is not.
    Expire(JobId),
    /// An owner moves credits.
    Transfer(Signed<Transfer>),
    /// An operator labels a node.
    Label(Signed<NodeLabels>),
    /// An operator invites whoever holds a secret.
    Invite(Signed<InviteTerms>),
    /// An operator takes an invite back.
    RevokeInvite(Signed<InviteRevoke>),
    /// A node changes its key.
    RotateKey {
        /// Signed with the key that it is known by.
        by_old: Signed<KeyRotation>,
        /// The same, signed with the one that it will be known by.
        by_new: Signed<KeyRotation>,
    },
    /// The time to change over from an old key has passed. Refused while it has not.
    EndKey(NodeId),
}

/// A command, who asks, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped {
    /// The same request is applied once.
    pub request: RequestId,
    /// The mesh that it is for.
    pub mesh: MeshId,
    /// The leader's clock. `apply` moves it forward where it is not later than the entry before.
    pub at: UnixMillis,
    /// What.
    pub command: Command,
}

impl Canonical for Command {
    const BYTES_MAX: usize = 256 * 1024;
}

impl Command {
    /// The request id that follows from all of its content: for commands that others made, so that the same
    /// statement delivered again is the same request, and one with another specification or other retries beside
    /// the same signature is another. Not for a command that is refused now and may be right later, like
    /// [`Self::Expire`] and [`Self::EndKey`].
    ///
    /// # Errors
    ///
    /// If the command is larger than its limit; nobody would apply it.
    pub fn content_id(&self) -> Result<RequestId, DecodeError> {
        let hash = Hash::of(&try_encode(self)?);
        Ok(RequestId(hash.0.first_chunk().copied().unwrap_or_default()))
    }
}

impl Canonical for Stamped {
    const BYTES_MAX: usize = 256 * 1024;
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Done {
        /// Entries in the ledger after it.
        height: u64,
    },
    /// It was refused, for ever: the same request gives the same answer.
    Rejected(Rejection),
}

/// Why a command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The reason.
    pub reason: RejectReason,
    /// For [`RejectReason::InsufficientCredits`], in µcr: what is needed, what is there.
    pub amounts: Option<(u64, u64)>,
}

impl Canonical for Reply {
    const BYTES_MAX: usize = 128;
}

impl From<RejectReason> for Rejection {
    fn from(reason: RejectReason) -> Self {
        Self { reason, amounts: None }
    }
}
