//! A worker tells the leader that it is alive and what it holds (`docs/protocol.md`, "Heartbeats").

use serde::{Deserialize, Serialize};

use crate::{
    batch::Batch,
    ids::{LeaseId, NodeId},
    limits::ADMISSION_BYTES_MAX,
    reject::RejectReason,
    wire::{
        availability::Availability,
        canonical,
        enroll::NodeAddress,
        lease::{Fence, LeaseHeader, LeaseItem},
    },
};

/// A lease that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLease {
    /// Which.
    pub lease: LeaseId,
    /// How many of its tasks have ended.
    pub done: u32,
    /// Whether the first task has started.
    pub running: bool,
    /// The lease as a leader signed it: for a leader that has not seen it, since it began to lead later.
    pub proof: Option<Box<Batch<LeaseHeader, LeaseItem>>>,
}

/// Worker to leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// What it holds. At most [`crate::limits::LIST_ITEMS_MAX`].
    pub leases: Vec<HeldLease>,
    /// Tasks that it runs at a time.
    pub slots: u16,
    /// Of those, free.
    pub slots_free: u16,
    /// It takes no new work.
    pub draining: bool,
    /// The version of the member list that it has.
    pub roster: u64,
    /// What it has for other owners, and why not more.
    pub availability: Availability,
    /// Leases that it gives back, unfinished: their tasks do not count as tried. Named again until an answer has come.
    /// At most [`crate::limits::LIST_ITEMS_MAX`].
    pub returned: Vec<LeaseId>,
}

/// Leader to worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeartbeatResponse {
    /// Heard.
    Heard {
        /// Leases of the list that are not this worker's any more: stop.
        lost: Vec<LeaseId>,
        /// The member list, if the worker's is another.
        roster: Option<Roster>,
        /// Orders this.
        fence: Fence,
    },
    /// Not here.
    Refused(RejectReason),
}

/// Who is a member, and who may not even connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// Grows with each change.
    pub version: u64,
    /// Who is approved.
    pub members: Vec<NodeId>,
    /// Who was refused, removed or suspended: the latest [`BLOCKED_MAX`](crate::limits::BLOCKED_MAX). Members do not
    /// let them in.
    pub blocked: Vec<NodeId>,
    /// Who coordinates, and where.
    pub coordinators: Vec<NodeAddress>,
}

canonical! {
    Heartbeat: 512 * 1024;
    HeartbeatResponse: ADMISSION_BYTES_MAX;
}
