//! What a worker does with leases: take or refuse, start, stop, and tell the leader that it is alive.
//!
//! # Invariants
//!
//! 1. No more leases than slots are held.
//! 2. Nothing is taken from a leader older than one already heard ([`Fence`]).
//! 3. What a leader says is lost is stopped.
//!
//! # What it does not do
//!
//! It runs nothing: see `roles::worker`. A lease does not end here by time: while no leader is heard, work goes
//! on, and its results are kept until somebody wants them.

use std::{collections::BTreeMap, time::Duration};

use protocol::{
    batch::Batch,
    ids::{LeaseId, NodeId},
    limits,
    machine::Machine,
    reject::RejectReason,
    time::Timestamp,
    wire::{
        heartbeat::{Heartbeat, HeldLease},
        lease::{Fence, LeaseHeader, LeaseItem, LeaseResponse},
    },
};

/// However many strangers connect, the leader is asked for the member list no more often than this.
const STRANGER_BEAT: Duration = Duration::from_secs(1);

/// A signed lease.
pub type SignedLease = Batch<LeaseHeader, LeaseItem>;

/// How the worker behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Tasks that are run at a time.
    pub slots: u16,
    /// How often the leader hears that this node is alive.
    pub heartbeat_interval: Duration,
}

impl Config {
    /// The figures of the protocol, with this many slots.
    #[must_use]
    pub const fn standard(slots: u16) -> Self {
        Self { slots, heartbeat_interval: limits::HEARTBEAT_INTERVAL }
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
    /// The owner wants no new work here, or wants it again.
    Drain(bool),
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
    /// Stop working on a lease and forget what it did.
    Stop(LeaseId),
    /// Tell the leader.
    Beat(NodeId, Box<Heartbeat>),
}

#[derive(Debug, Clone)]
struct Held {
    proof: Box<SignedLease>,
    done: u32,
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
    draining: bool,
    next_beat: Timestamp,
    last_beat: Timestamp,
    roster: u64,
}

impl Worker {
    /// Nothing held, no leader known.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            leader: None,
            fence: Fence { epoch: 0, term: 0, index: 0 },
            proved_to: None,
            held: BTreeMap::new(),
            draining: false,
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
        let beat =
            Heartbeat { leases, slots, slots_free, draining: self.draining, roster: self.roster };
        out.push(Output::Beat(leader, Box::new(beat)));
    }

    fn consider(&self, from: NodeId, fence: Fence) -> Result<(), RejectReason> {
        if fence < self.fence {
            Err(RejectReason::StaleFence)
        } else if self.leader.is_some_and(|leader| leader != from) && fence == self.fence {
            Err(RejectReason::NotLeader)
        } else if self.draining {
            Err(RejectReason::Draining)
        } else if self.slots().1 == 0 {
            Err(RejectReason::NoFreeSlot)
        } else {
            Ok(())
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
            Input::Offered { offer, from, lease, fence, id } => match self.consider(from, fence) {
                Ok(()) => {
                    self.advance(fence);
                    self.held.insert(id, Held { proof: lease, done: 0 });
                    out.push(Output::Answer(offer, LeaseResponse::Done));
                    out.push(Output::Start(id, offer));
                }
                Err(reason) => out.push(Output::Answer(offer, LeaseResponse::Refused(reason))),
            },
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
            Input::Drain(draining) => {
                self.draining = draining;
                self.beat(now, &mut out);
            }
            Input::Tick => {}
        }
        if self.leader.is_some() && self.next_beat <= now {
            self.beat(now, &mut out);
        }
        out
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.leader.map(|_| self.next_beat)
    }
}

#[cfg(test)]
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
        }
    }

    fn at(second: u64) -> Timestamp {
        Timestamp::after_origin(Duration::from_secs(second))
    }

    fn worker() -> Worker {
        let mut worker = Worker::new(Config::standard(1));
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
        let out = worker.handle(at(1), Input::Drain(true));
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

    #[test]
    fn the_deadline_contract_holds() {
        let mut worker = worker();
        assert_deadline_contract(&worker);
        worker.handle(at(1), lease(1, 5));
        assert_deadline_contract(&worker);
        worker.handle(at(2), Input::Leader(None));
        assert_deadline_contract(&worker);
    }
}
