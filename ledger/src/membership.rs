//! Who votes: decides from the group as it is and from what is known about nodes what to change next.
//!
//! A pure core: the leader's shell calls [`Steward::decide`] again and again and performs what it says, one change
//! at a time.
//!
//! # Invariants
//!
//! 1. The voters that are asked for are 1, 3 or 5, never 2 or 4: an even number needs more of them than the next
//!    smaller odd one and survives no more failures.
//! 2. Nothing is decided while a membership is not committed. A joint membership is completed first.
//! 3. A learner is made a voter only when it has caught up and answers; dead voters are replaced only by such.
//! 4. Three voters never become fewer because some are silent, only because some leave.
//! 5. A member whose node has another data directory now never becomes a voter.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use protocol::{
    ids::{AccountId, NodeId},
    time::Timestamp,
};

/// Learners beside the voters, at most. Further nodes stay outside until there is room.
pub const LEARNERS_MAX: usize = 4;
/// Voters, at most.
pub const VOTERS_MAX: usize = 5;
/// From so many eligible nodes on there are five voters without being asked.
const FIVE_FROM: usize = 7;

/// How careful a group is with its membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// A node is a candidate when it has been up for so long.
    pub up_min: Duration,
    /// A learner votes when it has been caught up for so long.
    pub caught_up_min: Duration,
    /// Caught up means: at most so many entries behind.
    pub lag_max: u64,
    /// And: answered within so long.
    pub contact_max: Duration,
    /// A voter that does not answer for so long is replaced, if there is a learner for it.
    pub dead_after: Duration,
    /// A candidate has at least so many bytes free on its disk.
    pub disk_free_min: u64,
    /// And syncs at least so fast, 99 times of 100.
    pub sync_max: Duration,
    /// And its clock differs by at most so much.
    pub clock_offset_max: Duration,
}

impl Policy {
    /// On a LAN: a household's machines, near each other.
    pub const LAN: Self = Self {
        up_min: Duration::from_secs(10),
        caught_up_min: Duration::from_secs(5),
        lag_max: 500,
        contact_max: Duration::from_secs(3),
        dead_after: Duration::from_secs(5 * 60),
        disk_free_min: 1024 * 1024 * 1024,
        sync_max: Duration::from_millis(200),
        clock_offset_max: Duration::from_secs(2),
    };

    /// Across the internet.
    pub const WAN: Self = Self {
        up_min: Duration::from_secs(10 * 60),
        caught_up_min: Duration::from_secs(10 * 60),
        lag_max: 1_000,
        contact_max: Duration::from_secs(10),
        dead_after: Duration::from_secs(30 * 60),
        disk_free_min: 5 * 1024 * 1024 * 1024,
        sync_max: Duration::from_millis(200),
        clock_offset_max: Duration::from_secs(2),
    };
}

/// A member as the leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberView {
    /// Its number.
    pub raft_id: u64,
    /// Its node.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: [u8; 16],
    /// Entries that it lacks; `None` if it has not answered yet.
    pub lag: Option<u64>,
    /// How long ago it answered; `None` if it has not yet. The leader's own is zero.
    pub silent: Option<Duration>,
}

/// The group as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// The leader's number.
    pub own: u64,
    /// Whether the membership is committed.
    pub committed: bool,
    /// One set of voters, or two while it changes.
    pub voters: Vec<BTreeSet<u64>>,
    /// Everybody.
    pub members: Vec<MemberView>,
}

/// What is known about a node that may coordinate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// Its data directory for the ledger.
    pub incarnation: [u8; 16],
    /// Whose it is: voters of several owners are preferred.
    pub owner: AccountId,
    /// How long it has been up.
    pub up: Duration,
    /// Whether it is reached without a relay.
    pub direct: bool,
    /// Whether it is a phone or runs on a battery.
    pub mobile: bool,
    /// Free bytes where its ledger lies.
    pub disk_free: u64,
    /// What 99 of 100 syncs take at most there; `None` if not measured yet.
    pub sync: Option<Duration>,
    /// How far its clock is from the leader's; `None` if not known.
    pub clock_offset: Option<Duration>,
    /// An operator asked for it: it waits for nothing but to catch up.
    pub asked: bool,
    /// It wants to leave, or was told to.
    pub leaving: bool,
}

