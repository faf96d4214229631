//! The group of coordinators: who would be in it, who is, and what they keep for each other. The decisions are those of
//! [`Steward`]; this is its shell.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use ledger::{
    membership::{Candidate, Change, GroupView, MemberView, Policy, Steward},
    records::ReadError,
    replica::{ChangeError, Consensus as _, Group, GroupChange, Leadership, MemberRole},
    state::query,
};
use protocol::{
    ids::{Hash, JobId, NodeId},
    limits::{ADDRESSES_MAX, NODES_MAX},
    reject::RejectReason,
    time::{Clock as _, Timestamp},
    wire::{
        client::{ClientRequest, ClientResponse},
        enroll::NodeAddress,
        group::{self, Candidacy, CoordinatorView, Seat},
        manifest::OutputManifest,
    },
};
use tokio::sync::Mutex;

use super::{Coordinator, Shared, read_roster};
use crate::{
    blobs::{self, ObtainError},
    net::{PeerInfo, PeerPath},
    roles::clock::NodeClock,
};

/// How often the group is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A candidate that was not heard of for this long is none.
const CANDIDATE_FOR: Duration = Duration::from_secs(30);
/// How long the other coordinators may take to keep outputs.
const COPY_WITHIN: Duration = Duration::from_secs(2);
/// How long other coordinators are asked for something that this one does not have.
const FETCH_WITHIN: Duration = Duration::from_secs(3);
/// How long a node that ends waits for another one to lead.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(2);
/// So long after it began to lead, a leader may not have heard of all nodes.
const NEW_FOR: Duration = Duration::from_secs(15);

/// Who says that it would coordinate. Approved coordinators only, so at most [`NODES_MAX`].
#[derive(Debug, Default)]
pub(super) struct Candidates {
    heard: Mutex<BTreeMap<NodeId, Heard>>,
    leads_since: Mutex<Option<(u64, Timestamp)>>,
}

#[derive(Debug)]
struct Heard {
    at: Timestamp,
    clock_offset: Duration,
    direct: bool,
    candidacy: Candidacy,
}

impl Coordinator {
    /// A node says that it would coordinate, or does.
    pub(super) async fn stand(&self, from: NodeId, candidacy: Candidacy) -> ClientResponse {
        let shared = &self.shared;
        if !shared.may_coordinate(&from) {
            let detail = "this node is not approved as a coordinator";
            return ClientResponse::rejected(RejectReason::NotApproved, detail);
        }
        let incarnation = candidacy.incarnation;
        let wall = NodeClock::wall();
        let offset = candidacy.at.saturating_since(wall).max(wall.saturating_since(candidacy.at));
        let peers = shared.context.net.peers().await;
        let path = peers.iter().find(|peer| peer.node == from).map(|peer| peer.path);
        let heard = Heard {
            at: shared.context.clock.now(),
            clock_offset: offset,
            direct: path != Some(PeerPath::Relay),
            candidacy,
        };
        let mut all = shared.candidates.heard.lock().await;
        if all.len() < NODES_MAX || all.contains_key(&from) {
            all.insert(from, heard);
        }
        drop(all);
        let members = shared.replica.group().members;
        let own =
            members.iter().find(|member| (member.node, member.incarnation) == (from, incarnation));
        ClientResponse::Candidate(match own {
            Some(own) => group::Candidate::Admitted {
                raft_id: own.raft_id,
                members: members.iter().map(seat).collect(),
            },
            None => group::Candidate::Waits(self.why_not(from).await),
        })
    }

    /// Why a candidate is no member, for people.
    async fn why_not(&self, node: NodeId) -> String {
        let candidates = self.shared.candidates().await.unwrap_or_default();
        let candidate = candidates.iter().find(|candidate| candidate.node == node);
        match candidate.map(|candidate| candidate.eligible(&Policy::LAN)) {
            Some(Err(why)) => why.to_string(),
            Some(Ok(())) | None => "its turn has not come yet".to_owned(),
        }
    }

    /// The group as this node knows it.
    #[must_use]
    pub fn group_view(&self) -> group::GroupView {
        let status = self.shared.replica.status();
        group::GroupView {
            epoch: self.shared.context.epoch,
            leader: status.leadership.leader_node,
            leads: status.leadership.leader,
            term: status.leadership.term,
            commit_index: status.commit_index,
            applied_index: status.applied_index,
            members: status.members.iter().map(coordinator_view).collect(),
        }
    }

