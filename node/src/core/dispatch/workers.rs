//! What the leader knows about one node, and what its silence means.

use std::{collections::BTreeSet, time::Duration};

use protocol::{
    ids::{AccountId, LeaseId, NodeId},
    time::Timestamp,
    wire::{
        advert::{Advert, Isolation},
        availability::{Availability, Openness},
        heartbeat::Heartbeat,
        view::{Admission, Condition, Liveness},
    },
};

use super::{Config, Dispatch, Member, Output};
use crate::core::{health::History, scheduler::Candidate};

/// What an unknown worker is trusted with, in thousandths.
const RELIABILITY_FIRST: u32 = 900;

/// A node, as the leader knows it.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    name: String,
    pub(super) account: AccountId,
    labels: Vec<String>,
    approved: bool,
    works: bool,
    /// Since when the leader knows of it.
    known: Timestamp,
    /// From heartbeats: only the node's direct word counts.
    pub(super) slots: u16,
    draining: bool,
    pub(super) availability: Option<Availability>,
    pub(super) history: History,
    pub(super) heard: Option<Timestamp>,
    connected: Option<Timestamp>,
    closed: Option<Timestamp>,
    rtt_us: Option<u64>,
    reliability: u32,
    advert: Option<Advert>,
    pub(super) leases: BTreeSet<LeaseId>,
}

impl Worker {
    fn new(now: Timestamp, member: &Member) -> Self {
        Self {
            name: String::new(),
            account: member.account,
            labels: member.labels.clone(),
            approved: member.approved,
            works: member.works,
            known: now,
            slots: 0,
            draining: false,
            availability: None,
            history: History::new(),
            heard: None,
            connected: None,
            closed: None,
            rtt_us: None,
            reliability: RELIABILITY_FIRST,
            advert: None,
            leases: BTreeSet::new(),
        }
    }

    /// Slots that no lease occupies.
    pub(super) fn slots_free(&self) -> u32 {
        let taken = u32::try_from(self.leases.len()).unwrap_or(u32::MAX);
        u32::from(self.slots).saturating_sub(taken)
    }

    pub(super) fn liveness(&self, now: Timestamp, config: &Config) -> Liveness {
        let Some(heard) = self.heard else { return Liveness::Offline };
        let silent = now.saturating_since(heard);
        if self.closed.is_some() || silent >= config.offline_after {
            Liveness::Offline
        } else if silent >= config.suspect_after {
            Liveness::Suspect
        } else {
            Liveness::Healthy
        }
    }

    /// How long it has not been heard from, or been known without a word.
    pub(super) fn silent(&self, now: Timestamp) -> Duration {
        now.saturating_since(self.heard.unwrap_or(self.known))
    }

    pub(super) fn condition(&self) -> Condition {
        if self.draining {
            Condition::Maintenance
        } else if self.connected.is_some_and(|at| self.heard.is_none_or(|heard| heard < at)) {
            // It came back, and has not yet said what it holds.
            Condition::Syncing
        } else if self.availability.as_ref().is_some_and(|availability| availability.overloaded) {
            Condition::Degraded
        } else {
            Condition::Online
        }
    }

    pub(super) const fn advert(&self) -> Option<&Advert> {
        self.advert.as_ref()
    }

    pub(super) const fn rtt_us(&self) -> Option<u64> {
        self.rtt_us
    }

    /// The node as the scheduler sees it. What it has not said yet does not speak against it for ever, but nothing
    /// is placed there before it has. `others_leased` counts its leases for other owners.
    pub(super) fn candidate(
        &self,
        (node, others_leased): (NodeId, u32),
        now: Timestamp,
        config: &Config,
    ) -> Candidate {
        let advert = self.advert.as_ref();
        let availability = self.availability.as_ref();
        let slots_others =
            availability.map_or(self.slots, |availability| availability.slots_others);
        let liveness = match advert {
            Some(_) => self.liveness(now, config),
            None => Liveness::Offline,
        };
        Candidate {
            node,
            name: self.name.clone(),
            account: self.account,
            admission: if self.approved { Admission::Approved } else { Admission::Pending },
            liveness,
            condition: self.condition(),
            works: self.works && (self.heard.is_none() || self.slots > 0),
            isolation: advert.map_or(Isolation::A, |advert| advert.isolation),
            tags: {
                let own = advert.map(|advert| advert.tags.as_slice()).unwrap_or_default();
                own.iter().chain(&self.labels).cloned().collect()
            },
            memory_bytes: match (availability, advert) {
                (Some(availability), _) => availability.memory_bytes,
                (None, Some(advert)) => advert.memory_bytes,
                (None, None) => u64::MAX,
            },
            slots: u32::from(self.slots.max(1)),
            slots_free: self.slots_free(),
            others: availability.map_or(Openness::Open, |availability| availability.others),
            others_free: u32::from(slots_others).saturating_sub(others_leased),
            reasons: availability.map(|it| it.reasons.clone()).unwrap_or_default(),
            flapping: self.history.is_flapping(),
            rtt_us: self.rtt_us.unwrap_or(0),
            load: advert.map_or(0, |advert| u32::from(advert.cpu_percent).saturating_mul(10)),
            reliability: self.reliability,
        }
    }

