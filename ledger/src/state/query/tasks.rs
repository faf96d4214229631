//! The tasks of a job: from their records, and the rest from the state of the job.

use std::{collections::BTreeMap, ops};

use protocol::{
    ids::{Hash, JobId, TaskIndex},
    units::{Credits, Fuel},
    wire::view::{JobState, TaskState, TaskView},
};

use super::{bounded, get, jobs::terms};
use crate::{
    records::{Range, ReadError, Records, Table},
    state::{
        keys,
        record::{BadRow, EndReason, JobProgress, JobTerms, Row as _, TaskEnd, TaskRecord},
    },
};

/// Records that one look at a job's tasks reads, so that a million tasks never lie in memory at once.
const PAGE: usize = 4_096;

/// A task and the hash of its [output manifest](protocol::wire::manifest::OutputManifest), which lies in the
/// blob store, not in the replicated state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRow {
    /// The task; `output` is `None`.
    pub view: TaskView,
    /// Where its output is described.
    pub output: Option<Hash>,
}

/// What is left to do of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PendingTasks {
    /// Tasks that have not ended, with the reducing one if it has not: ranges in order, apart.
    pub ranges: Vec<ops::Range<u32>>,
    /// How often those were tried that were tried before, as far as was reported.
    pub attempts: BTreeMap<TaskIndex, u16>,
}

/// The tasks of a job from `from` on, at most `limit`; `None` if there is no such job.
///
/// # Errors
///
/// If the records cannot be read.
pub fn tasks<R: Records + ?Sized>(
    records: &R,
    job: &JobId,
    from: u32,
    limit: u32,
) -> Result<Option<Vec<TaskRow>>, ReadError> {
    let Some((terms, progress)) = both(records, job)? else { return Ok(None) };
    let limit = bounded(limit);
    let to = terms
        .spec
        .tasks_with_reduce()
        .min(from.saturating_add(u32::try_from(limit).unwrap_or(u32::MAX)));
    let range = Range {
        from: keys::task(job, TaskIndex(from)),
        to: keys::task(job, TaskIndex(to)),
        reverse: false,
        limit,
    };
    let known = if from < to { scan(records, &range)? } else { BTreeMap::new() };
    let rows =
        (from..to).map(|task| row(TaskIndex(task), known.get(&TaskIndex(task)), &terms, &progress));
    Ok(Some(rows.collect()))
}

/// What is left to do of a job: for a new leader. Empty when the job has ended; `None` if there is no such job.
///
/// # Errors
///
/// If the records cannot be read.
pub fn pending_tasks<R: Records + ?Sized>(
    records: &R,
    job: &JobId,
) -> Result<Option<PendingTasks>, ReadError> {
    let Some((terms, progress)) = both(records, job)? else { return Ok(None) };
    let mut pending = PendingTasks::default();
    if progress.state.is_terminal() {
        return Ok(Some(pending));
    }
    let total = terms.spec.tasks_with_reduce();
    // Everything before this is in `pending` or has ended.
    let mut seen = 0_u32;
    let mut range = Range {
        from: keys::task(job, TaskIndex(0)),
        to: keys::task(job, TaskIndex(total)),
        reverse: false,
        limit: PAGE,
    };
    loop {
        let known = scan(records, &range)?;
        for (task, record) in &known {
            if record.is_terminal() {
                pending.add(seen..task.0);
                seen = task.0.saturating_add(1);
            } else {
                pending.attempts.insert(*task, record.attempts);
            }
        }
        match known.last_key_value() {
            Some((last, _)) if known.len() == PAGE => {
                range.from = keys::task(job, TaskIndex(last.0.saturating_add(1)));
            }
            _ => break,
        }
    }
    pending.add(seen..total);
    Ok(Some(pending))
}

impl PendingTasks {
    fn add(&mut self, range: ops::Range<u32>) {
        if !range.is_empty() {
            self.ranges.push(range);
        }
    }
}

fn both<R: Records + ?Sized>(
    records: &R,
    job: &JobId,
) -> Result<Option<(JobTerms, JobProgress)>, ReadError> {
    let Some(terms) = terms(records, job)? else { return Ok(None) };
    let progress =
        get(records, &keys::progress(job))?.ok_or_else(|| BadRow::Missing.in_table(Table::Jobs))?;
    Ok(Some((terms, progress)))
}

fn scan<R: Records + ?Sized>(
    records: &R,
    range: &Range,
) -> Result<BTreeMap<TaskIndex, TaskRecord>, ReadError> {
    let found = records.scan(Table::Tasks, range)?.into_iter().filter_map(|(key, value)| {
        let task = keys::task_of(&key)?;
        Some(TaskRecord::from_bytes(&value).map(|record| (task, record)))
    });
    found.collect()
}

/// One task: what its record says, and otherwise what the state of the job implies.
fn row(
    task: TaskIndex,
    record: Option<&TaskRecord>,
    terms: &JobTerms,
    progress: &JobProgress,
) -> TaskRow {
    let mut view = TaskView {
        task,
        state: unreported(task, terms, progress),
        attempts: record.map_or(0, |record| record.attempts),
        worker: None,
        outcome: None,
        reason: None,
        fuel: Fuel(0),
        cost: Credits::ZERO,
        output: None,
    };
    let mut row_output = None;
    match record.and_then(|record| record.end) {
        Some(TaskEnd::Settled { worker, outcome, fuel, cost, output, .. }) => {
            view.state =
                if outcome.is_success() { TaskState::Completed } else { TaskState::Failed };
            view.worker = Some(worker);
            view.outcome = Some(outcome);
            view.reason = (!outcome.is_success()).then(|| outcome.reason().to_owned());
            view.fuel = fuel;
            view.cost = cost;
            row_output = Some(output);
        }
        Some(TaskEnd::GivenUp { .. }) => {
            view.state = TaskState::Failed;
            view.reason = Some(EndReason::NodeLost.code().to_owned());
        }
        None if view.state.is_terminal() => {
            view.reason = progress.reason.map(|reason| match reason {
                EndReason::Task(_) | EndReason::NodeLost => "job-failed".to_owned(),
                EndReason::OutOfBudget | EndReason::Cancelled | EndReason::Expired => {
                    reason.code().to_owned()
                }
            });
        }
        None if record.is_some() => view.state = TaskState::Retrying,
        None => {}
    }
    TaskRow { view, output: row_output }
}

/// The state of a task that nobody reported on for good.
fn unreported(task: TaskIndex, terms: &JobTerms, progress: &JobProgress) -> TaskState {
    match progress.state {
        JobState::Expired => TaskState::Expired,
        JobState::Completed
        | JobState::PartiallyCompleted
        | JobState::Failed
        | JobState::Cancelled => TaskState::Cancelled,
        JobState::Queued | JobState::Running => match terms.spec.reduce_task() {
            Some((reduce, _)) if reduce == task && progress.ended_tasks() < terms.spec.tasks => {
                TaskState::Held
            }
            Some(_) | None => TaskState::Queued,
        },
    }
}
