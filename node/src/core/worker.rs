//! What a worker does with leases: take or refuse, start, stop, and tell the leader that it is alive.
//!
//! # Invariants
//!
//! 1. No more leases than slots are held.
//! 2. Nothing is taken from a leader older than one already heard ([`Fence`]).
//! 3. What a leader says is lost is stopped.
//! 4. Nothing of other owners is taken that their [`Availability`] does not allow.
//! 5. What is given back is named to the leader until it has heard of it.
//!
//! # What it does not do
//!
//! It does not decide what this machine has for others: see [`limits`](super::limits). It runs nothing: see
//! `roles::worker`. A lease does not end here by time: while no leader is heard, work goes
//! on, and its results are kept until somebody wants them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use protocol::{
    batch::Batch,
    ids::{LeaseId, NodeId},
    limits,
    machine::Machine,
    reject::RejectReason,
    time::Timestamp,
    wire::{
        availability::{Availability, Openness},
        heartbeat::{Heartbeat, HeldLease},
        lease::{Fence, LeaseHeader, LeaseItem, LeaseResponse},
    },
};

use super::limits::{FINISH_WITHIN, TakeBack, Verdict};

/// However many strangers connect, the leader is asked for the member list no more often than this.
const STRANGER_BEAT: Duration = Duration::from_secs(1);

/// A signed lease.
pub type SignedLease = Batch<LeaseHeader, LeaseItem>;

/// Leases that were given back and that no leader is known to have heard of. More expire with their time.
const RETURNED_MAX: usize = limits::LIST_ITEMS_MAX as usize;

/// How the worker behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Tasks that are run at a time.
    pub slots: u16,
    /// How often the leader hears that this node is alive.
    pub heartbeat_interval: Duration,
    /// What it has for other owners until it is told otherwise.
    pub availability: Availability,
}

impl Config {
    /// The figures of the protocol, with this many slots, and this for other owners.
    #[must_use]
    pub const fn standard(slots: u16, availability: Availability) -> Self {
        Self { slots, heartbeat_interval: limits::HEARTBEAT_INTERVAL, availability }
    }
}

/// Things that happen to [`Worker`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Who leads, as far as known. A change is told to the new one at once.
    Leader(Option<NodeId>),
    /// An offer whose signature was checked.
    Offered {
        /// Names the offer until it is answered.
        offer: u64,
        /// Who offers: the leader.
        from: NodeId,
        /// The lease.
        lease: Box<SignedLease>,
        /// What orders it.
        fence: Fence,
        /// Its id.
        id: LeaseId,
        /// Whether the job is of this node's owner.
        own: bool,
        /// The time limit of its tasks, in milliseconds.
        task_ms: u32,
    },
    /// The leader wants leases back.
    Withdrawn(Vec<LeaseId>, Fence),
    /// Some tasks of a lease have ended.
    Progress(LeaseId, u32),
    /// All tasks of a lease have ended and are on disk.
    Finished(LeaseId),
    /// The leader answered a heartbeat: what is lost.
    Heard(Vec<LeaseId>, Fence),
    /// A node that is not known to be a member has connected: the member list may have grown.
    Stranger,
    /// No new work here from now on; what is left at this time is given back.
    Drain(Option<Timestamp>),
    /// New work again.
    Resume,
    /// What this machine has for other owners has changed, or what happens to their work that runs.
    Available(Box<Verdict>),
    /// Tasks at a time have changed.
    Slots(u16),
    /// Give everything back that is not done: this node ends.
    GiveBack,
    /// Time has passed.
    Tick,
}

/// Things that [`Worker`] asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Answer an offer.
    Answer(u64, LeaseResponse),
    /// Begin to work on a lease.
    Start(LeaseId, u64),
    /// Stop working on a lease at once and forget what it did.
    Stop(LeaseId),
    /// Tell the leader.
    Beat(NodeId, Box<Heartbeat>),
}

