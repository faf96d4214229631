//! Results: each task is settled once, paid by the fuel that its receipt claims, and a job that has nothing
//! left to do is closed.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    batch::{Batch, VerifiedBatch},
    ids::{Hash, JobId, NodeId, TaskIndex},
    limits::BATCH_ITEMS_MAX,
    price::Bill,
    reject::RejectReason,
    units::{Credits, Fuel},
    wire::{
        enroll::Role,
        job::{JobSpec, Scope},
        receipt::{ReceiptHeader, TaskReceipt},
        view::{JobState, TaskState},
    },
};

use super::{
    Event,
    draft::{Draft, Outcome, Refusal},
    entry::{GiveUpBody, SettlementBody},
    jobs::{FREE, Job, close},
    keys,
    money::{FEES, Held, Movement, ROUNDING, adjust_held, escrow, transfer},
    record::{
        BatchRecord, EndReason, HistoryKind, NodeRecord, Policy, Row as _, TaskEnd, TaskRecord,
    },
};
use crate::records::{Range, Records, Table};

/// Nothing is paid.
const UNPAID: Bill = Bill {
    charge: Credits::ZERO,
    worker: Credits::ZERO,
    fee: Credits::ZERO,
    rounding: Credits::ZERO,
};

/// Settles a batch of receipts. Items whose task has ended are passed over; those in `retried` are only counted.
pub(super) fn settle<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    receipts: &Batch<ReceiptHeader, TaskReceipt>,
    retried: &[TaskIndex],
) -> Result<Outcome, Refusal> {
    let batch = receipts.clone().verify(&policy.mesh)?;
    let job = Job::load(draft, batch.header().job)?;
    check_header(draft, &job, &batch)?;
    check_items(&job, batch.items(), retried)?;
    let known = known_tasks(draft, job.id, batch.items())?;
    let mut plan = Plan::default();
    for item in batch.items() {
        plan.add(&job, item, retried.contains(&item.task), known.get(&item.task))?;
    }
    if !plan.is_empty() {
        record(draft, job, batch, plan)?;
    }
    Ok(Outcome::Done)
}

/// Whether the worker may claim results of this job for this payee.
fn check_header<R: Records + ?Sized>(
    draft: &Draft<'_, R>,
    job: &Job,
    batch: &VerifiedBatch<ReceiptHeader, TaskReceipt>,
) -> Result<(), Refusal> {
    let header = batch.header();
    if header.worker.0 != *batch.signer() {
        return Err(RejectReason::BadSignature.into());
    }
    if job.progress.state.is_terminal() {
        return Err(RejectReason::TaskEnded.into());
    }
    let worker: NodeRecord = draft.get(&header.worker.0)?.ok_or(RejectReason::NotEnrolled)?;
    if !worker.may(Role::Worker, draft.now()) {
        return Err(worker.outside(draft.now()).unwrap_or(RejectReason::NotApproved).into());
    }
    let foreign = job.terms.spec.scope == Scope::Mine && header.payee != job.authorized.account;
    if header.payee != worker.account || foreign {
        return Err(RejectReason::NotPermitted.into());
    }
    if header.authorization != job.terms.authorization_hash()
        || header.profile != job.terms.spec.profile
    {
        return Err(RejectReason::Invalid.into());
    }
    let modules =
        batch.items().iter().all(|item| module_of(&job.terms.spec, item.task) == header.module);
    if modules { Ok(()) } else { Err(RejectReason::Invalid.into()) }
}

fn module_of(spec: &JobSpec, task: TaskIndex) -> Hash {
    match spec.reduce_task() {
        Some((reduce, module)) if reduce == task => module,
        Some(_) | None => spec.module,
    }
}

/// Whether all items can be true. A signed batch with a part that cannot be is not believed at all.
fn check_items(job: &Job, items: &[TaskReceipt], retried: &[TaskIndex]) -> Result<(), Refusal> {
    let spec = &job.terms.spec;
    let mut seen = BTreeSet::new();
    for item in items {
        let within = item.task.0 < spec.tasks_with_reduce()
            && item.attempt > 0
            && item.fuel <= spec.limits.fuel;
        if !within || !seen.insert(item.task) {
            return Err(RejectReason::Invalid.into());
        }
        check_order(job, item.task)?;
    }
    let in_order = retried.iter().zip(retried.iter().skip(1)).all(|(one, next)| one < next);
    if !in_order || !retried.iter().all(|task| seen.contains(task)) {
        return Err(RejectReason::Invalid.into());
    }
    Ok(())
}

/// The reducing task comes after all others.
fn check_order(job: &Job, task: TaskIndex) -> Result<(), Refusal> {
    match job.terms.spec.reduce_task() {
        Some((reduce, _))
            if reduce == task && job.progress.ended_tasks() < job.terms.spec.tasks =>
        {
            Err(RejectReason::WrongState.into())
        }
        Some(_) | None => Ok(()),
    }
}

