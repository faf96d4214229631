//! Who is connected, over which way and how far away. Pure.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use libp2p::{Multiaddr, core::ConnectedPoint, multiaddr::Protocol, swarm::ConnectionId};
use protocol::{
    ids::NodeId,
    limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX},
    wire::enroll::NodeAddress,
};

/// How a peer is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerPath {
    /// TCP with Noise and Yamux.
    Tcp,
    /// QUIC.
    Quic,
    /// Through a relay.
    Relay,
    /// Inside this process.
    Memory,
}

impl PeerPath {
    /// The name on the command line and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
            Self::Relay => "relay",
            Self::Memory => "memory",
        }
    }

    fn of(address: &Multiaddr) -> Self {
        let has = |wanted: fn(&Protocol<'_>) -> bool| address.iter().any(|part| wanted(&part));
        if has(|part| matches!(part, Protocol::P2pCircuit)) {
            Self::Relay
        } else if has(|part| matches!(part, Protocol::QuicV1 | Protocol::Quic)) {
            Self::Quic
        } else if has(|part| matches!(part, Protocol::Memory(_))) {
            Self::Memory
        } else {
            Self::Tcp
        }
    }
}

/// A peer that is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Which.
    pub node: NodeId,
    /// The other end of the oldest connection, without `/p2p/`.
    pub address: Multiaddr,
    /// How it is reached.
    pub path: PeerPath,
    /// Whether this node made the connection.
    pub dialled: bool,
    /// Where it can be dialled: where it was, or what it says. At most [`ADDRESSES_MAX`].
    pub addresses: Vec<Multiaddr>,
    /// The round trip, smoothed, in µs; nothing before the first ping came back.
    pub rtt_us: Option<u64>,
    /// What it says about its software.
    pub agent: Option<String>,
    /// Whether it is in the member list.
    pub member: bool,
    /// How it behaves, from −100 to 100: [`core::reputation`](crate::core::reputation).
    pub score: i8,
}

impl PeerInfo {
    /// Its addresses as they are remembered and sent.
    #[must_use]
    pub fn node_address(&self) -> NodeAddress {
        NodeAddress {
            node: self.node,
            addresses: self.addresses.iter().map(ToString::to_string).collect(),
        }
    }
}

/// All peers that are connected. Bounded by the connection limits.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<NodeId, Peer>);

#[derive(Debug, Default)]
struct Peer {
    connections: BTreeMap<ConnectionId, Connection>,
    says: Vec<Multiaddr>,
    rtt_us: Option<u64>,
    agent: Option<String>,
}

#[derive(Debug)]
struct Connection {
    address: Multiaddr,
    dialled: bool,
}

impl Peers {
    /// The other end of a peer's oldest connection.
    pub(super) fn address(&self, node: &NodeId) -> Option<Multiaddr> {
        let connection = self.0.get(node)?.connections.values().next()?;
        Some(connection.address.clone())
    }

    /// Adds a connection; says whether it is the peer's first.
    pub(super) fn connected(
        &mut self,
        node: NodeId,
        id: ConnectionId,
        endpoint: &ConnectedPoint,
    ) -> bool {
        let address = without_p2p(endpoint.get_remote_address().clone());
        let connections = &mut self.0.entry(node).or_default().connections;
        connections.insert(id, Connection { address, dialled: endpoint.is_dialer() });
        connections.len() == 1
    }

    /// Removes a connection; says whether it was the peer's last.
    pub(super) fn disconnected(&mut self, node: NodeId, id: ConnectionId) -> bool {
        let Some(peer) = self.0.get_mut(&node) else { return false };
        peer.connections.remove(&id);
        let last = peer.connections.is_empty();
        if last {
            self.0.remove(&node);
        }
        last
    }

    pub(super) fn contains(&self, node: &NodeId) -> bool {
        self.0.contains_key(node)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.0.keys().copied()
    }

    /// A ping came back. Smoothed as in RFC 6298: an eighth of each new value.
    pub(super) fn pinged(&mut self, node: &NodeId, rtt: Duration) {
        let Some(peer) = self.0.get_mut(node) else { return };
        let new = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        let smooth = |old: u64| old.saturating_sub(old / 8).saturating_add(new / 8);
        peer.rtt_us = Some(peer.rtt_us.map_or(new, smooth));
    }

    /// A peer said what it is and where it listens; returns the addresses that make sense from here.
    pub(super) fn identified(
        &mut self,
        node: &NodeId,
        agent: String,
        says: Vec<Multiaddr>,
    ) -> Vec<Multiaddr> {
        let Some(peer) = self.0.get_mut(node) else { return Vec::new() };
        let near = peer.connections.values().any(|connection| is_local(&connection.address));
        let mut agent = agent;
        while agent.len() > 64 {
            agent.pop();
        }
        peer.agent = Some(agent);
        peer.says = says
            .into_iter()
            .map(without_p2p)
            .filter(|address| is_dialable(address) && (near || !is_local(address)))
            .take(ADDRESSES_MAX)
            .collect();
        peer.says.clone()
    }

    /// The address that a peer is connected from or at: of its oldest connection.
    pub(super) fn ip(&self, node: &NodeId) -> Option<IpAddr> {
        self.0.get(node)?.connections.values().find_map(|connection| ip(&connection.address))
    }