#[derive(Debug, Clone)]
struct Held {
    proof: Box<SignedLease>,
    done: u32,
    own: bool,
}

/// The leases that this node holds.
#[derive(Debug, Clone)]
pub struct Worker {
    config: Config,
    leader: Option<NodeId>,
    fence: Fence,
    /// The leader that was told what is held, with proofs.
    proved_to: Option<(NodeId, Fence)>,
    held: BTreeMap<LeaseId, Held>,
    /// Given back, and not known to be heard of. At most [`RETURNED_MAX`].
    returned: BTreeSet<LeaseId>,
    /// Of those, named in a heartbeat.
    named: BTreeSet<LeaseId>,
    draining: bool,
    /// When what is left is given back: everything, and work of other owners.
    drain_at: Option<Timestamp>,
    take_back_at: Option<Timestamp>,
    availability: Availability,
    next_beat: Timestamp,
    last_beat: Timestamp,
    roster: u64,
}

impl Worker {
    /// Nothing held, no leader known.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            availability: config.availability.clone(),
            config,
            leader: None,
            fence: Fence { epoch: 0, term: 0, index: 0 },
            proved_to: None,
            held: BTreeMap::new(),
            returned: BTreeSet::new(),
            named: BTreeSet::new(),
            draining: false,
            drain_at: None,
            take_back_at: None,
            next_beat: Timestamp::ORIGIN,
            last_beat: Timestamp::ORIGIN,
            roster: 0,
        }
    }

    /// Slots, and slots that are free.
    #[must_use]
    pub fn slots(&self) -> (u16, u16) {
        let held = u16::try_from(self.held.len()).unwrap_or(u16::MAX);
        (self.config.slots, self.config.slots.saturating_sub(held))
    }

    /// Leases that were given back and that no leader is known to have heard of.
    #[must_use]
    pub fn returned(&self) -> usize {
        self.returned.len()
    }

    /// Whether new work is refused.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.draining
    }

    /// The version of the member list that the next heartbeat says this node has.
    pub const fn set_roster(&mut self, version: u64) {
        self.roster = version;
    }

    fn beat(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let Some(leader) = self.leader else { return };
        self.last_beat = now;
        self.next_beat = now.saturating_add(self.config.heartbeat_interval);
        let prove = self.proved_to != Some((leader, self.fence));
        let leases = self.held.iter().map(|(lease, held)| HeldLease {
            lease: *lease,
            done: held.done,
            running: true,
            proof: prove.then(|| held.proof.clone()),
        });
        let leases = leases.collect();
        let (slots, slots_free) = self.slots();
        self.named = self.returned.clone();
        let beat = Heartbeat {
            leases,
            slots,
            slots_free,
            draining: self.draining,
            roster: self.roster,
            availability: self.availability.clone(),
            returned: self.returned.iter().copied().collect(),
        };
        out.push(Output::Beat(leader, Box::new(beat)));
    }

    fn consider(
        &self,
        (from, fence): (NodeId, Fence),
        (own, task_ms): (bool, u32),
    ) -> Result<(), RejectReason> {
        let others = self.held.values().filter(|held| !held.own).count();
        let others_full = others >= usize::from(self.availability.slots_others);
        if fence < self.fence {
            Err(RejectReason::StaleFence)
        } else if self.leader.is_some_and(|leader| leader != from) && fence == self.fence {
            Err(RejectReason::NotLeader)
        } else if self.draining {
            Err(RejectReason::Draining)
        } else if self.slots().1 == 0 || (!own && others_full) {
            Err(RejectReason::NoFreeSlot)
        } else {
            match self.availability.others {
                _ if own => Ok(()),
                Openness::Closed => Err(RejectReason::Paused),
                Openness::Small { task_ms_max } if task_ms > task_ms_max => {
                    Err(RejectReason::TaskTooLarge)
                }
                Openness::Small { .. } | Openness::Open => Ok(()),
            }
        }
    }

    /// Stops work that nobody lost, and tells the leader to give it to somebody else.
    fn give_back(&mut self, now: Timestamp, which: impl Fn(&Held) -> bool, out: &mut Vec<Output>) {
        let leases: Vec<_> =
            self.held.iter().filter(|(_, held)| which(held)).map(|(lease, _)| *lease).collect();
        if leases.is_empty() {
            return;
        }
        self.stop(&leases, out);
        for lease in leases {
            if self.returned.len() < RETURNED_MAX {
                self.returned.insert(lease);
            }
        }
        self.beat(now, out);
    }

    /// What this machine has for others is another now.
    fn available(&mut self, now: Timestamp, verdict: Verdict, out: &mut Vec<Output>) {
        let Verdict { availability, take_back } = verdict;
        let changed = self.availability != availability;
        self.availability = availability;
        match take_back {
            TakeBack::Nothing => self.take_back_at = None,
            TakeBack::Soon => {
                let at = now.saturating_add(FINISH_WITHIN);
                self.take_back_at.get_or_insert(at);
            }
            TakeBack::Now => self.take_back_at = Some(now),
        }
        if changed {
            self.beat(now, out);
        }
    }

    /// What the clock says.
    fn take_back(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.drain_at.is_some_and(|at| at <= now) {
            self.drain_at = None;
            self.give_back(now, |_| true, out);
        }
        if self.take_back_at.is_some_and(|at| at <= now) {
            // As long as it lasts nothing new is taken, so that nothing comes after this.
            self.take_back_at = None;
            self.give_back(now, |held| !held.own, out);
        }
    }

    fn stop(&mut self, leases: &[LeaseId], out: &mut Vec<Output>) {
        for lease in leases {
            if self.held.remove(lease).is_some() {
                out.push(Output::Stop(*lease));
            }
        }
    }

    fn advance(&mut self, fence: Fence) {
        self.fence = self.fence.max(fence);
    }
}

