//! The entries of the ledger: a hash chain and a Merkle log at once.
//!
//! An entry's canonical bytes are the leaf of the tree (RFC 9162: `SHA-256(0x00 ‖ entry)`); `prev` is the leaf
//! hash of the entry before, so that either structure alone proves the order. Bodies carry signed statements
//! as they were received, and the amounts that the state machine derived from them.

use protocol::{
    code::Nonce,
    codec::Canonical,
    ids::{InviteId, JobId, NodeId, TaskIndex},
    merkle::{self, Digest},
    price::Price,
    sign::Signed,
    time::UnixMillis,
    units::Credits,
    wire::{
        enroll::{EnrollStatements, NodeDecision, NodeLabels, Role},
        genesis::Genesis,
        invite::{InviteRevoke, InviteTerms},
        job::{JobAuthorization, JobCancel, Transfer},
        owner::{Delegation, KeyRotation},
        receipt::ReceiptHeader,
        view::JobState,
    },
};
use serde::{Deserialize, Serialize};

use super::record::{EndReason, rows};

/// What comes before the first entry.
pub const BEFORE_FIRST: Digest = [0; 32];
/// The longest entry, in bytes: what a bundle of C2SP tlog-tiles can hold.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// What an entry is. Numbers never change their meaning; the gaps are entries that later versions write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Tag {
    /// [`GenesisBody`]
    Genesis = 1,
    /// [`InviteBody`]
    Invite = 2,
    /// [`InviteRevokeBody`]
    InviteRevoke = 3,
    /// [`EnrollBody`]
    EnrollNode = 4,
    /// [`ApproveBody`]
    ApproveNode = 5,
    /// [`RevokeBody`]
    RevokeNode = 6,
    /// [`AuthorizationBody`]
    JobAuthorization = 7,
    /// [`LabelBody`]
    LabelNode = 8,
    /// [`RotateBody`]
    RotateKey = 9,
    /// [`SettlementBody`]
    Settlement = 10,
    /// [`CloseBody`]
    JobClose = 12,
    /// [`TransferBody`]
    Transfer = 15,
    /// [`GiveUpBody`]
    GiveUp = 23,
}

impl Tag {
    /// Whether a mesh with only such entries is still pristine: founded, and at most asked to be joined. Invites
    /// count: who has handed one out expects that this mesh stays.
    #[must_use]
    pub const fn is_enrolment(self) -> bool {
        matches!(self, Self::Genesis | Self::EnrollNode | Self::ApproveNode | Self::RevokeNode)
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1. Its place in the tree is one less.
    pub seq: u64,
    /// The leaf hash of the entry before; [`BEFORE_FIRST`] for the first.
    pub prev: Digest,
    /// Cluster time: later than that of the entry before.
    pub cluster_time: UnixMillis,
    /// What it is: a [`Tag`].
    pub tag: u16,
    /// The canonical bytes of the body that the tag names.
    pub body: Vec<u8>,
}

impl Entry {
    /// The hash of the leaf that its canonical bytes are.
    #[must_use]
    pub fn leaf_hash(bytes: &[u8]) -> Digest {
        merkle::leaf_hash(bytes)
    }
}

/// A body, and the tag that names it.
pub trait Body: Canonical {
    /// The tag.
    const TAG: Tag;
}

/// The mesh is founded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenesisBody {
    /// The founding statement.
    pub genesis: Signed<Genesis>,
    /// What the creator was given.
    pub grant: Credits,
}

/// A node asks to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollBody {
    /// What it and its owner signed.
    pub statements: EnrollStatements,
    /// The mesh's half of the code that people compare.
    pub nonce: Nonce,
}

/// A node becomes a member, or may do something else than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApproveBody {
    /// The node.
    pub node: NodeId,
    /// What it may do.
    pub roles: Vec<Role>,
    /// Who decided; `None` where the mesh admits whoever asks, or an invite did.
    pub decision: Option<Signed<NodeDecision>>,
    /// The invite that it was let in with.
    pub invite: Option<InviteId>,
    /// What its owner was given: nothing unless this is the owner's first node.
    pub grant: Credits,
}

