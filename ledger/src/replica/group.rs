//! Who is in the group, and how that changes: one change at a time, each conditional on the membership that it was
//! decided for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openraft::{
    ChangeMembers, Instant,
    async_runtime::watch::WatchReceiver,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
    raft::Precondition,
};
use protocol::ids::NodeId;
use thiserror::Error;
use tokio::time;

use super::{
    Fatal, Replica,
    raft::{LogId, Member, StoredMembership, Types},
};

/// How long a change of the membership may take before its outcome is called unknown.
const CHANGE_MAX: Duration = Duration::from_secs(10);
/// How long a handover may take.
const TRANSFER_MAX: Duration = Duration::from_secs(5);

/// A member of the group and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupMember {
    /// The number: the index of the entry that admitted it, so that no number is used twice.
    pub raft_id: u64,
    /// The node.
    pub node: NodeId,
    /// Its data directory. A node that lost it comes back as another member.
    pub incarnation: [u8; 16],
}

impl GroupMember {
    pub(crate) fn member(&self) -> (u64, Member) {
        (self.raft_id, Member { node: self.node, incarnation: self.incarnation })
    }
}

/// What a node needs to join: its number, and whom to believe until it has a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Its number.
    pub raft_id: u64,
    /// The members.
    pub members: Vec<GroupMember>,
}

/// The membership that is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Which entry says so. A change is refused if another one came between.
    pub(crate) at: Option<LogId>,
    /// The entry's index, for people.
    pub index: u64,
    /// Whether that entry is committed.
    pub committed: bool,
    /// One set of voters, or two while it changes from one to the other.
    pub voters: Vec<BTreeSet<u64>>,
    /// Everybody: voters and learners, by number.
    pub members: Vec<GroupMember>,
    /// While this node leads: what each member has of the log. Its own is the last entry.
    pub matched: BTreeMap<u64, u64>,
    /// While this node leads: how long ago each other member answered last. Who never did is not in it.
    pub silent: BTreeMap<u64, Duration>,
    /// The last entry of this node's log.
    pub last_index: u64,
}

impl Group {
    /// Whether a change of voters was begun and not completed.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        self.voters.len() > 1
    }

    /// Whether a member votes, in the present or the coming set.
    #[must_use]
    pub fn votes(&self, raft_id: u64) -> bool {
        self.voters.iter().any(|set| set.contains(&raft_id))
    }
}

/// What is to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupChange {
    /// The voters become these, in one joint change. Each is a member already. Who was a voter and is not among
    /// them stays as a learner.
    Voters(BTreeSet<u64>),
    /// A learner leaves.
    Remove(u64),
}

/// The membership was not changed, or not as far as this node knows.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// Only the leader changes it.
    #[error("this node does not lead its coordinators")]
    NotLeader {
        /// Who does.
        leader: Option<NodeId>,
    },
    /// It is not what the change was decided for any more, or another change is under way: look again.
    #[error("the membership has changed meanwhile")]
    Outdated,
    /// It makes no sense for this membership.
    #[error("the membership cannot be changed so: {0}")]
    Senseless(String),
    /// Whether it was done is not known. Look again.
    #[error("whether the membership was changed is not known")]
    Unknown,
    /// The replica has stopped.
    #[error("the ledger of this node has stopped")]
    Stopped(#[source] Fatal),
}

impl Replica {
    /// The membership that is in effect, as this node knows it.
    #[must_use]
    pub fn group(&self) -> Group {
        let metrics = self.raft().metrics().borrow_watched().clone();
        let stored: &StoredMembership = &metrics.membership_config;
        let (membership, at) = (stored.membership(), *stored.log_id());
        let last_index = metrics.last_log_index.unwrap_or(0);
        let replication = metrics.replication.iter().flatten();
        let heard = metrics.heartbeat.iter().flatten();
        let index = at.map_or(0, |at| at.index);
        Group {
            at,
            index,
            committed: metrics.committed_membership_config.log_id() == stored.log_id(),
            voters: membership.get_joint_config().clone(),
            members: membership
                .nodes()
                .map(|(id, member)| GroupMember {
                    raft_id: *id,
                    node: member.node,
                    incarnation: member.incarnation,
                })
                .collect(),
            matched: replication
                .map(|(id, matched)| (*id, matched.map_or(0, |matched| matched.index)))
                .collect(),
            silent: heard.filter_map(|(id, at)| at.map(|at| (*id, at.elapsed()))).collect(),
            last_index,
        }
    }

    /// This replica's number.
    #[must_use]
    pub fn raft_id(&self) -> u64 {
        self.identity().raft_id
    }

    /// This replica's data directory.
    #[must_use]
    pub fn incarnation(&self) -> [u8; 16] {
        self.identity().incarnation
    }

    /// Makes a node with this data directory a learner. Its number is the index of a blank entry that is written
    /// for it. A second call for the same node and directory returns the same number.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`]. After [`ChangeError::Unknown`] the call can be repeated.
    pub async fn admit(
        &self,
        node: NodeId,
        incarnation: [u8; 16],
    ) -> Result<Admission, ChangeError> {
        let group = self.group();
        let known = |group: &Group| {
            group
                .members
                .iter()
                .find(|member| (member.node, member.incarnation) == (node, incarnation))
                .map(|member| member.raft_id)
        };
        if let Some(raft_id) = known(&group) {
            return Ok(Admission { raft_id, members: group.members });
        }
        let written = self.within(self.raft().write_blank()).await?;
        let raft_id = written.log_id.index;
        let member = Member { node, incarnation };
        let nodes = ChangeMembers::AddNodes(BTreeMap::from([(raft_id, member)]));
        self.change_to(nodes, true, &group).await?;
        Ok(Admission { raft_id, members: self.group().members })
    }

