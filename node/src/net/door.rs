//! Who may be connected at all: the behaviour that is asked first about every connection whose peer is known.
//!
//! What happens before a peer is known, while hands are still being shaken, is decided in [`accept`](super::accept).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
    },
};
use protocol::time::Timestamp;

use super::{
    peers::ip,
    strangers::{Guest, Strangers},
};

/// A peer is not let in: it is blocked, banned, or its score is too low.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this peer is not let in")]
pub(super) struct NotLetIn;

/// The door.
///
/// It knows no clock: its owner says what time it is, a few times a second.
#[derive(Debug)]
pub(super) struct Door {
    now: Timestamp,
    members: BTreeSet<PeerId>,
    blocked: BTreeSet<PeerId>,
    /// Whether this node answers those who ask to join, so that a blocked one hears from it that it is.
    tells: bool,
    /// Banned, or with too low a score.
    refused: BTreeSet<PeerId>,
    strangers: Strangers,
    /// Whose the connections in `strangers` are.
    peers: BTreeMap<ConnectionId, PeerId>,
    orders: VecDeque<ToSwarm<Infallible, Infallible>>,
    /// Connections that were not let in.
    turned_away: u64,
}

impl Door {
    /// A door that knows nobody yet.
    pub(super) const fn new() -> Self {
        Self {
            now: Timestamp::ORIGIN,
            members: BTreeSet::new(),
            blocked: BTreeSet::new(),
            tells: false,
            refused: BTreeSet::new(),
            strangers: Strangers::new(),
            peers: BTreeMap::new(),
            orders: VecDeque::new(),
            turned_away: 0,
        }
    }

    /// Looks at the clock: whoever has stayed too long has to go.
    pub(super) fn tick(&mut self, now: Timestamp) {
        self.now = now;
        for id in self.strangers.overdue(now) {
            self.send_away(id);
        }
    }

    /// Says who belongs to the mesh and who never may. Connections of those who are blocked are closed at once.
    pub(super) fn set_roll(
        &mut self,
        members: BTreeSet<PeerId>,
        blocked: BTreeSet<PeerId>,
        tells: bool,
    ) {
        for peer in blocked.difference(&self.blocked) {
            let (peer_id, connection) = (*peer, CloseConnection::All);
            self.orders.push_back(ToSwarm::CloseConnection { peer_id, connection });
        }
        let approved: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| members.contains(peer))
            .map(|(id, _)| *id)
            .collect();
        for id in approved {
            self.leave(id);
        }
        (self.members, self.blocked, self.tells) = (members, blocked, tells);
    }

    /// Says who is kept out for what it did. Whoever is connected stays until its owner closes the connection.
    pub(super) fn set_refused(&mut self, refused: BTreeSet<PeerId>) {
        self.refused = refused;
    }

    /// A stranger asked something: its connection is not idle.
    pub(super) fn asked(&mut self, peer: &PeerId) {
        for (id, _) in self.peers.iter().filter(|(_, of)| *of == peer) {
            self.strangers.asked(self.now, *id);
        }
    }

    /// Connections of strangers.
    pub(super) fn strangers(&self) -> usize {
        self.strangers.len()
    }

    /// How many connections were not let in since this was last asked.
    pub(super) const fn turned_away(&mut self) -> u64 {
        std::mem::replace(&mut self.turned_away, 0)
    }

    fn let_in(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.refused.contains(&peer) {
            return Err(ConnectionDenied::new(NotLetIn));
        }
        let guest = match (self.blocked.contains(&peer), self.members.contains(&peer)) {
            (true, _) if !self.tells => return Err(ConnectionDenied::new(NotLetIn)),
            (true, _) => Guest::Blocked,
            (false, true) => return Ok(()),
            (false, false) => Guest::Stranger,
        };
        let leaves =
            self.strangers.enter(self.now, id, ip(remote), guest).map_err(ConnectionDenied::new)?;
        self.peers.insert(id, peer);
        if let Some(leaves) = leaves {
            self.send_away(leaves);
        }
        Ok(())
    }

    fn send_away(&mut self, id: ConnectionId) {
        self.strangers.leave(id);
        if let Some(peer_id) = self.peers.remove(&id) {
            let connection = CloseConnection::One(id);
            self.orders.push_back(ToSwarm::CloseConnection { peer_id, connection });
        }
    }

    fn leave(&mut self, id: ConnectionId) {
        self.strangers.leave(id);
        self.peers.remove(&id);
    }
}

impl NetworkBehaviour for Door {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let let_in = self.let_in(id, peer, remote);
        if let_in.is_err() {
            self.turned_away = self.turned_away.saturating_add(1);
        }
        let_in.map(|()| dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _id: ConnectionId,
        peer: Option<PeerId>,
        _addresses: &[Multiaddr],
        _role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        match peer {
            Some(peer) if self.refused.contains(&peer) || self.blocked.contains(&peer) => {
                Err(ConnectionDenied::new(NotLetIn))
            }
            Some(_) | None => Ok(Vec::new()),
        }
    }

    fn handle_established_outbound_connection(
        &mut self,
        _id: ConnectionId,
        peer: PeerId,
        _address: &Multiaddr,
        _role: Endpoint,
        _port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        // Dialled without knowing whom: bootstrap addresses, candidates.
        if self.refused.contains(&peer) || self.blocked.contains(&peer) {
            return Err(ConnectionDenied::new(NotLetIn));
        }
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(event) = event {
            self.leave(event.connection_id);
        } else if let FromSwarm::ListenFailure(event) = event {
            self.leave(event.connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _peer: PeerId,
        _id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(
        &mut self,
        _cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.orders.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
