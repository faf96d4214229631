//! Leases: made, answered, reported on, lost.

use std::{collections::BTreeMap, time::Duration};

use protocol::{
    ids::{JobId, LeaseId, NodeId, TaskIndex},
    reject::RejectReason,
    time::Timestamp,
    wire::lease::{Fence, LeaseItem, LeaseResponse},
};

use super::{Dispatch, Output, ReportId, Reported};
use crate::core::scheduler::Placement;

/// Some tasks of one job in one slot of one worker.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) worker: NodeId,
    pub(super) job: JobId,
    /// Whether the job is of the worker's own owner.
    pub(super) own: bool,
    /// Tasks that were not reported yet, and which attempt each is. Workers do them in order.
    pub(super) open: BTreeMap<TaskIndex, u16>,
    pub(super) since: Timestamp,
    pub(super) expires: Timestamp,
    /// The worker has said that it holds it.
    pub(super) accepted: bool,
    /// The worker has said that it started.
    pub(super) started: bool,
}

impl Dispatch {
    pub(super) fn lease_out(
        &mut self,
        now: Timestamp,
        fence: Fence,
        placement: Placement,
        out: &mut Vec<Output>,
    ) {
        let Placement { job: id, worker, tasks } = placement;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let items: Vec<_> = job
            .take(now, tasks)
            .into_iter()
            .map(|task| {
                let attempt =
                    job.tries.get(&task).map_or(0, |tries| tries.attempts).saturating_add(1);
                LeaseItem { task, attempt }
            })
            .collect();
        if items.is_empty() {
            return;
        }
        job.last_placed = Some(now);
        job.version = job.version.saturating_add(1);
        job.note(format!("{} tasks to …{}", items.len(), worker.short()));
        let lease = self.next_lease_id();
        self.insert_lease(now, lease, (worker, id), &items);
        out.push(Output::Offer { lease, worker, job: id, items, fence });
    }

    fn next_lease_id(&mut self) -> LeaseId {
        self.leases_made = self.leases_made.saturating_add(1);
        let id = (u128::from(self.config.seed) << 64) | u128::from(self.leases_made);
        LeaseId(id.to_be_bytes())
    }