/// Why a node does not become a member, or not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ineligible {
    /// It was started a moment ago.
    #[error("it has not been up for long enough")]
    JustStarted,
    /// It is reached through a relay.
    #[error("it is reached through a relay only")]
    NotDirect,
    /// It is a phone or runs on a battery.
    #[error("it is mobile")]
    Mobile,
    /// Its disk is nearly full.
    #[error("its disk has too little room")]
    DiskFull,
    /// Its disk is slow.
    #[error("its disk syncs too slowly")]
    DiskSlow,
    /// Its clock is wrong.
    #[error("its clock differs too much")]
    ClockOff,
    /// It leaves.
    #[error("it is leaving")]
    Leaving,
}

impl Candidate {
    /// Whether it may become a member, and if not, why.
    ///
    /// # Errors
    ///
    /// The first reason against it.
    pub fn eligible(&self, policy: &Policy) -> Result<(), Ineligible> {
        let checks = [
            (self.leaving, Ineligible::Leaving),
            (!self.direct, Ineligible::NotDirect),
            (self.mobile, Ineligible::Mobile),
            (self.disk_free < policy.disk_free_min, Ineligible::DiskFull),
            (self.sync.is_some_and(|sync| sync > policy.sync_max), Ineligible::DiskSlow),
            (
                self.clock_offset.is_some_and(|offset| offset > policy.clock_offset_max),
                Ineligible::ClockOff,
            ),
            (!self.asked && self.up < policy.up_min, Ineligible::JustStarted),
        ];
        checks.into_iter().find(|(against, _)| *against).map_or(Ok(()), |(_, reason)| Err(reason))
    }
}

/// What to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Make a node a learner.
    Admit(NodeId, [u8; 16]),
    /// These become the voters, in one joint change; who votes no more stays as a learner.
    Voters(BTreeSet<u64>),
    /// Hand the leadership to this member.
    HandOver(u64),
    /// A learner is no member any more.
    Remove(u64),
}

/// Decides. Keeps since when members are well or silent; a new leader begins to count anew.
#[derive(Debug, Clone)]
pub struct Steward {
    policy: Policy,
    /// Voters that an operator wants, if one said so: 1, 3 or 5.
    wanted: Option<usize>,
    /// Since when a member is caught up. Only present members are in it.
    well_since: BTreeMap<u64, Timestamp>,
    /// Since when a member does not answer. Only present members are in it.
    silent_since: BTreeMap<u64, Timestamp>,
}

/// What is known of one member now.
struct Standing<'a> {
    member: &'a MemberView,
    candidate: Option<&'a Candidate>,
    votes: bool,
    /// Its node has another data directory now.
    superseded: bool,
    /// It is silent now.
    silent: bool,
    /// It has been silent for long.
    dead: bool,
    /// It may be made a voter now.
    ready: bool,
    /// It will be ready when it has been caught up for long enough.
    coming: bool,
}

impl Standing<'_> {
    fn leaving(&self) -> bool {
        self.candidate.is_some_and(|candidate| candidate.leaving)
    }

    /// It does not answer, or is not what the group knows.
    fn lost(&self) -> bool {
        self.dead || self.superseded
    }
}

