//! One open job: its tasks that wait, and what is known about how they go.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    time::Duration,
};

use protocol::{
    ids::{AccountId, JobId, TaskIndex},
    limits::BATCH_ITEMS_MAX,
    time::Timestamp,
    units::Credits,
};

use super::{Dispatch, OpenJob, Output};
use crate::core::scheduler::{Demand, Needs};

/// Decisions that are remembered for `weft job explain`.
const DECISIONS_MAX: usize = 8;
/// Tasks in a job's first leases, before it is known how long they take.
const FIRST_LEASE_TASKS: u32 = 4;

/// Whether the reducing task may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reduce {
    /// There is none, or it was released.
    Free,
    /// It waits for the others.
    Held(TaskIndex),
    /// Its input is being made.
    Preparing(TaskIndex),
}

/// How often a task was tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tries {
    /// Attempts that ended without a verifiable outcome.
    pub(super) attempts: u16,
    /// Times that it was handed out and came back.
    pub(super) dispatches: u16,
    /// Times that a worker gave it back unfinished.
    pub(super) returns: u16,
}

/// One open job.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) account: AccountId,
    pub(super) needs: Needs,
    pub(super) order: u64,
    pub(super) opened: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) last_placed: Option<Timestamp>,
    /// Grows with every change that a watcher should see.
    pub(super) version: u64,
    pub(super) budget_left: Credits,
    pub(super) retried: u32,
    /// A worker took a task at some time.
    pub(super) started: bool,
    pub(super) decisions: VecDeque<String>,
    /// The most that one task can cost.
    task_max: Credits,
    /// Tasks that never were handed out.
    fresh: VecDeque<Range<u32>>,
    /// Tasks that came back, and when they may be handed out again.
    again: BTreeMap<TaskIndex, Timestamp>,
    pub(super) tries: BTreeMap<TaskIndex, Tries>,
    /// Tasks that a worker has.
    pub(super) leased: BTreeSet<TaskIndex>,
    /// Tasks whose end is being made durable.
    pub(super) settling: BTreeSet<TaskIndex>,
    /// Tasks that have not ended, without the reducing one.
    open_tasks: u32,
    reduce: Reduce,
    /// Waits for workers to say what they hold.
    hold_until: Option<Timestamp>,
    /// How long a task takes, in microseconds: a moving average.
    pace_us: Option<u64>,
    /// When the queue was last looked at: what was due before then is not due again.
    last_looked: Option<Timestamp>,
    /// The end was announced; waits for it to be durable.
    expiring: bool,
}

impl Job {
    fn new(now: Timestamp, open: OpenJob, grace: Duration) -> Self {
        let open_tasks =
            open.pending.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        let needs = Needs {
            account: open.account,
            scope: open.spec.scope,
            isolation: open.spec.isolation,
            tags: open.spec.tags.clone(),
            memory: open.spec.limits.memory,
            task_ms: u64::from(open.spec.limits.timeout_ms),
        };
        Self {
            account: open.account,
            needs,
            order: open.order,
            opened: now,
            expires: now.saturating_add(open.expires_in),
            last_placed: None,
            version: 1,
            budget_left: open.budget_left,
            retried: 0,
            started: false,
            decisions: VecDeque::new(),
            task_max: open.price.task_max(open.spec.limits.fuel).unwrap_or(Credits::ENTRY_MAX),
            fresh: open.pending.into(),
            again: BTreeMap::new(),
            tries: open
                .attempts
                .into_iter()
                .map(|(task, attempts)| {
                    (task, Tries { attempts, dispatches: attempts, returns: 0 })
                })
                .collect(),
            leased: BTreeSet::new(),
            settling: BTreeSet::new(),
            open_tasks,
            reduce: open.spec.reduce_task().map_or(Reduce::Free, |(task, _)| Reduce::Held(task)),
            hold_until: open.recovered.then(|| now.saturating_add(grace)),
            pace_us: None,
            last_looked: None,
            expiring: false,
        }
    }

    /// Tasks that wait, now or later.
    pub(super) fn waiting(&self) -> u32 {
        let fresh: u32 = self.fresh.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        fresh.saturating_add(u32::try_from(self.again.len()).unwrap_or(u32::MAX))
    }

    /// Tasks that may be handed out now.
    pub(super) fn ready(&self, now: Timestamp) -> u32 {
        if self.hold_until.is_some_and(|until| until > now) || self.expiring {
            return 0;
        }
        let fresh: u32 = self.fresh.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        let again = self.again.values().filter(|at| **at <= now).count();
        fresh.saturating_add(u32::try_from(again).unwrap_or(u32::MAX))
    }

    /// Tasks that the budget covers beside those that are out. One is always let through when none is out, so
    /// that a job whose limits are dearer than its budget still gets as far as the budget goes.
    fn affordable(&self) -> u32 {
        let out = u64::try_from(self.leased.len().saturating_add(self.settling.len()))
            .unwrap_or(u64::MAX);
        let left = self.budget_left.saturating_sub(self.task_max.saturating_mul(out));
        match left.micros().checked_div(self.task_max.micros()) {
            None => u32::MAX,
            Some(0) if out == 0 => 1,
            Some(tasks) => u32::try_from(tasks).unwrap_or(u32::MAX),
        }
    }

