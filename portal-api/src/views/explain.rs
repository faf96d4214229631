//! Why a job is where it is.

use std::time::Duration;

use protocol::{
    ids::JobId,
    wire::view::{self, JobState},
};
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{names, text};

/// Why a job is where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explain {
    /// The job.
    #[serde(with = "text")]
    pub job: JobId,
    /// Its state.
    #[serde(with = "names")]
    pub state: JobState,
    /// Tasks that wait.
    pub waiting: u32,
    /// Tasks that are with a worker.
    pub running: u32,
    /// How long nothing has been handed out.
    pub waiting_seconds: f64,
    /// Nodes that can take a task now.
    pub nodes_able: u32,
    /// Nodes there are.
    pub nodes_total: u32,
    /// Why nodes cannot.
    pub obstacles: Vec<Obstacle>,
    /// The last decisions of the scheduler about this job, newest first: sentences.
    pub decisions: Vec<String>,
    /// If no node could ever run a task because of its memory: what a task may ask for at most so that one can.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory_fits_bytes: Option<u64>,
}

/// Why nodes cannot take a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// A stable code.
    pub code: String,
    /// How many nodes.
    pub nodes: u32,
    /// For people.
    pub detail: String,
    /// Whether waiting cannot help.
    pub permanent: bool,
}

impl Kind for Explain {
    const KIND: &'static str = "JobExplanation";
}

impl From<&view::ExplainView> for Explain {
    fn from(explain: &view::ExplainView) -> Self {
        Self {
            job: explain.job,
            state: explain.state,
            waiting: explain.waiting,
            running: explain.leased,
            waiting_seconds: Duration::from_millis(explain.waiting_ms).as_secs_f64(),
            nodes_able: explain.nodes_able,
            nodes_total: explain.nodes_total,
            obstacles: explain.obstacles.iter().map(Obstacle::from).collect(),
            decisions: explain.decisions.clone(),
            memory_fits_bytes: explain.memory_fits_bytes,
        }
    }
}

impl From<&view::Obstacle> for Obstacle {
    fn from(obstacle: &view::Obstacle) -> Self {
        Self {
            code: obstacle.code.clone(),
            nodes: obstacle.nodes,
            detail: obstacle.detail.clone(),
            permanent: obstacle.permanent,
        }
    }
}
