//! Connections: made, lost, refused.

use libp2p::{
    core::ConnectedPoint,
    multiaddr::Protocol,
    swarm::{
        ConnectionError, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use protocol::net::{from_peer_id, to_peer_id};

use super::{
    super::{
        paced::TooManyStreams,
        peers::{elsewhere, without_p2p},
    },
    *,
};

/// Comings and goings that wait to be told; more are left out.
const UNSAID_MAX: usize = 1_024;

impl NetTask {
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.hear(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                if let Some(ConnectionError::IO(error)) = &cause
                    && TooManyStreams::is_behind(error)
                    && let Some(node) = from_peer_id(&peer_id)
                {
                    self.fault(node, Fault::Streams);
                }
                self.on_closed(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.on_dial_failed(connection_id, peer_id, &error);
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                log_listening(&address);
                self.heard_of(listener_id);
                self.look_around();
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                log_deaf(&reason);
                self.heard_of(listener_id);
                self.look_around();
            }
            SwarmEvent::ExpiredListenAddr { .. } => self.look_around(),
            SwarmEvent::IncomingConnectionError { .. }
            | SwarmEvent::IncomingConnection { .. }
            | SwarmEvent::ListenerError { .. }
            | SwarmEvent::Dialing { .. }
            | SwarmEvent::NewExternalAddrCandidate { .. }
            | SwarmEvent::ExternalAddrConfirmed { .. }
            | SwarmEvent::ExternalAddrExpired { .. }
            | SwarmEvent::NewExternalAddrOfPeer { .. }
            | _ => log_other(&event),
        }
    }

    fn heard_of(&mut self, listener: ListenerId) {
        self.unheard.retain(|id| *id != listener);
        self.say_where();
    }

    /// Answers those who asked where this node listens, once every listener has said so.
    pub(super) fn say_where(&mut self) {
        if self.unheard.is_empty() {
            for reply in self.asked_where.drain(..) {
                drop(reply.send(self.swarm.listeners().cloned().collect()));
            }
        }
    }

    /// Connects to an address on behalf of a handle.
    pub(super) fn connect(
        &mut self,
        address: &Multiaddr,
        reply: oneshot::Sender<Result<NodeId, ConnectError>>,
    ) {
        let peer = match address.iter().last() {
            Some(Protocol::P2p(peer)) => Some(peer),
            _ => None,
        };
        let node = peer.as_ref().and_then(from_peer_id);
        if peer.is_some() && node.is_none() {
            drop(reply.send(Err(ConnectError::NotANode)));
            return;
        }
        if let Some(node) = node.filter(|node| self.peers.contains(node)) {
            drop(reply.send(Ok(node)));
            return;
        }
        if self.connects.len() >= CONNECTS_MAX {
            drop(reply.send(Err(ConnectError::Busy)));
            return;
        }
        let place = without_p2p(address.clone());
        let opts = match peer {
            Some(peer) => DialOpts::peer_id(peer)
                .addresses(vec![place])
                .condition(PeerCondition::Always)
                .build(),
            None => DialOpts::unknown_peer_id().address(place).build(),
        };
        let id = opts.connection_id();
        match self.swarm.dial(opts) {
            Ok(()) => drop(self.connects.insert(id, reply)),
            Err(error) => drop(reply.send(Err(connect_error(&error)))),
        }
    }

    pub(super) fn perform(&mut self, output: redial::Output) {
        let redial::Output::Dial { node, addresses } = output;
        if self.peers.contains(&node) {
            self.redial(redial::Input::Connected(node));
            return;
        }
        let addresses =
            addresses.iter().filter_map(|text| text.parse().ok()).map(without_p2p).collect();
        let addresses = elsewhere(addresses);
        let opts = DialOpts::peer_id(to_peer_id(&node))
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build();
        if let Err(error) = self.swarm.dial(opts) {
            tracing::debug!(?node, %error, "could not dial");
            self.redial(redial::Input::Failed(node));
        }
    }

    fn on_established(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let waiting = self.connects.remove(&id);
        let Some(node) = from_peer_id(&peer) else {
            self.swarm.close_connection(id);
            if let Some(reply) = waiting {
                drop(reply.send(Err(ConnectError::NotANode)));
            }
            return;
        };
        tracing::debug!(?node, remote = %endpoint.get_remote_address(), "connected");
        if self.peers.connected(node, id, endpoint) {
            self.say(node, true);
            self.greet(node);
        }
        self.score_gossip_of(&node);
        if endpoint.is_dialer() {
            let address = without_p2p(endpoint.get_remote_address().clone());
            if self.is_member(&node)
                && let Some(mesh) = self.swarm.behaviour_mut().mesh.inner_mut()
            {
                mesh.kad.add_address(&peer, address.clone());
            }
            self.add_addresses(node, std::iter::once(address));
        }
        self.redial(redial::Input::Connected(node));
        self.discover(discovery::Input::Connected(node));
        if let Some(reply) = waiting {
            drop(reply.send(Ok(node)));
        }
    }

    fn on_closed(&mut self, peer: PeerId, id: ConnectionId) {
        tracing::debug!(%peer, ?id, "a connection was closed");
        if let Some(node) = from_peer_id(&peer).filter(|node| self.peers.disconnected(*node, id)) {
            self.say(node, false);
            self.redial(redial::Input::Disconnected(node));
            self.discover(discovery::Input::Disconnected(node));
        }
    }

    fn on_dial_failed(&mut self, id: ConnectionId, peer: Option<PeerId>, error: &DialError) {
        tracing::debug!(?peer, %error, "could not connect");
        if let Some(reply) = self.connects.remove(&id) {
            drop(reply.send(Err(connect_error(error))));
        }
        let Some(node) = peer.as_ref().and_then(from_peer_id) else { return };
        self.redial(redial::Input::Failed(node));
        self.discover(discovery::Input::Failed(node));
        if !matches!(error, DialError::DialPeerConditionFalse(_)) {
            self.lookups.lost(&node);
        }
    }

    fn say(&mut self, node: NodeId, here: bool) {
        if self.unsaid.len() < UNSAID_MAX || self.unsaid.contains_key(&node) {
            self.unsaid.insert(node, here);
        }
    }
}

fn connect_error(error: &DialError) -> ConnectError {
    if let DialError::WrongPeerId { obtained, .. } = error {
        return ConnectError::WrongPeer { found: obtained.to_string() };
    }
    let mut detail = error.to_string();
    while detail.len() > 512 {
        detail.pop();
    }
    ConnectError::Failed { detail }
}

fn log_listening(address: &Multiaddr) {
    tracing::info!(%address, "listening");
}

fn log_deaf(reason: &Result<(), std::io::Error>) {
    tracing::warn!(?reason, "a listener was closed");
}

fn log_other(event: &SwarmEvent<BehaviourEvent>) {
    tracing::trace!(?event, "swarm");
}