    /// Whether this node votes.
    #[must_use]
    pub fn votes(&self) -> bool {
        let here = self.shared.context.net.local();
        self.group_view().members.iter().any(|member| member.node == here && member.voter)
    }

    /// Whether this node leads, but has not for long.
    pub(super) fn leads_since_just_now(&self) -> bool {
        let since = self.shared.candidates.leads_since.try_lock();
        since.is_ok_and(|since| {
            since.is_none_or(|(_, at)| {
                self.shared.context.clock.now().saturating_since(at) < NEW_FOR
            })
        })
    }

    /// Looks after the group while this node leads, and makes known who is in it, until the node stops.
    pub(super) async fn keep_group(self) {
        let shared = &self.shared;
        let mut leadership = shared.replica.leadership();
        let mut steward: Option<(u64, Steward)> = None;
        loop {
            let now = *leadership.borrow_and_update();
            if let Err(error) = shared.look_around(now).await {
                tracing::warn!(error = %crate::app::chain(&error), "the coordinators could not be made known");
            }
            if now.leader {
                let is_new = steward.as_ref().is_none_or(|(term, _)| *term != now.term);
                if is_new {
                    let at = shared.context.clock.now();
                    *shared.candidates.leads_since.lock().await = Some((now.term, at));
                    steward = Some((now.term, Steward::new(Policy::LAN)));
                }
                if let Some((_, steward)) = &mut steward {
                    shared.tend(steward).await;
                }
            } else {
                steward = None;
            }
            let _either = tokio::time::timeout(LOOK_EVERY, leadership.changed()).await;
        }
    }

    /// Hands the leadership over, to the voter that has most of the log if nobody is named, and waits until it has it.
    ///
    /// # Errors
    ///
    /// If this node does not lead, the one that is named does not vote, or nobody took over in time.
    pub async fn hand_over(&self, to: Option<NodeId>) -> Result<(), ChangeError> {
        let replica = &self.shared.replica;
        let leadership = *replica.leadership().borrow();
        if !leadership.leader {
            return Err(ChangeError::NotLeader { leader: leadership.leader_node });
        }
        let (group, own) = (replica.group(), replica.raft_id());
        let able = group.members.iter().filter(|member| {
            member.raft_id != own
                && group.votes(member.raft_id)
                && to.is_none_or(|to| member.node == to)
        });
        let next = able.max_by_key(|member| group.matched.get(&member.raft_id));
        match next {
            Some(next) => replica.transfer(next.raft_id).await,
            None => Err(ChangeError::Senseless("nobody else votes".to_owned())),
        }
    }

    /// Hands the leadership over before this node ends, if somebody else can have it.
    pub async fn step_aside(&self) {
        match tokio::time::timeout(HAND_OVER_WITHIN, self.hand_over(None)).await {
            Ok(Ok(())) => tracing::info!("another coordinator leads from now on"),
            Ok(Err(ChangeError::NotLeader { .. } | ChangeError::Senseless(_))) => {}
            Ok(Err(error)) => tracing::info!(%error, "the leadership was not handed over"),
            Err(_) => tracing::info!("nobody took the leadership over in time"),
        }
    }

    /// Writes a snapshot of the records now, so that the log can be shortened.
    ///
    /// # Errors
    ///
    /// If the replica has stopped.
    pub async fn snapshot(&self) -> Result<(), ChangeError> {
        self.shared.replica.snapshot().await
    }

    /// Keeps outputs for the leader.
    pub(super) async fn keep(
        &self,
        from: NodeId,
        job: JobId,
        outputs: &[OutputManifest],
        inline: &[Vec<u8>],
    ) -> ClientResponse {
        if !self.shared.others().contains(&from) {
            return ClientResponse::rejected(RejectReason::NotPermitted, "for coordinators only");
        }
        match self.keep_outputs(from, job, outputs, inline).await {
            Ok(()) => ClientResponse::Kept,
            Err(reason) => ClientResponse::rejected(reason, "the outputs could not be kept"),
        }
    }

