//! What the server speaks, and within which limits.

use std::time::Duration;

use libp2p::{
    StreamProtocol, autonat, connection_limits, identify, identity::Keypair,
    memory_connection_limits, ping, relay, swarm::NetworkBehaviour,
};
use protocol::{
    names,
    net::{self, ConnectionLimits, Kademlia, kademlia},
};

/// Connections for which a server is sized.
const LIMITS: ConnectionLimits = ConnectionLimits {
    pending_in: 64,
    pending_out: 32,
    established_in: 1_000,
    established_out: 96,
    per_peer: 2,
};

/// Everything.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) memory: memory_connection_limits::Behaviour,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) kad: Kademlia,
    pub(crate) relay: relay::Behaviour,
    pub(crate) autonat: autonat::v2::server::Behaviour,
}

impl Behaviour {
    pub(crate) fn new(key: &Keypair) -> Self {
        let local = key.public().to_peer_id();
        Self {
            limits: net::connection_limits(LIMITS),
            memory: net::memory_limits(),
            identify: net::identify(key, format!("weft-bootstrap/{}", env!("CARGO_PKG_VERSION"))),
            ping: net::ping(),
            kad: kademlia(local, StreamProtocol::new(names::BOOTSTRAP_KAD)),
            relay: relay::Behaviour::new(local, relay_config()),
            autonat: autonat::v2::server::Behaviour::default(),
        }
    }
}

/// Relays for strangers, so that a newcomer behind NAT can enrol: enough for that, too little for anything else.
/// The rate limits of each peer and address are the crate's.
fn relay_config() -> relay::Config {
    relay::Config {
        max_reservations: 128,
        max_reservations_per_peer: 2,
        max_circuits: 64,
        max_circuits_per_peer: 2,
        max_circuit_duration: Duration::from_secs(120),
        max_circuit_bytes: 128 * 1024,
        ..relay::Config::default()
    }
}
