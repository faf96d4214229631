//! The room for connections of peers that nobody has approved. Pure.
//!
//! It is small and of its own, so that strangers never take the place of members. A newcomer finds a place although
//! others hold all of them: who has been there longest makes room, unless all have just come. An honest node that
//! is sent away comes back; it needs its place for seconds.

use core::net::IpAddr;
use std::{collections::BTreeMap, time::Duration};

use libp2p::swarm::ConnectionId;
use protocol::time::Timestamp;

use crate::core::reputation::{is_near, source};

/// Connections of strangers at a time.
pub(super) const ROOM: usize = 16;
/// Of those, from one address that the whole internet sees as one place.
const FROM_FAR_MAX: usize = 4;
/// Of those, from one address that several machines may share.
const FROM_NEAR_MAX: usize = 12;
/// Of those, of nodes that were blocked and may only hear that they are.
const BLOCKED_MAX: usize = 4;
/// Nobody is sent away for somebody else sooner than this.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// A connection on which nothing is asked for this long is closed.
pub(super) const IDLE: Duration = Duration::from_secs(20);
/// How long a blocked node has to hear that it is.
pub(super) const BLOCKED_STAY: Duration = Duration::from_secs(3);

/// Who comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guest {
    /// Nobody has decided about it.
    Stranger,
    /// It was refused or suspended.
    Blocked,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    from: Option<IpAddr>,
    guest: Guest,
    since: Timestamp,
    last: Timestamp,
}

/// Who is in the room. At most [`ROOM`] connections.
#[derive(Debug)]
pub(super) struct Strangers(BTreeMap<ConnectionId, Place>);

/// There is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no place for more strangers")]
pub(super) struct NoPlace;

impl Strangers {
    /// An empty room.
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Gives a connection a place. Returns who has to leave for it.
    pub(super) fn enter(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        from: Option<IpAddr>,
        guest: Guest,
    ) -> Result<Option<ConnectionId>, NoPlace> {
        let key = from.map(source);
        let from_max = if from.is_none_or(is_near) { FROM_NEAR_MAX } else { FROM_FAR_MAX };
        let of_address = |place: &Place| place.from == key;
        let of_kind = |place: &Place| place.guest == Guest::Blocked;
        let leaves = if guest == Guest::Blocked && self.count(of_kind) >= BLOCKED_MAX {
            Some(self.longest(now, of_kind)?)
        } else if self.count(of_address) >= from_max {
            Some(self.longest(now, of_address)?)
        } else if self.0.len() >= ROOM {
            Some(self.longest(now, |_| true)?)
        } else {
            None
        };
        if let Some(leaves) = leaves {
            self.0.remove(&leaves);
        }
        self.0.insert(id, Place { from: key, guest, since: now, last: now });
        Ok(leaves)
    }

    fn count(&self, which: impl Fn(&Place) -> bool) -> usize {
        self.0.values().filter(|place| which(place)).count()
    }

    /// Who has been there longest, among those who are settled.
    fn longest(
        &self,
        now: Timestamp,
        which: impl Fn(&Place) -> bool,
    ) -> Result<ConnectionId, NoPlace> {
        self.0
            .iter()
            .filter(|(_, place)| which(place) && now.saturating_since(place.since) >= SETTLED_AFTER)
            .min_by_key(|(_, place)| place.since)
            .map(|(id, _)| *id)
            .ok_or(NoPlace)
    }

    /// Something was asked on a connection.
    pub(super) fn asked(&mut self, now: Timestamp, id: ConnectionId) {
        if let Some(place) = self.0.get_mut(&id) {
            place.last = now;
        }
    }

    /// A connection is gone, or its peer is a member now.
    pub(super) fn leave(&mut self, id: ConnectionId) {
        self.0.remove(&id);
    }

    /// Who has to go: nothing was asked for too long, or the time of a blocked one is over. They have left.
    pub(super) fn overdue(&mut self, now: Timestamp) -> Vec<ConnectionId> {
        let overdue = self.0.extract_if(.., |_, place| match place.guest {
            Guest::Stranger => now.saturating_since(place.last) >= IDLE,
            Guest::Blocked => now.saturating_since(place.since) >= BLOCKED_STAY,
        });
        overdue.map(|(id, _)| id).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::after_origin(Duration::from_secs(second))
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn from(number: usize) -> Option<IpAddr> {
        format!("203.0.113.{number}").parse().ok()
    }

    #[test]
    fn strangers_have_sixteen_places_and_the_longest_makes_room_after_five_seconds() {
        let mut room = Strangers::new();
        for number in 0..ROOM {
            assert_eq!(room.enter(at(0), id(number), from(number), Guest::Stranger), Ok(None));
        }
        let late = |room: &mut Strangers, second, number| {
            room.enter(at(second), id(number), from(number), Guest::Stranger)
        };
        assert_eq!(late(&mut room, 4, 100), Err(NoPlace), "all have just come");
        assert_eq!(late(&mut room, 5, 100), Ok(Some(id(0))));
        assert_eq!(room.len(), ROOM);
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        for (address, most) in [("203.0.113.5", FROM_FAR_MAX), ("127.0.0.1", FROM_NEAR_MAX)] {
            let mut room = Strangers::new();
            let address = address.parse().ok();
            let entered = (0..ROOM)
                .filter(|number| room.enter(at(0), id(*number), address, Guest::Stranger).is_ok());
            assert_eq!(entered.count(), most);
            assert_eq!(room.enter(at(0), id(99), from(9), Guest::Stranger), Ok(None));
        }
    }

    #[test]
    fn who_asks_nothing_for_twenty_seconds_has_to_go_and_a_blocked_one_after_three() {
        let mut room = Strangers::new();
        for (number, guest) in [(1, Guest::Stranger), (2, Guest::Stranger), (3, Guest::Blocked)] {
            room.enter(at(0), id(number), from(number), guest).unwrap();
        }
        assert_eq!(room.overdue(at(2)), []);
        assert_eq!(room.overdue(at(3)), [id(3)]);
        room.asked(at(10), id(2));
        assert_eq!(room.overdue(at(20)), [id(1)]);
        assert_eq!(room.overdue(at(30)), [id(2)]);
        assert_eq!(room.len(), 0);
    }
}
