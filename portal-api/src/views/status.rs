//! This node and its mesh at a glance.

use protocol::{
    ids::{AccountId, MeshId, NodeId},
    units::Credits,
    wire::{
        advert::Isolation,
        enroll::Role,
        view::{self, Admission},
    },
};
use serde::{Deserialize, Serialize};

use super::{Balance, Joining, Kind, LedgerPoint, Reason, Sharing};
use crate::{names, text};

/// This node and its mesh. What only the leader knows is absent while nobody leads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The peer id of this node.
    #[serde(with = "text")]
    pub peer: NodeId,
    /// What it is called.
    pub name: String,
    /// Its owner's account.
    #[serde(with = "text")]
    pub account: AccountId,
    /// What it does.
    #[serde(with = "names::list")]
    pub roles: Vec<Role>,
    /// Whether it is a member. `PENDING` also before it has found a mesh.
    #[serde(with = "names")]
    pub admission: Admission,
    /// The mesh that it is in.
    #[serde(with = "text::option", default)]
    pub mesh: Option<MeshId>,
    /// What the mesh is called.
    pub mesh_name: Option<String>,
    /// The mesh that it asks to join, or that refused it.
    #[serde(default)]
    pub joining: Option<Joining>,
    /// While this node waits: the six digits that whoever approves it sees too.
    #[serde(default)]
    pub code: Option<String>,
    /// Who leads it.
    #[serde(with = "text::option", default)]
    pub leader: Option<NodeId>,
    /// The state of the mesh: its fields stand beside the others.
    #[serde(flatten)]
    pub work: Option<Mesh>,
    /// The owner's credits.
    pub credits: Option<Credit>,
    /// Nodes that it is connected to.
    pub peers: u32,
    /// What it shares. Absent where it is no worker.
    pub sharing: Option<Shared>,
    /// Why it takes less work than it could.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// How long it has been up.
    pub uptime_seconds: f64,
    /// The software version.
    pub version: String,
    /// Where it listens: multiaddresses.
    pub listen: Vec<String>,
    /// The URL of its API on this machine.
    pub api: Option<String>,
}

impl Kind for Status {
    const KIND: &'static str = "Status";
}

/// The state of a mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mesh {
    /// The leader's term.
    pub term: u64,
    /// As of when.
    #[serde(flatten)]
    pub ledger: LedgerPoint,
    /// What waits and runs.
    #[serde(flatten)]
    pub open: OpenWork,
}

/// What waits and runs in a mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenWork {
    /// Jobs that have not ended.
    pub jobs_open: u32,
    /// Tasks that wait.
    pub tasks_queued: u64,
    /// Tasks that are with a worker.
    pub tasks_running: u64,
}

impl From<&view::MeshView> for Mesh {
    fn from(mesh: &view::MeshView) -> Self {
        Self {
            term: mesh.term,
            ledger: mesh.into(),
            open: OpenWork {
                jobs_open: mesh.jobs_open,
                tasks_queued: mesh.tasks_queued,
                tasks_running: mesh.tasks_leased,
            },
        }
    }
}

/// What an account has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// What can be spent.
    pub available_ucr: Credits,
    /// What open jobs hold.
    pub held_ucr: Credits,
}

impl From<&Balance> for Credit {
    fn from(balance: &Balance) -> Self {
        Self { available_ucr: balance.available_ucr, held_ucr: balance.held_ucr }
    }
}

/// What a node shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// Tasks that it runs at a time.
    pub slots: u16,
    /// Of those, free.
    pub slots_free: u16,
    /// Cores.
    pub cores: u16,
    /// Memory.
    pub memory_bytes: u64,
    /// How well guests are isolated: `A`, `B` or `C`.
    #[serde(with = "names")]
    pub isolation: Isolation,
    /// What others can have of it now.
    pub now: Option<Sharing>,
}
