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
#[expect(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests {
    use proptest::prelude::*;
    use protocol::machine::assert_deadline_contract;

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::after_origin(Duration::from_millis(ms))
    }

    const fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    fn heard(number: u8) -> Input {
        let addresses = vec![format!("/ip4/10.0.0.{number}/tcp/4301")];
        Input::Heard(NodeAddress { node: node(number), addresses })
    }

    fn dials(outputs: &[Output]) -> Vec<NodeId> {
        outputs
            .iter()
            .filter_map(|output| match output {
                Output::Dial(to) => Some(to.node),
                Output::Ask | Output::Answer => None,
            })
            .collect()
    }

    /// Ticks at every deadline up to `end`, and says when this node asked, in ms.
    fn asks(discovery: &mut Discovery, from: u64, end: u64) -> Vec<u64> {
        let mut asked = Vec::new();
        let mut now = at(from);
        loop {
            if discovery.handle(now, Input::Tick).contains(&Output::Ask) {
                let ms = now.saturating_since(Timestamp::ORIGIN).as_millis();
                asked.push(u64::try_from(ms).unwrap());
            }
            assert_deadline_contract(discovery);
            match discovery.deadline() {
                Some(next) if next <= at(end) => now = next,
                _ => return asked,
            }
        }
    }

    #[test]
    fn without_a_network_nothing_is_asked() {
        assert_eq!(asks(&mut Discovery::new(1), 0, 100_000), [0; 0]);
    }

    #[test]
    fn until_a_node_is_met_there_is_a_question_at_least_every_second() {
        for seed in 0..50 {
            let mut discovery = Discovery::new(seed);
            let first = discovery.handle(at(0), Input::Network(true));
            assert_eq!(first, [Output::Ask], "the first at once");
            let asked = asks(&mut discovery, 1, 5_000);
            assert!(asked.len() >= 7, "{asked:?}");
            assert!(asked.windows(2).all(|pair| pair[1] - pair[0] <= 1_000), "{asked:?}");
        }
    }

    #[test]
    fn in_the_long_run_there_is_a_question_every_thirty_seconds() {
        let mut discovery = Discovery::new(1);
        discovery.handle(at(0), Input::Network(true));
        let asked = asks(&mut discovery, 1, 600_000);
        let last = asked.windows(2).next_back().unwrap();
        assert!((22_000..=30_000).contains(&(last[1] - last[0])), "{asked:?}");
    }

    #[test]
    fn a_stranger_that_answers_first_does_not_end_the_quick_questions() {
        let mut discovery = Discovery::new(1);
        discovery.handle(at(0), Input::Network(true));
        assert_eq!(dials(&discovery.handle(at(10), heard(1))), [node(1)]);
        discovery.handle(at(20), Input::Connected(node(1)));
        discovery.handle(at(30), Input::Foreign(node(1)));
        assert!(asks(&mut discovery, 40, 5_000).len() >= 6);
        assert!(dials(&discovery.handle(at(5_000), heard(1))).is_empty(), "it is left alone");
        assert_eq!(dials(&discovery.handle(at(600_030), heard(1))), [node(1)], "for ten minutes");
    }

    #[test]
    fn a_node_that_was_met_slows_the_questions_down_and_a_new_network_speeds_them_up() {
        let mut discovery = Discovery::new(1);
        discovery.handle(at(0), Input::Network(true));
        discovery.handle(at(10), Input::Met(node(1), Duration::ZERO));
        assert!(asks(&mut discovery, 300, 10_000).len() <= 3);
        discovery.handle(at(11_000), Input::Network(false));
        assert!(asks(&mut discovery, 11_000, 60_000).is_empty());
        assert_eq!(discovery.handle(at(60_000), Input::Network(true)), [Output::Ask]);
        assert!(asks(&mut discovery, 60_001, 65_000).len() >= 7);
    }

    #[test]
    fn while_the_link_is_down_it_is_tried_every_second_and_then_as_in_a_new_network() {
        let mut discovery = Discovery::new(1);
        discovery.handle(at(0), Input::Network(true));
        discovery.handle(at(1), Input::Met(node(1), Duration::ZERO));
        for second in 1..100 {
            discovery.handle(at(second * 1_000), Input::Unheard);
            assert_eq!(discovery.deadline(), Some(at(second * 1_000 + 1_000)));
        }
        assert!(asks(&mut discovery, 100_000, 105_000).len() >= 7);
    }

    #[test]
    fn questions_are_answered_at_once_but_a_flood_of_them_is_not() {
        let mut discovery = Discovery::new(1);
        assert_eq!(discovery.handle(at(1), Input::Question), [Output::Answer]);
        for ms in 2..100 {
            assert!(discovery.handle(at(ms), Input::Question).is_empty());
        }
        assert_eq!(discovery.deadline(), Some(at(251)));
        assert_eq!(discovery.handle(at(251), Input::Tick), [Output::Answer]);
        assert_eq!(discovery.deadline(), None);
    }

    #[test]
    fn a_node_that_is_heard_again_is_not_dialled_again() {
        let mut discovery = Discovery::new(1);
        assert_eq!(dials(&discovery.handle(at(0), heard(1))), [node(1)]);
        assert!(discovery.handle(at(1), heard(1)).is_empty());
        discovery.handle(at(2), Input::Connected(node(1)));
        assert!(discovery.handle(at(3), heard(1)).is_empty());
    }

    #[test]
    fn a_dial_that_failed_is_tried_again_later_and_at_once_elsewhere() {
        let mut discovery = Discovery::new(1);
        discovery.handle(at(0), heard(1));
        discovery.handle(at(5), Input::Failed(node(1)));
        assert!(discovery.handle(at(6), heard(1)).is_empty());
        assert_eq!(discovery.deadline(), Some(at(1_005)));
        let moved =
            NodeAddress { node: node(1), addresses: vec!["/ip4/10.0.0.99/tcp/4301".to_owned()] };
        assert_eq!(dials(&discovery.handle(at(7), Input::Heard(moved))), [node(1)]);
    }

    #[test]
    fn a_node_that_was_met_is_left_alone_once_it_is_gone() {
        let mut discovery = Discovery::new(1);
        discovery.handle(at(0), heard(1));
        discovery.handle(at(5), Input::Connected(node(1)));
        discovery.handle(at(9), Input::Met(node(1), Duration::from_secs(60)));
        discovery.handle(at(1_000), Input::Disconnected(node(1)));
        assert!(dials(&discovery.handle(at(60_999), heard(1))).is_empty());
        assert_eq!(dials(&discovery.handle(at(61_000), heard(1))), [node(1)]);
    }

    #[test]
    fn a_flood_of_nodes_neither_grows_the_table_nor_the_number_of_dials() {
        let mut discovery = Discovery::new(1);
        let mut dialled = 0;
        for number in 0..=255 {
            let outputs = discovery.handle(at(u64::from(number)), heard(number));
            for node in dials(&outputs) {
                dialled += 1;
                discovery.handle(at(u64::from(number)), Input::Failed(node));
            }
        }
        assert_eq!(dialled, DIALS_MAX);
        assert_eq!(discovery.candidates.len(), CANDIDATES_MAX);
        assert_eq!(dials(&discovery.handle(at(2_255), Input::Tick)).len(), 1, "every two seconds");
    }

    fn input() -> impl Strategy<Value = Input> {
        let node = || any::<u8>().prop_map(node);
        prop_oneof![
            1 => any::<bool>().prop_map(Input::Network),
            1 => Just(Input::Question),
            1 => Just(Input::Unheard),
            8 => any::<u8>().prop_map(heard),
            2 => node().prop_map(Input::Connected),
            1 => node().prop_map(Input::Disconnected),
            2 => node().prop_map(Input::Failed),
            1 => node().prop_map(|node| Input::Met(node, Duration::from_secs(60))),
            1 => node().prop_map(Input::Foreign),
            2 => Just(Input::Tick),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_the_bounds_hold(
            inputs in prop::collection::vec((0_u64..2_000, input()), 0..300),
        ) {
            let mut discovery = Discovery::new(9);
            let mut now = 0;
            let mut dialled = 0_usize;
            let mut answered = None;
            for (later, input) in inputs {
                now += later;
                let before = discovery.clone();
                let outputs = discovery.handle(at(now), input);
                for node in dials(&outputs) {
                    dialled += 1;
                    prop_assert!(!before.is_refused(at(now), &node));
                }
                if outputs.contains(&Output::Answer) {
                    prop_assert!(answered.is_none_or(|last| now - last >= 250));
                    answered = Some(now);
                }
                prop_assert!(discovery.candidates.len() <= CANDIDATES_MAX);
                prop_assert!(discovery.refused.len() <= REFUSED_MAX);
                prop_assert!(discovery.dialling() <= DIALS_MAX);
                assert_deadline_contract(&discovery);
            }
            let allowed = DIALS_MAX + usize::try_from(now / 2_000).unwrap() + 1;
            prop_assert!(dialled <= allowed, "{dialled} dials in {now} ms");
        }
    }
}
