//! How often somebody may ask. Pure.

use std::{collections::BTreeMap, time::Duration};

use protocol::{ids::NodeId, time::Timestamp};

/// A rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// So many at once.
    pub burst: u32,
    /// After which one more is allowed for each of these.
    pub every: Duration,
}

impl Rate {
    /// `count` within `period`, all of them at once if need be. A count of zero counts as one.
    #[must_use]
    pub fn per(count: u32, period: Duration) -> Self {
        let burst = count.max(1);
        Self { burst, every: period.checked_div(burst).unwrap_or(period) }
    }
}

/// The quotas of all peers, or of all addresses, for one kind of request.
///
/// The generic cell rate algorithm: of each peer only the time is kept at which its bucket would be full again.
/// At most [`Self::peers_max`](Self::new) peers are kept; those whose bucket is full are forgotten first, and a
/// new peer is refused while there is no room.
#[derive(Debug, Clone)]
pub struct Quotas<K = NodeId> {
    rate: Rate,
    peers_max: usize,
    full_at: BTreeMap<K, Timestamp>,
}

impl<K: Ord> Quotas<K> {
    /// Quotas of `rate` for each of at most `peers_max` peers.
    #[must_use]
    pub const fn new(rate: Rate, peers_max: usize) -> Self {
        Self { rate, peers_max, full_at: BTreeMap::new() }
    }

    /// Takes one from a peer's bucket; `false` if it is empty.
    #[must_use]
    pub fn take(&mut self, now: Timestamp, peer: K) -> bool {
        self.reserve(now, peer, Duration::ZERO).is_some()
    }

    /// Takes one from a peer's bucket, ahead of time if it is empty: the answer is how long to wait until it may be
    /// used. `None`, and nothing is taken, if that is longer than `patience`.
    #[must_use]
    pub fn reserve(&mut self, now: Timestamp, peer: K, patience: Duration) -> Option<Duration> {
        if !self.full_at.contains_key(&peer) && self.full_at.len() >= self.peers_max {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= self.peers_max {
                return None;
            }
        }
        let full_at = self.full_at.entry(peer).or_insert(now);
        let next = (*full_at).max(now).saturating_add(self.rate.every);
        let burst = self.rate.every.saturating_mul(self.rate.burst);
        let wait = next.saturating_since(now).saturating_sub(burst);
        if wait > patience {
            return None;
        }
        *full_at = next;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PEER: NodeId = NodeId([1; 32]);

    fn at(ms: u64) -> Timestamp {
        Timestamp::after_origin(Duration::from_millis(ms))
    }

    #[test]
    fn a_burst_is_allowed_and_then_one_for_each_interval() {
        let mut quotas = Quotas::new(Rate::per(2, Duration::from_secs(1)), 8);
        assert!(quotas.take(at(0), PEER));
        assert!(quotas.take(at(0), PEER));
        assert!(!quotas.take(at(0), PEER));
        assert!(!quotas.take(at(499), PEER));
        assert!(quotas.take(at(500), PEER));
        assert!(!quotas.take(at(500), PEER));
    }

    #[test]
    fn whoever_waits_as_told_is_never_refused() {
        let rate = Rate::per(2, Duration::from_secs(1));
        let (mut sender, mut receiver) = (Quotas::new(rate, 8), Quotas::new(rate, 8));
        for _ in 0..100 {
            let wait = sender.reserve(at(0), PEER, Duration::from_secs(60)).unwrap();
            assert!(receiver.take(at(0).saturating_add(wait), PEER), "after {wait:?}");
        }
        assert_eq!(
            sender.reserve(at(0), PEER, Duration::from_secs(1)),
            None,
            "that would take 50 s"
        );
        assert!(sender.take(at(60_000), PEER), "what was refused was not taken");
    }

    #[test]
    fn one_peer_does_not_use_up_what_another_may() {
        let mut quotas = Quotas::new(Rate::per(1, Duration::from_secs(1)), 8);
        assert!(quotas.take(at(0), PEER));
        assert!(quotas.take(at(0), NodeId([2; 32])));
    }

    #[test]
    fn many_peers_cannot_fill_the_memory() {
        let mut quotas = Quotas::new(Rate::per(1, Duration::from_secs(1)), 2);
        for (peer, allowed) in [(1, true), (2, true), (3, false)] {
            assert_eq!(quotas.take(at(0), NodeId([peer; 32])), allowed);
        }
        assert!(
            quotas.take(at(1_000), NodeId([3; 32])),
            "the others' buckets are full again: forgotten"
        );
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_what_time_adds(steps in prop::collection::vec(0..300_u64, 1..200)) {
            let mut quotas = Quotas::new(Rate::per(5, Duration::from_secs(1)), 1);
            let (mut now, mut taken) = (0_u64, 0_u64);
            for step in steps {
                now = now.saturating_add(step);
                taken = taken.saturating_add(quotas.take(at(now), PEER).into());
            }
            prop_assert!(taken.saturating_sub(5) <= now / 200);
        }
    }
}
