//! What the server speaks, and within which limits.

use std::time::Duration;

use libp2p::{
    PeerId, StreamProtocol, autonat, connection_limits, identify,
    identity::Keypair,
    kad::{
        self, BucketInserts, Mode, StoreInserts,
        store::{MemoryStore, MemoryStoreConfig},
    },
    memory_connection_limits, ping, relay,
    swarm::NetworkBehaviour,
};
use protocol::{
    names,
    net::{self, ConnectionLimits},
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
    pub(crate) kad: kad::Behaviour<MemoryStore>,
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
            kad: kademlia(local),
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

/// The Kademlia of bootstrap servers. Nothing that others send is stored; peers enter the table by hand.
fn kademlia(local: PeerId) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(StreamProtocol::new(names::BOOTSTRAP_KAD));
    config
        .set_query_timeout(Duration::from_secs(20))
        .disjoint_query_paths(true)
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_kbucket_inserts(BucketInserts::Manual)
        .set_max_packet_size(16 * 1024)
        .set_substreams_timeout(Duration::from_secs(10))
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None);
    let nothing = MemoryStoreConfig {
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: 0,
        max_provided_keys: 0,
    };
    let mut kad =
        kad::Behaviour::with_config(local, MemoryStore::with_config(local, nothing), config);
    kad.set_mode(Some(Mode::Server));
    kad
}