    /// Has as many other coordinators keep outputs as may be needed when this one is gone. Who is not there is not waited
    /// for: what was paid for is then on fewer disks.
    pub(super) async fn copy_outputs(
        &self,
        job: JobId,
        outputs: &[OutputManifest],
        inline: &[Vec<u8>],
    ) {
        let shared = &self.shared;
        let others = shared.others();
        if others.is_empty() {
            return;
        }
        let Ok(_permit) = shared.copies.acquire().await else { return };
        let peers = shared.context.net.peers().await;
        let reached = others.iter().filter(|node| peers.iter().any(|peer| peer.node == **node));
        let voters = shared.replica.group().voters.iter().map(|set| set.len()).max().unwrap_or(1);
        let needed = voters.div_ceil(2).max(2).saturating_sub(1).min(others.len());
        let keep = |node: &NodeId| {
            let (outputs, inline) = (outputs.to_vec(), inline.to_vec());
            shared.context.net.client(*node, ClientRequest::Keep { job, outputs, inline })
        };
        let keep = |node| {
            let asked = keep(node);
            async move { matches!(asked.await, Ok(ClientResponse::Kept)) }
        };
        let mut kept = reached.map(keep).collect::<FuturesUnordered<_>>();
        let enough = async {
            let mut copies = 0_usize;
            while copies < needed {
                match kept.next().await {
                    Some(true) => copies = copies.saturating_add(1),
                    Some(false) => {}
                    None => return false,
                }
            }
            true
        };
        if !tokio::time::timeout(COPY_WITHIN, enough).await.unwrap_or(false) {
            tracing::info!(%job, needed, "outputs are on fewer coordinators than they should be");
        }
    }
}

impl Shared {
    /// Where this node is.
    pub(super) async fn here(&self) -> NodeAddress {
        let addresses = self.context.net.listen_addrs().await;
        NodeAddress {
            node: self.context.net.local(),
            addresses: addresses.iter().map(ToString::to_string).take(ADDRESSES_MAX).collect(),
        }
    }

    /// Where the leader is, as far as known.
    pub(super) fn leader_address(&self) -> Vec<NodeAddress> {
        let leader = self.replica.leadership().borrow().leader_node;
        let coordinators = self.roster.borrow().coordinators.clone();
        coordinators.into_iter().filter(|other| Some(other.node) == leader).collect()
    }

    /// Content that a coordinator keeps: this one, else another.
    pub(super) async fn kept_content(&self, hash: Hash) -> Result<Vec<u8>, ObtainError> {
        if let Some(content) = self.context.blobs.get(&hash)? {
            return Ok(content.to_vec());
        }
        let others = self.others();
        let missing = ObtainError::Missing { hash, asked: others.len() };
        let obtaining = blobs::obtain(&self.context.blobs, &self.context.net, &others, [hash]);
        match tokio::time::timeout(FETCH_WITHIN, obtaining).await {
            Ok(obtained) => obtained?,
            Err(_) => return Err(missing),
        }
        self.context.blobs.get(&hash)?.map(|content| content.to_vec()).ok_or(missing)
    }

    /// Makes known who coordinates, the leader first.
    async fn look_around(&self, leadership: Leadership) -> Result<(), ReadError> {
        let group = self.replica.group();
        let here = self.here().await;
        let peers = self.context.net.peers().await;
        let mut nodes: Vec<_> = group.members.iter().map(|member| member.node).collect();
        nodes.sort_by_key(|node| (Some(*node) != leadership.leader_node, *node));
        nodes.dedup();
        let known = self.roster.borrow().coordinators.clone();
        let address = |node: NodeId| {
            let peer = peers.iter().find(|peer| peer.node == node).map(PeerInfo::node_address);
            let before = || known.iter().find(|known| known.node == node).cloned();
            peer.or_else(before).unwrap_or_else(|| NodeAddress { node, addresses: Vec::new() })
        };
        let coordinators = nodes
            .into_iter()
            .map(|node| if node == here.node { here.clone() } else { address(node) });
        let changes = group.index.saturating_add(leadership.term);
        self.publish_roster(Some((changes, coordinators.collect())))
    }

