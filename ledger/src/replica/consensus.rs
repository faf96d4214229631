//! What the rest of a node knows about agreement.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use protocol::{
    ids::{MeshId, NodeId, RequestId},
    time::UnixMillis,
};
use thiserror::Error;
use tokio::sync::{broadcast, watch};

use super::Fatal;
use crate::{
    command::{Command, Reply, Stamped},
    records::Records,
    state::Event,
};

/// Reads the wall clock. Only the leader's is used, and only to stamp entries.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// A command that has no place and no time yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The same request is applied once, however often it is proposed.
    pub request: RequestId,
    /// What is asked for.
    pub command: Command,
}

impl Proposal {
    /// The command as it is written into the log of `mesh`, at the leader's time.
    #[must_use]
    pub fn stamp(self, mesh: MeshId, at: UnixMillis) -> Stamped {
        Stamped { request: self.request, mesh, at, command: self.command }
    }
}

/// Why there is no reply to a proposal. A command that was refused has one: [`Reply::Rejected`].
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// This node does not lead, and nobody led within the time that a command is held. Nothing was written.
    /// Propose again, at `leader` if it is known.
    #[error("this node does not lead its coordinators")]
    NoLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// Whether the command was or will be applied is not known. Propose the same request again: it is applied
    /// once.
    #[error("whether the command was applied is not known; the same request can be sent again")]
    Unknown,
    /// The command is larger than an entry of the log may be. Nothing was written.
    #[error("the command takes {bytes} bytes, but an entry of the log takes at most {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
    /// The replica has stopped and will not start again in this process.
    #[error("the ledger of this node has stopped")]
    Stopped(#[source] Fatal),
}

/// Who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    /// Whether this node does, and has applied everything that its predecessors committed. A leader's duties
    /// start when this becomes true and end when it becomes false.
    pub leader: bool,
    /// The term that this node is in. Grows with each election.
    pub term: u64,
    /// While this node leads: the last entry that was committed when it began to. A later index is its own.
    pub since_index: u64,
    /// Who leads, if that is known.
    pub leader_node: Option<NodeId>,
}

/// What an entry did, for those who keep soft state beside the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedEvents {
    /// The entry's place in the log.
    pub index: u64,
    /// What happened, in order. Not empty.
    pub events: Vec<Event>,
}

/// The group of coordinators as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// Who leads.
    pub leadership: Leadership,
    /// The last entry that this node knows to be committed.
    pub commit_index: u64,
    /// The last entry that this node applied.
    pub applied_index: u64,
    /// Everybody in it, in the order of their numbers.
    pub members: Vec<MemberStatus>,
}

/// A member of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberStatus {
    /// Which node.
    pub node: NodeId,
    /// What it may do.
    pub role: MemberRole,
    /// Entries that it lacks. Only the leader knows.
    pub lag: Option<u64>,
}

/// What a member of the group may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberRole {
    /// It counts for a majority.
    Voter,
    /// It follows only.
    Learner,
}

/// Orders commands, applies them, keeps the records.
///
/// All futures can be dropped at any time; a proposal whose future was dropped may still be applied.
pub trait Consensus: fmt::Debug + Send + Sync {
    /// Proposes one command and waits until it is applied. Many at a time share the cost of making them durable.
    ///
    /// # Errors
    ///
    /// See [`ProposeError`].
    fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<Reply, ProposeError>>;

    /// Proposes commands in their order and waits until all are applied. Others' commands may come between.
    ///
    /// # Errors
    ///
    /// See [`ProposeError`]: the first that any of them met. Commands before and after it may be applied, so
    /// after [`ProposeError::Unknown`] all are to be proposed again.
    fn propose_many(
        &self,
        proposals: Vec<Proposal>,
    ) -> BoxFuture<'_, Result<Vec<Reply>, ProposeError>>;

    /// Waits until the records hold everything that was answered anywhere before this call, and returns the
    /// index of an applied entry that makes it so.
    ///
    /// # Errors
    ///
    /// [`ProposeError::NoLeader`], [`ProposeError::Unknown`] (no majority answers) and [`ProposeError::Stopped`].
    fn read_barrier(&self) -> BoxFuture<'_, Result<u64, ProposeError>>;

    /// Who leads, now and from now on.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// The group as it is now.
    fn status(&self) -> GroupStatus;

    /// The records as they are at each read: two reads may lie on both sides of an entry.
    fn records(&self) -> Arc<dyn Records + Send + Sync>;

    /// The records as they are now: all reads of the view see the same state. Drop it soon, because what it sees
    /// cannot be cleaned up while it lives.
    fn view(&self) -> Box<dyn Records + Send + Sync + '_>;

    /// What entries do, from now on.
    ///
    /// Applying never waits for a reader: one that falls behind by more than the buffer gets
    /// [`broadcast::error::RecvError::Lagged`] and has to build its state from the records again.
    fn applied_events(&self) -> broadcast::Receiver<Arc<AppliedEvents>>;

    /// Why the replica stopped, once it has. The process must then stop as well.
    fn fatal(&self) -> watch::Receiver<Option<Fatal>>;

    /// Stops taking part, syncs and releases the threads. Later proposals get [`ProposeError::Stopped`].
    fn shutdown(&self) -> BoxFuture<'_, ()>;
}