impl Machine for Worker {
    type Input = Input;
    type Output = Output;
    const TICK: Input = Input::Tick;

    fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Leader(leader) => {
                self.leader = leader;
                self.proved_to = None;
                self.beat(now, &mut out);
            }
            Input::Offered { offer, from, lease, fence, id, own, task_ms } => {
                match self.consider((from, fence), (own, task_ms)) {
                    Ok(()) => {
                        self.advance(fence);
                        self.held.insert(id, Held { proof: lease, done: 0, own });
                        out.push(Output::Answer(offer, LeaseResponse::Done));
                        out.push(Output::Start(id, offer));
                    }
                    Err(reason) => out.push(Output::Answer(offer, LeaseResponse::Refused(reason))),
                }
            }
            Input::Withdrawn(leases, fence) => {
                if fence >= self.fence {
                    self.advance(fence);
                    self.stop(&leases, &mut out);
                }
            }
            Input::Progress(lease, done) => {
                if let Some(held) = self.held.get_mut(&lease) {
                    held.done = held.done.saturating_add(done);
                }
            }
            Input::Finished(lease) => {
                self.held.remove(&lease);
            }
            Input::Heard(lost, fence) => {
                for lease in std::mem::take(&mut self.named) {
                    self.returned.remove(&lease);
                }
                if fence >= self.fence {
                    self.advance(fence);
                    self.stop(&lost, &mut out);
                    self.proved_to = self.leader.map(|leader| (leader, fence));
                }
            }
            Input::Stranger => {
                let soon = self.last_beat.saturating_add(STRANGER_BEAT);
                self.next_beat = self.next_beat.min(soon.max(now));
            }
            Input::Drain(deadline) => {
                self.draining = true;
                self.drain_at = deadline;
                self.beat(now, &mut out);
            }
            Input::Resume => {
                self.draining = false;
                self.drain_at = None;
                self.beat(now, &mut out);
            }
            Input::Available(verdict) => self.available(now, *verdict, &mut out),
            Input::Slots(slots) => {
                self.config.slots = slots;
                self.beat(now, &mut out);
            }
            Input::GiveBack => self.give_back(now, |_| true, &mut out),
            Input::Tick => {}
        }
        self.take_back(now, &mut out);
        if self.leader.is_some() && self.next_beat <= now {
            self.beat(now, &mut out);
        }
        out
    }

    fn deadline(&self) -> Option<Timestamp> {
        let beat = self.leader.map(|_| self.next_beat);
        [beat, self.drain_at, self.take_back_at].into_iter().flatten().min()
    }
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "stories name only what they are about")]
mod tests {
    use protocol::{
        batch::Commitment,
        ids::{Hash, JobId, MeshId, TaskIndex},
        keys::SecretKey,
        machine::assert_deadline_contract,
        price::Price,
    };

