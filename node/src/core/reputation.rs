//! How peers behave: one score each, which falls with every fault and is forgiven with time.
//!
//! A score is in [−100, 100]; it begins at 0, and its distance from 0 halves every ten minutes. A peer at −20 or below is
//! disconnected and not let in again until it is above; at −50, or when it has to be disconnected for the third time
//! without being forgiven in between, it is banned for half a day. What was merely slow
//! costs so little that only insisting on it leads there. Coordinators of one's own mesh are never banned: whoever
//! runs the node is told instead, because a mesh that cuts off its own leader has been attacked successfully.
//!
//! Five banned peers at one address ban the address, but only one that the whole internet sees as one place:
//! behind a loopback, private or shared address anybody may sit ([`is_near`]).
//!
//! # Invariants
//!
//! 1. No peer that is a coordinator when it misbehaves is banned or disconnected for it.
//! 2. A ban ends [`Config::ban`] after the last fault that caused it, or when a person approves the node.
//! 3. At most [`Config::peers_max`] scores and [`Config::bans_max`] bans are kept. When full, the score nearest to 0
//!    and the ban that ends first make room.

use core::net::{IpAddr, Ipv6Addr};
use std::{collections::BTreeMap, time::Duration};

use protocol::{ids::NodeId, machine::Machine, time::Timestamp};

/// A score at or below this is not let in.
pub const DISCONNECT_AT: i8 = -20;
/// A score at or below this is banned.
pub const BAN_AT: i8 = -50;

/// Parts of a point that scores are counted in.
const MILLI: i32 = 1_000;
/// The lowest score, in thousandths of a point.
const LOWEST: i32 = -100 * MILLI;
/// Above this score, in thousandths of a point, earlier disconnections are forgotten.
const FORGIVEN: i32 = -MILLI;
/// Disconnections without being forgiven in between that ban.
const STRIKES_MAX: u8 = 3;
/// Steps in which a score halves.
const STEPS: u32 = 64;
/// What is left of a score after a step: 2^(−1/64).
const STEP_NUMERATOR: i64 = 64_830;
const STEP_DENOMINATOR: i64 = 65_536;

/// The figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Peers whose scores are kept. Each costs about 100 bytes.
    pub peers_max: usize,
    /// Bans that are kept, in memory and in their file.
    pub bans_max: usize,
    /// After which half of a score is forgiven. Too short, and an attacker is forgiven between two attempts.
    pub half_life: Duration,
    /// How long a ban lasts.
    pub ban: Duration,
    /// Banned peers at one address that ban the address.
    pub banned_per_address_max: usize,
    /// A member's flooding or stalling counts once in this time: a burst of an honest one, or a connection that breaks
    /// with many streams on it, is over before it costs much.
    pub flood_pause: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            peers_max: 4_096,
            bans_max: 4_096,
            half_life: Duration::from_secs(600),
            ban: Duration::from_secs(12 * 3_600),
            banned_per_address_max: 5,
            flood_pause: Duration::from_millis(100),
        }
    }
}

/// What a peer did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It sent more than its quota, and was told so.
    Flooding,
    /// It began a message and did not go on, or broke it off.
    Stalled,
    /// It did something that nobody does who keeps to the protocol.
    Violation,
    /// It opened more streams than anybody needs, and lost the connection.
    Streams,
    /// It sent bytes that are no message of the protocol.
    Malformed,
    /// It announced more than the protocol allows.
    Oversized,
    /// It sent a statement whose signature or signer is wrong.
    BadSignature,
    /// It sent content that does not have the hash it was asked for by.
    WrongContent,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Flooding,
        Self::Stalled,
        Self::Violation,
        Self::Streams,
        Self::Malformed,
        Self::Oversized,
        Self::BadSignature,
        Self::WrongContent,
    ];

    /// What it costs, in points: about fifty, ten or five of a kind ban.
    #[must_use]
    pub const fn points(self) -> i32 {
        match self {
            Self::Flooding | Self::Stalled => 1,
            Self::Violation => 5,
            Self::Streams
            | Self::Malformed
            | Self::Oversized
            | Self::BadSignature
            | Self::WrongContent => 10,
        }
    }

    /// Its name in logs, metrics and the file of bans.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flooding => "flooding",
            Self::Stalled => "stalled",
            Self::Violation => "violation",
            Self::Streams => "streams",
            Self::Malformed => "malformed",
            Self::Oversized => "oversized",
            Self::BadSignature => "bad-signature",
            Self::WrongContent => "wrong-content",
        }
    }
}

/// What a peer is to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// Nobody has approved it.
    Stranger,
    /// It is approved.
    Member,
    /// It keeps the ledger of this node's mesh.
    Coordinator,
}

