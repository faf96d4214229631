//! The sockets of multicast DNS: questions and answers go out on each local network, and come in from all of them.
//!
//! IPv4 on networks with private or link-local addresses only: what answers on a public network is nobody's neighbour.
//! libp2p's own behaviour is not used: it stops asking quickly as soon as anything answers, it keeps whatever it is
//! told, and every address that it hears is dialled (`docs/decisions/0011-multicast-dns-of-our-own.md`).

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
};

use libp2p::{Multiaddr, multiaddr::Protocol};
use protocol::mdns::{GROUP, PACKET_BYTES_MAX, PORT};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use tokio::net::UdpSocket;

/// Networks that are listened on at a time, at most: Linux lets a socket join twenty groups.
const NETWORKS_MAX: usize = 16;

/// A packet that somebody sent.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    /// Whether it was sent on this machine.
    pub(super) from_here: bool,
}

/// The sockets. Without networks there are none.
#[derive(Debug, Default)]
pub(super) struct Mdns {
    receiver: Option<UdpSocket>,
    /// Where packets are received.
    buffer: Vec<u8>,
    /// One for each network, bound to this machine's address in it.
    senders: BTreeMap<Ipv4Addr, UdpSocket>,
}

impl Mdns {
    /// This machine's addresses in the networks that are asked on.
    pub(super) fn networks(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.senders.keys().copied()
    }

    /// Says which addresses this machine has; those in local networks are used. Returns whether that changed anything.
    pub(super) fn set_addresses(&mut self, addresses: impl Iterator<Item = Ipv4Addr>) -> bool {
        let mut wanted: Vec<_> = addresses.filter(is_local_network).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted.truncate(NETWORKS_MAX);
        let gone: Vec<_> = self.networks().filter(|network| !wanted.contains(network)).collect();
        for network in &gone {
            self.close(*network);
        }
        let new: Vec<_> =
            wanted.into_iter().filter(|network| !self.senders.contains_key(network)).collect();
        let mut opened = false;
        for network in new {
            match self.open(network) {
                Ok(()) => opened = true,
                Err(error) => log_deaf(network, &error),
            }
        }
        if self.senders.is_empty() {
            self.receiver = None;
        }
        opened || !gone.is_empty()
    }

    fn open(&mut self, network: Ipv4Addr) -> io::Result<()> {
        let receiver = match self.receiver.take() {
            Some(receiver) => receiver,
            None => receiver()?,
        };
        let receiver = self.receiver.insert(receiver);
        self.buffer.resize(PACKET_BYTES_MAX, 0);
        sockopt::set_ip_add_membership(&*receiver, &GROUP.into(), &network)?;
        self.senders.insert(network, sender(network)?);
        Ok(())
    }

    fn close(&mut self, network: Ipv4Addr) {
        self.senders.remove(&network);
        if let Some(receiver) = &self.receiver {
            // Fails where the interface is gone, and its membership with it.
            let _gone = sockopt::set_ip_drop_membership(receiver, &GROUP.into(), &network);
        }
    }

    /// Sends a packet on one network; says whether it got out.
    pub(super) fn send(&self, network: Ipv4Addr, packet: &[u8]) -> bool {
        let Some(sender) = self.senders.get(&network) else { return false };
        let to = SocketAddr::V4(SocketAddrV4::new(GROUP.into(), PORT));
        match sender.try_send_to(packet, to) {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(%network, %error, "nothing can be sent on a local network");
                false
            }
        }
    }

    /// Waits for the next packet that this node did not send itself. Cancel safe.
    pub(super) async fn receive(&mut self) -> Received {
        let Self { receiver: Some(receiver), buffer, senders } = self else {
            return std::future::pending().await;
        };
        loop {
            let Ok((length, SocketAddr::V4(from))) = receiver.recv_from(buffer).await else {
                // Errors here are about single packets; the pause keeps a broken socket from taking the loop's time.
                tokio::task::yield_now().await;
                continue;
            };
            let sender = senders.get(from.ip());
            let is_ours = sender.is_some_and(|sender| {
                sender.local_addr().is_ok_and(|local| local == SocketAddr::V4(from))
            });
            if !is_ours && is_local_network(from.ip()) {
                let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                return Received { bytes, from_here: sender.is_some() };
            }
        }
    }
}

