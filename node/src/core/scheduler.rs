//! Who gets which work: a pure function from what waits and who is there to placements.
//!
//! Eligibility is decided before anything is offered ([`obstacle`]); among those who are eligible the lowest
//! [`score`] wins, ties by node id; those that come and go are taken last. Jobs take turns by what their accounts already have running, then by age,
//! so that nobody starves. Placing is deterministic: equal snapshots give equal placements.

use std::collections::BTreeMap;

use protocol::{
    ids::{AccountId, JobId, NodeId},
    limits::BATCH_ITEMS_MAX,
    time::UnixMillis,
    units::Pages,
    wire::{
        advert::Isolation,
        availability::{Cause, Openness, Reason},
        job::Scope,
        view::{Admission, Condition, Liveness},
    },
};

/// What a job needs of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Who pays.
    pub account: AccountId,
    /// Whose machines may run it.
    pub scope: Scope,
    /// The least isolation.
    pub isolation: Isolation,
    /// Labels, all of them.
    pub tags: Vec<String>,
    /// Linear memory of one task.
    pub memory: Pages,
    /// The time limit of one task, in milliseconds.
    pub task_ms: u64,
}

/// A job that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// Which.
    pub job: JobId,
    /// What it needs.
    pub needs: Needs,
    /// Tasks that could start now and that the budget covers.
    pub ready: u32,
    /// Tasks that one lease should carry, by how long they take. At least 1.
    pub per_lease: u32,
    /// Its place in the order of submission.
    pub order: u64,
}

/// A worker, as the leader knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub node: NodeId,
    /// What it is called.
    pub name: String,
    /// Whose.
    pub account: AccountId,
    /// Whether it is a member.
    pub admission: Admission,
    /// Whether it is heard from.
    pub liveness: Liveness,
    /// Whether it can take work.
    pub condition: Condition,
    /// Whether it runs tasks at all.
    pub works: bool,
    /// How well its guests are isolated.
    pub isolation: Isolation,
    /// Labels.
    pub tags: Vec<String>,
    /// Memory that it shares, in bytes.
    pub memory_bytes: u64,
    /// Slots in all.
    pub slots: u32,
    /// Slots that no lease occupies.
    pub slots_free: u32,
    /// Whether it takes work of other owners.
    pub others: Openness,
    /// Slots that other owners may still have.
    pub others_free: u32,
    /// Why it takes less than it could.
    pub reasons: Vec<Reason>,
    /// Whether it comes and goes: then it is chosen last.
    pub flapping: bool,
    /// Round trip, in microseconds.
    pub rtt_us: u64,
    /// Processor load, in thousandths.
    pub load: u32,
    /// Part of its attempts that ended well lately, in thousandths.
    pub reliability: u32,
}

/// How much each term of the score counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// Of the round trip.
    pub rtt: u32,
    /// Of the processor load.
    pub load: u32,
    /// Of what the worker already has to do.
    pub queue: u32,
    /// Of attempts that went wrong.
    pub unreliability: u32,
}

impl Default for Weights {
    fn default() -> Self {
        // Reliability counts most: a lost task costs a lease's length, a slow link only milliseconds.
        Self { rtt: 1, load: 2, queue: 2, unreliability: 4 }
    }
}

/// A round trip that counts as the worst, in microseconds.
const RTT_WORST_US: u64 = 200_000;

/// Why a worker cannot take a task of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// It waits for approval, or was removed.
    NotApproved,
    /// It does not run tasks.
    NotAWorker,
    /// It is another owner's, and the job is for the submitter's own machines.
    OtherOwner,
    /// Its guests are not isolated well enough.
    Isolation,
    /// It lacks a label.
    Label,
    /// It shares too little memory.
    Memory,
    /// It has not been heard from.
    Offline,
    /// It takes no new work.
    Draining,
    /// It is catching up.
    Syncing,
    /// It has nothing for other owners now, and why.
    Withheld(Cause),
    /// It takes only smaller tasks of other owners.
    TaskTooLarge,
    /// Its host is overloaded.
    Overloaded,
    /// All its slots are taken.
    Busy,
}