/// A ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// Who.
    pub node: NodeId,
    /// Where it was connected from at its last fault.
    pub address: Option<IpAddr>,
    /// When it ends.
    pub until: Timestamp,
}

/// Things that happen to [`Reputation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A peer misbehaved.
    Fault {
        /// Who.
        node: NodeId,
        /// What it is to this node.
        rank: Rank,
        /// Where it is connected from.
        address: Option<IpAddr>,
        /// What it did.
        fault: Fault,
    },
    /// A person decided that a node belongs to the mesh: everything is forgiven.
    Approved(NodeId),
    /// Bans of an earlier run.
    Restored(Vec<Ban>),
    /// Time has passed.
    Tick,
}

/// Things that [`Reputation`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The score of a peer changed.
    Scored(NodeId),
    /// Close its connections. It may come back when its score is above [`DISCONNECT_AT`].
    Disconnect(NodeId),
    /// Close its connections and let it in no more.
    Banned(NodeId),
    /// A coordinator deserves a ban and gets none: tell whoever runs this node.
    Alarm(NodeId, Fault),
    /// The bans changed: keep them.
    BansChanged,
}

#[derive(Debug, Clone, Copy)]
struct Score {
    milli: i32,
    /// When `milli` was right.
    at: Timestamp,
    /// Until when flooding costs nothing more.
    flooded_until: Timestamp,
    /// How often the peer was disconnected since it was last forgiven.
    strikes: u8,
}

impl Score {
    /// What is left of it. Falls in steps of 1/64 of the half-life, each by the same factor, so that it does not matter
    /// how often it is looked at; no floating point.
    fn at(self, now: Timestamp, half_life: Duration) -> Self {
        let step = half_life.checked_div(STEPS).unwrap_or(half_life).max(Duration::from_millis(1));
        let passed = now.saturating_since(self.at).as_micros();
        let steps = passed.checked_div(step.as_micros()).unwrap_or(0);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        let halvings = steps.checked_div(STEPS).unwrap_or(0);
        let mut milli = i64::from(self.milli)
            .checked_div(1_i64.checked_shl(halvings.min(62)).unwrap_or(i64::MAX))
            .unwrap_or(0);
        for _ in 0..steps.checked_rem(STEPS).unwrap_or(0) {
            milli = milli.saturating_mul(STEP_NUMERATOR).checked_div(STEP_DENOMINATOR).unwrap_or(0);
        }
        let milli = i32::try_from(milli).unwrap_or(0);
        let strikes = if milli > FORGIVEN { 0 } else { self.strikes };
        Self { milli, at: self.at.saturating_add(step.saturating_mul(steps)), strikes, ..self }
    }
}

/// The scores and bans of all peers.
#[derive(Debug, Clone)]
pub struct Reputation {
    config: Config,
    scores: BTreeMap<NodeId, Score>,
    bans: BTreeMap<NodeId, Ban>,
}

