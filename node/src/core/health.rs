//! How well a node is: overload with patience, flapping, and what to do about it.

use std::{collections::VecDeque, time::Duration};

use protocol::{
    time::Timestamp,
    wire::{
        availability::Advice,
        view::{Condition, Liveness},
    },
};

/// Load above which a host counts as overloaded, in percent (capability CAP-6).
pub const OVERLOADED_PERCENT: u8 = 90;
/// How long a host must have been overloaded, or not, before it is said to be.
pub const OVERLOAD_PATIENCE: Duration = Duration::from_secs(10);
/// A node that was heard from within this time may be well.
pub const HEARD_WITHIN: Duration = Duration::from_secs(60);
/// A node that was offline for longer should be given up.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(3_600);
/// Observations that are remembered of each node.
pub const OBSERVATIONS_MAX: usize = 10;
/// A node whose observations changed this often comes and goes.
pub const TRANSITIONS_FLAPPING: usize = 3;

/// Whether a host has too much to do, at this moment.
#[must_use]
pub const fn is_overloaded(cpu_percent: u8, memory_percent: u8) -> bool {
    cpu_percent > OVERLOADED_PERCENT || memory_percent > OVERLOADED_PERCENT
}

/// Whether a node is well: it can take work, and was heard from within a minute.
#[must_use]
pub fn is_healthy(condition: Condition, silent: Option<Duration>) -> bool {
    condition == Condition::Online && silent.is_some_and(|silent| silent < HEARD_WITHIN)
}

/// What to do about a node: one that comes and goes is rebooted, one that was offline for an hour given up.
#[must_use]
pub fn advice(liveness: Liveness, silent: Duration, flapping: bool) -> Option<Advice> {
    if liveness == Liveness::Offline && silent > GIVE_UP_AFTER {
        Some(Advice::Decommission)
    } else {
        flapping.then_some(Advice::Reboot)
    }
}

/// Whether a host is overloaded, not counting moments: it is, or is not, once it has been so for
/// [`OVERLOAD_PATIENCE`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overload {
    overloaded: bool,
    /// Since when it looks otherwise.
    otherwise: Option<Timestamp>,
}

impl Overload {
    /// A look at the host's load, in percent; says whether it counts as overloaded.
    pub fn look(&mut self, now: Timestamp, cpu_percent: u8, memory_percent: u8) -> bool {
        if is_overloaded(cpu_percent, memory_percent) == self.overloaded {
            self.otherwise = None;
        } else {
            let since = *self.otherwise.get_or_insert(now);
            if now.saturating_since(since) >= OVERLOAD_PATIENCE {
                self.overloaded = !self.overloaded;
                self.otherwise = None;
            }
        }
        self.overloaded
    }
}

/// Whether a node was well when it was last looked at, and before that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    last: VecDeque<bool>,
}

impl History {
    /// Nothing seen.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: VecDeque::new() }
    }

    /// One more observation.
    pub fn observe(&mut self, well: bool) {
        self.last.truncate(OBSERVATIONS_MAX.saturating_sub(1));
        self.last.push_front(well);
    }

    /// Whether the node comes and goes: its state changed [`TRANSITIONS_FLAPPING`] times within the last
    /// [`OBSERVATIONS_MAX`] observations.
    #[must_use]
    pub fn is_flapping(&self) -> bool {
        let pairs = self.last.iter().zip(self.last.iter().skip(1));
        pairs.filter(|(newer, older)| newer != older).count() >= TRANSITIONS_FLAPPING
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::after_origin(Duration::from_secs(second))
    }

    #[test]
    fn a_host_is_overloaded_at_91_percent_and_not_at_90() {
        assert!(is_overloaded(91, 0) && is_overloaded(0, 91));
        assert!(!is_overloaded(90, 90));
    }

    #[test]
    fn a_node_is_well_that_is_online_and_was_heard_from_within_a_minute() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert!(is_healthy(Condition::Online, seconds(59)));
        assert!(!is_healthy(Condition::Online, seconds(61)));
        assert!(!is_healthy(Condition::Degraded, seconds(0)));
        assert!(!is_healthy(Condition::Online, None));
    }

    #[test]
    fn three_changes_in_ten_observations_are_flapping() {
        let history = |observations: &[bool]| {
            let mut history = History::new();
            observations.iter().for_each(|well| history.observe(*well));
            history.is_flapping()
        };
        assert!(!history(&[true, false, true]));
        assert!(history(&[true, false, true, false]));
        let mut quiet = vec![true, false, true, false];
        quiet.extend([true; 6]);
        assert!(history(&quiet));
        quiet.extend([true; 4]);
        assert!(!history(&quiet), "what is longer ago than ten observations is forgotten");
    }

    #[test]
    fn a_node_that_flaps_is_rebooted_and_one_that_is_gone_for_an_hour_given_up() {
        let minute = Duration::from_secs(60);
        assert_eq!(advice(Liveness::Healthy, minute, true), Some(Advice::Reboot));
        assert_eq!(advice(Liveness::Offline, minute * 61, true), Some(Advice::Decommission));
        assert_eq!(advice(Liveness::Offline, minute * 60, false), None);
        assert_eq!(advice(Liveness::Healthy, minute * 61, false), None);
    }

    #[test]
    fn a_short_burst_overloads_nobody_and_a_short_rest_helps_nobody() {
        let mut overload = Overload::default();
        assert!(!overload.look(at(0), 100, 0));
        assert!(!overload.look(at(9), 100, 0));
        assert!(!overload.look(at(10), 50, 0), "the burst was over in time");
        assert!(!overload.look(at(12), 91, 0));
        assert!(overload.look(at(22), 91, 0));
        assert!(overload.look(at(24), 10, 10));
        assert!(overload.look(at(30), 91, 10));
        assert!(overload.look(at(32), 90, 90));
        assert!(!overload.look(at(42), 90, 90));
    }

    proptest! {
        #[test]
        fn what_is_said_of_a_host_was_so_for_as_long_as_patience_lasts(loads in prop::collection::vec(0_u8..=100, 1..60)) {
            let mut overload = Overload::default();
            let mut said = false;
            for (second, load) in (0_u64..).zip(&loads) {
                let says = overload.look(at(second), *load, 0);
                if says != said {
                    let begun = usize::try_from(second.checked_sub(10).unwrap()).unwrap();
                    let mut lasted = loads.iter().skip(begun).take(11);
                    prop_assert!(lasted.all(|load| is_overloaded(*load, 0) == says));
                }
                said = says;
            }
        }
    }
}