impl Obstacle {
    /// All of them, the most lasting first; without [`Self::Withheld`], of which there is one for each [`Cause`].
    pub const ALL: [Self; 12] = [
        Self::NotApproved,
        Self::NotAWorker,
        Self::OtherOwner,
        Self::Isolation,
        Self::Label,
        Self::Memory,
        Self::Offline,
        Self::Draining,
        Self::Syncing,
        Self::TaskTooLarge,
        Self::Overloaded,
        Self::Busy,
    ];

    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotApproved => "not-approved",
            Self::NotAWorker => "not-a-worker",
            Self::OtherOwner => "other-owner",
            Self::Isolation => "isolation",
            Self::Label => "label",
            Self::Memory => "memory",
            Self::Offline => "offline",
            Self::Draining => "draining",
            Self::Syncing => "syncing",
            Self::Withheld(cause) => cause.code(),
            Self::TaskTooLarge => "task-too-large",
            Self::Overloaded => "overloaded",
            Self::Busy => "busy",
        }
    }

    /// Whether waiting cannot help.
    #[must_use]
    pub const fn is_permanent(self) -> bool {
        matches!(
            self,
            Self::NotApproved
                | Self::NotAWorker
                | Self::OtherOwner
                | Self::Isolation
                | Self::Label
                | Self::Memory
        )
    }

    /// A sentence for people: what the matter is with one such node.
    #[must_use]
    pub fn sentence(self, needs: &Needs, worker: &Candidate) -> String {
        match self {
            Self::NotApproved => "waits for approval".to_owned(),
            Self::NotAWorker => "does not run tasks (role worker is off)".to_owned(),
            Self::OtherOwner => "belongs to another owner, and the job has --scope mine".to_owned(),
            Self::Isolation => format!(
                "isolates guests with grade {}, and the job needs {}",
                worker.isolation.name(),
                needs.isolation.name()
            ),
            Self::Label => {
                let missing: Vec<_> =
                    needs.tags.iter().filter(|tag| !worker.tags.contains(tag)).cloned().collect();
                format!("lacks the label {}", missing.join(", "))
            }
            Self::Memory => format!(
                "shares {} MiB of memory, and a task needs {} MiB",
                worker.memory_bytes >> 20,
                needs.memory.bytes() >> 20
            ),
            Self::Offline => "has not been heard from".to_owned(),
            Self::Draining => {
                let note = worker.reasons.iter().find(|reason| reason.cause == Cause::Draining);
                let note = note.map_or("", |reason| reason.note.as_str());
                let note = if note.is_empty() { String::new() } else { format!(": {note}") };
                format!("takes no new work (draining{note})")
            }
            Self::Syncing => "has come back and not yet said what it holds".to_owned(),
            Self::Withheld(cause) => {
                let reason = worker.reasons.iter().find(|reason| reason.cause == cause);
                withheld(&reason.cloned().unwrap_or_else(|| Reason::of(cause)))
            }
            Self::TaskTooLarge => format!(
                "takes only tasks with a time limit of at most {} s (on battery), and a task has {} s",
                small_ms(worker).div_euclid(1_000),
                needs.task_ms.div_euclid(1_000)
            ),
            Self::Overloaded => "is overloaded".to_owned(),
            Self::Busy => format!("all {} slots are taken", worker.slots),
        }
    }
}

/// What keeps a worker from taking a task, if anything: the most lasting reason first.
#[must_use]
pub fn obstacle(needs: &Needs, worker: &Candidate) -> Option<Obstacle> {
    // What an owner allows others does not bind the owner, and neither does what else their machine does.
    let other = !is_own(needs, worker);
    let cause = worker.reasons.first().map_or(Cause::Paused, |reason| reason.cause);
    let checks = [
        (worker.admission != Admission::Approved, Obstacle::NotApproved),
        (!worker.works || worker.slots == 0, Obstacle::NotAWorker),
        (needs.scope == Scope::Mine && worker.account != needs.account, Obstacle::OtherOwner),
        (worker.isolation < needs.isolation, Obstacle::Isolation),
        (needs.tags.iter().any(|tag| !worker.tags.contains(tag)), Obstacle::Label),
        (worker.memory_bytes < needs.memory.bytes(), Obstacle::Memory),
        (worker.liveness != Liveness::Healthy, Obstacle::Offline),
        (worker.condition == Condition::Maintenance, Obstacle::Draining),
        (worker.condition == Condition::Syncing, Obstacle::Syncing),
        (other && worker.condition == Condition::Degraded, Obstacle::Overloaded),
        (other && worker.others == Openness::Closed, Obstacle::Withheld(cause)),
        (other && needs.task_ms > small_ms(worker), Obstacle::TaskTooLarge),
        (worker.slots_free == 0 || (other && worker.others_free == 0), Obstacle::Busy),
    ];
    checks.into_iter().find(|(holds, _)| *holds).map(|(_, obstacle)| obstacle)
}