impl Reputation {
    /// Nobody has done anything yet.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self { config, scores: BTreeMap::new(), bans: BTreeMap::new() }
    }

    /// A peer's score, in points, rounded towards 0.
    #[must_use]
    pub fn score(&self, now: Timestamp, node: &NodeId) -> i8 {
        let milli = self.milli(now, node);
        i8::try_from(milli.checked_div(MILLI).unwrap_or(0)).unwrap_or(i8::MIN)
    }

    /// Whether a peer is kept out now: banned, or too low.
    #[must_use]
    pub fn is_refused(&self, now: Timestamp, node: &NodeId) -> bool {
        self.is_banned(node) || is_at(self.milli(now, node), DISCONNECT_AT)
    }

    /// Whether a peer is banned, as of the last tick.
    #[must_use]
    pub fn is_banned(&self, node: &NodeId) -> bool {
        self.bans.contains_key(node)
    }

    /// Everybody who is banned.
    pub fn bans(&self) -> impl ExactSizeIterator<Item = &Ban> {
        self.bans.values()
    }

    /// Addresses that are banned: [`source`]s of enough banned peers.
    #[must_use]
    pub fn banned_addresses(&self) -> Vec<IpAddr> {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for address in self.bans.values().filter_map(|ban| ban.address).filter(|a| !is_near(*a)) {
            let count = counts.entry(source(address)).or_default();
            *count = count.saturating_add(1);
        }
        counts.retain(|_, count| *count >= self.config.banned_per_address_max);
        counts.into_keys().collect()
    }

    fn milli(&self, now: Timestamp, node: &NodeId) -> i32 {
        self.scores.get(node).map_or(0, |score| score.at(now, self.config.half_life).milli)
    }

    /// Counts a fault. Returns the score before, in thousandths, and after it; nothing if it does not count.
    fn fault(
        &mut self,
        now: Timestamp,
        node: NodeId,
        rank: Rank,
        fault: Fault,
    ) -> Option<(i32, Score)> {
        if !self.scores.contains_key(&node) && self.scores.len() >= self.config.peers_max {
            self.forget_one(now);
        }
        let half_life = self.config.half_life;
        let new = Score { milli: 0, at: now, flooded_until: now, strikes: 0 };
        let known = self.scores.get(&node).map_or(new, |score| score.at(now, half_life));
        let hurried = matches!(fault, Fault::Flooding | Fault::Stalled);
        if hurried && rank != Rank::Stranger && known.flooded_until > now {
            return None;
        }
        let mut score = known;
        if hurried {
            score.flooded_until = now.saturating_add(self.config.flood_pause);
        }
        score.milli = known.milli.saturating_sub(fault.points().saturating_mul(MILLI)).max(LOWEST);
        if fell_to(known.milli, score.milli, DISCONNECT_AT) {
            score.strikes = score.strikes.saturating_add(1);
        }
        self.scores.insert(node, score);
        Some((known.milli, score))
    }

    fn forget_one(&mut self, now: Timestamp) {
        let half_life = self.config.half_life;
        let best = self.scores.iter().max_by_key(|(_, score)| score.at(now, half_life).milli);
        if let Some(node) = best.map(|(node, _)| *node) {
            self.scores.remove(&node);
        }
    }

    fn ban(&mut self, ban: Ban) {
        if self.bans.len() >= self.config.bans_max && !self.bans.contains_key(&ban.node) {
            let first = self.bans.values().min_by_key(|ban| ban.until).map(|ban| ban.node);
            if let Some(first) = first {
                self.bans.remove(&first);
            }
        }
        self.bans.insert(ban.node, ban);
    }

    fn on_fault(
        &mut self,
        now: Timestamp,
        node: NodeId,
        rank: Rank,
        (address, fault): (Option<IpAddr>, Fault),
    ) -> Vec<Output> {
        let Some((before, after)) = self.fault(now, node, rank, fault) else { return Vec::new() };
        let mut out = vec![Output::Scored(node)];
        if rank == Rank::Coordinator {
            if fell_to(before, after.milli, BAN_AT) {
                out.push(Output::Alarm(node, fault));
            }
        } else if is_at(after.milli, BAN_AT) || after.strikes >= STRIKES_MAX {
            self.ban(Ban { node, address, until: now.saturating_add(self.config.ban) });
            out.extend([Output::Banned(node), Output::BansChanged]);
        } else if is_at(after.milli, DISCONNECT_AT) {
            out.push(Output::Disconnect(node));
        }
        out
    }

    fn end_bans(&mut self, now: Timestamp) -> Vec<Output> {
        let ended: Vec<_> =
            self.bans.values().filter(|ban| ban.until <= now).map(|ban| ban.node).collect();
        for node in &ended {
            self.bans.remove(node);
            self.scores.remove(node);
        }
        if ended.is_empty() { Vec::new() } else { vec![Output::BansChanged] }
    }
}

impl Machine for Reputation {
    type Input = Input;
    type Output = Output;
    const TICK: Input = Input::Tick;

    fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Output> {
        let mut out = self.end_bans(now);
        match input {
            Input::Fault { node, rank, address, fault } => {
                out.extend(self.on_fault(now, node, rank, (address, fault)));
            }
            Input::Approved(node) => {
                if self.scores.remove(&node).is_some() {
                    out.push(Output::Scored(node));
                }
                if self.bans.remove(&node).is_some() {
                    out.push(Output::BansChanged);
                }
            }
            Input::Restored(bans) => {
                for ban in bans.into_iter().filter(|ban| ban.until > now) {
                    self.ban(ban);
                }
            }
            Input::Tick => {}
        }
        out
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.bans.values().map(|ban| ban.until).min()
    }
}

/// Whether a score in thousandths is at a line or below it.
fn is_at(milli: i32, line: i8) -> bool {
    milli <= i32::from(line).saturating_mul(MILLI)
}

/// Whether a score was above a line and is no more.
fn fell_to(before: i32, after: i32, line: i8) -> bool {
    !is_at(before, line) && is_at(after, line)
}

/// What an attacker holds when it holds an address: the address itself, or the /64 of an IPv6 one.
#[must_use]
pub fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Whether an address says nothing about who is behind it to anybody outside: loopback, link-local, private, and
/// the space that carriers share (RFC 6598).
#[must_use]
pub fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || address.is_unspecified()
                || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests;
