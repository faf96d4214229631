//! The sentences about the books that are always true, checked against all records.
//!
//! Reads everything: for tests, audits and long intervals, not for every command. Memory stays bounded by the
//! number of open jobs.

use std::collections::BTreeMap;

use protocol::{
    codec::try_encode,
    ids::{AccountId, JobId},
    merkle::Frontier,
};
use thiserror::Error;

use super::{
    entry::{BEFORE_FIRST, Entry},
    keys,
    money::{BURN, ISSUANCE, escrow},
    query::get,
    record::{
        AccountRecord, BadRow, Counts, Head, JobProgress, JobTerms, Row as _, TaskEnd, TaskRecord,
    },
};
use crate::records::{Changes, Range, ReadError, Records, Table};

/// Records that are read at a time.
const PAGE: usize = 4_096;

/// An invariant does not hold: there is a bug, or somebody changed the records.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Broken {
    /// It cannot be known.
    #[error("the records could not be read")]
    Read(#[from] ReadError),
    /// I1
    #[error("the debits of all accounts ({debits}) are not their credits ({credits}), in µcr")]
    DoubleEntry {
        /// Of all accounts.
        debits: u128,
        /// Of all accounts.
        credits: u128,
    },
    /// I2
    #[error("account {0} is below zero")]
    BelowZero(AccountId),
    /// I3
    #[error("job {job} holds {found} where {expected} should be left, in µcr")]
    Escrow {
        /// The job.
        job: JobId,
        /// What its escrow has.
        found: i128,
        /// What it should have.
        expected: i128,
    },
    /// I3, seen from the accounts
    #[error("account {account} has {found} in open jobs where it should have {expected}, in µcr")]
    Held {
        /// The account.
        account: AccountId,
        /// What its record says.
        found: u128,
        /// What its open jobs have left.
        expected: u128,
    },
    /// I4
    #[error("{found} are owned where {issued} were issued, in µcr")]
    Supply {
        /// What was issued, less what was burnt.
        issued: i128,
        /// What accounts have.
        found: i128,
    },
    /// I5
    #[error("the tasks of job {0} are not what it counted and captured")]
    Tasks(JobId),
    /// I6
    #[error("job {0} has cost more than its budget")]
    Overspent(JobId),
    /// I7
    #[error("ledger entry {0} is missing, out of order or changed")]
    Ledger(u64),
    /// A counter is not what it counts.
    #[error("the counter of {0} is wrong")]
    Count(&'static str),
}

/// Checks I1 to I7 of the [crate] over all records.
///
/// # Errors
///
/// The first that does not hold.
pub fn check_invariants<R: Records + ?Sized>(records: &R) -> Result<(), Broken> {
    let held = check_jobs(records)?;
    check_accounts(records, held)?;
    check_ledger(records)
}

/// Checks of one command's changes what can be checked cheaply, for every command: that they took as many
/// credits as they gave (I1), and that no account but the one that issues is below zero (I2).
///
/// # Errors
///
/// If a record cannot be read or one of these does not hold: the node must stop, and nothing was written.
pub(super) fn check_changes<R: Records + ?Sized>(
    below: &R,
    changes: &Changes,
) -> Result<(), ReadError> {
    // As many as can come and go in one command fit.
    let (mut debits, mut credits) = (0_u128, 0_u128);
    for (_, key, value) in changes.iter().filter(|(table, ..)| *table == Table::Accounts) {
        let before: AccountRecord = get(below, key)?.unwrap_or_default();
        let after = value.map(AccountRecord::from_bytes).transpose()?.unwrap_or_default();
        debits = debits.wrapping_add(after.debits).wrapping_sub(before.debits);
        credits = credits.wrapping_add(after.credits).wrapping_sub(before.credits);
        if after.balance() < 0 && key != ISSUANCE.0 {
            let id = AccountId(key.try_into().unwrap_or_default());
            return Err(stop(Broken::BelowZero(id)));
        }
    }
    if debits == credits { Ok(()) } else { Err(stop(Broken::DoubleEntry { debits, credits })) }
}

fn stop(broken: Broken) -> ReadError {
    ReadError { table: Table::Accounts.name(), source: Box::new(broken) }
}

/// Looks at one record: its key and its value.
type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), Broken> + 'a;

/// All records of a table, in pages.
fn each<R: Records + ?Sized>(
    records: &R,
    table: Table,
    mut range: Range,
    visit: &mut Visit<'_>,
) -> Result<(), Broken> {
    range.limit = PAGE;
    loop {
        let page = records.scan(table, &range)?;
        for (key, value) in &page {
            visit(key, value)?;
        }
        match page.last() {
            // The key that follows directly.
            Some((last, _)) if page.len() == PAGE => range.from = [last.as_slice(), &[0]].concat(),
            _ => return Ok(()),
        }
    }
}

/// All keys of a table: none is longer than 64 bytes.
fn everything() -> Range {
    Range { from: vec![0], to: vec![u8::MAX; 65], reverse: false, limit: PAGE }
}

