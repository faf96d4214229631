//! Protocol names, topics and ports: the table of `docs/protocol.md`, as constants.

use crate::ids::MeshId;

/// Who we are and which mesh; open to strangers.
pub const HELLO: &str = "/weft/hello/1";
/// Asking to join; open to strangers.
pub const ENROLL: &str = "/weft/enroll/1";
/// Kademlia of bootstrap servers.
pub const BOOTSTRAP_KAD: &str = "/weft/kad/1";
/// What identify says we are.
pub const IDENTIFY: &str = "/weft/1.0.0";

/// Peer-to-peer, TCP and UDP.
pub const PORT_P2P: u16 = 4301;
/// The local API, loopback only.
pub const PORT_API: u16 = 4304;
/// The portal, on coordinators that opt in.
pub const PORT_PORTAL: u16 = 4310;
/// Bootstrap servers and relays.
pub const PORT_BOOTSTRAP: u16 = 4311;

/// A protocol that only members of a mesh speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MeshProtocol {
    /// Members find each other.
    Kad,
    /// Worker to leader: alive, and what it holds.
    Heartbeat,
    /// Leader to worker: take these tasks, give those back.
    Lease,
    /// Worker to leader: results.
    Result,
    /// Anybody to a coordinator: submit, cancel, ask.
    Client,
    /// Anybody to anybody: content by its hash, on streams.
    Blob,
    /// Coordinators to each other: votes, heartbeats and entries of the log, on streams that stay open.
    Raft,
    /// Coordinators to each other: pieces of snapshots, on a stream of their own.
    RaftSnapshot,
}

impl MeshProtocol {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Kad,
        Self::Heartbeat,
        Self::Lease,
        Self::Result,
        Self::Client,
        Self::Blob,
        Self::Raft,
        Self::RaftSnapshot,
    ];

    /// `/weft/<first 16 hex of the mesh id>/<name>/1`, for Raft `/weft/<id16>/e<epoch>/<name>/1`: members of another epoch
    /// cannot even begin to speak.
    #[must_use]
    pub fn name(self, mesh: &MeshId, epoch: u32) -> String {
        let name = match self {
            Self::Raft => return format!("/weft/{}/e{epoch}/raft/1", mesh.id16()),
            Self::RaftSnapshot => return format!("/weft/{}/e{epoch}/raft-snapshot/1", mesh.id16()),
            Self::Kad => "kad",
            Self::Heartbeat => "heartbeat",
            Self::Lease => "lease",
            Self::Result => "result",
            Self::Client => "client",
            Self::Blob => "blob",
        };
        format!("/weft/{}/{name}/1", mesh.id16())
    }
}

/// Whether what identify says is of our family of protocols, in whichever version.
#[must_use]
pub fn is_ours(identified: &str) -> bool {
    identified.starts_with("/weft/")
}

/// The gossip topic of capacity adverts.
#[must_use]
pub fn advert_topic(mesh: &MeshId) -> String {
    format!("/weft/{}/cap/1", mesh.id16())
}