    /// What the job asks of the scheduler, if anything.
    pub(super) fn demand(
        &self,
        job: JobId,
        now: Timestamp,
        target: Duration,
        slots: u32,
    ) -> Option<Demand> {
        let ready = self.ready(now).min(self.affordable());
        if ready == 0 {
            return None;
        }
        let by_time = match self.pace_us {
            None => FIRST_LEASE_TASKS,
            Some(pace) => {
                let target = u64::try_from(target.as_micros()).unwrap_or(u64::MAX);
                u32::try_from(target.checked_div(pace.max(1)).unwrap_or(1)).unwrap_or(u32::MAX)
            }
        };
        // Near the end leases get smaller, so that the last one is not waited for.
        let by_share = ready.div_ceil(slots.saturating_mul(2).max(1));
        let most = u32::try_from(BATCH_ITEMS_MAX).unwrap_or(1);
        let per_lease = by_time.min(by_share).clamp(1, most);
        Some(Demand { job, needs: self.needs.clone(), ready, per_lease, order: self.order })
    }

    /// Takes tasks off the queue: those that came back first.
    pub(super) fn take(&mut self, now: Timestamp, count: u32) -> Vec<TaskIndex> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let again = self.again.iter().filter(|(_, at)| **at <= now).map(|(task, _)| *task);
        let mut taken: Vec<_> = again.take(count).collect();
        for task in &taken {
            self.again.remove(task);
        }
        while taken.len() < count {
            let Some(range) = self.fresh.front_mut() else { break };
            match range.next() {
                Some(task) => taken.push(TaskIndex(task)),
                None => drop(self.fresh.pop_front()),
            }
        }
        self.leased.extend(&taken);
        taken
    }

    /// Takes one task off the queue, if it waits.
    pub(super) fn take_exactly(&mut self, task: TaskIndex) -> bool {
        let taken = self.again.remove(&task).is_some() || self.take_fresh(task.0);
        if taken {
            self.leased.insert(task);
        }
        taken
    }

    fn take_fresh(&mut self, task: u32) -> bool {
        let Some(at) = self.fresh.iter().position(|range| range.contains(&task)) else {
            return false;
        };
        let Some(range) = self.fresh.remove(at) else { return false };
        for part in [task.saturating_add(1)..range.end, range.start..task] {
            if !part.is_empty() {
                self.fresh.insert(at, part);
            }
        }
        true
    }

    /// A task comes back, to be handed out at `at`.
    pub(super) fn put_back(&mut self, task: TaskIndex, at: Timestamp) {
        self.leased.remove(&task);
        self.settling.remove(&task);
        self.again.insert(task, at);
    }

    /// A task's end is on its way to being durable.
    pub(super) fn settle(&mut self, task: TaskIndex) {
        self.leased.remove(&task);
        self.settling.insert(task);
    }

    /// A task's end is durable; or is not, and the task is handed out again.
    pub(super) fn settled(&mut self, now: Timestamp, task: TaskIndex, durable: bool) {
        if !self.settling.remove(&task) {
            return;
        }
        if durable {
            self.tries.remove(&task);
            self.open_tasks = self.open_tasks.saturating_sub(1);
        } else {
            self.put_back(task, now);
        }
    }

    /// Once, when all tasks but the reducing one have ended.
    pub(super) fn wants_reduce(&mut self) -> bool {
        let Reduce::Held(task) = self.reduce else { return false };
        let wants = self.open_tasks == 0;
        if wants {
            self.reduce = Reduce::Preparing(task);
        }
        wants
    }

    /// Whether a task waits for all others.
    pub(super) fn holds(&self, task: TaskIndex) -> bool {
        matches!(self.reduce, Reduce::Held(held) | Reduce::Preparing(held) if held == task)
    }

    /// The reducing task may run.
    pub(super) fn release_reduce(&mut self) {
        if let Reduce::Preparing(task) = self.reduce {
            self.reduce = Reduce::Free;
            self.fresh.push_back(task.0..task.0.saturating_add(1));
            self.version = self.version.saturating_add(1);
        }
    }

    /// Learns from a report how long tasks take.
    pub(super) fn learn(&mut self, tasks: usize, micros: u64) {
        let Some(each) = micros.checked_div(u64::try_from(tasks).unwrap_or(u64::MAX)) else {
            return;
        };
        let each = each.max(100);
        self.pace_us = Some(match self.pace_us {
            None => each,
            Some(pace) => pace.saturating_mul(3).saturating_add(each).div_ceil(4),
        });
    }

    /// Remembers a decision.
    pub(super) fn note(&mut self, decision: String) {
        self.decisions.push_front(decision);
        self.decisions.truncate(DECISIONS_MAX);
    }

    /// When to look at the job again.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let expires = (!self.expiring).then_some(self.expires);
        // What was due and could not be placed waits for a worker, not for the clock.
        let again = self
            .again
            .values()
            .filter(|at| self.last_looked.is_none_or(|looked| **at > looked))
            .min()
            .copied();
        [expires, again, self.hold_until].into_iter().flatten().min()
    }
}

impl Dispatch {
    pub(super) fn open(&mut self, now: Timestamp, open: OpenJob) {
        let id = open.job;
        let grace = self.config.recovery_grace;
        self.jobs.entry(id).or_insert_with(|| Job::new(now, open, grace));
    }

    pub(super) fn close(&mut self, id: JobId, out: &mut Vec<Output>) {
        self.jobs.remove(&id);
        let over: Vec<_> =
            self.leases.iter().filter(|(_, lease)| lease.job == id).map(|(id, _)| *id).collect();
        let mut by_worker: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for lease in over {
            if let Some(held) = self.forget(&lease) {
                by_worker.entry(held.worker).or_default().push(lease);
            }
        }
        out.extend(
            by_worker.into_iter().map(|(worker, leases)| Output::Withdraw { worker, leases }),
        );
    }

    /// What the clock says about jobs.
    pub(super) fn expire_jobs(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        for (id, job) in &mut self.jobs {
            if job.hold_until.is_some_and(|until| until <= now) {
                job.hold_until = None;
            }
            if !job.expiring && job.expires <= now {
                job.expiring = true;
                out.push(Output::Expire(*id));
            }
            job.last_looked = Some(now);
        }
    }
}
