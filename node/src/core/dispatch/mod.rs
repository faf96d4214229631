//! The leader's soft state: which tasks wait, who has which, and until when.
//!
//! Submissions, results and payments are replicated; what is here can be lost at any time. A lease is an offer
//! with an end: a worker that is not heard from before the end loses the tasks, which go back to the queue. A
//! new leader learns from workers which leases they hold, so that running tasks keep running.
//!
//! # Invariants
//!
//! 1. A task is waiting, leased, or being settled: exactly one of these, until it has ended.
//! 2. Only the holder of a task's lease can report it, and only once.
//! 3. A worker never has more leases than slots.
//! 4. A task is handed out again at most [`Config::dispatches_max`] times, and ends without a verifiable
//!    outcome at most [`Config::attempts_max`] times. What a worker gives back unfinished counts as neither, up to
//!    [`Config::returns_max`] times.
//!
//! # What it does not do
//!
//! It does not check signatures, read records or send anything: see `roles::coordinator`.

mod explain;
mod jobs;
mod leases;
mod workers;

use std::{collections::BTreeMap, ops::Range, time::Duration};

use protocol::{
    ids::{AccountId, JobId, LeaseId, NodeId, TaskIndex},
    limits,
    machine::Machine,
    outcome::Outcome,
    price::Price,
    reject::RejectReason,
    time::Timestamp,
    units::Credits,
    wire::{
        advert::Advert,
        heartbeat::Heartbeat,
        job::JobSpec,
        lease::{Fence, LeaseItem, LeaseResponse},
    },
};

pub use self::explain::{JobInfo, NodeInfo, TaskInfo};
use self::{jobs::Job, leases::Lease, workers::Worker};
use super::scheduler::{Weights, place};

/// How the dispatcher behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How long a lease is good for unless a heartbeat renews it.
    pub lease_duration: Duration,
    /// How long after its connection closed a worker may come back and find its leases.
    pub closed_grace: Duration,
    /// The first delay before a task is tried again; it doubles.
    pub retry_delay: Duration,
    /// Attempts at one task that end without a verifiable outcome.
    pub attempts_max: u16,
    /// Times that one task is handed out.
    pub dispatches_max: u16,
    /// Times that one task is given back unfinished and does not count as handed out: workers whose owners want them
    /// back do that, and one that does nothing else must not keep a task for ever.
    pub returns_max: u16,
    /// How much work one lease should carry. Longer amortises more, shorter spreads better.
    pub lease_target: Duration,
    /// How long jobs that a new leader finds wait for workers to say what they hold.
    pub recovery_grace: Duration,
    /// Not heard from for this long: suspect.
    pub suspect_after: Duration,
    /// Not heard from for this long: offline.
    pub offline_after: Duration,
    /// How much each term of a worker's score counts.
    pub weights: Weights,
    /// Part of every lease's id, so that two leaders never choose the same.
    pub seed: u64,
}

impl Config {
    /// The figures of the protocol, with this seed.
    #[must_use]
    pub fn standard(seed: u64) -> Self {
        Self {
            lease_duration: limits::LEASE_DURATION,
            closed_grace: limits::CLOSED_GRACE,
            retry_delay: limits::RETRY_DELAY,
            attempts_max: u16::from(limits::ATTEMPTS_MAX),
            dispatches_max: limits::DISPATCHES_MAX,
            returns_max: 32,
            lease_target: Duration::from_millis(250),
            recovery_grace: Duration::from_secs(3),
            suspect_after: limits::SUSPECT_AFTER,
            offline_after: limits::OFFLINE_AFTER,
            weights: Weights::default(),
            seed,
        }
    }
}

/// A job as the replicated state has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenJob {
    /// Which.
    pub job: JobId,
    /// Who pays.
    pub account: AccountId,
    /// What.
    pub spec: JobSpec,
    /// What it agreed to pay.
    pub price: Price,
    /// What is left of the budget.
    pub budget_left: Credits,
    /// Tasks that have not ended, without the reducing one.
    pub pending: Vec<Range<u32>>,
    /// How often tasks were tried, where a leader wrote it down.
    pub attempts: BTreeMap<TaskIndex, u16>,
    /// Its place in the order of submission.
    pub order: u64,
    /// When what is left of it expires, counted from now.
    pub expires_in: Duration,
    /// It was open before this leader began to lead.
    pub recovered: bool,
}

