//! The singletons: the end of the ledger, counters, policy; and the ids that were used.

use protocol::{
    ids::{AccountId, Hash, MeshId, NodeId},
    limits::ENVELOPE_BYTES_MAX,
    merkle::{Digest, Frontier},
    price::Price,
    sign::Signed,
    time::UnixMillis,
    units::Credits,
    wire::genesis::{Genesis, Joining},
};
use serde::{Deserialize, Serialize};

use super::rows;
use crate::command::Reply;

/// The end of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The leaf hash of the newest entry.
    pub hash: Digest,
    /// The time of the newest entry: cluster time.
    pub time: UnixMillis,
    /// The right edge of the tree over all entries. Its size is the height.
    pub frontier: Frontier,
}

impl Head {
    /// How many entries there are, which is the number of the newest one.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.frontier.size()
    }
}

impl Default for Head {
    fn default() -> Self {
        Self {
            hash: crate::state::entry::BEFORE_FIRST,
            time: UnixMillis(0),
            frontier: Frontier::default(),
        }
    }
}

/// How many there are of what is bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Welcome grants that were given.
    pub grants: u32,
    /// Jobs that have not ended.
    pub open_jobs: u32,
    /// Nodes, whatever was decided about them.
    pub nodes: u32,
    /// Of those, the ones that wait.
    pub pending: u32,
    /// Invites that are kept.
    pub invites: u32,
    /// Grows with every change of who is a member, and of who is blocked.
    pub roster: u64,
    /// Whether the ledger holds more than Genesis and enrolment.
    pub used: bool,
}

/// The rules of the mesh. As Genesis says, until they are changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The mesh.
    pub mesh: MeshId,
    /// The founding statement.
    pub genesis: Signed<Genesis>,
    /// What people call the mesh.
    pub name: String,
    /// Who may admit nodes and change policy.
    pub operators: Vec<AccountId>,
    /// The first coordinator.
    pub coordinator: NodeId,
    /// What work costs.
    pub price: Price,
    /// What the account of a new owner is given, once.
    pub welcome_grant: Credits,
    /// How many owners are given it, at most.
    pub welcome_grants_max: u32,
    /// How machines get in.
    pub joining: Joining,
}

/// An id that was used: what it was used for, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedId {
    /// The BLAKE3 hash of the bytes that it was used with.
    pub bytes: Hash,
    /// What came of it.
    pub reply: Reply,
}

rows! {
    Head: Meta, format 1, at most 4 * 1024;
    Counts: Meta, format 3, at most 64;
    Policy: Meta, format 3, at most ENVELOPE_BYTES_MAX + 16 * 1024;
    UsedId: Ids, format 1, at most 256;
}