    use super::*;

    const LEADER: NodeId = NodeId([1; 32]);

    fn fence(index: u64) -> Fence {
        Fence { epoch: 0, term: 1, index }
    }

    fn lease(id: u8, index: u64) -> Input {
        let items = vec![LeaseItem { task: TaskIndex(0), attempt: 1 }];
        let header = LeaseHeader {
            lease: LeaseId([id; 16]),
            worker: NodeId([2; 32]),
            job: JobId([3; 16]),
            authorization: Hash([4; 32]),
            account: protocol::ids::AccountId([7; 32]),
            price: Price::default(),
            duration_ms: 15_000,
            fence: fence(index),
            commitment: Commitment::to(&items),
        };
        let lease = Batch::sign(&header, items, MeshId([5; 32]), &SecretKey::from_seed(&[6; 32]));
        Input::Offered {
            offer: u64::from(id),
            from: LEADER,
            lease: Box::new(lease),
            fence: fence(index),
            id: LeaseId([id; 16]),
            own: false,
            task_ms: 30_000,
        }
    }

    fn at(second: u64) -> Timestamp {
        Timestamp::after_origin(Duration::from_secs(second))
    }

    fn worker() -> Worker {
        let mut worker = Worker::new(Config::standard(1, Availability::open(1, 1 << 30)));
        worker.handle(at(0), Input::Leader(Some(LEADER)));
        worker
    }

    fn beats(out: &[Output]) -> Vec<&Heartbeat> {
        out.iter()
            .filter_map(|output| match output {
                Output::Beat(_, beat) => Some(&**beat),
                Output::Answer(..) | Output::Start(..) | Output::Stop(_) => None,
            })
            .collect()
    }

    #[test]
    fn a_slot_is_taken_until_its_lease_is_finished() {
        let mut worker = worker();
        let taken = worker.handle(at(1), lease(1, 5));
        assert_eq!(
            taken,
            [Output::Answer(1, LeaseResponse::Done), Output::Start(LeaseId([1; 16]), 1)]
        );
        let refused = worker.handle(at(1), lease(2, 5));
        assert_eq!(refused, [Output::Answer(2, LeaseResponse::Refused(RejectReason::NoFreeSlot))]);
        worker.handle(at(2), Input::Finished(LeaseId([1; 16])));
        assert!(matches!(
            worker.handle(at(2), lease(2, 5))[..],
            [Output::Answer(2, LeaseResponse::Done), _]
        ));
    }

    #[test]
    fn an_older_leader_is_not_obeyed() {
        let mut worker = worker();
        worker.handle(at(1), lease(1, 9));
        let stale = Input::Withdrawn(vec![LeaseId([1; 16])], fence(8));
        assert_eq!(worker.handle(at(1), stale), []);
        worker.handle(at(1), Input::Finished(LeaseId([1; 16])));
        let refused = worker.handle(at(2), lease(2, 8));
        assert_eq!(refused, [Output::Answer(2, LeaseResponse::Refused(RejectReason::StaleFence))]);
    }

