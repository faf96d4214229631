//! Who keeps the ledger, and who would (`docs/coordination.md`).

use serde::{Deserialize, Serialize};

use crate::{ids::NodeId, time::UnixMillis};

/// A node that may coordinate says so to the leader, again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidacy {
    /// Its data directory for the ledger.
    pub incarnation: [u8; 16],
    /// The number of the replica that it runs; `None` while it runs none.
    pub raft_id: Option<u64>,
    /// How long it has been up, in milliseconds.
    pub up_ms: u64,
    /// Free bytes where its ledger lies.
    pub disk_free_bytes: u64,
    /// What 99 of 100 syncs take there at most, in microseconds; `None` if that was not measured.
    pub sync_us: Option<u64>,
    /// Whether it is a phone or runs on a battery.
    pub mobile: bool,
    /// An operator asked for it: it waits for nothing but to catch up.
    pub asked: bool,
    /// It does not want to coordinate any more.
    pub leaving: bool,
    /// Its clock.
    pub at: UnixMillis,
}

/// A member of the group, as others name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Its number.
    pub raft_id: u64,
    /// The node.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: [u8; 16],
}

/// What the leader says to a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Candidate {
    /// It is no member: why, for people. At most 512 bytes.
    Waits(String),
    /// It is a member.
    Admitted {
        /// Its number.
        raft_id: u64,
        /// Everybody in the group: whom to believe until it has a log.
        members: Vec<Seat>,
    },
}

/// The group as a member of it knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// Counts recoveries that started a new log.
    pub epoch: u32,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Whether it is itself the leader, has caught up, and may lead.
    pub leads: bool,
    /// The term that it is in.
    pub term: u64,
    /// The last entry that it knows to be committed.
    pub commit_index: u64,
    /// The last entry that it applied.
    pub applied_index: u64,
    /// Voters and learners.
    pub members: Vec<CoordinatorView>,
}

/// A member of the coordinator group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorView {
    /// The node.
    pub node: NodeId,
    /// Whether it votes.
    pub voter: bool,
    /// How many log entries it is behind, as far as the leader knows.
    pub lag: Option<u64>,
}