/// I3, I5 and I6. Returns what the open jobs of each account have left.
fn check_jobs<R: Records + ?Sized>(records: &R) -> Result<BTreeMap<AccountId, u128>, Broken> {
    let mut held: BTreeMap<AccountId, u128> = BTreeMap::new();
    let mut open = 0_u32;
    each(records, Table::Jobs, everything(), &mut |key, value| {
        let Some(job) = keys::job_of_terms(key) else { return Ok(()) };
        let terms = JobTerms::from_bytes(value)?;
        let progress: JobProgress = get(records, &keys::progress(&job))?
            .ok_or_else(|| BadRow::Missing.in_table(Table::Jobs))?;
        let authorized =
            terms.authorized().map_err(|error| BadRow::Body(error).in_table(Table::Jobs))?;
        check_job(records, job, &progress, authorized.budget.micros())?;
        let listed = records.get(Table::OpenJobs, &job.0)?.is_some();
        if listed == progress.state.is_terminal() {
            return Err(Broken::Count("open jobs"));
        }
        if listed {
            open = open.saturating_add(1);
            let left = held.entry(authorized.account).or_default();
            *left = left.saturating_add(u128::from(progress.left().micros()));
        }
        Ok(())
    })?;
    let counts: Counts = get(records, keys::COUNTS)?.unwrap_or_default();
    if counts.open_jobs == open { Ok(held) } else { Err(Broken::Count("open jobs")) }
}

/// One job: its escrow, its tasks and its budget.
fn check_job<R: Records + ?Sized>(
    records: &R,
    job: JobId,
    progress: &JobProgress,
    signed: u64,
) -> Result<(), Broken> {
    let parts = |part: u64| i128::from(part);
    let expected = parts(progress.budget.micros())
        .saturating_sub(parts(progress.captured.micros()))
        .saturating_sub(parts(progress.refunded.micros()));
    let found = get::<AccountRecord>(records, &escrow(&job).0)?.unwrap_or_default().balance();
    if found != expected || expected < 0 || (progress.state.is_terminal() && found != 0) {
        return Err(Broken::Escrow { job, found, expected });
    }
    if progress.captured.micros() > signed || progress.budget.micros() != signed {
        return Err(Broken::Overspent(job));
    }
    let (mut done, mut failed, mut cost) = (0_u32, 0_u32, 0_u64);
    each(records, Table::Tasks, Range::prefix(&job.0, PAGE), &mut |_, value| {
        let record = TaskRecord::from_bytes(value)?;
        match record.end {
            Some(TaskEnd::Settled { outcome, cost: task, .. }) => {
                cost = cost.saturating_add(task.micros());
                let counter = if outcome.is_success() { &mut done } else { &mut failed };
                *counter = counter.saturating_add(1);
            }
            Some(TaskEnd::GivenUp { .. }) => failed = failed.saturating_add(1),
            None => {}
        }
        Ok(())
    })?;
    let counted = (progress.done, progress.failed, progress.captured.micros());
    if (done, failed, cost) == counted { Ok(()) } else { Err(Broken::Tasks(job)) }
}

/// I1, I2 and I4, and what open jobs hold.
fn check_accounts<R: Records + ?Sized>(
    records: &R,
    mut held: BTreeMap<AccountId, u128>,
) -> Result<(), Broken> {
    let (mut debits, mut credits, mut owned, mut issued) = (0_u128, 0_u128, 0_i128, 0_i128);
    each(records, Table::Accounts, everything(), &mut |key, value| {
        let Ok(id) = key.try_into().map(AccountId) else {
            return Err(BadRow::Short.in_table(Table::Accounts).into());
        };
        let account = AccountRecord::from_bytes(value)?;
        debits = debits.saturating_add(account.debits);
        credits = credits.saturating_add(account.credits);
        if id == ISSUANCE || id == BURN {
            issued = issued.saturating_sub(account.balance());
        } else if account.balance() < 0 {
            return Err(Broken::BelowZero(id));
        } else {
            owned = owned.saturating_add(account.balance());
        }
        let expected = held.remove(&id).unwrap_or_default();
        if account.held == expected {
            Ok(())
        } else {
            Err(Broken::Held { account: id, found: account.held, expected })
        }
    })?;
    if debits != credits {
        return Err(Broken::DoubleEntry { debits, credits });
    }
    if owned != issued {
        return Err(Broken::Supply { issued, found: owned });
    }
    match held.into_iter().find(|(_, expected)| *expected > 0) {
        Some((account, expected)) => Err(Broken::Held { account, found: 0, expected }),
        None => Ok(()),
    }
}

/// I7: entries are numbered without a gap, each names the one before, time only grows, and the tree is over
/// exactly these.
fn check_ledger<R: Records + ?Sized>(records: &R) -> Result<(), Broken> {
    let head: Head = get(records, keys::HEAD)?.unwrap_or_default();
    let (mut frontier, mut prev, mut time) = (Frontier::default(), BEFORE_FIRST, None);
    each(records, Table::Entries, everything(), &mut |key, value| {
        let seq = frontier.size().saturating_add(1);
        let entry = Entry::from_bytes(value)?;
        let in_time = time.is_none_or(|time| entry.cluster_time > time);
        if keys::seq_of(key) != Some(seq) || entry.seq != seq || entry.prev != prev || !in_time {
            return Err(Broken::Ledger(seq));
        }
        let bytes =
            try_encode(&entry).map_err(|error| BadRow::Body(error).in_table(Table::Entries))?;
        prev = Entry::leaf_hash(&bytes);
        time = Some(entry.cluster_time);
        frontier.push(prev);
        Ok(())
    })?;
    if head.frontier == frontier && head.hash == prev && time.unwrap_or_default() == head.time {
        Ok(())
    } else {
        Err(Broken::Ledger(frontier.size()))
    }
}
