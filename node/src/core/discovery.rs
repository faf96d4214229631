//! Who is on this network: when to ask, when to answer, and whom to dial.
//!
//! Answers on the network come from anybody, also from programs that are no nodes of ours. So they are few, they are
//! forgotten, dialling them has a budget, and whoever turned out to be something else is left alone for a while. The
//! first seconds matter to a person who waits: until a node of ours was met, this one asks every second or faster,
//! whatever else answers, so that neither a lost packet nor a stranger's answer delays it.
//!
//! # Invariants
//!
//! 1. At most [`CANDIDATES_MAX`] candidates with at most [`ADDRESSES_MAX`] addresses each, and at most
//!    [`REFUSED_MAX`] that are refused.
//! 2. At most [`DIALS_MAX`] dials at a time, and at most [`DIALS_PER_MINUTE`] a minute after the first [`DIALS_MAX`].
//! 3. Who is connected, being dialled or refused is not dialled.
//! 4. At most one answer in [`ANSWER_EVERY`].

use std::{collections::BTreeMap, time::Duration};

use protocol::{
    ids::{Hash, NodeId},
    limits::ADDRESSES_MAX,
    machine::Machine,
    time::Timestamp,
    wire::enroll::NodeAddress,
};

/// Nodes that were heard of and are remembered; whoever was not heard of for longest goes first.
pub const CANDIDATES_MAX: usize = 64;
/// Peers that are remembered not to be nodes of ours.
pub const REFUSED_MAX: usize = 256;
/// Dials at a time.
pub const DIALS_MAX: usize = 8;
/// Dials in a minute.
pub const DIALS_PER_MINUTE: u32 = 30;
/// How long a peer that is no node of ours is left alone.
pub const REFUSED_FOR: Duration = Duration::from_secs(600);
/// How long what was heard is remembered.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(120);
/// The time between two answers, at least.
pub const ANSWER_EVERY: Duration = Duration::from_millis(250);
/// The time between two questions, in the long run.
pub const ASK_EVERY: Duration = Duration::from_secs(30);
/// The time between two of the first questions, at least, once a node was met: there may be others.
const ASK_EVERY_MET: Duration = Duration::from_secs(5);

/// The time between two questions that nobody can hear.
const ASK_EVERY_UNHEARD: Duration = Duration::from_secs(1);
/// The times between the first questions, in ms; then [`ASK_EVERY`].
const FIRST_GAPS_MS: [u64; 13] =
    [250, 250, 500, 1_000, 1_000, 1_000, 1_000, 1_000, 2_000, 4_000, 8_000, 15_000, 30_000];
/// A dial of which nothing is heard for this long counts as failed.
const DIAL_TIMEOUT: Duration = Duration::from_secs(20);
/// The delay after the first failed dial; it doubles.
const DELAY_MIN: Duration = Duration::from_secs(1);
/// The longest delay after a failed dial.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// The time in which one more dial may be made.
const DIAL_EVERY: Duration = Duration::from_secs(60 / DIALS_PER_MINUTE as u64);

/// Finds nodes on the local network.
#[derive(Debug, Clone)]
pub struct Discovery {
    seed: u64,
    candidates: BTreeMap<NodeId, Candidate>,
    /// Who is no node of ours, and until when that is believed.
    refused: BTreeMap<NodeId, Timestamp>,
    /// When the next question is due, and how many were asked since the network changed; `None` without a network.
    ask: Option<(Timestamp, usize)>,
    /// A node of ours was met since the network changed.
    met: bool,
    /// When the last answer was given, and whether another is owed.
    answered: Option<Timestamp>,
    owes: bool,
    budget: Budget,
}

#[derive(Debug, Clone)]
struct Candidate {
    addresses: Vec<String>,
    heard: Timestamp,
    failures: u32,
    /// How long it is left alone once it is gone, because it was met.
    leave_alone: Option<Duration>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connected,
    /// Being dialled; given up then.
    Dialling(Timestamp),
    /// Not to be dialled before.
    Waiting(Timestamp),
}

/// Dials that may be made now, and when there is one more.
#[derive(Debug, Clone, Copy)]
struct Budget {
    left: usize,
    more: Timestamp,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The interfaces that can be asked on have changed; whether there is one.
    Network(bool),
    /// The last question got out on no network: the link is down, and may be back at any time.
    Unheard,
    /// Somebody on the network asks who is there.
    Question,
    /// Somebody on the network says where a node is. The addresses are of this network.
    Heard(NodeAddress),
    /// The first connection to a peer is there.
    Connected(NodeId),
    /// The last connection to a peer is gone.
    Disconnected(NodeId),
    /// A dial failed.
    Failed(NodeId),
    /// A peer is a node of ours; once it is gone, dial it again after this long.
    Met(NodeId, Duration),
    /// A peer is no node of ours.
    Foreign(NodeId),
    /// Look at the clock.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Ask who is there, and say that this node is.
    Ask,
    /// Say where this node is.
    Answer,
    /// Dial a node that was heard of.
    Dial(NodeAddress),
}

