//! The state machine: ledger, queue and registry. Pure.
//!
//! [`apply`] computes from the records and one stamped command what changes and what to answer. It reads no
//! clock, draws no entropy, writes nothing and logs nothing: two replicas that apply the same commands hold the
//! same bytes. [`query`] reads what came of it.
//!
//! # Invariants
//!
//! Those of the [crate](crate), checked by [`check_invariants`].

pub mod entry;
pub(crate) mod keys;
pub mod query;
pub mod record;

use protocol::{
    ids::{AccountId, JobId, NodeId, TaskIndex},
    wire::view::{JobState, TaskState},
};

use crate::{
    command::{Reply, Stamped},
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

/// Applies one command to the records as they are.
///
/// Deterministic. What is wrong with a command (a signature, an amount, its time) is a
/// [`Reply::Rejected`], never an error. The same request gives the same reply and changes nothing.
///
/// # Errors
///
/// If a record cannot be read: the node must stop.
pub fn apply<R: Records + ?Sized>(records: &R, command: &Stamped) -> Result<Applied, ReadError> {
    let _ = (records, command);
    let reply = Reply::Rejected(protocol::reject::RejectReason::Internal.into());
    Ok(Applied { changes: Changes::default(), reply, events: Vec::new() })
}
