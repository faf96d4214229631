//! A behaviour for one stream protocol: whoever asks gets a stream, whatever arrives is handed on.
//!
//! `libp2p-stream` does the same, but drops a stream that arrives while another waits to be taken. Here as many
//! wait as the bounds allow, and the dial, the negotiation and the failure of each open are answered.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{Endpoint, transport::PortUse, upgrade::ReadyUpgrade},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
        dial_opts::{DialOpts, PeerCondition},
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
        },
    },
};
use tokio::sync::oneshot;

use super::RpcError;

/// Streams that wait to be opened or taken, on one connection and in the whole behaviour. More are refused.
const WAITING_MAX: usize = 64;

/// Where an opened stream goes.
pub(super) type OpenReply = oneshot::Sender<Result<Stream, RpcError>>;

/// The behaviour.
pub(super) struct Behaviour {
    protocol: StreamProtocol,
    connected: BTreeMap<PeerId, BTreeSet<ConnectionId>>,
    /// Opens that wait for a connection.
    waiting: Vec<(PeerId, OpenReply)>,
    orders: VecDeque<ToSwarm<Incoming, Open>>,
}

/// A stream that a peer opened.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) from: PeerId,
    pub(super) stream: Stream,
}

/// Tells a handler to open a stream.
#[derive(Debug)]
pub(super) struct Open(OpenReply);

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

impl Behaviour {
    pub(super) const fn new(protocol: StreamProtocol) -> Self {
        Self { protocol, connected: BTreeMap::new(), waiting: Vec::new(), orders: VecDeque::new() }
    }

    /// Opens a stream to a peer, over a connection that is made if there is none.
    pub(super) fn open(&mut self, peer_id: PeerId, reply: OpenReply) {
        if self.waiting.len().saturating_add(self.orders.len()) >= WAITING_MAX {
            drop(reply.send(Err(RpcError::Busy)));
        } else if self.connected.contains_key(&peer_id) {
            self.order_open(peer_id, reply);
        } else {
            self.waiting.push((peer_id, reply));
            let opts = DialOpts::peer_id(peer_id)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .build();
            self.orders.push_back(ToSwarm::Dial { opts });
        }
    }

    fn order_open(&mut self, peer_id: PeerId, reply: OpenReply) {
        let (handler, event) = (NotifyHandler::Any, Open(reply));
        self.orders.push_back(ToSwarm::NotifyHandler { peer_id, handler, event });
    }

    fn take_waiting(&mut self, peer: &PeerId) -> Vec<OpenReply> {
        let (for_peer, others) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(to, _)| to == peer);
        self.waiting = others;
        let for_peer: Vec<(PeerId, OpenReply)> = for_peer;
        for_peer.into_iter().map(|(_, reply)| reply).collect()
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Incoming;

    fn handle_established_inbound_connection(
        &mut self,
        _id: ConnectionId,
        _peer: PeerId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.protocol.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _id: ConnectionId,
        _peer: PeerId,
        _address: &Multiaddr,
        _role: Endpoint,
        _port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.protocol.clone()))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionEstablished(event) = event {
            self.connected.entry(event.peer_id).or_default().insert(event.connection_id);
            for reply in self.take_waiting(&event.peer_id) {
                self.order_open(event.peer_id, reply);
            }
        } else if let FromSwarm::ConnectionClosed(event) = event {
            if let Some(connections) = self.connected.get_mut(&event.peer_id) {
                connections.remove(&event.connection_id);
                if connections.is_empty() {
                    self.connected.remove(&event.peer_id);
                }
            }
        } else if let FromSwarm::DialFailure(event) = event
            && let Some(peer) = event.peer_id
            && !matches!(event.error, libp2p::swarm::DialError::DialPeerConditionFalse(_))
        {
            for reply in self.take_waiting(&peer) {
                drop(reply.send(Err(RpcError::Unreachable)));
            }
        }
    }

    fn on_connection_handler_event(
        &mut self,
        from: PeerId,
        _id: ConnectionId,
        stream: THandlerOutEvent<Self>,
    ) {
        if self.orders.len() < WAITING_MAX {
            self.orders.push_back(ToSwarm::GenerateEvent(Incoming { from, stream }));
        }
    }

    fn poll(
        &mut self,
        _cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.orders.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// One connection's part of it.
pub(super) struct Handler {
    protocol: StreamProtocol,
    opens: VecDeque<OpenReply>,
    incoming: VecDeque<Stream>,
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

impl Handler {
    const fn new(protocol: StreamProtocol) -> Self {
        Self { protocol, opens: VecDeque::new(), incoming: VecDeque::new() }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Stream;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = OpenReply;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ())
    }

    fn on_behaviour_event(&mut self, Open(reply): Open) {
        if self.opens.len() < WAITING_MAX {
            self.opens.push_back(reply);
        } else {
            drop(reply.send(Err(RpcError::Busy)));
        }
    }

    fn poll(
        &mut self,
        _cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, OpenReply, Stream>> {
        if let Some(stream) = self.incoming.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(stream));
        }
        if let Some(reply) = self.opens.pop_front() {
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), reply);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), OpenReply>,
    ) {
        if let ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
            protocol: stream,
            ..
        }) = event
        {
            if self.incoming.len() < WAITING_MAX {
                self.incoming.push_back(stream);
            }
        } else if let ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
            protocol,
            info,
        }) = event
        {
            drop(info.send(Ok(protocol)));
        } else if let ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) = event {
            let error = match error {
                StreamUpgradeError::NegotiationFailed => RpcError::Unsupported,
                StreamUpgradeError::Timeout => RpcError::Timeout,
                StreamUpgradeError::Io(_) => RpcError::Closed,
            };
            drop(info.send(Err(error)));
        }
    }
}