impl Discovery {
    /// Knows nobody and has no network. `seed` spreads the questions of different nodes.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            candidates: BTreeMap::new(),
            refused: BTreeMap::new(),
            ask: None,
            met: false,
            answered: None,
            owes: false,
            budget: Budget { left: DIALS_MAX, more: Timestamp::ORIGIN },
        }
    }

    /// Where a node was heard to be; nothing if it was not heard of lately.
    #[must_use]
    pub fn addresses(&self, node: &NodeId) -> &[String] {
        self.candidates.get(node).map_or(&[], |candidate| candidate.addresses.as_slice())
    }

    fn hear(&mut self, now: Timestamp, heard: NodeAddress) {
        let NodeAddress { node, mut addresses } = heard;
        addresses.truncate(ADDRESSES_MAX);
        if addresses.is_empty() || self.is_refused(now, &node) {
            return;
        }
        if let Some(candidate) = self.candidates.get_mut(&node) {
            let elsewhere = candidate.addresses != addresses;
            if elsewhere && matches!(candidate.state, State::Waiting(_)) {
                // It moved: what failed before says nothing about where it is now.
                (candidate.failures, candidate.state) = (0, State::Waiting(now));
            }
            (candidate.addresses, candidate.heard) = (addresses, now);
            return;
        }
        if self.candidates.len() >= CANDIDATES_MAX && !self.make_room() {
            return;
        }
        let state = State::Waiting(now);
        let candidate = Candidate { addresses, heard: now, failures: 0, leave_alone: None, state };
        self.candidates.insert(node, candidate);
    }

    /// Forgets who was not heard of for longest, unless all are in use.
    fn make_room(&mut self) -> bool {
        let idle = self
            .candidates
            .iter()
            .filter(|(_, candidate)| matches!(candidate.state, State::Waiting(_)));
        let oldest = idle.min_by_key(|(_, candidate)| candidate.heard).map(|(node, _)| *node);
        oldest.is_some_and(|node| self.candidates.remove(&node).is_some())
    }

    fn is_refused(&self, now: Timestamp, node: &NodeId) -> bool {
        self.refused.get(node).is_some_and(|until| *until > now)
    }

    fn refuse(&mut self, now: Timestamp, node: NodeId) {
        self.candidates.remove(&node);
        if self.refused.len() >= REFUSED_MAX {
            let first = self.refused.iter().min_by_key(|(_, until)| **until).map(|(node, _)| *node);
            if let Some(first) = first {
                self.refused.remove(&first);
            }
        }
        self.refused.insert(node, now.saturating_add(REFUSED_FOR));
    }

    fn on_met(&mut self, now: Timestamp, node: &NodeId, leave_alone: Duration) {
        self.met = true;
        self.refused.remove(node);
        let Some(candidate) = self.candidates.get_mut(node) else { return };
        candidate.leave_alone = Some(leave_alone);
        if let State::Waiting(_) = candidate.state {
            candidate.part(now);
        }
    }

    /// Asks every second until the link is back, and then as in a new network.
    fn on_unheard(&mut self, now: Timestamp) {
        self.met = false;
        if self.ask.is_some() {
            self.ask = Some((now.saturating_add(ASK_EVERY_UNHEARD), 0));
        }
    }

    fn on_failed(&mut self, now: Timestamp, node: &NodeId) {
        if let Some(candidate) = self.candidates.get_mut(node)
            && matches!(candidate.state, State::Dialling(_))
        {
            candidate.fail(now);
        }
    }

    /// Gives up what is overdue, and forgets what is old.
    fn expire(&mut self, now: Timestamp) {
        self.refused.retain(|_, until| *until > now);
        for candidate in self.candidates.values_mut() {
            if matches!(candidate.state, State::Dialling(until) if until <= now) {
                candidate.fail(now);
            }
        }
        self.candidates.retain(|_, candidate| {
            !matches!(candidate.state, State::Waiting(_)) || candidate.forgotten() > now
        });
        while self.budget.left < DIALS_MAX && self.budget.more <= now {
            self.budget.left = self.budget.left.saturating_add(1);
            self.budget.more = self.budget.more.saturating_add(DIAL_EVERY);
        }
    }

    fn due(&mut self, now: Timestamp) -> Vec<Output> {
        let mut outputs = Vec::new();
        if self.owes && self.may_answer() <= now {
            (self.owes, self.answered) = (false, Some(now));
            outputs.push(Output::Answer);
        }
        if let Some((at, asked)) = self.ask
            && at <= now
        {
            self.ask = Some((now.saturating_add(self.gap(asked)), asked.saturating_add(1)));
            outputs.push(Output::Ask);
        }
        outputs.extend(self.dials(now));
        outputs
    }

    fn dials(&mut self, now: Timestamp) -> Vec<Output> {
        let mut outputs = Vec::new();
        let mut room = DIALS_MAX.saturating_sub(self.dialling());
        let mut waiting: Vec<_> = self
            .candidates
            .iter()
            .filter(|(_, candidate)| matches!(candidate.state, State::Waiting(at) if at <= now))
            .map(|(node, candidate)| (candidate.failures, candidate.heard, *node))
            .collect();
        // Whoever failed least, then whoever has waited longest.
        waiting.sort_unstable();
        for (_, _, node) in waiting {
            let Some(candidate) = self.candidates.get_mut(&node) else { continue };
            if room == 0 || self.budget.left == 0 {
                break;
            }
            if self.budget.left == DIALS_MAX {
                self.budget.more = now.saturating_add(DIAL_EVERY);
            }
            room = room.saturating_sub(1);
            self.budget.left = self.budget.left.saturating_sub(1);
            candidate.state = State::Dialling(now.saturating_add(DIAL_TIMEOUT));
            let addresses = candidate.addresses.clone();
            outputs.push(Output::Dial(NodeAddress { node, addresses }));
        }
        outputs
    }

    fn dialling(&self) -> usize {
        let dialling = |candidate: &&Candidate| matches!(candidate.state, State::Dialling(_));
        self.candidates.values().filter(dialling).count()
    }

    fn may_answer(&self) -> Timestamp {
        self.answered.map_or(Timestamp::ORIGIN, |last| last.saturating_add(ANSWER_EVERY))
    }

    /// How long to wait after so many questions, less up to a quarter.
    fn gap(&self, asked: usize) -> Duration {
        let first = FIRST_GAPS_MS.get(asked).copied().map(Duration::from_millis);
        let least = if self.met { ASK_EVERY_MET } else { Duration::ZERO };
        let full = first.unwrap_or(ASK_EVERY).max(least);
        let asked = u64::try_from(asked).unwrap_or(u64::MAX);
        let [percent, ..] = Hash::of(&(self.seed ^ asked).to_le_bytes()).0;
        let less = full.checked_div(1_024).unwrap_or_default().saturating_mul(u32::from(percent));
        full.saturating_sub(less)
    }
}

