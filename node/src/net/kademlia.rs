//! How members find each other's addresses: Kademlia without records.

use std::time::Duration;

use libp2p::{
    PeerId, StreamProtocol,
    kad::{
        self, BucketInserts, Config, Mode, QueryId, StoreInserts,
        store::{MemoryStore, MemoryStoreConfig},
    },
};

/// Kademlia with a store that stays empty.
pub(super) type Behaviour = kad::Behaviour<MemoryStore>;

/// Kademlia of one mesh. Nothing that others send is stored: records and providers are filtered and then left
/// lying. Peers are put into buckets by hand, members only.
pub(super) fn behaviour(local: PeerId, protocol: StreamProtocol) -> Behaviour {
    let mut config = Config::new(protocol);
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
    let store = MemoryStoreConfig {
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: 0,
        max_provided_keys: 0,
    };
    let mut kad = Behaviour::with_config(local, MemoryStore::with_config(local, store), config);
    kad.set_mode(Some(Mode::Server));
    kad
}

/// Asks those who are near a peer where it is. Answers come as events.
pub(super) fn look_for(kad: &mut Behaviour, peer: PeerId) -> QueryId {
    kad.get_closest_peers(peer)
}