    #[test]
    fn a_new_leader_is_shown_what_is_held() {
        let mut worker = worker();
        worker.handle(at(1), lease(1, 5));
        let out = worker.handle(at(5), Input::Tick);
        assert!(beats(&out)[0].leases[0].proof.is_some());
        worker.handle(at(5), Input::Heard(vec![], fence(5)));
        let out = worker.handle(at(10), Input::Tick);
        assert!(beats(&out)[0].leases[0].proof.is_none());
        let out = worker.handle(at(11), Input::Leader(Some(NodeId([9; 32]))));
        assert!(beats(&out)[0].leases[0].proof.is_some());
    }

    #[test]
    fn what_the_leader_says_is_lost_is_stopped() {
        let mut worker = worker();
        worker.handle(at(1), lease(1, 5));
        let out = worker.handle(at(2), Input::Heard(vec![LeaseId([1; 16])], fence(5)));
        assert_eq!(out, [Output::Stop(LeaseId([1; 16]))]);
        assert_eq!(worker.slots(), (1, 1));
    }

    #[test]
    fn a_draining_worker_refuses_and_says_so_at_once() {
        let mut worker = worker();
        let out = worker.handle(at(1), Input::Drain(None));
        assert!(beats(&out)[0].draining);
        let refused = worker.handle(at(1), lease(1, 5));
        assert_eq!(refused, [Output::Answer(1, LeaseResponse::Refused(RejectReason::Draining))]);
    }

    #[test]
    fn a_stranger_makes_the_worker_ask_for_the_member_list_at_most_once_a_second() {
        let mut worker = worker();
        assert_eq!(beats(&worker.handle(at(2), Input::Stranger)).len(), 1);
        assert_eq!(beats(&worker.handle(at(2), Input::Stranger)).len(), 0);
        assert_eq!(worker.deadline(), Some(at(3)));
        assert_eq!(beats(&worker.handle(at(3), Input::Tick)).len(), 1);
    }

    fn own(lease: Input) -> Input {
        match lease {
            Input::Offered { offer, from, lease, fence, id, task_ms, .. } => {
                Input::Offered { offer, from, lease, fence, id, task_ms, own: true }
            }
            other => other,
        }
    }

    fn verdict(others: Openness, take_back: TakeBack) -> Input {
        let availability = Availability { others, ..Availability::open(2, 1 << 30) };
        Input::Available(Box::new(Verdict { availability, take_back }))
    }

    fn refusal(out: &[Output]) -> Option<RejectReason> {
        out.iter().find_map(|output| match output {
            Output::Answer(_, LeaseResponse::Refused(reason)) => Some(*reason),
            _ => None,
        })
    }

    fn stopped(out: &[Output]) -> Vec<u8> {
        out.iter()
            .filter_map(|output| match output {
                Output::Stop(lease) => Some(lease.0[0]),
                _ => None,
            })
            .collect()
    }

    /// Two slots: a lease of another owner in one, one of its own owner in the other.
    fn busy() -> Worker {
        let mut worker = Worker::new(Config::standard(2, Availability::open(2, 1 << 30)));
        worker.handle(at(0), Input::Leader(Some(LEADER)));
        worker.handle(at(1), lease(1, 5));
        worker.handle(at(1), own(lease(2, 5)));
        worker
    }

    #[test]
    fn a_paused_worker_gives_back_what_is_of_others_and_keeps_its_own() {
        let mut worker = busy();
        let out = worker.handle(at(2), verdict(Openness::Closed, TakeBack::Now));
        assert_eq!(stopped(&out), [1]);
        assert_eq!(beats(&out).last().unwrap().returned, [LeaseId([1; 16])]);
        assert_eq!(refusal(&worker.handle(at(3), lease(3, 5))), Some(RejectReason::Paused));
        assert_eq!(refusal(&worker.handle(at(3), own(lease(3, 5)))), None);
    }