/// A socket that shares the port with every other program that speaks multicast DNS here.
fn receiver() -> io::Result<UdpSocket> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT))?;
    UdpSocket::from_std(std::net::UdpSocket::from(socket))
}

/// A socket whose packets leave by the interface that has this address. Other nodes on this machine hear them too.
fn sender(network: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(SocketAddrV4::new(network, 0))?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_ttl_v4(255)?;
    socket.set_multicast_loop_v4(true)?;
    sockopt::set_ip_multicast_if(&socket, &network)?;
    UdpSocket::from_std(socket)
}

fn log_deaf(network: Ipv4Addr, error: &io::Error) {
    tracing::warn!(%network, %error, "nodes on this network are not looked for");
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "a filter")]
const fn is_local_network(ip: &Ipv4Addr) -> bool {
    ip.is_private() || ip.is_link_local()
}

/// The IPv4 address that a multiaddress begins with.
pub(super) fn ip4(address: &Multiaddr) -> Option<Ipv4Addr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip),
        _ => None,
    }
}

/// Whether an address that was heard on the local network may be dialled: TCP or QUIC on a private or link-local
/// address; on this machine itself only if the hint came from it.
pub(super) fn is_near(text: &str, from_here: bool) -> bool {
    let Ok(address) = text.parse::<Multiaddr>() else { return false };
    let mut parts = address.iter();
    let near = match parts.next() {
        Some(Protocol::Ip4(ip)) if ip.is_loopback() => from_here,
        Some(Protocol::Ip4(ip)) => is_local_network(&ip),
        Some(Protocol::Ip6(ip)) => {
            ip.is_unique_local() || (from_here && IpAddr::V6(ip).is_loopback())
        }
        _ => false,
    };
    let spoken = match (parts.next(), parts.next(), parts.next()) {
        (Some(Protocol::Tcp(port)), None, None)
        | (Some(Protocol::Udp(port)), Some(Protocol::QuicV1), None) => port != 0,
        _ => false,
    };
    near && spoken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_places_on_the_local_network_are_near() {
        for near in [
            "/ip4/192.168.1.20/tcp/4301",
            "/ip4/10.0.0.1/udp/4301/quic-v1",
            "/ip4/172.16.0.1/tcp/1",
            "/ip4/169.254.7.7/tcp/1",
            "/ip6/fd00::1/tcp/1",
        ] {
            assert!(is_near(near, false), "{near}");
        }
        for far in [
            "/ip4/192.0.2.1/tcp/4301",
            "/ip4/127.0.0.1/tcp/4301",
            "/ip4/192.168.1.20/tcp/0",
            "/ip4/192.168.1.20/udp/4301",
            "/ip4/192.168.1.20/tcp/4301/ws",
            "/ip4/224.0.0.251/udp/5353/quic-v1",
            "/ip6/2001:db8::1/tcp/1",
            "/dns4/example.org/tcp/1",
            "/dnsaddr/example.org",
            "/ip4/10.0.0.1/tcp/1/p2p/12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo/p2p-circuit",
            "nonsense",
            "",
        ] {
            assert!(!is_near(far, false), "{far}");
        }
        assert!(is_near("/ip4/127.0.0.1/tcp/4301", true), "said by this machine itself");
    }

    #[tokio::test]
    async fn public_and_loopback_addresses_are_no_local_networks() {
        let mut mdns = Mdns::default();
        let addresses = ["127.0.0.1", "192.0.2.1", "8.8.8.8"].map(|ip| ip.parse().unwrap());
        assert!(!mdns.set_addresses(addresses.into_iter()));
        assert_eq!(mdns.networks().count(), 0);
        assert!(mdns.receiver.is_none());
    }
}
