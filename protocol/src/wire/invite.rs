//! Invites: a secret that admits whoever holds it (`docs/protocol.md`, "Invites").

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AccountId, InviteId, NodeId},
    time::UnixMillis,
    wire::{canonical, enroll::Role},
};

/// An operator invites whoever holds a secret. Signed by the operator, who is its sponsor. The secret itself is not
/// in it, only the key that everybody who has the secret can sign with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteTerms {
    /// Its id.
    pub invite: InviteId,
    /// The public key that follows from the secret ([`crate::invite::Secret`]).
    pub key: [u8; 32],
    /// What the nodes may do, besides submitting jobs. Never coordinate.
    pub role: Role,
    /// How many nodes it lets in. 1 to [`crate::limits::INVITE_USES_MAX`].
    pub uses: u16,
    /// Until when, by the time of ledger entries. At most [`crate::limits::INVITE_TTL_MAX`] ahead.
    pub expires: UnixMillis,
    /// For people: whom it is for. A name, or empty.
    pub hint: String,
    /// When it was made.
    pub at: UnixMillis,
}

/// A node shows that it holds the secret of an invite, which stays with it. Signed with the key that follows from
/// the secret; good for this node and account only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteUse {
    /// The invite.
    pub invite: InviteId,
    /// The node that joins.
    pub node: NodeId,
    /// Its owner's account.
    pub account: AccountId,
}

/// An operator takes an invite back. Who has joined with it stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRevoke {
    /// The invite.
    pub invite: InviteId,
    /// When.
    pub at: UnixMillis,
}

canonical! {
    InviteTerms: 512, signed as InviteTerms;
    InviteUse: 256, signed as InviteUse;
    InviteRevoke: 256, signed as InviteRevoke;
}