    /// Changes the membership if it still is `decided_for`.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`].
    pub async fn change(
        &self,
        change: &GroupChange,
        decided_for: &Group,
    ) -> Result<(), ChangeError> {
        match change {
            GroupChange::Voters(voters) => {
                let change = ChangeMembers::ReplaceAllVoters(voters.clone());
                self.change_to(change, true, decided_for).await?;
                if !voters.contains(&self.raft_id()) {
                    self.step_down(voters).await;
                }
                Ok(())
            }
            GroupChange::Remove(raft_id) => {
                let nodes = ChangeMembers::RemoveNodes(BTreeSet::from([*raft_id]));
                self.change_to(nodes, true, decided_for).await
            }
        }
    }

    /// Hands the leadership to a voter, and returns when it has it. Commands are held meanwhile.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NotLeader`] if this node does not lead, [`ChangeError::Senseless`] if `to` does not vote,
    /// [`ChangeError::Unknown`] if nobody else leads after some seconds.
    pub async fn transfer(&self, to: u64) -> Result<(), ChangeError> {
        let leadership = *self.leadership_now().borrow();
        if leadership.leader_node != Some(self.identity().node) {
            return Err(ChangeError::NotLeader { leader: leadership.leader_node });
        }
        if to == self.raft_id() {
            return Ok(());
        }
        if !self.group().votes(to) {
            return Err(ChangeError::Senseless(format!("member {to} does not vote")));
        }
        self.raft().trigger().transfer_leader(to).await.map_err(|_| self.has_stopped())?;
        let mut metrics = self.raft().server_metrics();
        let own = self.raft_id();
        let handed_over = async {
            loop {
                let leader = metrics.borrow_and_update().current_leader;
                if leader.is_some_and(|leader| leader != own) {
                    return Ok(());
                }
                metrics.changed().await.map_err(|_| self.has_stopped())?;
            }
        };
        time::timeout(TRANSFER_MAX, handed_over).await.unwrap_or(Err(ChangeError::Unknown))
    }

    /// Ends the leadership of this node, which does not vote any more. openraft does so by itself only for a leader
    /// that is no member at all.
    async fn step_down(&self, voters: &BTreeSet<u64>) {
        let matched = self.group().matched;
        let next = voters.iter().max_by_key(|id| matched.get(*id));
        if let Some(next) = next
            && self.transfer(*next).await.is_ok()
        {
            return;
        }
        // Nobody took over yet: then the voters elect one.
        if self.raft().trigger().refresh_server_state(None, None).await.is_err() {
            tracing::debug!("the replica stopped while it stepped down");
        }
    }

    /// Writes a snapshot now.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Stopped`].
    pub async fn snapshot(&self) -> Result<(), ChangeError> {
        self.raft().trigger().snapshot().await.map_err(|_| self.has_stopped())
    }

    async fn change_to(
        &self,
        members: ChangeMembers<u64, Member>,
        retain: bool,
        decided_for: &Group,
    ) -> Result<(), ChangeError> {
        let unchanged =
            Precondition::LastMembershipLogId { last_membership_log_id: decided_for.at };
        let change = self.raft().change_membership_if(members, retain, [unchanged]);
        let written = self.within(change).await?;
        self.seen(written.log_id).await
    }

    /// Waits until [`Self::group`] shows what the entry at `changed` made of the membership: openraft's figures come a
    /// little after its answer, and whoever asks next must not decide for what was.
    async fn seen(&self, changed: LogId) -> Result<(), ChangeError> {
        let mut metrics = self.raft().metrics();
        let shown = async {
            loop {
                let at = *metrics.borrow_and_update().membership_config.log_id();
                if at.is_some_and(|at| at.index >= changed.index) {
                    return Ok(());
                }
                metrics.changed().await.map_err(|_| self.has_stopped())?;
            }
        };
        time::timeout(CHANGE_MAX, shown).await.unwrap_or(Err(ChangeError::Unknown))
    }

    async fn within<T>(
        &self,
        change: impl Future<Output = Result<T, RaftError<Types, ClientWriteError<Types>>>>,
    ) -> Result<T, ChangeError> {
        match time::timeout(CHANGE_MAX, change).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(RaftError::Fatal(_))) => Err(self.has_stopped()),
            Ok(Err(RaftError::APIError(error))) => Err(match error {
                ClientWriteError::ForwardToLeader(forward) => {
                    ChangeError::NotLeader { leader: forward.leader_node.map(|member| member.node) }
                }
                ClientWriteError::LogEntryDiscarded(_) => ChangeError::Unknown,
                ClientWriteError::PreconditionFailed(_) => ChangeError::Outdated,
                ClientWriteError::ChangeMembershipError(error) => {
                    if matches!(error, ChangeMembershipError::InProgress(_)) {
                        ChangeError::Outdated
                    } else {
                        ChangeError::Senseless(error.to_string())
                    }
                }
            }),
            Err(_) => Err(ChangeError::Unknown),
        }
    }

    fn has_stopped(&self) -> ChangeError {
        ChangeError::Stopped(self.why_stopped())
    }
}
