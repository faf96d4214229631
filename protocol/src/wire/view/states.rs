//! The states of jobs, tasks and nodes. Their names are those of the API.

use serde::{Deserialize, Serialize};

/// The state of a job. The names are those of the API, in upper case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum JobState {
    /// No task has started.
    Queued,
    /// A task has started.
    Running,
    /// All tasks succeeded.
    Completed,
    /// All tasks ended, some failed, and that is allowed.
    PartiallyCompleted,
    /// A task failed for good.
    Failed,
    /// Its submitter gave it up.
    Cancelled,
    /// Its time was over.
    Expired,
}

impl JobState {
    /// Whether it never changes again.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::PartiallyCompleted => "PARTIALLY_COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
        }
    }
}

/// The state of a task. The legal transitions are the table in `docs/protocol.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaskState {
    /// Waits for other tasks.
    Held,
    /// Waits for a worker.
    Queued,
    /// A worker has it and has not started.
    Assigned,
    /// A worker runs it.
    Running,
    /// Waits before it is tried again.
    Retrying,
    /// Succeeded.
    Completed,
    /// Failed for good.
    Failed,
    /// Given up with its job.
    Cancelled,
    /// Its job's time was over.
    Expired,
}

impl TaskState {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Held,
        Self::Queued,
        Self::Assigned,
        Self::Running,
        Self::Retrying,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// Whether it never changes again.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Expired)
    }

    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "HELD",
            Self::Queued => "QUEUED",
            Self::Assigned => "ASSIGNED",
            Self::Running => "RUNNING",
            Self::Retrying => "RETRYING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
        }
    }
}

/// Whether a node is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Admission {
    /// It waits for approval.
    Pending,
    /// It is a member.
    Approved,
    /// For a while it is not.
    Suspended,
    /// It is not.
    Blacklisted,
}

impl Admission {
    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Approved => "APPROVED",
            Self::Suspended => "SUSPENDED",
            Self::Blacklisted => "BLACKLISTED",
        }
    }
}

/// Whether a node is heard from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Liveness {
    /// Heard from lately.
    Healthy,
    /// Not for 15 s.
    Suspect,
    /// Not for 30 s.
    Offline,
}

impl Liveness {
    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Suspect => "SUSPECT",
            Self::Offline => "OFFLINE",
        }
    }
}

/// Whether a node can take work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Condition {
    /// It can.
    Online,
    /// Its host is overloaded.
    Degraded,
    /// It is catching up.
    Syncing,
    /// It takes no new work.
    Maintenance,
}

impl Condition {
    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Online => "ONLINE",
            Self::Degraded => "DEGRADED",
            Self::Syncing => "SYNCING",
            Self::Maintenance => "MAINTENANCE",
        }
    }
}