/// A node as the registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub node: NodeId,
    /// What it is called.
    pub name: String,
    /// Whose.
    pub account: AccountId,
    /// Whether it may run tasks.
    pub works: bool,
    /// Whether it is approved.
    pub approved: bool,
    /// Labels that operators gave it.
    pub labels: Vec<String>,
}

/// A result, reduced to what is decided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// The task.
    pub task: TaskIndex,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, in milliseconds, as the worker says.
    pub millis: u64,
}

/// Names a batch of results between being reported and being settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReportId(pub u64);

/// Things that happen to [`Dispatch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// This node leads from now on.
    Lead(Fence),
    /// This node does not lead any more.
    Resign,
    /// A job is open.
    JobOpened(Box<OpenJob>),
    /// A job has ended, for whatever reason.
    JobClosed(JobId),
    /// The input of a job's reducing task is ready.
    ReduceReady(JobId),
    /// What the registry says about a node.
    Member(Member),
    /// A worker's direct word, and its round trip in microseconds.
    Heartbeat(NodeId, Box<Heartbeat>, Option<u64>),
    /// A worker's advert, whose signature was checked.
    Advert(Box<Advert>),
    /// A worker is connected.
    Connected(NodeId),
    /// A worker's connection closed.
    Disconnected(NodeId),
    /// A lease of an earlier leader, proved by its signature, that a worker says it holds.
    Adopt {
        /// Which.
        lease: LeaseId,
        /// Who holds it.
        worker: NodeId,
        /// The job.
        job: JobId,
        /// Its tasks.
        items: Vec<LeaseItem>,
    },
    /// A worker answered an offer; `None` if it could not be reached.
    Answered(LeaseId, Option<LeaseResponse>),
    /// A worker reports results.
    Reported {
        /// Names this report.
        report: ReportId,
        /// Who.
        worker: NodeId,
        /// Under which lease.
        lease: LeaseId,
        /// What.
        items: Vec<Reported>,
    },
    /// A report's results are durable, or could not be made so.
    Settled {
        /// The job.
        job: JobId,
        /// The tasks that ended with it.
        ended: Vec<TaskIndex>,
        /// What is left of the budget; `None` if nothing was settled.
        budget_left: Option<Credits>,
    },
    /// Time has passed.
    Tick,
}

/// Things that [`Dispatch`] asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Offer tasks to a worker. Answer with [`Input::Answered`].
    Offer {
        /// The lease.
        lease: LeaseId,
        /// The worker.
        worker: NodeId,
        /// The job.
        job: JobId,
        /// The tasks.
        items: Vec<LeaseItem>,
        /// Orders this.
        fence: Fence,
    },
    /// Tell a worker to stop.
    Withdraw {
        /// The worker.
        worker: NodeId,
        /// What.
        leases: Vec<LeaseId>,
    },
    /// What to answer to a heartbeat: leases that are not the worker's any more.
    Lost(NodeId, Vec<LeaseId>),
    /// Make results durable. Answer with [`Input::Settled`].
    Settle {
        /// Which report.
        report: ReportId,
        /// The tasks that end with it.
        ended: Vec<TaskIndex>,
        /// The tasks that will be tried again.
        retried: Vec<TaskIndex>,
    },
    /// Nothing of a report is wanted.
    Refuse(ReportId, RejectReason),
    /// Tasks have been tried as often as allowed. Answer with [`Input::Settled`].
    GiveUp {
        /// The job.
        job: JobId,
        /// Which, and how often each was tried.
        tasks: Vec<(TaskIndex, u16)>,
    },
    /// All tasks but the reducing one have ended: make its input. Answer with [`Input::ReduceReady`].
    PrepareReduce(JobId),
    /// The time of a job is over.
    Expire(JobId),
}

/// The leader's soft state.
#[derive(Debug, Clone)]
pub struct Dispatch {
    config: Config,
    fence: Option<Fence>,
    jobs: BTreeMap<JobId, Job>,
    workers: BTreeMap<NodeId, Worker>,
    leases: BTreeMap<LeaseId, Lease>,
    leases_made: u64,
}

