//! The types that openraft is given.

use std::fmt;

use openraft::{RaftTypeConfig, type_config::alias, vote::RaftLeaderId};
use protocol::ids::NodeId;
use serde::{Deserialize, Serialize};

use crate::command::Reply;

openraft::declare_raft_types!(
    /// How openraft is parametrised. The reply of an entry that carries no command is `None`.
    pub(crate) Types:
        D = CommandBytes,
        R = Option<Reply>,
        NodeId = u64,
        Node = Member,
);

/// Raft with our state machine.
pub(crate) type Raft = openraft::Raft<Types, super::machine::StateMachine>;
/// A place in the log, and whose entry it is.
pub(crate) type LogId = alias::LogIdOf<Types>;
/// An entry of the log.
pub(crate) type Entry = <Types as RaftTypeConfig>::Entry;
/// Who may write a log entry.
pub(crate) type LeaderId = alias::LeaderIdOf<Types>;
/// A promise to a candidate or leader.
pub(crate) type Vote = alias::VoteOf<Types>;
/// Who is in the group.
pub(crate) type Membership = openraft::Membership<u64, Member>;
/// Who is in the group, and which entry says so.
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
/// What a snapshot holds.
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;

/// The place `index` in the log, written by the leader `node` of `term`.
pub(crate) fn log_id(term: u64, node: u64, index: u64) -> LogId {
    LogId::new(LeaderId::new(term, node).to_committed(), index)
}

/// The canonical bytes of a stamped command. The log keeps them as they are: whoever proposed them has encoded
/// them, and they are decoded once, when they are applied.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct CommandBytes(pub(crate) Vec<u8>);

impl fmt::Display for CommandBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Debug for CommandBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the group knows about a member beside its number. Addresses are not in it: they change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// The node's key.
    pub(crate) node: NodeId,
    /// The data directory: one that was lost and made again is another member.
    pub(crate) incarnation: [u8; 16],
}

#[cfg(test)]
impl Default for Member {
    /// openraft's storage suite makes members up.
    fn default() -> Self {
        Self { node: NodeId([0; 32]), incarnation: [0; 16] }
    }
}
