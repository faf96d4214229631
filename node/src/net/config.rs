//! What the network is told at its start.

use std::{collections::BTreeSet, time::Duration};

use libp2p::Multiaddr;
use protocol::ids::{MeshId, NodeId};

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
    /// Requests of a kind that one stranger may make per second, at most; also the burst.
    pub stranger_per_second: u32,
    /// Whether to look for nodes on the local network, and to be found there.
    pub mdns: bool,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            agent: format!("weft/{}", env!("CARGO_PKG_VERSION")),
            established_in_max: 128,
            inbound_max: 1_024,
            regate_after: Duration::from_millis(500),
            stranger_per_second: 5,
            mdns: false,
        }
    }
}

/// Which mesh to open the protocols of.
#[derive(Debug, Clone)]
pub struct MeshSetup {
    /// The mesh.
    pub mesh: MeshId,
    /// Who is approved. This node need not be among them.
    pub members: BTreeSet<NodeId>,
    /// The gossip topic of capacity adverts: [`protocol::names::advert_topic`].
    pub topic: String,
}

impl MeshSetup {
    /// A mesh with its usual topic.
    #[must_use]
    pub fn new(mesh: MeshId, members: BTreeSet<NodeId>) -> Self {
        Self { mesh, members, topic: protocol::names::advert_topic(&mesh) }
    }
}
