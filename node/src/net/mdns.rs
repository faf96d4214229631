//! The sockets of multicast DNS: questions and answers go out on each local network, and come in from all of them.
//!
//! Only on networks with private or link-local IPv4 addresses, and with unique local IPv6 addresses: what answers on a
//! public network is nobody's neighbour. Link-local IPv6 addresses mean something on one link only, and a multiaddress
//! cannot say on which, so nodes are not dialled there.
//! libp2p's own behaviour is not used: it stops asking quickly as soon as anything answers, it keeps whatever it is
//! told, and every address that it hears is dialled (`docs/decisions/0011-multicast-dns-of-our-own.md`).

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
};

use libp2p::{Multiaddr, multiaddr::Protocol};
use protocol::mdns::{GROUP, GROUP_V6, PACKET_BYTES_MAX, PORT};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use tokio::net::UdpSocket;

/// Networks that are listened on at a time, at most: Linux lets a socket join twenty groups.
const NETWORKS_MAX: usize = 16;
/// The addresses that interfaces have, and their numbers.
const INTERFACES_V6: &str = "/proc/net/if_inet6";

/// A packet that somebody sent.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    /// Who sent it.
    pub(super) from: IpAddr,
    /// Whether it was sent on this machine.
    pub(super) from_here: bool,
}

impl Received {
    /// Whether who sent it is at one of these addresses: nodes speak for themselves, and whoever makes nodes up at other
    /// places would have everybody dial them. Over IPv6 the sender is a link-local address and proves nothing.
    pub(super) fn speaks_for(&self, addresses: &[String]) -> bool {
        self.from_here
            || self.from.is_ipv6()
            || addresses
                .iter()
                .any(|address| address.parse().is_ok_and(|address| ip(&address) == Some(self.from)))
    }
}

/// The sockets. Without networks there are none.
#[derive(Debug, Default)]
pub(super) struct Mdns {
    v4: Option<Receiver>,
    v6: Option<Receiver>,
    /// One for each network, bound to this machine's address in it.
    senders: BTreeMap<IpAddr, Sender>,
}

/// Hears everything that is said to one group.
#[derive(Debug)]
struct Receiver {
    socket: UdpSocket,
    /// Where packets are received.
    buffer: Vec<u8>,
}

/// Says something on one network.
#[derive(Debug)]
struct Sender {
    socket: UdpSocket,
    group: SocketAddr,
}

impl Mdns {
    /// This machine's addresses in the networks that are asked on.
    pub(super) fn networks(&self) -> impl Iterator<Item = IpAddr> {
        self.senders.keys().copied()
    }

    /// Says which addresses this machine has; those in local networks are used. Returns whether that changed anything.
    pub(super) fn set_addresses(&mut self, addresses: impl Iterator<Item = IpAddr>) -> bool {
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
            let sender = match network {
                IpAddr::V4(ip) => self.open_v4(ip),
                IpAddr::V6(ip) => self.open_v6(ip),
            };
            match sender {
                Ok(sender) => {
                    self.senders.insert(network, sender);
                    opened = true;
                }
                Err(error) => log_deaf(network, &error),
            }
        }
        if !self.networks().any(|network| network.is_ipv4()) {
            self.v4 = None;
        }
        if !self.networks().any(|network| network.is_ipv6()) {
            self.v6 = None;
        }
        opened || !gone.is_empty()
    }

    fn open_v4(&mut self, network: Ipv4Addr) -> io::Result<Sender> {
        let receiver = match &mut self.v4 {
            Some(receiver) => receiver,
            none => none.insert(Receiver::v4()?),
        };
        sockopt::set_ip_add_membership(&receiver.socket, &GROUP.into(), &network)?;
        Sender::v4(network)
    }

    fn open_v6(&mut self, network: Ipv6Addr) -> io::Result<Sender> {
        let interface = interface_of(network)?;
        let receiver = match &mut self.v6 {
            Some(receiver) => receiver,
            none => none.insert(Receiver::v6()?),
        };
        match sockopt::set_ipv6_add_membership(&receiver.socket, &GROUP_V6.into(), interface) {
            // Two addresses on one interface: it is heard already.
            Ok(()) | Err(rustix::io::Errno::ADDRINUSE) => Sender::v6(network, interface),
            Err(error) => Err(error.into()),
        }
    }

    fn close(&mut self, network: IpAddr) {
        self.senders.remove(&network);
        // Fails where the interface is gone, and its membership with it. For IPv6 the membership is the interface's, which
        // may have other addresses: it goes with the socket.
        if let (Some(receiver), IpAddr::V4(ip)) = (&self.v4, network) {
            let _gone = sockopt::set_ip_drop_membership(&receiver.socket, &GROUP.into(), &ip);
        }
    }

    /// Sends a packet on one network; says whether it got out.
    pub(super) fn send(&self, network: IpAddr, packet: &[u8]) -> bool {
        let Some(sender) = self.senders.get(&network) else { return false };
        match sender.socket.try_send_to(packet, sender.group) {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(%network, %error, "nothing can be sent on a local network");
                false
            }
        }
    }

    /// Waits for the next packet that this node did not send itself. Cancel safe.
    pub(super) async fn receive(&mut self) -> Received {
        let Self { v4, v6, senders } = self;
        loop {
            let (bytes, from) = tokio::select! {
                packet = next(v4) => packet,
                packet = next(v6) => packet,
            };
            let sender = senders.get(&from.ip());
            let is_ours = sender.is_some_and(|sender| {
                let local = sender.socket.local_addr();
                local.is_ok_and(|local| (local.ip(), local.port()) == (from.ip(), from.port()))
            });
            if !is_ours && is_neighbour(&from.ip()) {
                return Received { bytes, from: from.ip(), from_here: sender.is_some() };
            }
        }
    }
}