impl Dispatch {
    /// Nobody known, nothing to do, not leading.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            fence: None,
            jobs: BTreeMap::new(),
            workers: BTreeMap::new(),
            leases: BTreeMap::new(),
            leases_made: 0,
        }
    }

    /// Orders what this leader does after what others did; `None` while this node does not lead.
    #[must_use]
    pub const fn fence(&self) -> Option<Fence> {
        self.fence
    }

    /// Whether a lease is known and held by this worker.
    #[must_use]
    pub fn holds(&self, lease: &LeaseId, worker: &NodeId) -> bool {
        self.leases.get(lease).is_some_and(|lease| lease.worker == *worker)
    }

    /// Tasks that wait and tasks that are leased, over all jobs.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let waiting = self.jobs.values().map(|job| u64::from(job.waiting())).sum();
        let leased = self
            .leases
            .values()
            .map(|lease| u64::try_from(lease.open.len()).unwrap_or(u64::MAX))
            .sum();
        (waiting, leased)
    }

    /// Changes whenever a watcher of the job should look again; `None` if the job is not open.
    #[must_use]
    pub fn version(&self, job: &JobId) -> Option<u64> {
        self.jobs.get(job).map(|job| job.version)
    }

    fn place(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let Some(fence) = self.fence else { return };
        let slots: u32 = self.workers.values().map(|worker| u32::from(worker.slots)).sum();
        if !self.workers.values().any(|worker| worker.slots_free() > 0) {
            return;
        }
        let target = self.config.lease_target;
        let demands: Vec<_> =
            self.jobs.iter().filter_map(|(id, job)| job.demand(*id, now, target, slots)).collect();
        if demands.is_empty() {
            return;
        }
        let candidates = self.candidates(now);
        let mut running: BTreeMap<AccountId, u32> = BTreeMap::new();
        for lease in self.leases.values() {
            if let Some(job) = self.jobs.get(&lease.job) {
                let count = running.entry(job.account).or_default();
                *count = count.saturating_add(1);
            }
        }
        for placement in place(&demands, &candidates, &running, &self.config.weights) {
            self.lease_out(now, fence, placement, out);
        }
    }

    fn resign(&mut self) {
        self.fence = None;
        self.jobs.clear();
        self.leases.clear();
        for worker in self.workers.values_mut() {
            worker.leases.clear();
        }
    }

    fn settled(
        &mut self,
        now: Timestamp,
        job: JobId,
        ended: &[TaskIndex],
        budget_left: Option<Credits>,
    ) {
        let Some(open) = self.jobs.get_mut(&job) else { return };
        for task in ended {
            open.settled(now, *task, budget_left.is_some());
        }
        if let Some(left) = budget_left {
            open.budget_left = left;
        }
        open.version = open.version.saturating_add(1);
    }

    fn release_reducers(&mut self, out: &mut Vec<Output>) {
        for (id, job) in &mut self.jobs {
            if job.wants_reduce() {
                out.push(Output::PrepareReduce(*id));
            }
        }
    }
}

impl Machine for Dispatch {
    type Input = Input;
    type Output = Output;
    const TICK: Input = Input::Tick;

    fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Lead(fence) => self.fence = Some(fence),
            Input::Resign => self.resign(),
            Input::JobOpened(open) => self.open(now, *open),
            Input::JobClosed(job) => self.close(job, &mut out),
            Input::ReduceReady(job) => {
                if let Some(job) = self.jobs.get_mut(&job) {
                    job.release_reduce();
                }
            }
            Input::Member(member) => self.member(now, member, &mut out),
            Input::Heartbeat(node, beat, rtt) => self.heartbeat(now, (node, rtt), &beat, &mut out),
            Input::Advert(advert) => self.advert(*advert),
            Input::Connected(node) => self.connected(now, node),
            Input::Disconnected(node) => self.disconnected(now, node),
            Input::Adopt { lease, worker, job, items } => {
                self.adopt(now, lease, (worker, job), &items)
            }
            Input::Answered(lease, response) => self.answered(now, lease, response, &mut out),
            Input::Reported { report, worker, lease, items } => {
                self.reported(now, (report, worker, lease), &items, &mut out);
            }
            Input::Settled { job, ended, budget_left } => {
                self.settled(now, job, &ended, budget_left)
            }
            Input::Tick => {}
        }
        self.expire(now, &mut out);
        self.release_reducers(&mut out);
        self.place(now, &mut out);
        out
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.fence?;
        let leases = self.leases.values().map(|lease| lease.expires);
        let workers = self.workers.values().filter_map(|worker| worker.deadline(&self.config));
        let jobs = self.jobs.values().filter_map(Job::deadline);
        leases.chain(workers).chain(jobs).min()
    }
}

#[cfg(test)]
mod tests;
