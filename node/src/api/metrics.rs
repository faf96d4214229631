//! What the node counts, in one registry with libp2p's own.

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge, info::Info},
    registry::Registry,
};

use crate::home::UpOptions;

/// The registry and the node's own metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Entries in the ledger, as last seen.
    pub ledger_height: Gauge,
    /// Nodes that this one is connected to.
    pub peers: Gauge,
    /// Tasks that wait, as the leader says.
    pub tasks_queued: Gauge,
    /// Tasks that are leased, as the leader says.
    pub tasks_leased: Gauge,
    /// Slots of this node that are taken.
    pub slots_busy: Gauge,
    /// Slots of this node.
    pub slots: Gauge,
    /// Bytes of content that this node keeps.
    pub blob_store_bytes: Gauge,
    /// Jobs submitted through this node.
    pub jobs_submitted: Counter,
}

impl Metrics {
    /// Registers the node's metrics beside what is in `registry` already.
    #[must_use]
    pub fn new(mut registry: Registry, options: &UpOptions) -> Self {
        let labels = vec![
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("os", std::env::consts::OS.to_owned()),
            ("arch", std::env::consts::ARCH.to_owned()),
        ];
        registry.register("weft_build", "What this node runs", Info::new(labels));
        let roles = options.config.roles.iter().map(|role| ("role", role.name().to_owned()));
        registry.register(
            "weft_roles",
            "What this node does",
            Info::new(roles.take(1).collect::<Vec<_>>()),
        );
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let ledger_height = gauge("weft_ledger_height", "Entries in the ledger, as last seen");
        let peers = gauge("weft_peers", "Nodes that this one is connected to");
        let tasks_queued = gauge("weft_tasks_queued", "Tasks that wait, as the leader says");
        let tasks_leased = gauge("weft_tasks_leased", "Tasks that are leased, as the leader says");
        let slots_busy = gauge("weft_slots_busy", "Slots of this node that are taken");
        let slots = gauge("weft_slots", "Slots of this node");
        let blob_store_bytes =
            gauge("weft_blob_store_bytes", "Bytes of content that this node keeps");
        let jobs_submitted = Counter::default();
        registry.register(
            "weft_jobs_submitted",
            "Jobs submitted through this node",
            jobs_submitted.clone(),
        );
        Self {
            registry,
            ledger_height,
            peers,
            tasks_queued,
            tasks_leased,
            slots_busy,
            slots,
            blob_store_bytes,
            jobs_submitted,
        }
    }

    /// All of it, in the OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => {
                tracing::error!(%error, "metrics could not be written");
                String::new()
            }
        }
    }
}
