//! Kademlia without records.

use std::time::Duration;

use libp2p::{
    PeerId, StreamProtocol,
    kad::{
        self, BucketInserts, Config, Mode, StoreInserts,
        store::{MemoryStore, MemoryStoreConfig},
    },
};

/// Kademlia with a store that stays empty.
pub type Kademlia = kad::Behaviour<MemoryStore>;

/// A server of this Kademlia. Nothing that others send is stored: records and providers are filtered and then left
/// lying. Peers are put into buckets by hand.
#[must_use]
pub fn kademlia(local: PeerId, protocol: StreamProtocol) -> Kademlia {
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
    let nothing = MemoryStoreConfig {
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: 0,
        max_provided_keys: 0,
    };
    let mut kad = Kademlia::with_config(local, MemoryStore::with_config(local, nothing), config);
    kad.set_mode(Some(Mode::Server));
    kad
}
