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

/// A heartbeat that was not heard is sent again after this: a new leader waits only some seconds for workers to say what
/// they hold.
const UNHEARD_BEAT: Duration = Duration::from_millis(500);

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
    /// A heartbeat was not heard, or not by the leader.
    Unheard,
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

    /// Beats sooner than usual, but not sooner after the last one than this.
    fn beat_again(&mut self, now: Timestamp, after: Duration) {
        let soon = self.last_beat.saturating_add(after);
        self.next_beat = self.next_beat.min(soon.max(now));
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
            Input::Unheard => self.beat_again(now, UNHEARD_BEAT),
            Input::Stranger => self.beat_again(now, STRANGER_BEAT),
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
mod tests;
