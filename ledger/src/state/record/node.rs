//! A node that asked to join.

use protocol::{
    ids::{AccountId, Hash},
    time::UnixMillis,
    wire::{
        enroll::{EnrollRequest, Role},
        view::Admission,
    },
};
use serde::{Deserialize, Serialize};

use super::rows;

/// A node: what it asked for, and what was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its owner's account.
    pub account: AccountId,
    /// What it is called.
    pub name: String,
    /// Whether it is a member.
    pub admission: Admission,
    /// What it may do, in order, each once; while it waits: what it would do.
    pub roles: Vec<Role>,
    /// Since when it is what it is, in cluster time.
    pub since: UnixMillis,
    /// What it and its owner signed; `None` for the first coordinator, which Genesis names.
    pub enrollment: Option<EnrollRequest>,
    /// The time that the last decision about it carries, and that decision's hash: an older one is a replay.
    pub decided: Option<(UnixMillis, Hash)>,
}

impl NodeRecord {
    /// Whether it is a member that may do this.
    #[must_use]
    pub fn may(&self, role: Role) -> bool {
        self.admission == Admission::Approved && self.roles.contains(&role)
    }
}

rows! {
    NodeRecord: Nodes, format 1, at most 8 * 1024;
}