/// A node is refused or blocked, suspended, or free to ask again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeBody {
    /// Who decided.
    pub decision: Signed<NodeDecision>,
}

/// An operator invites whoever holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteBody {
    /// Who, and on which terms.
    pub terms: Signed<InviteTerms>,
}

/// An operator took an invite back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRevokeBody {
    /// Who, and which.
    pub revoke: Signed<InviteRevoke>,
}

/// An operator labelled a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelBody {
    /// Who, and what.
    pub change: Signed<NodeLabels>,
    /// All labels of the node after it, in order, each once.
    pub labels: Vec<String>,
}

/// A node's key was replaced, or the time to change over has passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RotateBody {
    /// From now on the node is known by the new key too.
    Replaced {
        /// Signed with the old key.
        by_old: Box<Signed<KeyRotation>>,
        /// The same, signed with the new one.
        by_new: Box<Signed<KeyRotation>>,
        /// When the old key ends, in cluster time.
        until: UnixMillis,
    },
    /// The old key has ended.
    Ended {
        /// The node as it was known.
        old: NodeId,
    },
}

/// A job is submitted: its budget moves to its escrow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationBody {
    /// What the submitter, or a node that acts for them, signed.
    pub authorization: Signed<JobAuthorization>,
    /// Where a node signed that acts for the submitter: what allows it to.
    pub delegation: Option<Signed<Delegation>>,
    /// The price that will be paid: the mesh's, or nothing on one's own machines.
    pub price: Price,
    /// What is held.
    pub hold: Credits,
}

/// A batch of results is paid for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementBody {
    /// What the worker signed. The items that it commits to lie beside the ledger.
    pub header: Signed<ReceiptHeader>,
    /// The price that was paid.
    pub price: Price,
    /// What each item cost, in the order of the batch; `None` where the item settled nothing, because its task
    /// had ended before or will be tried again.
    pub charges: Vec<Option<Credits>>,
    /// What the worker's owner earned.
    pub worker: Credits,
    /// What the coordinators earned.
    pub fee: Credits,
    /// What rounding left.
    pub rounding: Credits,
    /// Tasks that will be tried again, in order.
    pub retried: Vec<TaskIndex>,
}

/// Tasks were tried as often as allowed, and nobody reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveUpBody {
    /// The job.
    pub job: JobId,
    /// Which, and how often each was tried; in order.
    pub tasks: Vec<(TaskIndex, u16)>,
}

/// A job has ended: what is left in its escrow goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseBody {
    /// The job.
    pub job: JobId,
    /// How it ended.
    pub state: JobState,
    /// What went wrong first.
    pub reason: Option<EndReason>,
    /// What went back.
    pub refund: Credits,
    /// The submitter's word, where it gave the job up.
    pub cancel: Option<Signed<JobCancel>>,
}

/// An owner moved credits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferBody {
    /// What the owner signed.
    pub transfer: Signed<Transfer>,
}

macro_rules! bodies {
    ($($name:ident: $tag:ident, at most $limit:expr;)*) => {
        $(
            impl Canonical for $name {
                const BYTES_MAX: usize = $limit;
            }
            impl Body for $name {
                const TAG: Tag = Tag::$tag;
            }
        )*
    };
}

bodies! {
    GenesisBody: Genesis, at most 9 * 1024;
    EnrollBody: EnrollNode, at most 4 * 1024;
    ApproveBody: ApproveNode, at most 2 * 1024;
    RevokeBody: RevokeNode, at most 2 * 1024;
    InviteBody: Invite, at most 1024;
    InviteRevokeBody: InviteRevoke, at most 512;
    LabelBody: LabelNode, at most 10 * 1024;
    RotateBody: RotateKey, at most 1024;
    AuthorizationBody: JobAuthorization, at most 2 * 1024;
    SettlementBody: Settlement, at most 8 * 1024;
    GiveUpBody: GiveUp, at most 4 * 1024;
    CloseBody: JobClose, at most 1024;
    TransferBody: Transfer, at most 1024;
}

rows! {
    Entry: Entries, format 1, at most ENTRY_BYTES_MAX;
}
