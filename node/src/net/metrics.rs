//! What the network counts, besides what libp2p counts itself.

use libp2p::metrics::Registry;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

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
}