    /// Makes the member list known as the records have it; with these coordinators, or with those that were known.
    pub(super) fn publish_roster(
        &self,
        coordinators: Option<(u64, Vec<NodeAddress>)>,
    ) -> Result<(), ReadError> {
        let records = self.consensus.records();
        let known = self.roster.borrow().clone();
        let coordinators = match coordinators {
            Some(coordinators) => coordinators,
            None => {
                let group = self.replica.group();
                let term = self.replica.leadership().borrow().term;
                (group.index.saturating_add(term), known.coordinators.clone())
            }
        };
        let roster = read_roster(records.as_ref(), coordinators)?;
        self.roster.send_if_modified(|known| {
            let changed = **known != roster;
            if changed {
                *known = Arc::new(roster);
            }
            changed
        });
        Ok(())
    }

    /// What the steward needs to know about nodes.
    async fn candidates(&self) -> Result<Vec<Candidate>, ReadError> {
        let now = self.context.clock.now();
        let records = self.consensus.records();
        let mut heard = self.candidates.heard.lock().await;
        heard.retain(|node, heard| {
            now.saturating_since(heard.at) < CANDIDATE_FOR && self.may_coordinate(node)
        });
        let mut candidates = Vec::new();
        for (node, heard) in heard.iter() {
            let Some(record) = query::node(records.as_ref(), node)? else { continue };
            let Candidacy { incarnation, up_ms, disk_free_bytes, sync_us, .. } = heard.candidacy;
            candidates.push(Candidate {
                node: *node,
                incarnation,
                owner: record.account,
                up: Duration::from_millis(up_ms),
                direct: heard.direct,
                mobile: heard.candidacy.mobile,
                disk_free: disk_free_bytes,
                sync: sync_us.map(Duration::from_micros),
                clock_offset: Some(heard.clock_offset),
                asked: heard.candidacy.asked,
                leaving: heard.candidacy.leaving,
            });
        }
        drop(heard);
        Ok(candidates)
    }

    /// Lets the steward decide, and does what it says.
    async fn tend(&self, steward: &mut Steward) {
        let candidates = match self.candidates().await {
            Ok(candidates) => candidates,
            Err(error) => {
                tracing::error!(error = %crate::app::chain(&error), "the nodes could not be read");
                return;
            }
        };
        let group = self.replica.group();
        let view = group_view(self.replica.raft_id(), &group);
        let Some(change) = steward.decide(self.context.clock.now(), &view, &candidates) else {
            return;
        };
        tracing::info!(?change, "the group of coordinators changes");
        if let Err(error) = self.perform(change, &group).await {
            tracing::warn!(error = %crate::app::chain(&error), "the group of coordinators was not changed");
        }
    }

    async fn perform(&self, change: Change, group: &Group) -> Result<(), ChangeError> {
        match change {
            Change::Admit(node, incarnation) => {
                self.replica.admit(node, incarnation).await.map(drop)
            }
            Change::Voters(voters) => {
                self.replica.change(&GroupChange::Voters(voters), group).await
            }
            Change::HandOver(to) => self.replica.transfer(to).await,
            Change::Remove(raft_id) => {
                self.replica.change(&GroupChange::Remove(raft_id), group).await
            }
        }
    }
}

fn group_view(own: u64, group: &Group) -> GroupView {
    let members = group.members.iter().map(|member| {
        let is_own = member.raft_id == own;
        let matched = group.matched.get(&member.raft_id);
        let lag = matched.map(|matched| group.last_index.saturating_sub(*matched));
        let silent = group.silent.get(&member.raft_id).copied();
        MemberView {
            raft_id: member.raft_id,
            node: member.node,
            incarnation: member.incarnation,
            lag: if is_own { Some(0) } else { lag },
            silent: if is_own { Some(Duration::ZERO) } else { silent },
        }
    });
    GroupView {
        own,
        committed: group.committed,
        voters: group.voters.clone(),
        members: members.collect(),
    }
}

fn coordinator_view(member: &ledger::replica::MemberStatus) -> CoordinatorView {
    CoordinatorView { node: member.node, voter: member.role == MemberRole::Voter, lag: member.lag }
}

const fn seat(member: &ledger::replica::GroupMember) -> Seat {
    Seat { raft_id: member.raft_id, node: member.node, incarnation: member.incarnation }
}
