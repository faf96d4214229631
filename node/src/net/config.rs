//! What the network is told at its start.

use std::{collections::BTreeSet, time::Duration};

use libp2p::Multiaddr;
use protocol::ids::{MeshId, NodeId};

use crate::core::reputation::Ban;

/// How a node takes part in the network.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NetConfig {
    /// Where to listen: TCP and QUIC addresses, `/memory/<n>` in tests. Port 0 lets the system choose.
    pub listen: Vec<Multiaddr>,
    /// What identify says about the software, as `weft/<version>`.
    pub agent: String,
    /// Connections that others make to this node, at most. Coordinators take more.
    pub established_in_max: u32,
    /// Events that wait for the node, at most. Then requests are refused as busy and gossip is ignored.
    pub inbound_max: usize,
    /// How long a newly approved peer keeps the connection on which it enrolled, so that the answer gets through.
    pub regate_after: Duration,
    /// Whether to look for nodes on the local network, and to be found there.
    pub mdns: bool,
    /// Who was banned when the node last ran.
    pub bans: Vec<Ban>,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            agent: format!("weft/{}", env!("CARGO_PKG_VERSION")),
            established_in_max: 128,
            inbound_max: 1_024,
            regate_after: Duration::from_millis(500),
            mdns: false,
            bans: Vec::new(),
        }
    }
}

/// Who is what in a mesh, as far as connections are concerned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roll {
    /// Who is approved. This node need not be among them.
    pub members: BTreeSet<NodeId>,
    /// Who was refused, removed or suspended: not let in, except to hear that from a coordinator.
    pub blocked: BTreeSet<NodeId>,
    /// Who keeps the ledger: never cut off for what it does.
    pub coordinators: BTreeSet<NodeId>,
}

impl Roll {
    /// Members, and nothing else.
    #[must_use]
    pub fn of(members: BTreeSet<NodeId>) -> Self {
        Self { members, ..Self::default() }
    }
}

/// Which mesh to open the protocols of.
#[derive(Debug, Clone)]
pub struct MeshSetup {
    /// The mesh.
    pub mesh: MeshId,
    /// Counts recoveries that started a new log.
    pub epoch: u32,
    /// Who is what in it.
    pub roll: Roll,
    /// The gossip topic of capacity adverts: [`protocol::names::advert_topic`].
    pub topic: String,
}

impl MeshSetup {
    /// A mesh in an epoch, with its usual topic.
    #[must_use]
    pub fn new(mesh: MeshId, epoch: u32, roll: Roll) -> Self {
        Self { mesh, epoch, roll, topic: protocol::names::advert_topic(&mesh) }
    }
}
