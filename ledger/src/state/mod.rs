//! The state machine: ledger, queue and registry. Pure.
//!
//! [`apply`] computes from the records and one stamped command what changes and what to answer. It reads no
//! clock, draws no entropy, writes nothing and logs nothing: two replicas that apply the same commands hold the
//! same bytes. [`query`] reads what came of it.
//!
//! # Invariants
//!
//! Those of the [crate], checked by [`check_invariants`].

mod admission;
mod decisions;
mod draft;
pub mod entry;
mod found;
mod invariants;
mod invites;
mod jobs;
pub(crate) mod keys;
mod labels;
pub mod money;
mod pay;
pub mod query;
pub mod record;
mod rotation;
mod settle;

use std::time::Duration;

use protocol::{
    ids::{AccountId, JobId, NodeId, TaskIndex},
    reject::RejectReason,
    wire::view::{JobState, TaskState},
};

pub use self::invariants::{Broken, check_invariants};
use self::{
    draft::{Draft, Outcome, Refusal, bytes_hash},
    record::UsedId,
};
use crate::{
    command::{Command, Reply, Stamped},
    records::{Changes, ReadError, Records},
};

/// What applying a command comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What to write, all of it in one batch.
    pub changes: Changes,
    /// What to answer.
    pub reply: Reply,
    /// What happened, for whoever keeps derived state: the leader's queue, watchers, metrics.
    pub events: Vec<Event>,
}

/// Something that happened to the replicated state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The mesh was founded.
    Founded,
    /// A job was submitted: its tasks wait.
    JobQueued {
        /// The job.
        job: JobId,
    },
    /// Tasks of a job ended, or will be tried again.
    TasksSettled {
        /// The job.
        job: JobId,
        /// Those that ended: `Completed` or `Failed`.
        ended: Vec<(TaskIndex, TaskState)>,
        /// Those that will be tried again, and how often they were tried.
        retried: Vec<(TaskIndex, u16)>,
    },
    /// A job ended: tasks of it that have not ended never will.
    JobEnded {
        /// The job.
        job: JobId,
        /// How.
        state: JobState,
    },
    /// A node asked to join, or something was decided about it.
    NodeChanged {
        /// The node.
        node: NodeId,
    },
    /// Credits of an owner moved.
    AccountChanged {
        /// The account.
        account: AccountId,
    },
}

/// How far a command's time may be ahead of the newest entry. A mesh may sleep for a winter; a clock that is
/// further off than this is broken, and would make everything that is signed afterwards look expired.
const JUMP_MAX: Duration = Duration::from_secs(400 * 24 * 3_600);

/// Applies one command to the records as they are.
///
/// Deterministic. What is wrong with a command (a signature, an amount, its time) is a
/// [`Reply::Rejected`], never an error. The same request gives the same reply and changes nothing; the same
/// request with another command is refused with `IdempotencyMismatch`.
///
/// # Errors
///
/// If a record cannot be read: the node must stop.
pub fn apply<R: Records + ?Sized>(records: &R, command: &Stamped) -> Result<Applied, ReadError> {
    let mut draft = Draft::new(records, command.at)?;
    let id = keys::request_id(&command.request);
    // The stamp is not part of it: a retry of the same request may carry a later one.
    let bytes = match bytes_hash(&command.command) {
        Ok(bytes) => bytes,
        Err(reason) => return Ok(Applied::unchanged(Reply::Rejected(reason.into()))),
    };
    if let Some(used) = draft.get::<UsedId>(&id)? {
        let same = used.bytes == bytes;
        let mismatch = || Reply::Rejected(RejectReason::IdempotencyMismatch.into());
        return Ok(Applied::unchanged(if same { used.reply } else { mismatch() }));
    }
    let outcome = decide(&mut draft, command);
    draft.finish(records, (id, bytes), outcome)
}

/// What a command does to the draft.
fn decide<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    command: &Stamped,
) -> Result<Outcome, Refusal> {
    if let Command::Found(genesis) = &command.command {
        return found::found(draft, &command.mesh, genesis);
    }
    let policy = draft.policy()?;
    if policy.mesh != command.mesh {
        return Err(RejectReason::WrongMesh.into());
    }
    if command.at > draft.head().time.saturating_add(JUMP_MAX) {
        return Err(RejectReason::OutsideValidity.into());
    }
    match &command.command {
        Command::Found(genesis) => found::found(draft, &command.mesh, genesis),
        Command::Enroll { statements, nonce } => {
            admission::enroll(draft, &policy, statements, nonce)
        }
        Command::Decide(decision) => decisions::decide(draft, &policy, decision),
        Command::Label(change) => labels::label(draft, &policy, change),
        Command::Invite(terms) => invites::create(draft, &policy, terms),
        Command::RevokeInvite(revoke) => invites::revoke(draft, &policy, revoke),
        Command::RotateKey { by_old, by_new } => rotation::rotate(draft, &policy, by_old, by_new),
        Command::EndKey(old) => rotation::end(draft, old),
        Command::Submit { authorization, spec } => {
            jobs::submit(draft, &policy, authorization, spec)
        }
        Command::Settle { receipts, retried } => settle::settle(draft, &policy, receipts, retried),
        Command::GiveUp { job, tasks } => settle::give_up(draft, *job, tasks),
        Command::Cancel(cancel) => jobs::cancel(draft, &policy, cancel),
        Command::Expire(job) => jobs::expire(draft, *job),
        Command::Transfer(transfer) => pay::pay(draft, &policy, transfer),
    }
}

impl Applied {
    /// Nothing changes.
    fn unchanged(reply: Reply) -> Self {
        Self { changes: Changes::default(), reply, events: Vec::new() }
    }
}