impl Candidate {
    /// It was connected, and is gone.
    fn part(&mut self, now: Timestamp) {
        match self.leave_alone {
            Some(after) => {
                (self.failures, self.state) = (0, State::Waiting(now.saturating_add(after)));
            }
            None => self.fail(now),
        }
    }

    fn fail(&mut self, now: Timestamp) {
        let doubled = 1_u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX);
        let delay = DELAY_MIN.saturating_mul(doubled).min(DELAY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Waiting(now.saturating_add(delay));
    }

    /// When it is forgotten, if nothing more is heard of it and it is not in use.
    fn forgotten(&self) -> Timestamp {
        let heard = self.heard.saturating_add(REMEMBERED_FOR);
        match self.state {
            // Whom we are not to dial before then is remembered until then: else it would be dialled as a new one.
            State::Waiting(at) => heard.max(at),
            State::Connected | State::Dialling(_) => heard,
        }
    }
}

impl Machine for Discovery {
    type Input = Input;
    type Output = Output;
    const TICK: Input = Input::Tick;

    fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Output> {
        match input {
            Input::Network(there) => {
                self.met = false;
                self.ask = there.then_some((now, 0));
            }
            Input::Unheard => self.on_unheard(now),
            Input::Question => self.owes = true,
            Input::Heard(heard) => self.hear(now, heard),
            Input::Connected(node) => {
                if let Some(candidate) = self.candidates.get_mut(&node) {
                    candidate.state = State::Connected;
                }
            }
            Input::Disconnected(node) => {
                if let Some(candidate) = self.candidates.get_mut(&node)
                    && candidate.state == State::Connected
                {
                    candidate.part(now);
                }
            }
            Input::Failed(node) => self.on_failed(now, &node),
            Input::Met(node, again_after) => self.on_met(now, &node, again_after),
            Input::Foreign(node) => self.refuse(now, node),
            Input::Tick => {}
        }
        self.expire(now);
        self.due(now)
    }

    fn deadline(&self) -> Option<Timestamp> {
        let ask = self.ask.map(|(at, _)| at);
        let answer = self.owes.then(|| self.may_answer());
        let room = self.dialling() < DIALS_MAX;
        let dial = self.candidates.values().filter_map(|candidate| match candidate.state {
            State::Dialling(until) => Some(until),
            State::Waiting(at) if room => {
                Some(if self.budget.left == 0 { at.max(self.budget.more) } else { at })
            }
            State::Waiting(_) | State::Connected => None,
        });
        ask.into_iter().chain(answer).chain(dial).min()
    }
}

#[cfg(test)]
mod tests;