    /// A lease came to a good end.
    pub(super) fn praise(&mut self) {
        let missing = 1_000_u32.saturating_sub(self.reliability);
        self.reliability = self.reliability.saturating_add(missing.div_ceil(8)).min(1_000);
    }

    /// A lease was lost.
    pub(super) fn blame(&mut self) {
        self.reliability = self.reliability.saturating_sub(self.reliability.div_ceil(4));
    }

    /// When to look at the node again: when its silence takes its leases.
    pub(super) fn deadline(&self, config: &Config) -> Option<Timestamp> {
        if self.leases.is_empty() {
            return None;
        }
        self.closed.map(|closed| closed.saturating_add(config.closed_grace))
    }
}

impl Dispatch {
    pub(super) fn member(&mut self, now: Timestamp, member: Member, out: &mut Vec<Output>) {
        let worker = self.workers.entry(member.node).or_insert_with(|| Worker::new(now, &member));
        worker.name = member.name;
        worker.account = member.account;
        worker.works = member.works;
        worker.approved = member.approved;
        worker.labels.clone_from(&member.labels);
        if !member.approved {
            let leases: Vec<_> = worker.leases.iter().copied().collect();
            for lease in &leases {
                self.lose(now, lease, out);
            }
            if !leases.is_empty() {
                out.push(Output::Withdraw { worker: member.node, leases });
            }
        }
    }

    pub(super) fn advert(&mut self, advert: Advert) {
        if let Some(worker) = self.workers.get_mut(&advert.node) {
            worker.advert = Some(advert);
        }
    }

    pub(super) fn connected(&mut self, now: Timestamp, node: NodeId) {
        if let Some(worker) = self.workers.get_mut(&node) {
            worker.closed = None;
            worker.connected = Some(now);
        }
    }

    pub(super) fn disconnected(&mut self, now: Timestamp, node: NodeId) {
        if let Some(worker) = self.workers.get_mut(&node) {
            if worker.heard.is_some() && worker.closed.is_none() {
                worker.history.observe(false);
            }
            worker.closed = Some(now);
            worker.connected = None;
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        now: Timestamp,
        (node, rtt): (NodeId, Option<u64>),
        beat: &Heartbeat,
        out: &mut Vec<Output>,
    ) {
        let Some(worker) = self.workers.get_mut(&node) else {
            out.push(Output::Lost(node, beat.leases.iter().map(|held| held.lease).collect()));
            return;
        };
        if worker.heard.is_some_and(|heard| {
            worker.closed.is_none() && now.saturating_since(heard) >= self.config.suspect_after
        }) {
            // Nobody was told when it fell silent.
            worker.history.observe(false);
        }
        worker.history.observe(!beat.availability.overloaded);
        worker.availability = beat.availability.is_valid().then(|| beat.availability.clone());
        let first = worker.connected.is_some_and(|at| worker.heard.is_none_or(|heard| heard < at));
        worker.heard = Some(now);
        worker.closed = None;
        worker.slots = beat.slots;
        worker.draining = beat.draining;
        worker.rtt_us = rtt.or(worker.rtt_us);
        let connected = worker.connected;
        let known: Vec<_> = worker.leases.iter().copied().collect();
        let mut lost = Vec::new();
        for held in &beat.leases {
            match self.leases.get_mut(&held.lease) {
                Some(lease) if lease.worker == node => {
                    lease.expires = now.saturating_add(self.config.lease_duration);
                    lease.accepted = true;
                    lease.started |= held.running;
                }
                _ => lost.push(held.lease),
            }
        }
        for lease in &beat.returned {
            if self.leases.get(lease).is_some_and(|lease| lease.worker == node) {
                self.hand_back(now, lease, out);
            }
        }
        // The first word after a new connection lists everything: what was handed out before and is not in the
        // list is gone, because the worker was started anew.
        if first {
            for lease in known {
                let listed = beat.leases.iter().any(|held| held.lease == lease);
                let older = self
                    .leases
                    .get(&lease)
                    .is_some_and(|lease| connected.is_some_and(|at| lease.since < at));
                if older && !listed {
                    self.lose(now, &lease, out);
                }
            }
        }
        out.push(Output::Lost(node, lost));
    }

    /// What the clock says about workers.
    pub(super) fn expire_workers(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let mut gone = Vec::new();
        for worker in self.workers.values() {
            if worker.deadline(&self.config).is_some_and(|at| at <= now) {
                gone.extend(worker.leases.iter().copied());
            }
        }
        for lease in gone {
            self.lose(now, &lease, out);
        }
    }
}
