//! A network in memory that loses, delays, doubles and reorders messages and can be cut: for tests.
//!
//! A seed decides about each message in the order in which messages are sent. That order is up to the threads of
//! the replicas, which are real: a seed gives the same faults, not the same run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, future,
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use protocol::ids::NodeId;
use tokio::{runtime::Handle, time};

use super::{Lane, PeerError, Peers, Replica};

/// What a network does to messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Of 1,000 requests or answers, so many are lost.
    pub lost: u32,
    /// Of 1,000 requests, so many arrive a second time, later.
    pub doubled: u32,
    /// Each way takes up to so long: messages overtake each other.
    pub delay_max: Duration,
}

impl Faults {
    /// A network that works.
    pub const NONE: Self = Self { lost: 0, doubled: 0, delay_max: Duration::ZERO };
}

/// Joins replicas of one process.
#[derive(Debug)]
pub struct LossyNetwork {
    /// Where messages are delivered.
    runtime: Handle,
    #[expect(clippy::disallowed_types, reason = "held for a few instructions, in tests only")]
    state: std::sync::Mutex<State>,
}

#[derive(Debug)]
struct State {
    seed: u64,
    faults: Faults,
    replicas: BTreeMap<NodeId, Weak<Replica>>,
    /// From whom nothing reaches whom.
    cut: BTreeSet<(NodeId, NodeId)>,
    sent: u64,
    bytes: u64,
}

impl State {
    /// The next number of the sequence that the seed begins (`SplitMix64`).
    fn draw(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn chance(&mut self, per_mille: u32) -> bool {
        self.draw().checked_rem(1_000).is_some_and(|drawn| drawn < u64::from(per_mille))
    }

    fn delay(&mut self) -> Duration {
        let max = u64::try_from(self.faults.delay_max.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.draw().checked_rem(max).unwrap_or(0))
    }
}

/// What will happen to one message.
struct Fate {
    out: Duration,
    back: Duration,
    lost_out: bool,
    lost_back: bool,
    again: Option<Duration>,
    cut_out: bool,
    cut_back: bool,
}

impl LossyNetwork {
    /// A network that works, for now. Messages are delivered on `runtime`.
    #[must_use]
    pub fn new(seed: u64, runtime: Handle) -> Arc<Self> {
        let state = State {
            seed,
            faults: Faults::NONE,
            replicas: BTreeMap::new(),
            cut: BTreeSet::new(),
            sent: 0,
            bytes: 0,
        };
        #[expect(clippy::disallowed_types, reason = "held for a few instructions, in tests only")]
        let state = std::sync::Mutex::new(state);
        Arc::new(Self { runtime, state })
    }

    /// The network as `own` sees it.
    #[must_use]
    pub fn of(self: &Arc<Self>, own: NodeId) -> Arc<dyn Peers> {
        Arc::new(Port { network: Arc::clone(self), own })
    }

    /// From now on messages for `node` go to `replica`, for as long as it lives.
    pub fn attach(&self, node: NodeId, replica: &Arc<Replica>) {
        self.with(|state| state.replicas.insert(node, Arc::downgrade(replica)));
    }

    /// Changes what happens to messages.
    pub fn set(&self, faults: Faults) {
        self.with(|state| state.faults = faults);
    }

    /// From now on nothing passes between nodes of different sides. Nodes on no side reach everybody.
    pub fn part(&self, sides: &[BTreeSet<NodeId>]) {
        self.with(|state| {
            state.cut.clear();
            for (number, side) in sides.iter().enumerate() {
                for other in sides.iter().skip(number.saturating_add(1)) {
                    let pairs = side.iter().flat_map(|a| other.iter().map(move |b| (*a, *b)));
                    for (a, b) in pairs {
                        state.cut.extend([(a, b), (b, a)]);
                    }
                }
            }
        });
    }

    /// From now on nothing from `from` reaches `to`; the other way is open.
    pub fn part_one_way(&self, from: NodeId, to: NodeId) {
        self.with(|state| state.cut.insert((from, to)));
    }

    /// Everybody reaches everybody.
    pub fn heal(&self) {
        self.with(|state| state.cut.clear());
    }

    /// Messages and bytes that were sent so far.
    #[must_use]
    pub fn traffic(&self) -> (u64, u64) {
        self.with(|state| (state.sent, state.bytes))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn fate(&self, from: NodeId, to: NodeId, bytes: usize) -> Fate {
        self.with(|state| {
            state.sent = state.sent.saturating_add(1);
            state.bytes = state.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
            let faults = state.faults;
            Fate {
                out: state.delay(),
                back: state.delay(),
                lost_out: state.chance(faults.lost),
                lost_back: state.chance(faults.lost),
                again: state.chance(faults.doubled).then(|| {
                    state.delay().saturating_add(state.delay()).saturating_add(state.delay())
                }),
                cut_out: state.cut.contains(&(from, to)),
                cut_back: state.cut.contains(&(to, from)),
            }
        })
    }

    fn find(&self, node: NodeId) -> Option<Arc<Replica>> {
        self.with(|state| state.replicas.get(&node).and_then(Weak::upgrade))
    }

    async fn deliver(
        self: Arc<Self>,
        from: NodeId,
        to: NodeId,
        request: Vec<u8>,
        delay: Duration,
    ) -> Result<Vec<u8>, PeerError> {
        time::sleep(delay).await;
        let replica = self.find(to);
        let replica = replica.ok_or_else(|| PeerError::Unreachable("it is down".to_owned()))?;
        Ok(replica.receive(from, &request).await)
    }
}

/// The network as one node sees it.
struct Port {
    network: Arc<LossyNetwork>,
    own: NodeId,
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Peers for Port {
    fn call(
        &self,
        to: NodeId,
        _lane: Lane,
        request: Vec<u8>,
    ) -> BoxFuture<'_, Result<Vec<u8>, PeerError>> {
        async move {
            let fate = self.network.fate(self.own, to, request.len());
            if fate.cut_out || fate.lost_out {
                // As on a real network: nothing says that it was lost.
                return future::pending().await;
            }
            if let Some(later) = fate.again {
                let again = Arc::clone(&self.network);
                drop(self.network.runtime.spawn(again.deliver(
                    self.own,
                    to,
                    request.clone(),
                    later,
                )));
            }
            let network = Arc::clone(&self.network);
            let delivered =
                self.network.runtime.spawn(network.deliver(self.own, to, request, fate.out));
            let answer = delivered.await.map_err(|error| PeerError::Lost(error.to_string()))??;
            if fate.cut_back || fate.lost_back {
                return future::pending().await;
            }
            time::sleep(fate.back).await;
            Ok(answer)
        }
        .boxed()
    }
}
