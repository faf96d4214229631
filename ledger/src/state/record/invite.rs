//! An invite.

use protocol::{ids::NodeId, sign::Signed, wire::invite::InviteTerms};
use serde::{Deserialize, Serialize};

use super::rows;

/// An invite: what its sponsor signed, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRecord {
    /// What its sponsor signed.
    pub terms: Signed<InviteTerms>,
    /// Who has joined with it, in that order. At most [`protocol::limits::INVITE_USES_MAX`].
    pub nodes: Vec<NodeId>,
    /// Whether it was taken back.
    pub revoked: bool,
}

rows! {
    InviteRecord: Invites, format 1, at most 12 * 1024;
}
