//! Jobs.

use protocol::{
    ids::{AccountId, JobId},
    limits::OPEN_JOBS_MAX,
    wire::view::JobView,
};

use super::{bounded, get};
use crate::{
    records::{Range, ReadError, Records, Table},
    state::{
        keys,
        record::{BadRow, JobProgress, JobTerms},
    },
};

/// What was agreed about a job, as it was submitted.
///
/// # Errors
///
/// If the records cannot be read.
pub fn terms<R: Records + ?Sized>(records: &R, job: &JobId) -> Result<Option<JobTerms>, ReadError> {
    get(records, &keys::terms(job))
}

/// Who pays for a job.
pub(super) fn submitter<R: Records + ?Sized>(
    records: &R,
    job: &JobId,
) -> Result<Option<AccountId>, ReadError> {
    let damaged = |error| BadRow::Body(error).in_table(Table::Jobs);
    let terms = terms(records, job)?;
    terms
        .map(|terms| terms.authorized().map(|authorized| authorized.account).map_err(damaged))
        .transpose()
}

/// A job. `leased` is 0 and a job that was never reported on is `Queued`: the leader knows better.
///
/// # Errors
///
/// If the records cannot be read.
pub fn job<R: Records + ?Sized>(records: &R, job: &JobId) -> Result<Option<JobView>, ReadError> {
    let Some(terms) = terms(records, job)? else { return Ok(None) };
    let missing = || BadRow::Missing.in_table(Table::Jobs);
    let progress = get::<JobProgress>(records, &keys::progress(job))?.ok_or_else(missing)?;
    let authorized =
        terms.authorized().map_err(|error| BadRow::Body(error).in_table(Table::Jobs))?;
    Ok(Some(view(*job, terms, &progress, authorized.account)))
}

fn view(job: JobId, terms: JobTerms, progress: &JobProgress, account: AccountId) -> JobView {
    JobView {
        job,
        account,
        state: progress.state,
        reason: progress.reason.map(|reason| reason.code().to_owned()),
        total: terms.spec.tasks_with_reduce(),
        done: progress.done,
        failed: progress.failed,
        leased: 0,
        retried: progress.retried,
        budget: progress.budget,
        captured: progress.captured,
        fuel: progress.fuel,
        submitted: terms.submitted,
        ended: progress.ended,
        version: progress.version,
        spec: terms.spec,
    }
}

/// Jobs, newest first: those of an account, or all; those that were submitted before `after`, or from the
/// newest one on. An unknown `after` gives none.
///
/// # Errors
///
/// If the records cannot be read.
pub fn jobs<R: Records + ?Sized>(
    records: &R,
    account: Option<AccountId>,
    after: Option<JobId>,
    limit: u32,
) -> Result<Vec<JobView>, ReadError> {
    let ids = job_order(records, account, after, bounded(limit))?;
    let mut views = Vec::with_capacity(ids.len());
    for id in ids {
        views.extend(job(records, &id)?);
    }
    Ok(views)
}

/// The ids behind [`jobs`].
pub(super) fn job_order<R: Records + ?Sized>(
    records: &R,
    account: Option<AccountId>,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<JobId>, ReadError> {
    let mut range = Range::prefix(&account.unwrap_or(keys::EVERYBODY).0, limit);
    range.reverse = true;
    if let Some(after) = after {
        let Some(terms) = terms(records, &after)? else { return Ok(Vec::new()) };
        range.to = keys::account_job(&account.unwrap_or(keys::EVERYBODY), terms.submitted, &after);
    }
    let found = records.scan(Table::AccountJobs, &range)?;
    Ok(found.iter().filter_map(|(key, _)| keys::job_of(key)).collect())
}

/// Jobs whose id begins with these hex digits, in the order of their ids. Digits that are none give none.
///
/// # Errors
///
/// If the records cannot be read.
pub fn job_ids<R: Records + ?Sized>(
    records: &R,
    digits: &str,
    limit: u32,
) -> Result<Vec<JobId>, ReadError> {
    let Some((from, to)) = id_range(digits) else { return Ok(Vec::new()) };
    // A job has two records, of which the first names it.
    let limit = bounded(limit);
    let range = Range { from, to, reverse: false, limit: limit.saturating_mul(2) };
    let found = records.scan(Table::Jobs, &range)?;
    Ok(found.iter().filter_map(|(key, _)| keys::job_of_terms(key)).take(limit).collect())
}

/// The keys of all jobs whose id begins with these digits: from, and before.
fn id_range(digits: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let digits = digits.to_ascii_lowercase();
    if digits.is_empty()
        || digits.len() > 32
        || !digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    {
        return None;
    }
    let lowest: JobId = format!("{digits:0<32}").parse().ok()?;
    let highest: JobId = format!("{digits:f<32}").parse().ok()?;
    // Longer than any key of that job, and all ones.
    Some((lowest.0.to_vec(), [highest.0.as_slice(), &[u8::MAX; 2]].concat()))
}

/// Jobs that have not ended, in the order of their ids. At most [`OPEN_JOBS_MAX`].
///
/// # Errors
///
/// If the records cannot be read.
pub fn open_jobs<R: Records + ?Sized>(records: &R) -> Result<Vec<JobId>, ReadError> {
    let limit = usize::try_from(OPEN_JOBS_MAX).unwrap_or(usize::MAX);
    let range = Range { from: vec![0], to: vec![u8::MAX; 17], reverse: false, limit };
    let found = records.scan(Table::OpenJobs, &range)?;
    Ok(found.iter().filter_map(|(key, _)| keys::job_of(key)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_number_of_digits_is_a_prefix_too() {
        let (from, to) = id_range("ABc").unwrap();
        assert_eq!(from[..2], [0xab, 0xc0]);
        assert_eq!(to[..2], [0xab, 0xcf]);
        for bad in ["", "xyz", "000000000000000000000000000000000"] {
            assert_eq!(id_range(bad), None);
        }
    }
}
