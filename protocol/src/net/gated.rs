//! Admission first: a behaviour that only approved peers can reach.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{
        Endpoint,
        transport::{ListenerId, PortUse},
    },
    swarm::{
        CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm,
        NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::{
            AddressChange, ConnectionEstablished, DialFailure, ExternalAddrConfirmed,
            ListenFailure, NewListenAddr, NewListener,
        },
        derive_prelude::Either,
        dummy,
    },
};

/// Connections that an inner behaviour started and that are not there yet, at most. Further ones are not tracked:
/// the inner behaviour then hears of a failure only if the peer is still allowed.
const DIALS_MAX: usize = 256;

/// A behaviour behind a gate.
///
/// A connection to a peer that is allowed gets the inner behaviour's handler; any other gets one that speaks
/// nothing, and the inner behaviour never hears of it. The inner behaviour may be installed later.
///
/// What a connection got is decided when it is made. When a peer becomes allowed, its connections must be made
/// anew: [`Self::close_stale`] closes them, when the owner thinks it is time. When a peer is no longer allowed,
/// its connections are closed at once.
pub struct Gated<B: NetworkBehaviour> {
    inner: Option<B>,
    allowed: BTreeSet<PeerId>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// Dials that the inner behaviour asked for.
    dials: BTreeSet<ConnectionId>,
    listeners: Vec<(ListenerId, Vec<Multiaddr>)>,
    external: BTreeSet<Multiaddr>,
    orders: VecDeque<ToSwarm<B::ToSwarm, THandlerInEvent<Self>>>,
}

/// A connection, as far as the gate is concerned.
#[derive(Debug, Clone, Copy)]
struct Connection {
    peer: PeerId,
    /// Whether the present inner behaviour has a handler on it.
    admitted: bool,
    /// Whether all behaviours agreed to it.
    established: bool,
    /// Whether it was told to close.
    closing: bool,
}

impl<B: NetworkBehaviour> fmt::Debug for Gated<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gated")
            .field("installed", &self.inner.is_some())
            .field("allowed", &self.allowed.len())
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl<B: NetworkBehaviour> Default for Gated<B> {
    fn default() -> Self {
        Self {
            inner: None,
            allowed: BTreeSet::new(),
            connections: BTreeMap::new(),
            dials: BTreeSet::new(),
            listeners: Vec::new(),
            external: BTreeSet::new(),
            orders: VecDeque::new(),
        }
    }
}

