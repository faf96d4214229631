//! Why something waits: the leader's knowledge, put in words.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    ids::{JobId, NodeId, TaskIndex},
    time::Timestamp,
    units::Pages,
    wire::{
        availability::{Advice, Availability},
        view::{Condition, ExplainView, JobState, Liveness, Obstacle, TaskState},
    },
};

use super::{Dispatch, workers::Worker};
use crate::core::{
    health,
    scheduler::{self, Candidate, Needs},
};

/// What the leader knows about a node beside what is replicated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Whether it is heard from.
    pub liveness: Liveness,
    /// Whether it can take work.
    pub condition: Condition,
    /// What it says it has to offer.
    pub advert: Option<protocol::wire::advert::Advert>,
    /// When it was last heard from.
    pub heard: Option<Timestamp>,
    /// Round trip, in microseconds.
    pub rtt_us: Option<u64>,
    /// Tasks that it holds.
    pub tasks: u32,
    /// What it has for other owners and why not more.
    pub availability: Option<Availability>,
    /// Whether it is well.
    pub healthy: bool,
    /// Whether it comes and goes.
    pub flapping: bool,
    /// What to do about it.
    pub advice: Option<Advice>,
}

/// What the leader knows about a job beside what is replicated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobInfo {
    /// Tasks that a worker has.
    pub leased: u32,
    /// A worker has started.
    pub started: bool,
    /// Attempts after the first ones.
    pub retried: u32,
    /// See [`Dispatch::version`].
    pub version: u64,
}

/// What the leader knows about a task beside what is replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskInfo {
    /// Its state.
    pub state: TaskState,
    /// Who has it.
    pub worker: Option<NodeId>,
    /// How often it was tried.
    pub attempts: u16,
}

impl Dispatch {
    /// What is known about a node; `None` if nothing is.
    #[must_use]
    pub fn node_info(&self, now: Timestamp, node: &NodeId) -> Option<NodeInfo> {
        let worker = self.workers.get(node)?;
        let held = worker.leases.iter().filter_map(|lease| self.leases.get(lease));
        let tasks: usize = held.map(|lease| lease.open.len()).sum();
        let liveness = worker.liveness(now, &self.config);
        let condition = worker.condition();
        let flapping = worker.history.is_flapping();
        let silent = worker.heard.map(|heard| now.saturating_since(heard));
        Some(NodeInfo {
            liveness,
            condition,
            healthy: health::is_healthy(condition, silent),
            flapping,
            advice: health::advice(liveness, worker.silent(now), flapping),
            availability: worker.availability.clone(),
            advert: worker.advert().cloned(),
            heard: worker.heard,
            rtt_us: worker.rtt_us(),
            tasks: u32::try_from(tasks).unwrap_or(u32::MAX),
        })
    }

    /// What is known about a job; `None` if it is not open.
    #[must_use]
    pub fn job_info(&self, id: &JobId) -> Option<JobInfo> {
        let job = self.jobs.get(id)?;
        Some(JobInfo {
            leased: u32::try_from(job.leased.len()).unwrap_or(u32::MAX),
            started: job.started,
            retried: job.retried,
            version: job.version,
        })
    }

    /// What is known about tasks of an open job that have not ended.
    #[must_use]
    pub fn task_infos(
        &self,
        id: &JobId,
        tasks: &BTreeSet<TaskIndex>,
    ) -> BTreeMap<TaskIndex, TaskInfo> {
        let mut infos = BTreeMap::new();
        let Some(job) = self.jobs.get(id) else { return infos };
        for task in tasks {
            let attempts = job.tries.get(task).map_or(0, |tries| tries.attempts);
            let state = match attempts {
                _ if job.holds(*task) => TaskState::Held,
                // Its end is known here, and not yet durable.
                _ if job.settling.contains(task) => TaskState::Running,
                0 => TaskState::Queued,
                _ => TaskState::Retrying,
            };
            infos.insert(*task, TaskInfo { state, worker: None, attempts });
        }
        for lease in self.leases.values().filter(|lease| lease.job == *id) {
            let current = lease.open.keys().next();
            for (task, attempt) in &lease.open {
                if let Some(info) = infos.get_mut(task) {
                    let running = lease.started && Some(task) == current;
                    info.state = if running { TaskState::Running } else { TaskState::Assigned };
                    info.worker = Some(lease.worker);
                    info.attempts = *attempt;
                }
            }
        }
        infos
    }

