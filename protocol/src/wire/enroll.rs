//! What a stranger may say: hello, and may I join (`docs/protocol.md`, "Enrolment").

use serde::{Deserialize, Serialize};

use crate::{
    code::{Nonce, NonceHash},
    ids::{AccountId, MeshId, NodeId},
    limits::{ADMISSION_BYTES_MAX, STRANGER_BYTES_MAX},
    reject::RejectReason,
    sign::Signed,
    time::UnixMillis,
    wire::{
        canonical,
        genesis::{Genesis, Joining},
        invite::InviteUse,
        owner::Delegation,
    },
};

/// What a node does in a mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Runs tasks.
    Worker,
    /// Submits jobs. Every node.
    Submitter,
    /// Keeps the queue and the ledger, where it is eligible and elected.
    Coordinator,
    /// Forwards between nodes that cannot reach each other.
    Relay,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Worker, Self::Submitter, Self::Coordinator, Self::Relay];

    /// The name on the command line and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Submitter => "submitter",
            Self::Coordinator => "coordinator",
            Self::Relay => "relay",
        }
    }
}

/// Asks which mesh somebody is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloRequest {
    /// The protocol version that the asker speaks.
    pub version: u16,
}

/// Says which mesh one is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloResponse {
    /// The protocol version that is spoken here.
    pub version: u16,
    /// The mesh, unless this node is itself still looking for one.
    pub mesh: Option<MeshHello>,
}

/// A mesh, as a stranger may know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshHello {
    /// Its id.
    pub mesh: MeshId,
    /// Its name.
    pub name: String,
    /// Counts recoveries that started a new log.
    pub epoch: u32,
    /// How machines get in.
    pub joining: Joining,
    /// When it was founded.
    pub founded: UnixMillis,
    /// How many nodes are approved.
    pub members: u32,
    /// Whether it holds nothing but Genesis and enrolment.
    pub pristine: bool,
}

/// A node asks to join. Signed with the node's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrollment {
    /// The node: the signer.
    pub node: NodeId,
    /// Its owner's account: credits that it earns go there.
    pub account: AccountId,
    /// What it would like to be called.
    pub name: String,
    /// What it would do.
    pub roles: Vec<Role>,
    /// Its software version.
    pub software: String,
    /// Commits to the number that it will reveal: half of the code that people compare.
    pub commitment: NonceHash,
    /// When it asked.
    pub at: UnixMillis,
}

/// The owner says that a node is theirs. Signed with the account's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerConsent {
    /// The node.
    pub node: NodeId,
    /// When.
    pub at: UnixMillis,
}

/// The statements of a request to join: what the ledger keeps of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollStatements {
    /// By the node.
    pub enrollment: Signed<Enrollment>,
    /// By its owner.
    pub consent: Signed<OwnerConsent>,
    /// Proves an invite.
    pub invite: Option<Signed<InviteUse>>,
}

/// Asks to join, or asks again what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollRequest {
    /// What is signed.
    pub statements: EnrollStatements,
    /// The number that the enrolment commits to, once the other side has said its own.
    pub reveal: Option<Nonce>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnrollResponse {
    /// Welcome.
    Admitted(Box<Membership>),
    /// Ask again after this many milliseconds.
    Pending {
        /// Milliseconds.
        retry_after_ms: u32,
        /// The mesh's half of the code that people compare.
        nonce: Option<Nonce>,
    },
    /// No.
    Refused(RejectReason),
    /// Not here: whoever leads is one of these.
    Elsewhere(Vec<NodeAddress>),
}

/// What a member needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The founding statement.
    pub genesis: Signed<Genesis>,
    /// Counts recoveries that started a new log.
    pub epoch: u32,
    /// Who coordinates, and where.
    pub coordinators: Vec<NodeAddress>,
    /// Everybody who is approved.
    pub members: Vec<NodeId>,
    /// Whose the node is that is told this.
    pub account: AccountId,
    /// Where the node acts for another owner than its own: what allows it to.
    pub delegation: Option<Signed<Delegation>>,
}

/// A node and where it listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// The node.
    pub node: NodeId,
    /// Multiaddresses as text, without `/p2p/`. At most [`crate::limits::ADDRESSES_MAX`].
    pub addresses: Vec<String>,
}

/// What an operator decides about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It is a member.
    Approve,
    /// It is not.
    Reject,
    /// It no longer is, and is not connected to any more.
    Block,
    /// It stays known and gets no work until it is reinstated.
    Suspend,
    /// A suspended node is what it was before.
    Reinstate,
    /// A node that was blocked or rejected may ask to join again.
    Unblock,
    /// It goes, and has to ask if it wants to come back. The only one that the node itself signs, and nobody else.
    Leave,
}

/// Why a node was blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BlockReason {
    /// It sent what nobody wants.
    AbuseSpam,
    /// It spread programs that do harm.
    AbuseMalware,
    /// It broke the rules of the mesh.
    PolicyViolation,
    /// It used keys or tokens that are not its own.
    CredentialAbuse,
    /// It kept others from working.
    DosBehavior,
    /// It claimed results that it did not compute.
    ForgedResults,
    /// A person decided.
    ManualReview,
}

impl BlockReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AbuseSpam,
        Self::AbuseMalware,
        Self::PolicyViolation,
        Self::CredentialAbuse,
        Self::DosBehavior,
        Self::ForgedResults,
        Self::ManualReview,
    ];

    /// The name on the command line and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AbuseSpam => "abuse_spam",
            Self::AbuseMalware => "abuse_malware",
            Self::PolicyViolation => "policy_violation",
            Self::CredentialAbuse => "credential_abuse",
            Self::DosBehavior => "dos_behavior",
            Self::ForgedResults => "forged_results",
            Self::ManualReview => "manual_review",
        }
    }
}

/// Admits or refuses a node. Signed by an operator; by the node itself where it leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDecision {
    /// The node.
    pub node: NodeId,
    /// What is decided.
    pub verdict: Verdict,
    /// What it may do.
    pub roles: Vec<Role>,
    /// For an approval: whose the node becomes, by that owner's word; its own owner's if nobody's.
    pub delegation: Option<Signed<Delegation>>,
    /// Why it is blocked.
    pub reason: Option<BlockReason>,
    /// For people. At most [`crate::limits::NOTE_BYTES_MAX`].
    pub note: String,
    /// When.
    pub at: UnixMillis,
}

/// Labels a node, and takes labels off. Signed by an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLabels {
    /// The node.
    pub node: NodeId,
    /// Labels that it has from now on. At most [`crate::limits::TAGS_MAX`].
    pub add: Vec<String>,
    /// Labels that it no longer has. At most [`crate::limits::TAGS_MAX`].
    pub remove: Vec<String>,
    /// When.
    pub at: UnixMillis,
}

canonical! {
    HelloRequest: STRANGER_BYTES_MAX;
    HelloResponse: STRANGER_BYTES_MAX;
    Enrollment: 1024, signed as Enrollment;
    OwnerConsent: 256, signed as OwnerConsent;
    EnrollRequest: STRANGER_BYTES_MAX;
    EnrollResponse: ADMISSION_BYTES_MAX;
    Membership: ADMISSION_BYTES_MAX;
    NodeDecision: 1024, signed as NodeDecision;
    NodeLabels: 6 * 1024, signed as NodeLabels;
}
