//! What a replica is told.

use std::time::Duration;

use openraft::{Config, SnapshotPolicy};
use protocol::ids::{MeshId, NodeId};

/// How fast a group notices that its leader is gone. All members have the same: leases depend on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Timers {
    /// Heartbeat 50 ms, election 150–300 ms: one machine or one rack, quick disks.
    Fast,
    /// Heartbeat 250 ms, election 750–1500 ms: a LAN, with Wi-Fi and memory cards in it.
    #[default]
    Lan,
    /// Heartbeat 500 ms, election 1500–3000 ms: across the internet.
    Wan,
}

impl Timers {
    /// Heartbeat, shortest and longest election timeout, in milliseconds.
    const fn millis(self) -> (u64, u64, u64) {
        match self {
            Self::Fast => (50, 150, 300),
            Self::Lan => (250, 750, 1_500),
            Self::Wan => (500, 1_500, 3_000),
        }
    }
}

/// What a replica is told when it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaConfig {
    /// The mesh whose log it is.
    pub mesh: MeshId,
    /// The node that keeps it.
    pub node: NodeId,
    /// Sixteen random bytes, used only if the directory is new: they tell a directory from one that replaced it.
    pub incarnation: [u8; 16],
    /// Grows when the group is founded anew after the loss of its majority. Members of different epochs do not
    /// listen to each other. Default 0.
    pub epoch: u32,
    /// Default: [`Timers::Lan`].
    pub timers: Timers,
    /// Entries after which a snapshot is made and the log shortened. Default 10,000: fewer makes restarts and
    /// newcomers quicker and writes all records more often.
    pub snapshot_entries: u64,
    /// Entries that are kept behind a snapshot, for members that are a little late. Default 2,000.
    pub kept_entries: u64,
    /// How long a proposal waits while nobody leads. Default 3 s: longer than an election on a LAN.
    pub leader_wait: Duration,
    /// How long a proposal waits to be applied before its outcome is called unknown. Default 10 s.
    pub apply_wait: Duration,
    /// Entries whose events are kept for a reader that is late. Default 4,096.
    pub events_max: usize,
}

impl ReplicaConfig {
    /// The defaults for the replica of `node` in `mesh`.
    #[must_use]
    pub fn new(mesh: MeshId, node: NodeId, incarnation: [u8; 16]) -> Self {
        Self {
            mesh,
            node,
            incarnation,
            epoch: 0,
            timers: Timers::default(),
            snapshot_entries: 10_000,
            kept_entries: 2_000,
            leader_wait: Duration::from_secs(3),
            apply_wait: Duration::from_secs(10),
            events_max: 4_096,
        }
    }

    /// How long entries may be on their way to a member before they are sent again.
    pub(crate) fn append_wait(&self) -> Duration {
        let (_, _, election_timeout_max) = self.timers.millis();
        Duration::from_millis(election_timeout_max)
    }

    /// The same for openraft.
    pub(crate) fn raft(&self) -> Config {
        let (heartbeat_interval, election_timeout_min, election_timeout_max) = self.timers.millis();
        Config {
            cluster_name: self.mesh.id16(),
            heartbeat_interval,
            election_timeout_min,
            election_timeout_max,
            // Twice the longest election: a leader that lost its majority then lets another be elected.
            quorum_loss_probe_interval: Some(election_timeout_max.saturating_mul(2)),
            enable_pre_vote: Some(true),
            max_payload_entries: 256,
            replication_lag_threshold: 20_000,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_entries),
            max_in_snapshot_log_to_keep: self.kept_entries,
            api_channel_size: Some(8_192),
            api_batch_capacity: 1_024,
            max_append_entries: Some(1_024),
            ..Config::default()
        }
    }
}