    /// All of them, with what is known about each: whether it is a member, and its score.
    pub(super) fn list(&self, known: impl Fn(&NodeId) -> (bool, i8)) -> Vec<PeerInfo> {
        self.0.iter().filter_map(|(node, peer)| peer.info(*node, known(node))).collect()
    }
}

impl Peer {
    fn info(&self, node: NodeId, (member, score): (bool, i8)) -> Option<PeerInfo> {
        let connection = self.connections.values().next()?;
        let dialled = self.connections.values().filter(|connection| connection.dialled);
        let mut addresses: Vec<_> = dialled.map(|connection| connection.address.clone()).collect();
        for address in &self.says {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses.truncate(ADDRESSES_MAX);
        Some(PeerInfo {
            node,
            address: connection.address.clone(),
            path: PeerPath::of(&connection.address),
            dialled: connection.dialled,
            addresses,
            rtt_us: self.rtt_us,
            agent: self.agent.clone(),
            member,
            score,
        })
    }
}

/// An address without the `/p2p/` at its end.
pub(super) fn without_p2p(mut address: Multiaddr) -> Multiaddr {
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

/// The addresses at which another machine is dialled: without loopback ones if there are others. A node that listens
/// everywhere also says 127.0.0.1, and with the usual port there it is this node itself that answers first.
pub(super) fn elsewhere(addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let distant: Vec<_> = addresses.iter().filter(|address| !is_local(address)).cloned().collect();
    if distant.is_empty() { addresses } else { distant }
}

/// The address of the machine, if the address begins with one.
pub(super) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip.into()),
        Some(Protocol::Ip6(ip)) => Some(ip.into()),
        _ => None,
    }
}

/// Whether an address begins with a name, or with a place in this process.
fn is_named(address: &Multiaddr) -> bool {
    matches!(
        address.iter().next(),
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Memory(_))
    )
}

/// Whether an address only means something on the machine that it is of.
fn is_local(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::Memory(_)))
        || ip(address).is_some_and(|ip| ip.is_loopback())
}

/// Whether an address can be dialled at all: it names a place, and has a sane length.
fn is_dialable(address: &Multiaddr) -> bool {
    address.len() <= ADDRESS_BYTES_MAX
        && (is_named(address)
            || ip(address).is_some_and(|ip| !ip.is_unspecified() && !ip.is_multicast()))
}

#[cfg(test)]
mod tests {
    use libp2p::core::{Endpoint, transport::PortUse};

    use super::*;

    const NODE: NodeId = NodeId([1; 32]);

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn peers(remote: &str) -> Peers {
        let mut peers = Peers::default();
        let endpoint = ConnectedPoint::Dialer {
            address: address(remote),
            role_override: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        assert!(peers.connected(NODE, ConnectionId::new_unchecked(1), &endpoint));
        peers
    }

    #[test]
    fn a_peer_is_there_until_its_last_connection_is_gone() {
        let mut peers = peers("/ip4/10.0.0.1/udp/1/quic-v1");
        let (one, two) = (ConnectionId::new_unchecked(1), ConnectionId::new_unchecked(2));
        let back = ConnectedPoint::Listener {
            local_addr: address("/ip4/10.0.0.2/tcp/2"),
            send_back_addr: address("/ip4/10.0.0.1/tcp/9999"),
        };
        assert!(!peers.connected(NODE, two, &back));
        assert_eq!(peers.list(|_| (true, 0)).first().unwrap().path, PeerPath::Quic);
        assert!(!peers.disconnected(NODE, one));
        assert!(peers.disconnected(NODE, two));
        assert!(!peers.contains(&NODE));
    }

    #[test]
    fn the_round_trip_is_smoothed() {
        let mut peers = peers("/ip4/10.0.0.1/tcp/1");
        peers.pinged(&NODE, Duration::from_micros(800));
        peers.pinged(&NODE, Duration::from_micros(1_600));
        assert_eq!(peers.list(|_| (true, 0)).first().unwrap().rtt_us, Some(900));
    }

    #[test]
    fn a_distant_peer_s_loopback_addresses_are_not_ours() {
        let says = || {
            ["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/0.0.0.0/tcp/1"]
                .map(address)
                .to_vec()
        };
        let distant = peers("/ip4/10.0.0.1/tcp/1").identified(&NODE, String::new(), says());
        assert_eq!(distant, [address("/ip4/10.0.0.1/tcp/1")]);
        let near = peers("/ip4/127.0.0.1/tcp/1").identified(&NODE, String::new(), says());
        assert_eq!(near.len(), 2);
    }

    #[test]
    fn loopback_is_dialled_only_where_there_is_nothing_else() {
        let both = ["/ip4/127.0.0.1/tcp/4301", "/ip4/10.0.0.1/tcp/4301"].map(address).to_vec();
        assert_eq!(elsewhere(both), [address("/ip4/10.0.0.1/tcp/4301")]);
        let near = vec![address("/ip4/127.0.0.1/tcp/4301")];
        assert_eq!(elsewhere(near.clone()), near);
    }

    #[test]
    fn a_talkative_peer_is_cut_short() {
        let says = (0..100).map(|port| address(&format!("/ip4/10.0.0.1/tcp/{port}"))).collect();
        let mut peers = peers("/ip4/10.0.0.1/tcp/1");
        assert_eq!(peers.identified(&NODE, "x".repeat(10_000), says).len(), ADDRESSES_MAX);
        assert_eq!(peers.list(|_| (true, 0)).first().unwrap().agent.as_ref().unwrap().len(), 64);
    }
}
