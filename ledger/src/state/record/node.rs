//! A node that asked to join.

use protocol::{
    code::Nonce,
    ids::{AccountId, Hash, NodeId},
    reject::RejectReason,
    sign::Signed,
    time::UnixMillis,
    wire::{
        enroll::{BlockReason, EnrollStatements, Role},
        owner::Delegation,
        view::Admission,
    },
};
use serde::{Deserialize, Serialize};

use super::rows;

/// A node: what it asked for, and what was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Whose it is: its own owner's account, or that of the owner who delegated to it.
    pub account: AccountId,
    /// The account of its own owner, who consented when it asked to join.
    pub own: AccountId,
    /// What it is called.
    pub name: String,
    /// Whether it is a member.
    pub admission: Admission,
    /// What it may do, in order, each once; while it waits: what it would do.
    pub roles: Vec<Role>,
    /// Since when it is what it is, in cluster time.
    pub since: UnixMillis,
    /// What it and its owner signed, and the mesh's half of the code; `None` for the first coordinator, which Genesis
    /// names, and for a node that goes on under another key.
    pub enrollment: Option<(EnrollStatements, Nonce)>,
    /// The time that the last decision about it carries, and that decision's hash: an older one is a replay.
    pub decided: Option<(UnixMillis, Hash)>,
    /// Why it was blocked.
    pub reason: Option<BlockReason>,
    /// What was written beside the last decision.
    pub note: String,
    /// Where it acts for another owner than its own: what allows it to.
    pub delegation: Option<Signed<Delegation>>,
    /// Labels that operators gave it, in order, each once.
    pub labels: Vec<String>,
    /// The time that the last change of its labels carries, and that change's hash.
    pub labelled: Option<(UnixMillis, Hash)>,
    /// The key that it goes on with, where this one was replaced.
    pub replaced: Option<Replaced>,
    /// The key that this one replaced, while that is good too.
    pub replaces: Option<NodeId>,
    /// Whether it left. Then it is as good as unknown, and kept only so that nothing that was decided about it before
    /// can be said again.
    pub left: bool,
}

/// A node's key was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// By this one.
    pub by: NodeId,
    /// Until when the old one is good too, in cluster time.
    pub until: UnixMillis,
}

impl NodeRecord {
    /// Whether it is a member, at a time of the cluster.
    #[must_use]
    pub fn is_member(&self, now: UnixMillis) -> bool {
        self.admission == Admission::Approved
            && self.replaced.is_none_or(|replaced| now < replaced.until)
    }

    /// Why it is not a member, at a time of the cluster; nothing if it is one.
    #[must_use]
    pub fn outside(&self, now: UnixMillis) -> Option<RejectReason> {
        if self.is_member(now) {
            return None;
        }
        Some(match self.admission {
            _ if self.replaced.is_some() => RejectReason::KeyReplaced,
            _ if self.left => RejectReason::NotEnrolled,
            Admission::Suspended => RejectReason::Suspended,
            Admission::Blacklisted => RejectReason::Blacklisted,
            Admission::Pending | Admission::Approved => RejectReason::NotApproved,
        })
    }

    /// Whether it is a member that may do this, at a time of the cluster.
    #[must_use]
    pub fn may(&self, role: Role, now: UnixMillis) -> bool {
        self.is_member(now) && self.roles.contains(&role)
    }
}

rows! {
    NodeRecord: Nodes, format 2, at most 8 * 1024;
}