impl<B: NetworkBehaviour> Gated<B> {
    /// Installs the inner behaviour, in place of the one before. It hears where this node listens; connections to
    /// allowed peers are closed, so that they are made anew with its handler.
    pub fn install(&mut self, mut inner: B) {
        for (listener_id, addresses) in &self.listeners {
            inner.on_swarm_event(FromSwarm::NewListener(NewListener { listener_id: *listener_id }));
            for addr in addresses {
                inner.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr {
                    listener_id: *listener_id,
                    addr,
                }));
            }
        }
        for addr in &self.external {
            inner.on_swarm_event(FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr }));
        }
        self.inner = Some(inner);
        self.orders.clear();
        self.dials.clear();
        let was_admitted: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.admitted)
            .map(|(id, _)| *id)
            .collect();
        for connection in self.connections.values_mut() {
            connection.admitted = false;
            connection.closing = false;
        }
        for id in was_admitted {
            self.close(id);
        }
        self.close_stale();
    }

    /// The inner behaviour.
    pub const fn inner(&self) -> Option<&B> {
        self.inner.as_ref()
    }

    /// The inner behaviour, to ask something of it.
    pub const fn inner_mut(&mut self) -> Option<&mut B> {
        self.inner.as_mut()
    }

    /// Whether a peer is allowed.
    #[must_use]
    pub fn allows(&self, peer: &PeerId) -> bool {
        self.allowed.contains(peer)
    }

    /// Says who is allowed. Connections of those who no longer are get closed. Those of newcomers stay as they
    /// are until [`Self::close_stale`].
    pub fn set_allowed(&mut self, allowed: BTreeSet<PeerId>) {
        self.allowed = allowed;
        let out: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| {
                connection.admitted && !self.allowed.contains(&connection.peer)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in out {
            self.close(id);
        }
    }

    /// Closes the connections of allowed peers that were made before they were, so that they are made anew.
    pub fn close_stale(&mut self) {
        if self.inner.is_none() {
            return;
        }
        let stale: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| {
                !connection.admitted && self.allowed.contains(&connection.peer)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in stale {
            self.close(id);
        }
    }

    /// Whether a connection to an allowed peer has no handler of the inner behaviour.
    #[must_use]
    pub fn has_stale(&self) -> bool {
        self.inner.is_some()
            && self.connections.values().any(|connection| {
                !connection.admitted
                    && !connection.closing
                    && self.allowed.contains(&connection.peer)
            })
    }

    fn close(&mut self, id: ConnectionId) {
        let Some(connection) =
            self.connections.get_mut(&id).filter(|connection| !connection.closing)
        else {
            return;
        };
        connection.closing = true;
        let (peer_id, connection) = (connection.peer, CloseConnection::One(id));
        self.orders.push_back(ToSwarm::CloseConnection { peer_id, connection });
    }

    /// The inner behaviour, if this peer may reach it.
    fn admit(&mut self, id: ConnectionId, peer: PeerId) -> Option<&mut B> {
        let inner = self.inner.as_mut().filter(|_| self.allowed.contains(&peer));
        let connection =
            Connection { peer, admitted: inner.is_some(), established: false, closing: false };
        self.connections.insert(id, connection);
        inner
    }

    fn is_admitted(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.admitted)
    }

    /// Established connections to a peer that the inner behaviour knows of.
    fn admitted_to(&self, peer: &PeerId) -> impl Iterator<Item = ConnectionId> {
        self.connections
            .iter()
            .filter(move |(_, connection)| {
                connection.peer == *peer && connection.admitted && connection.established
            })
            .map(|(id, _)| *id)
    }

    fn tell(&mut self, event: FromSwarm<'_>) {
        if let Some(inner) = self.inner.as_mut() {
            inner.on_swarm_event(event);
        }
    }

    fn on_established(&mut self, event: ConnectionEstablished<'_>) {
        if !self.is_admitted(event.connection_id) {
            if let Some(connection) = self.connections.get_mut(&event.connection_id) {
                connection.established = true;
            }
            return;
        }
        let other_established = self.admitted_to(&event.peer_id).count();
        if let Some(connection) = self.connections.get_mut(&event.connection_id) {
            connection.established = true;
        }
        self.tell(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            other_established,
            ..event
        }));
        if !self.allowed.contains(&event.peer_id) {
            self.close(event.connection_id);
        }
    }

    fn on_closed(&mut self, event: ConnectionClosed<'_>) {
        let closed = self.connections.remove(&event.connection_id);
        if closed.is_some_and(|connection| connection.admitted) {
            let remaining_established = self.admitted_to(&event.peer_id).count();
            self.tell(FromSwarm::ConnectionClosed(ConnectionClosed {
                remaining_established,
                ..event
            }));
        }
    }

    fn on_dial_failure(&mut self, event: DialFailure<'_>) {
        let ours = self.dials.remove(&event.connection_id);
        let known = self
            .connections
            .remove(&event.connection_id)
            .is_some_and(|connection| connection.admitted);
        if ours || known || event.peer_id.is_some_and(|peer| self.allowed.contains(&peer)) {
            self.tell(FromSwarm::DialFailure(event));
        }
    }

    fn on_listen_failure(&mut self, event: ListenFailure<'_>) {
        let known = self.connections.remove(&event.connection_id);
        if known.is_some_and(|connection| connection.admitted) {
            self.tell(FromSwarm::ListenFailure(event));
        }
    }

    /// Remembers where this node listens, for an inner behaviour that comes later.
    fn on_listening(&mut self, event: &FromSwarm<'_>) {
        if let FromSwarm::NewListener(event) = event {
            self.listeners.push((event.listener_id, Vec::new()));
        } else if let FromSwarm::NewListenAddr(event) = event {
            for (_, addresses) in
                self.listeners.iter_mut().filter(|(id, _)| *id == event.listener_id)
            {
                addresses.push(event.addr.clone());
            }
        } else if let FromSwarm::ExpiredListenAddr(event) = event {
            for (_, addresses) in
                self.listeners.iter_mut().filter(|(id, _)| *id == event.listener_id)
            {
                addresses.retain(|address| address != event.addr);
            }
        } else if let FromSwarm::ListenerClosed(event) = event {
            self.listeners.retain(|(id, _)| *id != event.listener_id);
        } else if let FromSwarm::ExternalAddrConfirmed(event) = event {
            self.external.insert(event.addr.clone());
        } else if let FromSwarm::ExternalAddrExpired(event) = event {
            self.external.remove(event.addr);
        }
    }

    /// What the inner behaviour orders, as far as it concerns connections that it has a handler on.
    fn translate(
        &mut self,
        order: ToSwarm<B::ToSwarm, THandlerInEvent<B>>,
    ) -> Option<ToSwarm<B::ToSwarm, THandlerInEvent<Self>>> {
        match order {
            ToSwarm::NotifyHandler { peer_id, handler, event } => {
                let id = match handler {
                    NotifyHandler::One(id) => self.is_admitted(id).then_some(id),
                    NotifyHandler::Any => self.admitted_to(&peer_id).next(),
                }?;
                let (handler, event) = (NotifyHandler::One(id), Either::Left(event));
                Some(ToSwarm::NotifyHandler { peer_id, handler, event })
            }
            ToSwarm::Dial { opts } => {
                if self.dials.len() < DIALS_MAX {
                    self.dials.insert(opts.connection_id());
                }
                Some(ToSwarm::Dial { opts })
            }
            // Neither of these is about a connection's handler.
            other @ (ToSwarm::GenerateEvent(_)
            | ToSwarm::ListenOn { .. }
            | ToSwarm::RemoveListener { .. }
            | ToSwarm::NewExternalAddrCandidate(_)
            | ToSwarm::ExternalAddrConfirmed(_)
            | ToSwarm::ExternalAddrExpired(_)
            | ToSwarm::CloseConnection { .. }
            | ToSwarm::NewExternalAddrOfPeer { .. }
            | _) => Some(other.map_in(Either::Left)),
        }
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Gated<B> {
    type ConnectionHandler = Either<THandler<B>, dummy::ConnectionHandler>;
    type ToSwarm = B::ToSwarm;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        match self.admit(id, peer) {
            Some(inner) => inner
                .handle_established_inbound_connection(id, peer, local, remote)
                .map(Either::Left),
            None => Ok(Either::Right(dummy::ConnectionHandler)),
        }
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        match self.inner.as_mut() {
            Some(inner) if peer.is_some_and(|peer| self.allowed.contains(&peer)) => {
                inner.handle_pending_outbound_connection(id, peer, addresses, role)
            }
            _ => Ok(Vec::new()),
        }
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.dials.remove(&id);
        match self.admit(id, peer) {
            Some(inner) => inner
                .handle_established_outbound_connection(id, peer, address, role, port_use)
                .map(Either::Left),
            None => Ok(Either::Right(dummy::ConnectionHandler)),
        }
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.on_listening(&event);
        match event {
            FromSwarm::ConnectionEstablished(event) => self.on_established(event),
            FromSwarm::ConnectionClosed(event) => self.on_closed(event),
            FromSwarm::AddressChange(AddressChange { connection_id, .. }) => {
                if self.is_admitted(connection_id) {
                    self.tell(event);
                }
            }
            FromSwarm::DialFailure(event) => self.on_dial_failure(event),
            FromSwarm::ListenFailure(event) => self.on_listen_failure(event),
            FromSwarm::NewExternalAddrOfPeer(about) => {
                if self.allowed.contains(&about.peer_id) {
                    self.tell(event);
                }
            }
            FromSwarm::NewListener(_)
            | FromSwarm::NewListenAddr(_)
            | FromSwarm::ExpiredListenAddr(_)
            | FromSwarm::ListenerError(_)
            | FromSwarm::ListenerClosed(_)
            | FromSwarm::NewExternalAddrCandidate(_)
            | FromSwarm::ExternalAddrConfirmed(_)
            | FromSwarm::ExternalAddrExpired(_)
            | _ => self.tell(event),
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        let Either::Left(event) = event;
        if self.is_admitted(id)
            && let Some(inner) = self.inner.as_mut()
        {
            inner.on_connection_handler_event(peer, id, event);
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some(order) = self.orders.pop_front() {
                return Poll::Ready(order);
            }
            let Some(inner) = self.inner.as_mut() else { return Poll::Pending };
            let Poll::Ready(order) = inner.poll(cx) else { return Poll::Pending };
            if let Some(order) = self.translate(order) {
                return Poll::Ready(order);
            }
        }
    }
}

#[cfg(test)]
mod tests;
