//! To whom connections are kept up, and when to try again. Pure.

use std::{collections::BTreeMap, time::Duration};

use protocol::{
    ids::NodeId, limits::ADDRESSES_MAX, machine::Machine, time::Timestamp,
    wire::enroll::NodeAddress,
};

/// Peers that connections are kept up to, at most; the rest of a list is ignored.
pub const TARGETS_MAX: usize = 64;
/// The delay after the first failure; it doubles.
pub const DELAY_MIN: Duration = Duration::from_millis(500);
/// The longest delay.
pub const DELAY_MAX: Duration = Duration::from_secs(45);
/// A dial of which nothing is heard for this long counts as failed.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that lasted this long was a good one: the next failure is a first one.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// Keeps up connections to its targets.
///
/// # Invariants
///
/// 1. At most [`TARGETS_MAX`] targets, each with at most [`ADDRESSES_MAX`] addresses.
/// 2. A target that is connected is not dialled, and one that is being dialled is not dialled again.
/// 3. Between two dials of a target that failed lie at least 3/4 of [`DELAY_MIN`], and at most [`DELAY_MAX`].
#[derive(Debug, Clone)]
pub struct Redial {
    seed: u64,
    targets: BTreeMap<NodeId, Target>,
}

#[derive(Debug, Clone)]
struct Target {
    addresses: Vec<String>,
    failures: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Connected, since then.
    Connected(Timestamp),
    /// Being dialled; given up then.
    Dialling(Timestamp),
    /// Dialled again then.
    Waiting(Timestamp),
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// These are the targets from now on. Those in `connected` are connected already.
    Targets {
        /// Whom, and where.
        targets: Vec<NodeAddress>,
        /// Who is connected.
        connected: Vec<NodeId>,
    },
    /// The first connection to a peer is there.
    Connected(NodeId),
    /// The last connection to a peer is gone.
    Disconnected(NodeId),
    /// A dial failed.
    Failed(NodeId),
    /// Look at the clock.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Dial a peer.
    Dial {
        /// Whom.
        node: NodeId,
        /// Where: multiaddresses as text.
        addresses: Vec<String>,
    },
}

impl Redial {
    /// Keeps up nothing yet. `seed` spreads the delays of different nodes.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, targets: BTreeMap::new() }
    }

    fn retarget(&mut self, now: Timestamp, targets: Vec<NodeAddress>, connected: &[NodeId]) {
        let mut before = std::mem::take(&mut self.targets);
        for mut target in targets.into_iter().take(TARGETS_MAX) {
            target.addresses.truncate(ADDRESSES_MAX);
            let (failures, state) = match before.remove(&target.node) {
                Some(known) => (known.failures, known.state),
                None if connected.contains(&target.node) => (0, State::Connected(now)),
                None => (0, State::Waiting(now)),
            };
            self.targets
                .insert(target.node, Target { addresses: target.addresses, failures, state });
        }
    }

    fn on_disconnected(&mut self, now: Timestamp, node: NodeId) {
        let seed = self.seed;
        let Some(target) = self.targets.get_mut(&node) else { return };
        if let State::Connected(since) = target.state {
            if now.saturating_since(since) >= GOOD_AFTER {
                target.failures = 0;
            } else {
                target.failures = target.failures.saturating_add(1);
            }
        }
        target.state = State::Waiting(now.saturating_add(delay(seed, node, target.failures)));
    }

    fn on_failed(&mut self, now: Timestamp, node: NodeId) {
        let seed = self.seed;
        let Some(target) = self.targets.get_mut(&node) else { return };
        if let State::Dialling(_) = target.state {
            target.failures = target.failures.saturating_add(1);
            target.state = State::Waiting(now.saturating_add(delay(seed, node, target.failures)));
        }
    }

    fn dial_due(&mut self, now: Timestamp) -> Vec<Output> {
        let mut outputs = Vec::new();
        for (node, target) in &mut self.targets {
            match target.state {
                State::Dialling(until) if until <= now => {
                    target.failures = target.failures.saturating_add(1);
                    target.state = State::Waiting(now.saturating_add(delay(
                        self.seed,
                        *node,
                        target.failures,
                    )));
                }
                State::Waiting(until) if until <= now => {
                    target.state = State::Dialling(now.saturating_add(DIAL_TIMEOUT));
                    outputs.push(Output::Dial { node: *node, addresses: target.addresses.clone() });
                }
                State::Connected(_) | State::Dialling(_) | State::Waiting(_) => {}
            }
        }
        outputs
    }
}

impl Machine for Redial {
    type Input = Input;
    type Output = Output;
    const TICK: Input = Input::Tick;

    fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Output> {
        match input {
            Input::Targets { targets, connected } => self.retarget(now, targets, &connected),
            Input::Connected(node) => {
                if let Some(target) = self.targets.get_mut(&node) {
                    target.state = State::Connected(now);
                }
            }
            Input::Disconnected(node) => self.on_disconnected(now, node),
            Input::Failed(node) => self.on_failed(now, node),
            Input::Tick => {}
        }
        self.dial_due(now)
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.targets
            .values()
            .filter_map(|target| match target.state {
                State::Connected(_) => None,
                State::Dialling(until) | State::Waiting(until) => Some(until),
            })
            .min()
    }
}

/// Nothing before the first failure; then [`DELAY_MIN`], doubling, up to [`DELAY_MAX`], less up to a quarter.
fn delay(seed: u64, node: NodeId, failures: u32) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
    let full = DELAY_MIN
        .saturating_mul(1_u32.checked_shl(doublings.min(16)).unwrap_or(u32::MAX))
        .min(DELAY_MAX);
    let mut input = [0; 44];
    for (to, from) in input
        .iter_mut()
        .zip(seed.to_le_bytes().into_iter().chain(node.0).chain(failures.to_le_bytes()))
    {
        *to = from;
    }
    let [percent, ..] = protocol::ids::Hash::of(&input).0;
    let less = full.checked_div(1_024).unwrap_or_default().saturating_mul(u32::from(percent));
    full.saturating_sub(less)
}

#[cfg(test)]
mod tests {
    use protocol::machine::assert_deadline_contract;

    use super::*;

    const NODE: NodeId = NodeId([1; 32]);

    fn at(ms: u64) -> Timestamp {
        Timestamp::after_origin(Duration::from_millis(ms))
    }

    fn targets(nodes: &[NodeId]) -> Input {
        let targets = nodes
            .iter()
            .map(|node| NodeAddress {
                node: *node,
                addresses: vec!["/ip4/10.0.0.1/tcp/4301".to_owned()],
            })
            .collect();
        Input::Targets { targets, connected: Vec::new() }
    }

    fn dialling() -> Redial {
        let mut redial = Redial::new(7);
        assert_eq!(redial.handle(at(0), targets(&[NODE])).len(), 1);
        redial
    }

    /// Lets every dial fail, and says after how long each next one came, in ms.
    fn gaps(redial: &mut Redial, count: usize) -> Vec<u64> {
        let mut now = 0;
        let mut gaps = Vec::new();
        for _ in 0..count {
            redial.handle(at(now), Input::Failed(NODE));
            assert_deadline_contract(redial);
            let due = redial.deadline().unwrap();
            assert_eq!(redial.handle(due, Input::Tick).len(), 1);
            let next = u64::try_from(due.saturating_since(Timestamp::ORIGIN).as_millis()).unwrap();
            gaps.push(next.saturating_sub(now));
            now = next;
        }
        gaps
    }

    #[test]
    fn a_new_target_is_dialled_at_once_and_only_once() {
        let mut redial = dialling();
        assert!(redial.handle(at(1), Input::Tick).is_empty());
        assert!(
            redial.handle(at(2), targets(&[NODE])).is_empty(),
            "the same list again changes nothing"
        );
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        for (failures, gap) in (0_u32..).zip(gaps(&mut dialling(), 12)) {
            let full = (500 * 2_u64.pow(failures)).min(45_000);
            assert!(gap <= full && gap >= full * 3 / 4 - 1, "after {failures} failures: {gap} ms");
        }
    }

    #[test]
    fn a_connection_that_lasted_is_made_again_at_once() {
        let mut redial = dialling();
        redial.handle(at(0), Input::Connected(NODE));
        assert_eq!(redial.deadline(), None);
        assert_eq!(redial.handle(at(10_000), Input::Disconnected(NODE)).len(), 1);
    }

    #[test]
    fn a_peer_that_hangs_up_at_once_is_not_called_back_at_once() {
        let mut redial = dialling();
        redial.handle(at(0), Input::Connected(NODE));
        assert!(redial.handle(at(5), Input::Disconnected(NODE)).is_empty());
        assert_eq!(redial.handle(at(600), Input::Tick).len(), 1);
    }

    #[test]
    fn a_dial_of_which_nothing_is_heard_is_tried_again() {
        let mut redial = dialling();
        assert!(redial.handle(at(30_000), Input::Tick).is_empty(), "it counts as failed");
        assert_eq!(redial.handle(at(31_000), Input::Tick).len(), 1);
    }

    #[test]
    fn who_is_no_target_any_more_is_left_alone() {
        let mut redial = dialling();
        redial.handle(at(1), Input::Failed(NODE));
        redial.handle(at(2), targets(&[]));
        assert_eq!(redial.deadline(), None);
    }

    #[test]
    fn a_list_that_is_too_long_is_cut() {
        let nodes: Vec<_> =
            (0..=u8::try_from(TARGETS_MAX).unwrap()).map(|n| NodeId([n; 32])).collect();
        assert_eq!(Redial::new(1).handle(at(0), targets(&nodes)).len(), TARGETS_MAX);
    }
}
