//! What nodes say they have to offer: the newest advert of each, as long as it is good.
//!
//! # Invariants
//!
//! 1. An advert is kept only if its sequence is larger than that of every earlier one of the same node.
//! 2. At most [`Config::adverts_max`] nodes are remembered; when full, news of unknown nodes is ignored.
//! 3. No node makes this one check more signatures than [`Config::rate`] allows, whatever it publishes.

use std::{collections::BTreeMap, time::Duration};

use protocol::{
    ids::NodeId,
    machine::Machine,
    time::{Timestamp, UnixMillis},
    wire::{advert::Advert, is_tag},
};

use super::quota::{Quotas, Rate};

/// How many adverts are kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Nodes remembered at a time.
    pub adverts_max: usize,
    /// The longest that an advert may ask to be good for.
    pub ttl_max: Duration,
    /// How far a sender's clock may be off.
    pub skew_max: Duration,
    /// How often one node's adverts are looked at.
    pub rate: Rate,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            adverts_max: protocol::limits::NODES_MAX,
            ttl_max: Duration::from_secs(90),
            skew_max: Duration::from_secs(30),
            rate: Rate { burst: 4, every: Duration::from_secs(5) },
        }
    }
}

/// Things that happen to [`Adverts`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An advert whose signature was checked, and the wall clock when it came.
    Heard(Box<Advert>, UnixMillis),
    /// Time has passed.
    Tick,
}

/// Things that [`Adverts`] asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The advert is news.
    News(NodeId),
    /// It is not: old, from the future, or implausible.
    Ignored(NodeId, Ignored),
    /// What the node had to offer is no longer known.
    Expired(NodeId),
}

/// Why an advert is no news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// Its sequence is not larger than one already heard.
    Old,
    /// Its time is too far from ours.
    Clock,
    /// A number in it is out of bounds.
    Implausible,
    /// Too many nodes are remembered.
    Full,
    /// The node published too often.
    TooOften,
}

#[derive(Debug, Clone)]
struct Known {
    advert: Advert,
    until: Timestamp,
    /// The advert is over, and kept only for its sequence.
    over: bool,
}

/// The newest advert of each node.
#[derive(Debug, Clone)]
pub struct Adverts {
    config: Config,
    known: BTreeMap<NodeId, Known>,
    quotas: Quotas,
}

impl Adverts {
    /// Nothing heard yet.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        let quotas = Quotas::new(config.rate, config.adverts_max);
        Self { config, known: BTreeMap::new(), quotas }
    }

    /// Whether an advert is worth checking its signature: what is cheap to see, before what is dear. Uses up the rate of
    /// its node, which the caller knows to be who sent it.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub fn glance(
        &mut self,
        now: Timestamp,
        advert: &Advert,
        wall: UnixMillis,
    ) -> Result<(), Ignored> {
        if self.known.get(&advert.node).is_some_and(|known| known.advert.seq >= advert.seq) {
            return Err(Ignored::Old);
        }
        self.check_time(advert, wall)?;
        if self.quotas.take(now, advert.node) { Ok(()) } else { Err(Ignored::TooOften) }
    }

    fn check_time(&self, advert: &Advert, wall: UnixMillis) -> Result<(), Ignored> {
        let ttl = Duration::from_millis(u64::from(advert.ttl_ms));
        let skew = Duration::from_millis(advert.at.0.abs_diff(wall.0));
        if ttl.is_zero() || ttl > self.config.ttl_max {
            Err(Ignored::Implausible)
        } else if skew > self.config.skew_max {
            Err(Ignored::Clock)
        } else {
            Ok(())
        }
    }

    /// What a node has to offer, if that is known.
    #[must_use]
    pub fn get(&self, node: &NodeId) -> Option<&Advert> {
        self.known.get(node).filter(|known| !known.over).map(|known| &known.advert)
    }

    fn hear(&mut self, now: Timestamp, advert: Advert, wall: UnixMillis) -> Output {
        let node = advert.node;
        let refused = if !is_plausible(&advert) {
            Some(Ignored::Implausible)
        } else if let Err(ignored) = self.check_time(&advert, wall) {
            Some(ignored)
        } else if self.known.get(&node).is_some_and(|known| known.advert.seq >= advert.seq) {
            Some(Ignored::Old)
        } else if self.known.len() >= self.config.adverts_max && !self.known.contains_key(&node) {
            Some(Ignored::Full)
        } else {
            None
        };
        if let Some(refused) = refused {
            return Output::Ignored(node, refused);
        }
        let until = now.saturating_add(Duration::from_millis(u64::from(advert.ttl_ms)));
        self.known.insert(node, Known { advert, until, over: false });
        Output::News(node)
    }

    fn expire(&mut self, now: Timestamp) -> Vec<Output> {
        let due = self.known.iter_mut().filter(|(_, known)| !known.over && known.until <= now);
        due.map(|(node, known)| {
            known.over = true;
            Output::Expired(*node)
        })
        .collect()
    }
}

impl Machine for Adverts {
    type Input = Input;
    type Output = Output;
    const TICK: Input = Input::Tick;

    fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Output> {
        let mut out = self.expire(now);
        match input {
            Input::Heard(advert, wall) => out.push(self.hear(now, *advert, wall)),
            Input::Tick => {}
        }
        out
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.known.values().filter(|known| !known.over).map(|known| known.until).min()
    }
}