/// The next packet that a receiver hears; never, without one. Cancel safe.
async fn next(receiver: &mut Option<Receiver>) -> (Vec<u8>, SocketAddr) {
    let Some(Receiver { socket, buffer }) = receiver else { return std::future::pending().await };
    loop {
        if let Ok((length, from)) = socket.recv_from(buffer).await {
            return (buffer.get(..length).unwrap_or_default().to_vec(), from);
        }
        // Errors here are about single packets; the pause keeps a broken socket from taking the loop's time.
        tokio::task::yield_now().await;
    }
}

impl Receiver {
    fn v4() -> io::Result<Self> {
        let socket = shared(AddressFamily::INET)?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT))?;
        Self::of(socket)
    }

    fn v6() -> io::Result<Self> {
        let socket = shared(AddressFamily::INET6)?;
        sockopt::set_ipv6_v6only(&socket, true)?;
        bind(&socket, &SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0))?;
        Self::of(socket)
    }

    fn of(socket: std::os::fd::OwnedFd) -> io::Result<Self> {
        let socket = UdpSocket::from_std(std::net::UdpSocket::from(socket))?;
        Ok(Self { socket, buffer: vec![0; PACKET_BYTES_MAX] })
    }
}

/// A socket that shares its port with every other program that speaks multicast DNS here.
fn shared(family: AddressFamily) -> io::Result<std::os::fd::OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    Ok(socket)
}

/// Packets leave by the interface that has the address. Other nodes on this machine hear them too.
impl Sender {
    fn v4(network: Ipv4Addr) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(SocketAddrV4::new(network, 0))?;
        socket.set_nonblocking(true)?;
        socket.set_multicast_ttl_v4(255)?;
        socket.set_multicast_loop_v4(true)?;
        sockopt::set_ip_multicast_if(&socket, &network)?;
        let group = SocketAddr::V4(SocketAddrV4::new(GROUP.into(), PORT));
        Ok(Self { socket: UdpSocket::from_std(socket)?, group })
    }

    fn v6(network: Ipv6Addr, interface: u32) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(SocketAddrV6::new(network, 0, 0, 0))?;
        socket.set_nonblocking(true)?;
        socket.set_multicast_loop_v6(true)?;
        sockopt::set_ipv6_multicast_hops(&socket, 255)?;
        sockopt::set_ipv6_multicast_if(&socket, interface)?;
        let group = SocketAddr::V6(SocketAddrV6::new(GROUP_V6.into(), PORT, 0, interface));
        Ok(Self { socket: UdpSocket::from_std(socket)?, group })
    }
}

/// The number of the interface that has an address (`/proc/net/if_inet6`: address and number in hex, and more).
fn interface_of(ip: Ipv6Addr) -> io::Result<u32> {
    let table = fs::read_to_string(INTERFACES_V6)?;
    number_of(&table, ip).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn number_of(table: &str, ip: Ipv6Addr) -> Option<u32> {
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        let number = u32::from_str_radix(fields.next()?, 16).ok()?;
        (Ipv6Addr::from(address) == ip).then_some(number)
    })
}

fn log_deaf(network: IpAddr, error: &io::Error) {
    tracing::warn!(%network, %error, "nodes on this network are not looked for");
}

/// Whether this machine's address is one in a network whose nodes are looked for.
const fn is_local_network(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

/// Whether a packet from there is listened to: from the same link, by its address.
const fn is_neighbour(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V6(v6) => v6.is_unicast_link_local() || is_local_network(ip),
        IpAddr::V4(_) => is_local_network(ip),
    }
}

/// The address that a multiaddress begins with.
pub(super) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip.into()),
        Some(Protocol::Ip6(ip)) => Some(ip.into()),
        _ => None,
    }
}

/// Whether an address that was heard on the local network may be dialled: TCP or QUIC on a private or link-local
/// address; on this machine itself only if the hint came from it.
pub(super) fn is_near(text: &str, from_here: bool) -> bool {
    let Ok(address) = text.parse::<Multiaddr>() else { return false };
    let mut parts = address.iter();
    let near = match ip(&address) {
        Some(ip) if ip.is_loopback() => from_here,
        Some(ip) => is_local_network(&ip),
        None => false,
    };
    let _ip = parts.next();
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
            "/ip6/fe80::1/tcp/1",
            "/ip6/::1/tcp/1",
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
        let addresses = ["127.0.0.1", "192.0.2.1", "8.8.8.8", "::1", "2001:db8::1", "fe80::1"]
            .map(|ip| ip.parse().unwrap());
        assert!(!mdns.set_addresses(addresses.into_iter()));
        assert_eq!(mdns.networks().count(), 0);
        assert!(mdns.v4.is_none() && mdns.v6.is_none());
    }

    #[test]
    fn the_kernel_says_which_interface_has_an_address() {
        let table = "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n\
                     fd000000000000000000000000000002 1f 40 00 82 wlan0\n";
        assert_eq!(number_of(table, "fd00::2".parse().unwrap()), Some(31));
        assert_eq!(number_of(table, "fd00::3".parse().unwrap()), None);
        assert_eq!(number_of("nonsense", "fd00::2".parse().unwrap()), None);
    }
}
