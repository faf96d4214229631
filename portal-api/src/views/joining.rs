//! Joining another mesh, and leaving one.

use protocol::ids::{MeshId, NodeId};
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::text;

/// What is needed to ask to join a mesh: an address or an invite.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// Where a node of the mesh is: a multiaddress with `/p2p/ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// An invite to the mesh: its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<String>,
    /// Whether the present mesh may be left for it although it holds something. It is kept in `old/`.
    #[serde(default)]
    pub leave_mine: bool,
}

/// A request to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// The mesh that was asked.
    #[serde(with = "text")]
    pub mesh: MeshId,
    /// What it is called.
    pub mesh_name: String,
    /// How many members it says it has.
    pub members: u32,
    /// The node that was asked.
    #[serde(with = "text")]
    pub peer: NodeId,
    /// Where it is.
    pub address: String,
    /// While nobody has decided: the six digits that whoever approves sees too.
    #[serde(default)]
    pub code: Option<String>,
    /// `PENDING` while nobody has decided, or `REFUSED`. A node that has joined asks no more.
    pub state: JoinState,
    /// Why it was refused.
    pub reason: Option<String>,
}

impl Kind for Joining {
    const KIND: &'static str = "Joining";
}

/// How far a request to join is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JoinState {
    /// Nobody has decided yet.
    Pending,
    /// Somebody said no.
    Refused,
}

/// Which mesh to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaveRequest {
    /// Its id, so that no other is left by mistake.
    #[serde(with = "text")]
    pub mesh: MeshId,
    /// Whether it may be left although other nodes cannot do anything without this one.
    #[serde(default)]
    pub force: bool,
}

/// A mesh was left. The node stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The mesh.
    #[serde(with = "text")]
    pub mesh: MeshId,
    /// What it is called.
    pub mesh_name: String,
    /// Where what it held is kept.
    pub kept: String,
}

impl Kind for Left {
    const KIND: &'static str = "Left";
}