    fn insert_lease(
        &mut self,
        now: Timestamp,
        id: LeaseId,
        (worker, job): (NodeId, JobId),
        items: &[LeaseItem],
    ) {
        let mut own = false;
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.leases.insert(id);
            own = self.jobs.get(&job).is_some_and(|job| job.account == worker.account);
        }
        let lease = Lease {
            worker,
            job,
            own,
            open: items.iter().map(|item| (item.task, item.attempt)).collect(),
            since: now,
            expires: now.saturating_add(self.config.lease_duration),
            accepted: false,
            started: false,
        };
        self.leases.insert(id, lease);
    }

    /// A worker holds a lease of an earlier leader: whatever of it still waits is its.
    pub(super) fn adopt(
        &mut self,
        now: Timestamp,
        id: LeaseId,
        (worker, job): (NodeId, JobId),
        items: &[LeaseItem],
    ) {
        if self.leases.contains_key(&id) || !self.workers.contains_key(&worker) {
            return;
        }
        let Some(open) = self.jobs.get_mut(&job) else { return };
        let taken: Vec<_> =
            items.iter().copied().filter(|item| open.take_exactly(item.task)).collect();
        for item in &taken {
            let tries = open.tries.entry(item.task).or_default();
            tries.attempts = tries.attempts.max(item.attempt.saturating_sub(1));
        }
        if taken.is_empty() {
            return;
        }
        open.started = true;
        self.insert_lease(now, id, (worker, job), &taken);
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.accepted = true;
        }
    }

    /// A worker answered an offer, or could not be reached.
    pub(super) fn answered(
        &mut self,
        now: Timestamp,
        id: LeaseId,
        response: Option<LeaseResponse>,
        out: &mut Vec<Output>,
    ) {
        match response {
            Some(LeaseResponse::Done) => {
                if let Some(lease) = self.leases.get_mut(&id) {
                    lease.accepted = true;
                    if let Some(job) = self.jobs.get_mut(&lease.job) {
                        job.started = true;
                        job.version = job.version.saturating_add(1);
                    }
                }
            }
            Some(LeaseResponse::Refused(_)) | None => {
                let Some(lease) = self.forget(&id) else { return };
                if let Some(worker) = self.workers.get_mut(&lease.worker) {
                    // It said it had a slot, or it was said to be there. Its next heartbeat tells.
                    worker.slots = 0;
                }
                let delay = self.config.retry_delay;
                let tasks: Vec<_> = lease.open.keys().copied().collect();
                self.requeue(now.saturating_add(delay), lease.job, &tasks);
                self.give_up_exhausted(lease.job, &tasks, out);
            }
        }
    }

    /// A worker reports results.
    pub(super) fn reported(
        &mut self,
        now: Timestamp,
        (report, worker, id): (ReportId, NodeId, LeaseId),
        items: &[Reported],
        out: &mut Vec<Output>,
    ) {
        let attempts_max = self.config.attempts_max;
        let first_delay = self.config.retry_delay;
        let held = self.leases.get_mut(&id).filter(|lease| lease.worker == worker);
        let Some((lease, job)) =
            held.and_then(|lease| self.jobs.get_mut(&lease.job).map(|job| (lease, job)))
        else {
            out.push(Output::Refuse(report, RejectReason::NotLeaseHolder));
            return;
        };
        let (mut ended, mut retried) = (Vec::new(), Vec::new());
        for item in items {
            let Some(attempt) = lease.open.remove(&item.task) else { continue };
            if item.outcome.is_retryable() && attempt < attempts_max {
                job.tries.entry(item.task).or_default().attempts = attempt;
                job.put_back(item.task, now.saturating_add(backoff(first_delay, attempt)));
                job.retried = job.retried.saturating_add(1);
                retried.push(item.task);
            } else {
                job.settle(item.task);
                ended.push(item.task);
            }
        }
        lease.started = true;
        lease.accepted = true;
        lease.expires = now.saturating_add(self.config.lease_duration);
        let millis: u64 = items.iter().fold(0, |sum, item| sum.saturating_add(item.millis));
        job.started = true;
        job.learn(items.len(), millis.saturating_mul(1_000));
        job.version = job.version.saturating_add(1);
        let over = lease.open.is_empty();
        if over
            && self.forget(&id).is_some()
            && retried.is_empty()
            && let Some(worker) = self.workers.get_mut(&worker)
        {
            worker.praise();
        }
        out.push(if ended.is_empty() && retried.is_empty() {
            Output::Refuse(report, RejectReason::TaskEnded)
        } else {
            Output::Settle { report, ended, retried }
        });
    }

    /// The worker is not heard from any more: its tasks go to others. Only the task that it was on counts as
    /// tried; the ones behind it never began.
    pub(super) fn lose(&mut self, now: Timestamp, id: &LeaseId, out: &mut Vec<Output>) {
        let Some(lease) = self.forget(id) else { return };
        if let Some(worker) = self.workers.get_mut(&lease.worker) {
            worker.blame();
        }
        let tasks: Vec<_> = lease.open.keys().copied().collect();
        self.requeue(now, lease.job, &tasks);
        let Some((first, attempt)) = lease.open.first_key_value() else { return };
        let Some(job) = self.jobs.get_mut(&lease.job) else { return };
        job.note(format!(
            "{} tasks back from …{}: not heard from",
            tasks.len(),
            lease.worker.short()
        ));
        if lease.started {
            let tries = job.tries.entry(*first).or_default();
            tries.attempts = *attempt;
            job.retried = job.retried.saturating_add(1);
            job.put_back(*first, now.saturating_add(backoff(self.config.retry_delay, *attempt)));
        }
        self.give_up_exhausted(lease.job, &[*first], out);
    }

    /// The worker gives a lease back: its owner wants the machine. Nothing of it counts as tried, and the worker is not
    /// blamed.
    pub(super) fn hand_back(&mut self, now: Timestamp, id: &LeaseId, out: &mut Vec<Output>) {
        let Some(lease) = self.forget(id) else { return };
        let Some(job) = self.jobs.get_mut(&lease.job) else { return };
        for task in lease.open.keys() {
            job.put_back(*task, now);
        }
        job.version = job.version.saturating_add(1);
        job.note(format!("{} tasks handed back by …{}", lease.open.len(), lease.worker.short()));
        let Some(first) = lease.open.keys().next() else { return };
        let tries = job.tries.entry(*first).or_default();
        tries.returns = tries.returns.saturating_add(1);
        if tries.returns > self.config.returns_max {
            tries.dispatches = tries.dispatches.saturating_add(1);
        }
        self.give_up_exhausted(lease.job, &[*first], out);
    }

    /// Tasks that wait again. The first counts as handed out once more.
    fn requeue(&mut self, at: Timestamp, job: JobId, tasks: &[TaskIndex]) {
        let Some(job) = self.jobs.get_mut(&job) else { return };
        for task in tasks {
            job.put_back(*task, at);
        }
        if let Some(first) = tasks.first() {
            let tries = job.tries.entry(*first).or_default();
            tries.dispatches = tries.dispatches.saturating_add(1);
        }
        job.version = job.version.saturating_add(1);
    }

    fn give_up_exhausted(&mut self, id: JobId, tasks: &[TaskIndex], out: &mut Vec<Output>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let mut over = Vec::new();
        for task in tasks {
            let tries = job.tries.get(task).copied().unwrap_or_default();
            let exhausted = tries.attempts >= self.config.attempts_max
                || tries.dispatches >= self.config.dispatches_max;
            if exhausted && job.take_exactly(*task) {
                job.settle(*task);
                over.push((*task, tries.attempts.max(1)));
            }
        }
        if !over.is_empty() {
            out.push(Output::GiveUp { job: id, tasks: over });
        }
    }

    pub(super) fn forget(&mut self, id: &LeaseId) -> Option<Lease> {
        let lease = self.leases.remove(id)?;
        if let Some(worker) = self.workers.get_mut(&lease.worker) {
            worker.leases.remove(id);
        }
        Some(lease)
    }

    /// What the clock says.
    pub(super) fn expire(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.fence.is_none() {
            return;
        }
        let over: Vec<_> = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.expires <= now)
            .map(|(id, lease)| (*id, lease.worker))
            .collect();
        for (id, worker) in over {
            self.lose(now, &id, out);
            out.push(Output::Withdraw { worker, leases: vec![id] });
        }
        self.expire_workers(now, out);
        self.expire_jobs(now, out);
    }
}

/// The delay before the attempt after `attempt`: doubles.
fn backoff(first: Duration, attempt: u16) -> Duration {
    first.saturating_mul(1 << attempt.saturating_sub(1).min(6))
}