    #[test]
    fn what_is_given_back_is_named_until_the_leader_has_heard_of_it() {
        let mut worker = busy();
        worker.handle(at(2), verdict(Openness::Closed, TakeBack::Now));
        let again = worker.handle(at(7), Input::Tick);
        assert_eq!(beats(&again)[0].returned, [LeaseId([1; 16])]);
        worker.handle(at(7), Input::Heard(vec![], fence(5)));
        let after = worker.handle(at(12), Input::Tick);
        assert!(beats(&after)[0].returned.is_empty());
    }

    #[test]
    fn work_that_is_taken_back_soon_may_end_first() {
        let mut worker = busy();
        let out = worker.handle(at(2), verdict(Openness::Closed, TakeBack::Soon));
        assert!(stopped(&out).is_empty());
        worker.handle(at(30), verdict(Openness::Closed, TakeBack::Soon));
        assert!(stopped(&worker.handle(at(61), Input::Tick)).is_empty());
        assert_eq!(stopped(&worker.handle(at(62), Input::Tick)), [1]);
    }

    #[test]
    fn an_owner_who_goes_away_in_time_takes_nothing_back() {
        let mut worker = busy();
        worker.handle(at(2), verdict(Openness::Closed, TakeBack::Soon));
        worker.handle(at(30), verdict(Openness::Open, TakeBack::Nothing));
        assert!(stopped(&worker.handle(at(90), Input::Tick)).is_empty());
    }

    #[test]
    fn on_a_low_battery_only_small_tasks_of_others_are_taken() {
        let mut worker = worker();
        let small = Openness::Small { task_ms_max: 10_000 };
        worker.handle(at(1), verdict(small, TakeBack::Nothing));
        assert_eq!(refusal(&worker.handle(at(1), lease(1, 5))), Some(RejectReason::TaskTooLarge));
        assert_eq!(refusal(&worker.handle(at(1), own(lease(2, 5)))), None);
    }

    #[test]
    fn others_get_only_the_slots_that_they_may_have() {
        let mut worker = busy();
        let availability = Availability::open(1, 1 << 30);
        let only_one = Verdict { availability, take_back: TakeBack::Nothing };
        worker.handle(at(2), Input::Available(Box::new(only_one)));
        worker.handle(at(2), Input::Finished(LeaseId([2; 16])));
        assert_eq!(refusal(&worker.handle(at(3), lease(3, 5))), Some(RejectReason::NoFreeSlot));
        assert_eq!(refusal(&worker.handle(at(3), own(lease(4, 5)))), None);
    }

    #[test]
    fn at_the_end_of_a_drain_everything_is_given_back() {
        let mut worker = busy();
        worker.handle(at(2), Input::Drain(Some(at(60))));
        assert!(stopped(&worker.handle(at(59), Input::Tick)).is_empty());
        assert_eq!(stopped(&worker.handle(at(60), Input::Tick)), [1, 2]);
        assert_eq!(refusal(&worker.handle(at(61), own(lease(3, 5)))), Some(RejectReason::Draining));
        worker.handle(at(62), Input::Resume);
        assert_eq!(refusal(&worker.handle(at(63), lease(3, 5))), None);
    }

    #[test]
    fn a_drain_that_is_taken_back_in_time_gives_nothing_back() {
        let mut worker = busy();
        worker.handle(at(2), Input::Drain(Some(at(60))));
        worker.handle(at(3), Input::Resume);
        assert!(stopped(&worker.handle(at(70), Input::Tick)).is_empty());
    }

    #[test]
    fn the_deadline_contract_holds() {
        let mut worker = worker();
        assert_deadline_contract(&worker);
        worker.handle(at(1), lease(1, 5));
        assert_deadline_contract(&worker);
        worker.handle(at(2), Input::Drain(Some(at(9))));
        worker.handle(at(2), verdict(Openness::Closed, TakeBack::Soon));
        assert_deadline_contract(&worker);
        worker.handle(at(2), Input::Leader(None));
        assert_deadline_contract(&worker);
    }
}
