//! The founding statement of a mesh (`docs/protocol.md`, "Genesis").

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AccountId, MeshId, NodeId},
    price::Price,
    sign::Signed,
    time::UnixMillis,
    units::Credits,
    wire::canonical,
};

/// How machines get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Joining {
    /// An operator approves each.
    Approval,
    /// Whoever asks is admitted, for every role.
    Automatic,
}

/// Founds a mesh. Signed by its first operator, for the mesh id of all zeros.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// The protocol version of the mesh.
    pub version: u16,
    /// What people call it.
    pub name: String,
    /// When it was founded.
    pub founded: UnixMillis,
    /// Who may admit nodes and change policy. The first is the creator.
    pub operators: Vec<AccountId>,
    /// The first coordinator: a member from the start, owned by the creator.
    pub coordinator: NodeId,
    /// What that node is called.
    pub coordinator_name: String,
    /// What work costs.
    pub price: Price,
    /// What the account of a new owner is given, once.
    pub welcome_grant: Credits,
    /// How many owners are given it, at most.
    pub welcome_grants_max: u32,
    /// How machines get in.
    pub joining: Joining,
    /// Random, so that two meshes founded alike differ.
    pub nonce: [u8; 16],
}

canonical! {
    Genesis: 8 * 1024, signed as Genesis;
}

impl Genesis {
    /// The mesh id under which Genesis itself is signed.
    pub const MESH: MeshId = MeshId([0; 32]);

    /// The id of the mesh that this statement founds: the hash of the whole signed statement.
    #[must_use]
    pub fn mesh_id(signed: &Signed<Self>) -> MeshId {
        MeshId(signed.hash().0)
    }
}