/// Whether the numbers of an advert can be true.
fn is_plausible(advert: &Advert) -> bool {
    advert.version == 1
        && advert.cores <= 1_024
        && advert.memory_bytes <= 1 << 44
        && advert.slots <= 4_096
        && advert.slots_free <= advert.slots
        && advert.cpu_percent <= 100
        && advert.memory_percent <= 100
        && advert.tags.len() <= protocol::limits::TAGS_MAX
        && advert.tags.iter().all(|tag| is_tag(tag))
}

#[cfg(test)]
mod tests {
    use protocol::{
        machine::assert_deadline_contract,
        wire::{
            advert::{Arch, Isolation, Os},
            enroll::Role,
        },
    };

    use super::*;

    const NODE: NodeId = NodeId([1; 32]);

    fn advert(seq: u64) -> Advert {
        Advert {
            version: 1,
            node: NODE,
            seq,
            at: UnixMillis(1_000_000),
            ttl_ms: 45_000,
            software: "0.1.0".into(),
            os: Os::Linux,
            arch: Arch::X86_64,
            roles: vec![Role::Worker],
            isolation: Isolation::B,
            cores: 2,
            memory_bytes: 1 << 30,
            memory_free_bytes: 1 << 29,
            cpu_percent: 3,
            memory_percent: 40,
            slots: 2,
            slots_free: 2,
            tags: vec![],
        }
    }

    fn at(second: u64) -> Timestamp {
        Timestamp::after_origin(Duration::from_secs(second))
    }

    fn hear(adverts: &mut Adverts, second: u64, advert: Advert) -> Vec<Output> {
        let out = adverts.handle(at(second), Input::Heard(Box::new(advert), UnixMillis(1_000_000)));
        assert_deadline_contract(adverts);
        out
    }

    #[test]
    fn only_a_larger_sequence_is_news() {
        let mut adverts = Adverts::new(Config::default());
        assert_eq!(hear(&mut adverts, 0, advert(5)), [Output::News(NODE)]);
        for seq in [5, 4] {
            assert_eq!(hear(&mut adverts, 1, advert(seq)), [Output::Ignored(NODE, Ignored::Old)]);
        }
        assert_eq!(hear(&mut adverts, 1, advert(6)), [Output::News(NODE)]);
    }

    #[test]
    fn one_advert_in_five_seconds_is_looked_at_and_four_at_once() {
        let mut adverts = Adverts::new(Config::default());
        let mut glance =
            |second, seq| adverts.glance(at(second), &advert(seq), UnixMillis(1_000_000));
        for seq in 1..=4 {
            assert_eq!(glance(0, seq), Ok(()));
        }
        assert_eq!(glance(4, 5), Err(Ignored::TooOften));
        assert_eq!(glance(5, 5), Ok(()));
        assert_eq!(glance(5, 6), Err(Ignored::TooOften));
    }

    #[test]
    fn an_advert_from_yesterday_or_tomorrow_costs_no_signature() {
        let mut adverts = Adverts::new(Config::default());
        hear(&mut adverts, 0, advert(5));
        let wall = UnixMillis(1_000_000);
        for (change, ignored) in [
            (Advert { seq: 5, ..advert(5) }, Ignored::Old),
            (Advert { at: UnixMillis(969_999), ..advert(6) }, Ignored::Clock),
            (Advert { at: UnixMillis(1_030_001), ..advert(6) }, Ignored::Clock),
            (Advert { ttl_ms: 90_001, ..advert(6) }, Ignored::Implausible),
            (Advert { ttl_ms: 0, ..advert(6) }, Ignored::Implausible),
        ] {
            assert_eq!(adverts.glance(at(0), &change, wall), Err(ignored), "{change:?}");
        }
        let skewed = Advert { at: UnixMillis(970_000), ttl_ms: 90_000, ..advert(6) };
        assert_eq!(adverts.glance(at(0), &skewed, wall), Ok(()));
    }

    #[test]
    fn an_advert_ends_and_its_sequence_stays() {
        let mut adverts = Adverts::new(Config::default());
        hear(&mut adverts, 0, advert(5));
        assert_eq!(adverts.handle(at(45), Input::Tick), [Output::Expired(NODE)]);
        assert_eq!(adverts.get(&NODE), None);
        assert_eq!(hear(&mut adverts, 46, advert(5)), [Output::Ignored(NODE, Ignored::Old)]);
    }

    #[test]
    fn what_cannot_be_true_is_ignored() {
        let mut adverts = Adverts::new(Config::default());
        let liar = Advert { cores: 5_000, ..advert(1) };
        assert_eq!(hear(&mut adverts, 0, liar), [Output::Ignored(NODE, Ignored::Implausible)]);
        let late = Advert { at: UnixMillis(1), ..advert(1) };
        assert_eq!(hear(&mut adverts, 0, late), [Output::Ignored(NODE, Ignored::Clock)]);
    }

    #[test]
    fn the_number_of_nodes_is_bounded() {
        let mut adverts = Adverts::new(Config { adverts_max: 1, ..Config::default() });
        hear(&mut adverts, 0, advert(1));
        let other = Advert { node: NodeId([2; 32]), ..advert(1) };
        assert_eq!(hear(&mut adverts, 0, other), [Output::Ignored(NodeId([2; 32]), Ignored::Full)]);
    }
}