/// What is known of the tasks of a batch. Leases are mostly consecutive: one scan then, instead of a read each.
fn known_tasks<R: Records + ?Sized>(
    draft: &Draft<'_, R>,
    job: JobId,
    items: &[TaskReceipt],
) -> Result<BTreeMap<TaskIndex, TaskRecord>, Refusal> {
    let mut known = BTreeMap::new();
    let first = items.iter().map(|item| item.task).min().unwrap_or_default();
    let last = items.iter().map(|item| item.task).max().unwrap_or_default();
    let span =
        usize::try_from(last.0.saturating_sub(first.0).saturating_add(1)).unwrap_or(usize::MAX);
    if span <= items.len().saturating_mul(4) {
        let to = keys::task(&job, TaskIndex(last.0.saturating_add(1)));
        let range = Range { from: keys::task(&job, first), to, reverse: false, limit: span };
        for (key, value) in draft.records().scan(Table::Tasks, &range)? {
            if let Some(task) = keys::task_of(&key) {
                known.insert(task, TaskRecord::from_bytes(&value)?);
            }
        }
    } else {
        for item in items {
            if let Some(record) = draft.get(&keys::task(&job, item.task))? {
                known.insert(item.task, record);
            }
        }
    }
    Ok(known)
}

/// What a batch comes to.
struct Plan {
    /// For each item, in order: what its task costs; `None` if it settles nothing.
    charges: Vec<Option<Credits>>,
    /// Tasks that end: the item's place and how often the task was tried.
    ended: Vec<(u16, u16)>,
    /// Tasks that will be tried again and were not counted yet, and how often they were tried.
    retried: Vec<(TaskIndex, u16)>,
    /// All bills together.
    total: Bill,
    /// All fuel together.
    fuel: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { charges: Vec::new(), ended: Vec::new(), retried: Vec::new(), total: UNPAID, fuel: 0 }
    }
}

impl Plan {
    /// Whether the batch changes nothing.
    fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.retried.is_empty()
    }

    /// Decides about the next item. `again`: it will be tried again.
    fn add(
        &mut self,
        job: &Job,
        item: &TaskReceipt,
        again: bool,
        known: Option<&TaskRecord>,
    ) -> Result<(), Refusal> {
        let place = u16::try_from(self.charges.len()).map_err(|_| RejectReason::TooLarge)?;
        let before = known.map_or(0, |known| known.attempts);
        let attempts = item.attempt.max(before);
        if known.is_some_and(TaskRecord::is_terminal) {
            self.charges.push(None);
            return Ok(());
        }
        if again {
            self.charges.push(None);
            if attempts > before {
                self.retried.push((item.task, attempts));
            }
            return Ok(());
        }
        let bill = if item.outcome.is_charged() {
            job.terms.price.bill(item.fuel).ok_or(RejectReason::AmountOverflow)?
        } else {
            UNPAID
        };
        let left = job.progress.left().saturating_sub(self.total.charge);
        let paid = bill.capped(left);
        if left.is_zero() && !bill.charge.is_zero() {
            self.charges.push(None);
            return Ok(());
        }
        self.charges.push(Some(paid.charge));
        self.ended.push((place, attempts));
        self.total = sum(&self.total, &paid).ok_or(RejectReason::AmountOverflow)?;
        self.fuel = self.fuel.checked_add(item.fuel.0).ok_or(RejectReason::AmountOverflow)?;
        Ok(())
    }
}

fn sum(one: &Bill, other: &Bill) -> Option<Bill> {
    Some(Bill {
        charge: one.charge.checked_add(other.charge)?,
        worker: one.worker.checked_add(other.worker)?,
        fee: one.fee.checked_add(other.fee)?,
        rounding: one.rounding.checked_add(other.rounding)?,
    })
}