impl Steward {
    /// For a leader that has just begun to lead.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, wanted: None, well_since: BTreeMap::new(), silent_since: BTreeMap::new() }
    }

    /// An operator wants so many voters; `None` leaves it to the rules. What is not 1, 3 or 5 becomes the next
    /// smaller one that is.
    pub fn want(&mut self, voters: Option<usize>) {
        self.wanted = voters.map(odd_at_most);
    }

    /// What to change now, if anything. `candidates` are the nodes that may coordinate and want to, members among
    /// them; a member that is not among them is judged by the group alone.
    pub fn decide(
        &mut self,
        now: Timestamp,
        group: &GroupView,
        candidates: &[Candidate],
    ) -> Option<Change> {
        self.observe(now, group);
        if !group.committed {
            return None;
        }
        if let [_, coming] = group.voters.as_slice() {
            return Some(Change::Voters(coming.clone()));
        }
        let voters = group.voters.first()?;
        let standings: Vec<_> = group
            .members
            .iter()
            .map(|member| self.standing(now, member, voters, candidates))
            .collect();
        let own_leaves = standings.iter().any(|it| it.member.raft_id == group.own && it.leaving());
        // A leader that does not vote, because a change was cut off there, leads no longer than it must.
        let own_votes = voters.contains(&group.own);
        if (own_leaves || !own_votes)
            && let Some(next) = successor(group.own, &standings)
        {
            return Some(Change::HandOver(next));
        }
        let target = self.voters(group.own, voters, &standings);
        if target != *voters {
            return Some(Change::Voters(target));
        }
        let gone = standings.iter().find(|it| !it.votes && (it.superseded || it.leaving()));
        if let Some(gone) = gone {
            return Some(Change::Remove(gone.member.raft_id));
        }
        self.newcomer(&standings, candidates)
    }

    /// Notes who answers and who has caught up.
    fn observe(&mut self, now: Timestamp, group: &GroupView) {
        let present: BTreeSet<u64> = group.members.iter().map(|member| member.raft_id).collect();
        self.well_since.retain(|id, _| present.contains(id));
        self.silent_since.retain(|id, _| present.contains(id));
        for member in &group.members {
            let answers = member.silent.is_some_and(|silent| silent <= self.policy.contact_max);
            let well = answers && member.lag.is_some_and(|lag| lag <= self.policy.lag_max);
            note(&mut self.well_since, member.raft_id, well, now);
            note(&mut self.silent_since, member.raft_id, !answers, now);
        }
    }

    fn standing<'a>(
        &self,
        now: Timestamp,
        member: &'a MemberView,
        voters: &BTreeSet<u64>,
        candidates: &'a [Candidate],
    ) -> Standing<'a> {
        let since = |times: &BTreeMap<u64, Timestamp>| {
            times.get(&member.raft_id).map(|since| now.saturating_since(*since))
        };
        let candidate = candidates.iter().find(|candidate| candidate.node == member.node);
        let superseded =
            candidate.is_some_and(|candidate| candidate.incarnation != member.incarnation);
        let asked = candidate.is_some_and(|candidate| candidate.asked);
        let well_for = since(&self.well_since);
        let waited = well_for.is_some_and(|well| asked || well >= self.policy.caught_up_min);
        let eligible = candidate.is_some_and(|candidate| candidate.eligible(&self.policy).is_ok());
        Standing {
            member,
            candidate,
            votes: voters.contains(&member.raft_id),
            superseded,
            silent: self.silent_since.contains_key(&member.raft_id),
            dead: since(&self.silent_since).is_some_and(|silent| silent >= self.policy.dead_after),
            ready: waited && eligible && !superseded,
            coming: well_for.is_some() && eligible && !superseded,
        }
    }

    /// Who should vote.
    fn voters(
        &self,
        own: u64,
        voters: &BTreeSet<u64>,
        standings: &[Standing<'_>],
    ) -> BTreeSet<u64> {
        let present: Vec<_> = standings.iter().filter(|it| it.votes && !it.leaving()).collect();
        let alive: Vec<_> = present.iter().copied().filter(|it| !it.lost()).collect();
        let mut ready: Vec<_> = standings.iter().filter(|it| !it.votes && it.ready).collect();
        let size = self.size(voters, &present, alive.len().saturating_add(ready.len()));
        let coming = standings.iter().filter(|it| !it.votes && it.coming).count();
        let soon = odd_at_most(alive.len().saturating_add(coming).min(self.allowed(voters)));
        if size < voters.len() && soon > size {
            // Who leaves is waited for by those who will take its place, also after a change of leaders.
            return voters.clone();
        }
        let mut chosen = alive;
        // Of more than are wanted the leader stays, and then the oldest.
        chosen.sort_by_key(|it| (it.member.raft_id != own, it.member.raft_id));
        chosen.truncate(size);
        while chosen.len() < size {
            // Another owner's machine first: it is less likely to fail together with the others.
            let next = (0..ready.len()).min_by_key(|at| {
                let it = ready.get(*at);
                let shared = it.is_some_and(|it| chosen.iter().any(|other| same_owner(it, other)));
                (shared, it.map(|it| it.member.raft_id))
            });
            let Some(next) = next else { break };
            chosen.push(ready.remove(next));
        }
        // Where nobody can replace the lost they stay: three voters with one that is away are better than one. One
        // that is silent may come back; one that is superseded will not, so it is the last to be kept.
        let mut silent: Vec<_> = present.into_iter().filter(|it| it.lost()).collect();
        silent.sort_by_key(|it| (!it.superseded, it.member.raft_id));
        while chosen.len() < size
            && let Some(stays) = silent.pop()
        {
            chosen.push(stays);
        }
        let ids: BTreeSet<u64> = chosen.iter().map(|it| it.member.raft_id).collect();
        // A change commits only with a majority of those who will vote: one that does not answer now cannot follow on.
        let answers = chosen.iter().filter(|it| !it.silent && !it.superseded).count();
        let commits = answers.saturating_mul(2) > ids.len();
        if ids.len() == size && commits { ids } else { voters.clone() }
    }

    /// How many may vote, if there are not very many nodes.
    fn allowed(&self, voters: &BTreeSet<u64>) -> usize {
        // Five stay five until somebody leaves.
        self.wanted.unwrap_or_else(|| voters.len().max(3))
    }

    /// How many should vote.
    fn size(&self, voters: &BTreeSet<u64>, present: &[&Standing<'_>], able: usize) -> usize {
        let allowed = match self.wanted {
            None if able >= FIVE_FROM => VOTERS_MAX,
            Some(_) | None => self.allowed(voters),
        };
        let possible = odd_at_most(able.min(allowed));
        // Those that are silent count as long as they are not replaced: only who leaves makes the group smaller.
        let kept = odd_at_most(present.len().min(allowed));
        // Three that answer and two that are lost survive no further failure; three that answer survive one.
        let lost = present.iter().filter(|it| it.lost()).count();
        if kept == VOTERS_MAX && lost >= 2 && possible == 3 { 3 } else { possible.max(kept) }
    }

    /// A node to be made a learner.
    fn newcomer(&self, standings: &[Standing<'_>], candidates: &[Candidate]) -> Option<Change> {
        let learners = standings.iter().filter(|it| !it.votes).count();
        if learners >= LEARNERS_MAX {
            let idle = standings.iter().find(|it| !it.votes && it.dead);
            return idle.map(|it| Change::Remove(it.member.raft_id));
        }
        let is_member = |candidate: &&Candidate| {
            standings.iter().any(|it| {
                (it.member.node, it.member.incarnation) == (candidate.node, candidate.incarnation)
            })
        };
        let outside = candidates.iter().filter(|candidate| !is_member(candidate));
        let able = outside.filter(|candidate| candidate.eligible(&self.policy).is_ok());
        // Who was asked for first, then in the order of their ids: the same for every leader.
        let next = able.min_by_key(|candidate| (!candidate.asked, candidate.node));
        next.map(|candidate| Change::Admit(candidate.node, candidate.incarnation))
    }
}

/// Who takes over from a leader that leaves: a voter that has caught up.
fn successor(own: u64, standings: &[Standing<'_>]) -> Option<u64> {
    let able = standings.iter().filter(|it| {
        it.votes
            && !it.leaving()
            && !it.lost()
            && it.member.raft_id != own
            && it.member.lag.is_some()
    });
    able.min_by_key(|it| (it.member.lag, it.member.raft_id)).map(|it| it.member.raft_id)
}

fn same_owner(one: &Standing<'_>, other: &Standing<'_>) -> bool {
    match (one.candidate, other.candidate) {
        (Some(one), Some(other)) => one.owner == other.owner,
        _ => false,
    }
}

/// 5, 3 or 1: the largest of them that is not more than `count`; 1 if `count` is 0.
fn odd_at_most(count: usize) -> usize {
    match count {
        0..3 => 1,
        3..5 => 3,
        _ => 5,
    }
}

/// Notes since when something holds.
fn note(since: &mut BTreeMap<u64, Timestamp>, id: u64, holds: bool, now: Timestamp) {
    if holds {
        since.entry(id).or_insert(now);
    } else {
        since.remove(&id);
    }
}

#[cfg(test)]
mod tests;
