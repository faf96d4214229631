//! What anybody may ask of a coordinator (`docs/protocol.md`, "Client requests").

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AccountId, JobId, NodeId, ReceiptId},
    limits::RPC_BYTES_MAX,
    reject::RejectReason,
    sign::Signed,
    wire::{
        canonical,
        enroll::{NodeDecision, NodeLabels},
        group::{Candidacy, Candidate},
        invite::{InviteRevoke, InviteTerms},
        job::{JobAuthorization, JobCancel, JobSpec, Transfer},
        manifest::OutputManifest,
        order::NodeOrder,
        owner::KeyRotation,
        view,
    },
};

/// A change or a question. Changes are signed by whoever may make them; their ids make retries harmless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientRequest {
    /// Submit a job. The inputs stay with the submitter, who serves them.
    Submit {
        /// Who pays, and how much at most.
        authorization: Signed<JobAuthorization>,
        /// What.
        spec: Box<JobSpec>,
    },
    /// Give a job up.
    Cancel(Signed<JobCancel>),
    /// Admit or refuse a node.
    Decide(Signed<NodeDecision>),
    /// Move credits.
    Transfer(Signed<Transfer>),
    /// Ask.
    Query(Query),
    /// Tell a node what to do. The leader passes it on; it is done when the node has it.
    Order(Signed<NodeOrder>),
    /// A node would coordinate, or does.
    Stand(Candidacy),
    /// The leader has outputs kept on another coordinator as well, before it settles them.
    Keep {
        /// The job.
        job: JobId,
        /// What to keep.
        outputs: Vec<OutputManifest>,
        /// The small contents among them. The others are fetched from the leader.
        inline: Vec<Vec<u8>>,
    },
    /// Label a node.
    Label(Signed<NodeLabels>),
    /// Invite whoever holds a secret.
    Invite(Signed<InviteTerms>),
    /// Take an invite back.
    RevokeInvite(Signed<InviteRevoke>),
    /// Change the key of a node.
    RotateKey {
        /// Signed with the key that it is known by.
        by_old: Signed<KeyRotation>,
        /// The same, signed with the one that it will be known by.
        by_new: Signed<KeyRotation>,
    },
}

/// A question about the replicated state, or about what the leader knows besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// The mesh as a whole.
    Mesh,
    /// Jobs, newest first, before the one given.
    Jobs {
        /// Only those of this account.
        account: Option<AccountId>,
        /// Continue after this job.
        after: Option<JobId>,
        /// At most this many; at most [`crate::limits::LIST_ITEMS_MAX`].
        limit: u32,
    },
    /// One job.
    Job(JobId),
    /// Jobs whose id begins with these hex digits. At least 4 of them.
    JobPrefix(String),
    /// The tasks of a job.
    Tasks {
        /// The job.
        job: JobId,
        /// From this one on.
        from: u32,
        /// At most this many.
        limit: u32,
    },
    /// Why a job is where it is.
    Explain(JobId),
    /// Nodes: members and those who wait.
    Nodes,
    /// The balance of an account.
    Balance(AccountId),
    /// The entries that moved credits of an account, newest first.
    History {
        /// The account.
        account: AccountId,
        /// Continue before this ledger entry.
        before: Option<u64>,
        /// At most this many.
        limit: u32,
    },
    /// Receipts of a job, or of all jobs of an account, newest job first.
    Receipts {
        /// Only those of this job.
        job: Option<JobId>,
        /// Only those of jobs of this account.
        account: Option<AccountId>,
        /// Continue after this one.
        after: Option<ReceiptId>,
        /// At most this many.
        limit: u32,
    },
    /// One receipt with everything that proves it.
    Receipt(ReceiptId),
    /// Tell me about progress: answered when the job's version is larger, or after some seconds.
    Watch {
        /// The job.
        job: JobId,
        /// The version that the asker has.
        version: u64,
    },
    /// Where nodes listen.
    Addresses(Vec<NodeId>),
    /// The coordinators. Any of them answers, from what it knows itself.
    Group,
    /// Invites that can still be used, and those that were until lately.
    Invites,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientResponse {
    /// The change is durable at this ledger height.
    Committed {
        /// Entries in the ledger.
        height: u64,
    },
    /// No.
    Rejected {
        /// Why.
        reason: RejectReason,
        /// For people: what exactly. At most 512 bytes.
        detail: String,
        /// For [`RejectReason::InsufficientCredits`], in µcr: what is needed, what is there.
        amounts: Option<(u64, u64)>,
    },
    /// The answer to a question.
    Answer(Box<view::Answer>),
    /// The node has the order and keeps it.
    Obeyed,
    /// What the leader says to a candidate.
    Candidate(Candidate),
    /// The outputs are kept.
    Kept,
}

canonical! {
    ClientRequest: RPC_BYTES_MAX;
    ClientResponse: RPC_BYTES_MAX;
}

impl ClientResponse {
    /// A rejection with a sentence for people.
    #[must_use]
    pub fn rejected(reason: RejectReason, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        while detail.len() > 512 {
            detail.pop();
        }
        Self::Rejected { reason, detail, amounts: None }
    }
}