/// Writes what a batch comes to: the entry, the tasks, the job, the credits; and closes the job where that was
/// the last.
fn record<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    mut job: Job,
    batch: VerifiedBatch<ReceiptHeader, TaskReceipt>,
    plan: Plan,
) -> Result<(), Refusal> {
    let (worker, payee) = (batch.header().worker, batch.header().payee);
    let Batch { header, items } = batch.into_batch();
    let entry = draft.append(&SettlementBody {
        header,
        price: job.terms.price,
        charges: plan.charges.clone(),
        worker: plan.total.worker,
        fee: plan.total.fee,
        rounding: plan.total.rounding,
        retried: plan.retried.iter().map(|(task, _)| *task).collect(),
    })?;
    let ended = write_tasks(draft, &mut job, &items, &plan, (entry, worker));
    draft.put(keys::entry(entry), &BatchRecord { items });
    let progress = &mut job.progress;
    let retries = u32::try_from(plan.retried.len()).unwrap_or(u32::MAX);
    progress.retried = progress.retried.saturating_add(retries);
    progress.captured =
        progress.captured.checked_add(plan.total.charge).ok_or(RejectReason::AmountOverflow)?;
    progress.fuel = Fuel(progress.fuel.0.saturating_add(plan.fuel));
    progress.state = JobState::Running;
    let escrow = escrow(&job.id);
    for (to, amount) in
        [(payee, plan.total.worker), (FEES, plan.total.fee), (ROUNDING, plan.total.rounding)]
    {
        let kind = HistoryKind::Earning;
        transfer(draft, &Movement { kind, from: escrow, to, amount, job: Some(job.id) })?;
    }
    if !plan.total.charge.is_zero() {
        adjust_held(draft, job.authorized.account, Held::Spent(plan.total.charge))?;
    }
    draft.tell(Event::TasksSettled { job: job.id, ended, retried: plan.retried });
    // Also where the last charge was cut to what was left: then nothing is left.
    let used_up = job.progress.left().is_zero() && job.terms.price != FREE;
    finish(draft, job, used_up)
}

/// Writes how tasks ended and counts them. `by`: the entry that settles them, and the worker.
fn write_tasks<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    job: &mut Job,
    items: &[TaskReceipt],
    plan: &Plan,
    (entry, worker): (u64, NodeId),
) -> Vec<(TaskIndex, TaskState)> {
    let mut ended = Vec::with_capacity(plan.ended.len());
    for (item, attempts) in &plan.ended {
        let place = usize::from(*item);
        let (Some(receipt), Some(Some(cost))) = (items.get(place), plan.charges.get(place)) else {
            continue;
        };
        let TaskReceipt { outcome, fuel, output, .. } = *receipt;
        let end =
            TaskEnd::Settled { worker, outcome, fuel, cost: *cost, output, entry, item: *item };
        let record = TaskRecord { attempts: *attempts, end: Some(end) };
        draft.put(keys::task(&job.id, receipt.task), &record);
        ended.push((receipt.task, record.state()));
        count(job, outcome.is_success(), EndReason::Task(outcome));
    }
    for (task, attempts) in &plan.retried {
        draft.put(keys::task(&job.id, *task), &TaskRecord { attempts: *attempts, end: None });
    }
    ended
}

/// Counts a task that ended.
fn count(job: &mut Job, success: bool, reason: EndReason) {
    let progress = &mut job.progress;
    if success {
        progress.done = progress.done.saturating_add(1);
    } else {
        progress.failed = progress.failed.saturating_add(1);
        progress.reason = progress.reason.or(Some(reason));
    }
}

/// Closes the job where nothing is left to do, or saves how far it is.
fn finish<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    mut job: Job,
    used_up: bool,
) -> Result<(), Refusal> {
    match job.verdict(used_up) {
        Some(end) => close(draft, job, end, None),
        None => {
            job.save(draft);
            Ok(())
        }
    }
}

/// Ends tasks that were tried as often as allowed and whose workers never reported. Tasks that have ended are
/// passed over.
pub(super) fn give_up<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    id: JobId,
    tasks: &[(TaskIndex, u16)],
) -> Result<Outcome, Refusal> {
    let mut job = Job::load(draft, id)?;
    if job.progress.state.is_terminal() {
        return Err(RejectReason::TaskEnded.into());
    }
    if tasks.len() > BATCH_ITEMS_MAX {
        return Err(RejectReason::TooLarge.into());
    }
    let asked: BTreeMap<_, _> = tasks.iter().copied().collect();
    let mut given_up = Vec::new();
    for (task, tried) in asked {
        if task.0 >= job.terms.spec.tasks_with_reduce() {
            return Err(RejectReason::Invalid.into());
        }
        check_order(&job, task)?;
        let known: Option<TaskRecord> = draft.get(&keys::task(&id, task))?;
        if !known.is_some_and(|known| known.is_terminal()) {
            given_up.push((task, tried.max(known.map_or(0, |known| known.attempts))));
        }
    }
    if given_up.is_empty() {
        return Ok(Outcome::Done);
    }
    let entry = draft.append(&GiveUpBody { job: id, tasks: given_up.clone() })?;
    for (task, attempts) in &given_up {
        let record = TaskRecord { attempts: *attempts, end: Some(TaskEnd::GivenUp { entry }) };
        draft.put(keys::task(&id, *task), &record);
        count(&mut job, false, EndReason::NodeLost);
    }
    job.progress.state = JobState::Running;
    let ended = given_up.iter().map(|(task, _)| (*task, TaskState::Failed)).collect();
    draft.tell(Event::TasksSettled { job: id, ended, retried: Vec::new() });
    finish(draft, job, false)?;
    Ok(Outcome::Done)
}