    /// Whether some known node could ever run a job with these needs; if none could, why.
    ///
    /// # Errors
    ///
    /// The obstacles of all nodes.
    pub fn placeable(&self, now: Timestamp, needs: &Needs) -> Result<(), Vec<Obstacle>> {
        let candidates = self.candidates(now);
        let possible = candidates.iter().any(|worker| {
            scheduler::obstacle(needs, worker).is_none_or(|obstacle| !obstacle.is_permanent())
        });
        if possible { Ok(()) } else { Err(obstacles(needs, &candidates).1) }
    }

    /// Why an open job is where it is; `None` if it is not open.
    #[must_use]
    pub fn explain(&self, now: Timestamp, id: &JobId) -> Option<ExplainView> {
        let job = self.jobs.get(id)?;
        let candidates = self.candidates(now);
        let (able, obstacles) = obstacles(&job.needs, &candidates);
        let info = self.job_info(id).unwrap_or_default();
        let since = now.saturating_since(job.last_placed.unwrap_or(job.opened));
        Some(ExplainView {
            job: *id,
            state: if info.started { JobState::Running } else { JobState::Queued },
            waiting: job.waiting(),
            leased: info.leased,
            waiting_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            nodes_able: able,
            nodes_total: u32::try_from(candidates.len()).unwrap_or(u32::MAX),
            obstacles,
            decisions: job.decisions.iter().cloned().collect(),
            memory_fits_bytes: memory_that_fits(&job.needs, &candidates),
        })
    }

    pub(super) fn candidates(&self, now: Timestamp) -> Vec<Candidate> {
        let candidate = |(node, worker): (&NodeId, &Worker)| {
            let leases = worker.leases.iter().filter_map(|lease| self.leases.get(lease));
            let others = leases.filter(|lease| !lease.own).count();
            let others = u32::try_from(others).unwrap_or(u32::MAX);
            worker.candidate((*node, others), now, &self.config)
        };
        self.workers.iter().map(candidate).collect()
    }
}

/// If no worker could ever run a job because of its memory: the most that a task may ask for so that one can, in bytes.
fn memory_that_fits(needs: &Needs, candidates: &[Candidate]) -> Option<u64> {
    let possible = |needs: &Needs, worker: &Candidate| {
        scheduler::obstacle(needs, worker).is_none_or(|obstacle| !obstacle.is_permanent())
    };
    if candidates.iter().any(|worker| possible(needs, worker)) {
        return None;
    }
    let least = Needs { memory: Pages(1), ..needs.clone() };
    let able = candidates.iter().filter(|worker| possible(&least, worker));
    able.map(|worker| worker.memory_bytes).max()
}

/// How many can, and why the others cannot.
fn obstacles(needs: &Needs, candidates: &[Candidate]) -> (u32, Vec<Obstacle>) {
    let mut found: BTreeMap<scheduler::Obstacle, (u32, String)> = BTreeMap::new();
    let mut able = 0_u32;
    for worker in candidates {
        match scheduler::obstacle(needs, worker) {
            None => able = able.saturating_add(1),
            Some(obstacle) => {
                let entry = found.entry(obstacle).or_insert_with(|| {
                    (0, format!("{} {}", worker.name, obstacle.sentence(needs, worker)))
                });
                entry.0 = entry.0.saturating_add(1);
            }
        }
    }
    let obstacles = found.into_iter().map(|(obstacle, (nodes, detail))| Obstacle {
        code: obstacle.code().to_owned(),
        nodes,
        detail,
        permanent: obstacle.is_permanent(),
    });
    (able, obstacles.collect())
}
