//! Jobs: submitting one, and the ways in which one ends.

use std::time::Duration;

use protocol::{
    codec::try_encode,
    ids::{Hash, JobId},
    limits::{JOB_TTL_MAX, OPEN_JOBS_MAX},
    price::Price,
    reject::RejectReason,
    sign::Signed,
    units::{BasisPoints, Credits},
    wire::{
        job::{EndPolicy, JobAuthorization, JobCancel, JobSpec, Scope},
        view::JobState,
    },
};

use super::{
    Event,
    admission::{acts_for, signs_for},
    draft::{Draft, Outcome, Refusal},
    entry::{AuthorizationBody, CloseBody},
    keys,
    money::{Held, Movement, adjust_held, drop_escrow, escrow, insufficient, transfer},
    record::{AccountRecord, BadRow, EndReason, HistoryKind, JobProgress, JobTerms, Policy},
};
use crate::records::{Records, Table};

/// How far ahead of cluster time the clock of a submitter may be.
const AHEAD_MAX: Duration = Duration::from_secs(60);
/// What work on one's own machines costs.
pub(super) const FREE: Price =
    Price { per_mfuel: Credits::ZERO, per_task: Credits::ZERO, fee: BasisPoints(0) };

/// A job: what was agreed, how far it is, and what was signed.
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) terms: JobTerms,
    pub(super) progress: JobProgress,
    pub(super) authorized: JobAuthorization,
}

impl Job {
    /// The job with this id.
    pub(super) fn load<R: Records + ?Sized>(
        draft: &Draft<'_, R>,
        id: JobId,
    ) -> Result<Self, Refusal> {
        let damaged = |why: BadRow| why.in_table(Table::Jobs);
        let terms: JobTerms = draft.get(&keys::terms(&id))?.ok_or(RejectReason::NotFound)?;
        let progress = draft.get(&keys::progress(&id))?.ok_or_else(|| damaged(BadRow::Missing))?;
        let authorized = terms.authorized().map_err(|error| damaged(BadRow::Body(error)))?;
        Ok(Self { id, terms, progress, authorized })
    }

    /// Writes how far it is.
    pub(super) fn save<R: Records + ?Sized>(&mut self, draft: &mut Draft<'_, R>) {
        self.progress.version = self.progress.version.saturating_add(1);
        draft.put(keys::progress(&self.id), &self.progress);
    }

    /// How it ends, if by what is known now it does. `used_up`: nothing more can be paid.
    pub(super) fn verdict(&self, used_up: bool) -> Option<(JobState, Option<EndReason>)> {
        let (progress, spec) = (&self.progress, &self.terms.spec);
        let ended = progress.ended_tasks();
        let partial = spec.end == EndPolicy::AllowPartial && progress.done > 0;
        let short = if partial { JobState::PartiallyCompleted } else { JobState::Failed };
        let nothing_to_reduce = ended >= spec.tasks && progress.done == 0;
        if ended >= spec.tasks_with_reduce() {
            let state = if progress.failed == 0 { JobState::Completed } else { short };
            Some((state, progress.reason))
        } else if (progress.failed > 0 && spec.end == EndPolicy::AllOrNothing) || nothing_to_reduce
        {
            Some((JobState::Failed, progress.reason))
        } else {
            used_up.then_some((short, Some(EndReason::OutOfBudget)))
        }
    }
}

/// Submits a job: its budget moves to its escrow.
pub(super) fn submit<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    signed: &Signed<JobAuthorization>,
    spec: &JobSpec,
) -> Result<Outcome, Refusal> {
    let verified = signed.clone().verify(&policy.mesh)?;
    let authorized = verified.claim();
    let delegation = signs_for(draft, verified.signer(), &authorized.account)?;
    // Before the id is used up: whoever passes the statement on could have changed what lies beside it.
    let encoded = try_encode(spec).map_err(|_| RejectReason::TooLarge)?;
    if Hash::of(&encoded) != authorized.spec {
        return Err(RejectReason::Invalid.into());
    }
    let id = keys::job_id(&authorized.account, &authorized.job);
    if let Some(reply) = draft.claim(id, signed.hash())? {
        return Ok(Outcome::Known(reply));
    }
    let price = check_terms(draft, policy, authorized, spec)?;
    let hold = authorized.budget;
    let entry = draft.append(&AuthorizationBody {
        authorization: signed.clone(),
        delegation: delegation.clone(),
        price,
        hold,
    })?;
    let (job, account) = (authorized.job, authorized.account);
    let kind = HistoryKind::Hold;
    transfer(
        draft,
        &Movement { kind, from: account, to: escrow(&job), amount: hold, job: Some(job) },
    )?;
    adjust_held(draft, account, Held::More(hold))?;
    let submitted = draft.now();
    let terms = JobTerms {
        authorization: signed.clone(),
        delegation,
        spec: spec.clone(),
        price,
        submitted,
        entry,
    };
    draft.put(keys::terms(&job), &terms);
    draft.put(keys::progress(&job), &JobProgress::new(hold));
    draft.mark(Table::OpenJobs, job.0.to_vec());
    for account in [account, keys::EVERYBODY] {
        draft.mark(Table::AccountJobs, keys::account_job(&account, submitted, &job));
    }
    draft.counts().open_jobs = draft.counts().open_jobs.saturating_add(1);
    draft.tell(Event::JobQueued { job });
    Ok(Outcome::Done)
}

