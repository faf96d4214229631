//! Connections that are begun and never finished, by the thousand.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use libp2p::{
    Multiaddr, Transport as _,
    core::{
        Endpoint,
        transport::{DialOpts, PortUse},
    },
    multiaddr::Protocol,
};
use protocol::net;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UdpSocket},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{Counts, Target, flood::key, for_a_while};

/// QUIC handshakes that are prepared at a time.
const PREPARED_AT_ONCE: usize = 50;
/// The pause between two rounds.
const PAUSE: Duration = Duration::from_millis(20);
/// The largest datagram, in bytes.
const DATAGRAM_MAX: usize = 1_500;

/// Handshakes that stop in the middle: over the transport of the target's address.
#[derive(Debug, Clone, Copy)]
pub struct HalfOpen {
    /// How many are kept open at a time, and how many are begun in a second at most: beyond that an attacker on the same
    /// machine mostly measures what its own system calls take away from everybody.
    pub connections: usize,
}

impl HalfOpen {
    /// Attacks for so long: what the target closes is begun anew.
    ///
    /// # Errors
    ///
    /// If the target's address has no IP address and port, or there are no more sockets.
    pub async fn run(self, target: &Target, duration: Duration) -> anyhow::Result<Counts> {
        let (address, quic) = socket_address(&target.address)?;
        if quic { self.quic(address, duration).await } else { self.tcp(address, duration).await }
    }

    /// Each socket says that it would shake hands, and then nothing more.
    async fn tcp(self, address: SocketAddr, duration: Duration) -> anyhow::Result<Counts> {
        let mut counts = Counts::default();
        let mut held: Vec<TcpStream> = Vec::new();
        let begun_each_second = u32::try_from(self.connections.max(1)).unwrap_or(u32::MAX);
        let every = Duration::from_secs(1).checked_div(begun_each_second).unwrap_or(PAUSE);
        let mut pace = interval(every.max(Duration::from_nanos(1)));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for_a_while(duration, async || {
            let before = held.len();
            held.retain(is_open);
            let gone = u64::try_from(before.saturating_sub(held.len())).unwrap_or(u64::MAX);
            counts.closed = counts.closed.saturating_add(gone);
            if held.len() >= self.connections {
                tokio::time::sleep(PAUSE).await;
                return;
            }
            pace.tick().await;
            let begun = async {
                let mut socket = TcpStream::connect(address).await?;
                socket.write_all(b"\x13/multistream/1.0.0\n\x07/noise\n").await?;
                std::io::Result::Ok(socket)
            };
            match begun.await {
                Ok(socket) => {
                    counts.sent = counts.sent.saturating_add(1);
                    held.push(socket);
                }
                Err(_) => {
                    counts.refused = counts.refused.saturating_add(1);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        })
        .await;
        Ok(counts)
    }

    /// First packets of real handshakes, each of another connection. What the target answers is not read by anybody
    /// who could go on.
    async fn quic(self, address: SocketAddr, duration: Duration) -> anyhow::Result<Counts> {
        let firsts = first_packets(self.connections).await?;
        ensure!(!firsts.is_empty(), "no QUIC handshake was begun");
        let socket = UdpSocket::bind(SocketAddr::new(local(address), 0)).await?;
        let mut counts = Counts::default();
        let mut buffer = [0; DATAGRAM_MAX];
        let mut rounds = firsts.iter().cycle();
        for_a_while(duration, async || {
            for first in rounds.by_ref().take(PREPARED_AT_ONCE) {
                if socket.send_to(first, address).await.is_ok() {
                    counts.sent = counts.sent.saturating_add(1);
                }
            }
            while socket.try_recv_from(&mut buffer).is_ok() {
                counts.answers = counts.answers.saturating_add(1);
            }
            tokio::time::sleep(PAUSE).await;
        })
        .await;
        Ok(counts)
    }
}

/// The first packets of so many QUIC connections: dialled to a socket of one's own that answers nobody.
async fn first_packets(count: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let sink = UdpSocket::bind("127.0.0.1:0").await?;
    let nowhere: Multiaddr =
        format!("/ip4/127.0.0.1/udp/{}/quic-v1", sink.local_addr()?.port()).parse()?;
    let mut transport = net::tcp_quic(&net::keypair(&key(0x40, 0)))?;
    let (mut firsts, mut seen) = (Vec::new(), BTreeSet::new());
    let mut dials = JoinSet::new();
    let mut buffer = [0; DATAGRAM_MAX];
    while firsts.len() < count {
        for _ in 0..PREPARED_AT_ONCE.min(count.saturating_sub(firsts.len())) {
            let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
            let dial = transport.dial(nowhere.clone(), opts)?;
            dials.spawn(async { drop(dial.await) });
        }
        let until = firsts.len().saturating_add(PREPARED_AT_ONCE).min(count);
        while firsts.len() < until {
            let received = tokio::time::timeout(Duration::from_secs(2), sink.recv(&mut buffer));
            let Ok(length) = received.await else { break };
            let packet = buffer.get(..length?).unwrap_or_default();
            // A long header: flags, version, length of the destination's id, the id. Repetitions have the same.
            let id_length = usize::from(packet.get(5).copied().unwrap_or(0));
            let id = packet.get(6..id_length.saturating_add(6)).unwrap_or_default();
            if !id.is_empty() && seen.insert(id.to_vec()) {
                firsts.push(packet.to_vec());
            }
        }
        dials.abort_all();
    }
    Ok(firsts)
}

/// Whether the other end has not closed it.
fn is_open(socket: &TcpStream) -> bool {
    match socket.try_read(&mut [0; 256]) {
        Ok(length) => length > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

const fn local(address: SocketAddr) -> std::net::IpAddr {
    match address {
        SocketAddr::V4(_) => std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => std::net::IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}

/// The socket address of a multiaddress, and whether it is one of QUIC.
pub(super) fn socket_address(address: &Multiaddr) -> anyhow::Result<(SocketAddr, bool)> {
    let (mut ip, mut port, mut udp) = (None, None, false);
    for part in address {
        if let Protocol::Ip4(found) = part {
            ip = Some(found.into());
        } else if let Protocol::Ip6(found) = part {
            ip = Some(found.into());
        } else if let Protocol::Tcp(found) = part {
            port = Some(found);
        } else if let Protocol::Udp(found) = part {
            (port, udp) = (Some(found), true);
        }
    }
    let ip = ip.with_context(|| format!("no IP address in {address}"))?;
    let port = port.with_context(|| format!("no port in {address}"))?;
    Ok((SocketAddr::new(ip, port), udp))
}
