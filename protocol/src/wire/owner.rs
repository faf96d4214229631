//! Whose a node is, and by which key it is known (`docs/protocol.md`, "Enrolment").

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AccountId, NodeId},
    time::UnixMillis,
    wire::canonical,
};

/// An owner lets a node act for them: what it earns is theirs, and it may submit and cancel their jobs. It cannot
/// move their credits otherwise. Holds as long as the mesh keeps the node as theirs. Signed with the account's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// The node.
    pub node: NodeId,
    /// The owner: the signer.
    pub owner: AccountId,
    /// When.
    pub at: UnixMillis,
}

/// A node changes its key. Signed with both keys, each in an envelope of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotation {
    /// The node as it was known.
    pub old: NodeId,
    /// The node as it will be known.
    pub new: NodeId,
    /// When.
    pub at: UnixMillis,
}

canonical! {
    Delegation: 256, signed as Delegation;
    KeyRotation: 256, signed as KeyRotation;
}