/// Whether the mesh takes the job on these terms, and the price that it is done for.
fn check_terms<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    authorized: &JobAuthorization,
    spec: &JobSpec,
) -> Result<Price, Refusal> {
    if draft.get::<JobTerms>(&keys::terms(&authorized.job))?.is_some() {
        return Err(RejectReason::IdempotencyMismatch.into());
    }
    let mine = spec.scope == Scope::Mine;
    let price = if mine { FREE } else { policy.price };
    let agreed = authorized.price;
    let fair = agreed.per_mfuel >= price.per_mfuel
        && agreed.per_task >= price.per_task
        && agreed.fee >= price.fee;
    if !spec.is_valid() || !fair || (authorized.budget.is_zero() && !mine) {
        return Err(RejectReason::Invalid.into());
    }
    if authorized.budget > Credits::ENTRY_MAX {
        return Err(RejectReason::AmountOverflow.into());
    }
    let ttl = Duration::from_millis(authorized.ttl_ms);
    let (now, begin) = (draft.now(), authorized.not_before);
    if ttl > JOB_TTL_MAX
        || begin > now.saturating_add(AHEAD_MAX)
        || now >= begin.saturating_add(ttl)
    {
        return Err(RejectReason::OutsideValidity.into());
    }
    let account: AccountRecord = draft.get(&authorized.account.0)?.unwrap_or_default();
    if account.nodes == 0 && !policy.operators.contains(&authorized.account) {
        return Err(RejectReason::NotPermitted.into());
    }
    if draft.counts().open_jobs >= OPEN_JOBS_MAX {
        return Err(RejectReason::Busy.into());
    }
    if account.available() < authorized.budget {
        return Err(insufficient(authorized.budget, account.available()));
    }
    Ok(price)
}

/// The submitter gives a job up. Doing so twice changes nothing.
pub(super) fn cancel<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    signed: &Signed<JobCancel>,
) -> Result<Outcome, Refusal> {
    let verified = signed.clone().verify(&policy.mesh)?;
    let job = Job::load(draft, verified.claim().job)?;
    if !acts_for(draft, verified.signer(), &job.authorized.account)? {
        return Err(RejectReason::NotPermitted.into());
    }
    match job.progress.state {
        JobState::Cancelled => {}
        JobState::Queued | JobState::Running => {
            let end = (JobState::Cancelled, Some(EndReason::Cancelled));
            close(draft, job, end, Some(signed.clone()))?;
        }
        JobState::Completed
        | JobState::PartiallyCompleted
        | JobState::Failed
        | JobState::Expired => {
            return Err(RejectReason::WrongState.into());
        }
    }
    Ok(Outcome::Done)
}

/// The time of a job is over: refused while it is not.
pub(super) fn expire<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    id: JobId,
) -> Result<Outcome, Refusal> {
    let job = Job::load(draft, id)?;
    let end =
        job.authorized.not_before.saturating_add(Duration::from_millis(job.authorized.ttl_ms));
    match job.progress.state {
        JobState::Expired => {}
        JobState::Queued | JobState::Running if draft.now() >= end => {
            close(draft, job, (JobState::Expired, Some(EndReason::Expired)), None)?;
        }
        JobState::Queued
        | JobState::Running
        | JobState::Completed
        | JobState::PartiallyCompleted
        | JobState::Failed
        | JobState::Cancelled => return Err(RejectReason::WrongState.into()),
    }
    Ok(Outcome::Done)
}

/// Ends a job: what is left in its escrow goes back.
pub(super) fn close<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    mut job: Job,
    (state, reason): (JobState, Option<EndReason>),
    cancel: Option<Signed<JobCancel>>,
) -> Result<(), Refusal> {
    let refund = job.progress.left();
    draft.append(&CloseBody { job: job.id, state, reason, refund, cancel })?;
    let account = job.authorized.account;
    let (kind, from) = (HistoryKind::Refund, escrow(&job.id));
    transfer(draft, &Movement { kind, from, to: account, amount: refund, job: Some(job.id) })?;
    adjust_held(draft, account, Held::Returned(refund))?;
    drop_escrow(draft, &job.id)?;
    let progress = &mut job.progress;
    progress.refunded =
        progress.refunded.checked_add(refund).ok_or(RejectReason::AmountOverflow)?;
    progress.state = state;
    progress.reason = reason;
    progress.ended = Some(draft.now());
    job.save(draft);
    draft.remove(Table::OpenJobs, job.id.0.to_vec());
    draft.counts().open_jobs = draft.counts().open_jobs.saturating_sub(1);
    draft.tell(Event::JobEnded { job: job.id, state });
    Ok(())
}