/// Whether a job is of the worker's own owner.
fn is_own(needs: &Needs, worker: &Candidate) -> bool {
    needs.account == worker.account
}

/// The longest time limit of a task of other owners, in milliseconds.
fn small_ms(worker: &Candidate) -> u64 {
    match worker.others {
        Openness::Small { task_ms_max } => u64::from(task_ms_max),
        Openness::Closed | Openness::Open => u64::MAX,
    }
}

/// `is paused (on battery) until plugged in`.
fn withheld(reason: &Reason) -> String {
    let until = match reason.until {
        Some(until) => time_of_day(until),
        None => reason.cause.remedy().to_owned(),
    };
    format!("is paused ({}) until {until}", reason.what())
}

/// `15:40 UTC`.
fn time_of_day(at: UnixMillis) -> String {
    let minutes = at.0.div_euclid(60_000).rem_euclid(1_440);
    format!("{:02}:{:02} UTC", minutes.div_euclid(60), minutes.rem_euclid(60))
}

/// How dear it is to use a worker, in thousandths of the sum of the weights: lower is better. Monotone in every
/// term (capabilities, decision 2).
#[must_use]
pub fn score(worker: &Candidate, weights: &Weights) -> u64 {
    let rtt = worker
        .rtt_us
        .min(RTT_WORST_US)
        .saturating_mul(1_000)
        .checked_div(RTT_WORST_US)
        .unwrap_or(0);
    let taken = worker.slots.saturating_sub(worker.slots_free);
    let queue = u64::from(taken)
        .saturating_mul(1_000)
        .checked_div(u64::from(worker.slots))
        .unwrap_or(1_000);
    let unreliability = 1_000_u32.saturating_sub(worker.reliability);
    [
        (weights.rtt, rtt),
        (weights.load, u64::from(worker.load.min(1_000))),
        (weights.queue, queue),
        (weights.unreliability, u64::from(unreliability)),
    ]
    .into_iter()
    .fold(0, |sum, (weight, term)| sum.saturating_add(u64::from(weight).saturating_mul(term)))
}

/// Some tasks of a job for one slot of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The job.
    pub job: JobId,
    /// The worker.
    pub worker: NodeId,
    /// How many tasks: 1 to [`BATCH_ITEMS_MAX`].
    pub tasks: u32,
}

/// Places what waits on who is free.
///
/// `running` is how many leases each account already has. Ends after at most one step per free slot.
#[must_use]
pub fn place(
    demands: &[Demand],
    workers: &[Candidate],
    running: &BTreeMap<AccountId, u32>,
    weights: &Weights,
) -> Vec<Placement> {
    let mut demands = demands.to_vec();
    let mut workers = workers.to_vec();
    let mut running = running.clone();
    let mut placements = Vec::new();
    loop {
        demands.retain(|demand| demand.ready > 0);
        demands.sort_by_key(|demand| {
            (running.get(&demand.needs.account).copied().unwrap_or(0), demand.order)
        });
        let next = demands.iter().enumerate().find_map(|(at, demand)| {
            best(&demand.needs, &workers, weights).map(|worker| (at, worker))
        });
        let Some((at, chosen)) = next else { return placements };
        let (Some(demand), Some(worker)) = (demands.get_mut(at), workers.get_mut(chosen)) else {
            return placements;
        };
        let tasks = demand
            .per_lease
            .clamp(1, u32::try_from(BATCH_ITEMS_MAX).unwrap_or(1))
            .min(demand.ready);
        placements.push(Placement { job: demand.job, worker: worker.node, tasks });
        demand.ready = demand.ready.saturating_sub(tasks);
        worker.slots_free = worker.slots_free.saturating_sub(1);
        if !is_own(&demand.needs, worker) {
            worker.others_free = worker.others_free.saturating_sub(1);
        }
        let leases = running.entry(demand.needs.account).or_default();
        *leases = leases.saturating_add(1);
    }
}

/// Where the best worker that can take a task now is; ties by node id.
fn best(needs: &Needs, workers: &[Candidate], weights: &Weights) -> Option<usize> {
    let able = workers.iter().enumerate().filter(|(_, worker)| obstacle(needs, worker).is_none());
    able.min_by_key(|(_, worker)| (worker.flapping, score(worker, weights), worker.node))
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests;
