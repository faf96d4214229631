//! What the network counts, besides what libp2p counts itself.

use libp2p::metrics::Registry;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

/// The counters. They only show; nothing is decided by them.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// Requests that came in and were given to the node.
    pub(super) requests: Counter,
    /// Requests that came in and were refused: rate, membership, or the node was busy.
    pub(super) refused: Counter,
    /// Adverts that came in and were not given to the node.
    pub(super) adverts_ignored: Counter,
    /// Blob streams that came in and were dropped, because the node was busy.
    pub(super) streams_dropped: Counter,
    /// Connections that were turned away: knocked too often, a banned address, or not let in.
    pub(super) turned_away: Counter,
    /// What peers did wrong, by kind.
    pub(super) faults: Family<Vec<(&'static str, &'static str)>, Counter>,
    /// Peers that were banned.
    pub(super) bans: Counter,
    /// Peers that are banned now.
    pub(super) banned: Gauge,
    /// Faults of coordinators that would have banned anybody else.
    pub(super) alarms: Counter,
    /// Connections of strangers.
    pub(super) strangers: Gauge,
    /// Bytes of requests that are being read or answered.
    pub(super) request_bytes: Gauge,
    /// Answers and verdicts that the node owes.
    pub(super) owed: Gauge,
    /// Events that wait for the node.
    pub(super) waiting: Gauge,
}

impl Metrics {
    /// Registers all of them under `weft_net_`.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("weft_net");
        metrics.register_peers(registry);
        registry.register("requests", "Requests given to the node", metrics.requests.clone());
        registry.register(
            "requests_refused",
            "Requests refused before they reached the node",
            metrics.refused.clone(),
        );
        registry.register(
            "adverts_ignored",
            "Adverts that did not reach the node",
            metrics.adverts_ignored.clone(),
        );
        registry.register(
            "streams_dropped",
            "Blob streams that did not reach the node",
            metrics.streams_dropped.clone(),
        );
        registry.register(
            "answers_owed",
            "Answers and verdicts that the node owes",
            metrics.owed.clone(),
        );
        registry.register(
            "events_waiting",
            "Events that wait for the node",
            metrics.waiting.clone(),
        );
        metrics
    }

    /// What is about peers that misbehave.
    fn register_peers(&self, registry: &mut Registry) {
        let turned_away = "Connections turned away by address, ban or lack of room";
        registry.register("connections_turned_away", turned_away, self.turned_away.clone());
        registry.register("faults", "What peers did wrong, by kind", self.faults.clone());
        registry.register("bans", "Peers that were banned", self.bans.clone());
        registry.register("banned_peers", "Peers that are banned now", self.banned.clone());
        let alarms = "Coordinators whose faults would have banned anybody else";
        registry.register("alarms", alarms, self.alarms.clone());
        registry.register("strangers", "Connections of strangers", self.strangers.clone());
        let bytes = "Bytes of requests that are being read or answered";
        registry.register("request_bytes", bytes, self.request_bytes.clone());
    }
}
