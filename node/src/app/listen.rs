//! Listening for other nodes: where it was asked to, or else where it is free.

use std::{
    net::{IpAddr, TcpListener, UdpSocket},
    sync::Arc,
    time::Duration,
};

use libp2p::{Multiaddr, multiaddr::Protocol};
use prometheus_client::registry::Registry;
use protocol::{time::Clock as _, wire::enroll::Role};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::{
    core::reputation::Ban,
    home::UpOptions,
    net::{
        self, Net, NetConfig, NetError,
        bans::{self, Now},
    },
    roles::clock::NodeClock,
};

/// Bans are written no more often than this.
const KEEP_BANS_EVERY: Duration = Duration::from_secs(1);
/// Connections that others make to a node that coordinates, or may.
const COORDINATOR_CONNECTIONS_MAX: u32 = 512;

/// Listens where it was asked to; where nobody asked and the port is taken, on a free one.
pub(super) fn listen(
    options: &UpOptions,
    clock: NodeClock,
    registry: &mut Registry,
) -> Result<Net, AppError> {
    let seed = u64::from_le_bytes(super::random());
    let addresses = parse_all(&options.config.listen)?;
    let bans = bans::load(&options.home.bans_file(), now(clock)).unwrap_or_else(|error| {
        tracing::warn!(error = %super::chain(&error), "bans of an earlier run cannot be read");
        Vec::new()
    });
    let mdns = options.config.mdns;
    let mut config = NetConfig { listen: addresses, mdns, bans, ..NetConfig::default() };
    if options.config.roles.contains(&Role::Coordinator) {
        config.established_in_max = COORDINATOR_CONNECTIONS_MAX;
    }
    let started = match config.listen.iter().find_map(taken) {
        Some(error) => Err(error),
        None => net::start(&config, &options.keys.node, seed, Arc::new(clock), registry)
            .map_err(AppError::Net),
    };
    match started {
        Err(AppError::PortTaken { .. } | AppError::Net(NetError::Listen { .. }))
            if !options.config.listen_chosen =>
        {
            tracing::info!("the default port is taken: a free one is used");
            let free =
                options.config.listen.iter().map(|address| {
                    address.replace(&format!("/{}", protocol::names::PORT_P2P), "/0")
                });
            config.listen = parse_all(&free.collect::<Vec<_>>())?;
            net::start(&config, &options.keys.node, seed, Arc::new(clock), registry)
                .map_err(AppError::Net)
        }
        result => result,
    }
}

/// Both clocks.
fn now(clock: NodeClock) -> Now {
    Now { here: clock.now(), wall: NodeClock::wall() }
}

/// Writes bans down whenever they change, until the node stops.
pub(super) async fn keep_bans(
    options: Arc<UpOptions>,
    clock: NodeClock,
    mut banned: watch::Receiver<Arc<Vec<Ban>>>,
    stop: CancellationToken,
) {
    loop {
        let stopping = tokio::select! {
            changed = banned.changed() => changed.is_err(),
            () = stop.cancelled() => true,
        };
        if stopping && !banned.has_changed().unwrap_or(false) {
            return;
        }
        let kept = banned.borrow_and_update().clone();
        if let Err(error) = bans::save(&options.home.bans_file(), &kept, now(clock)) {
            tracing::warn!(error = %super::chain(&error), "bans cannot be kept");
        }
        // Peers are banned faster than a disk likes to write.
        let _stopped = tokio::time::timeout(KEEP_BANS_EVERY, stop.cancelled()).await;
    }
}

/// Whether somebody listens on an address already. libp2p shares TCP ports between its own sockets, so that two nodes
/// would both seem to listen; a socket that shares nothing finds out.
#[expect(clippy::wildcard_enum_match_arm, reason = "multiaddresses have dozens of kinds of parts")]
fn taken(address: &Multiaddr) -> Option<AppError> {
    let mut ip = None;
    for part in address {
        let bound = match part {
            Protocol::Ip4(address) => {
                ip = Some(IpAddr::V4(address));
                continue;
            }
            Protocol::Ip6(address) => {
                ip = Some(IpAddr::V6(address));
                continue;
            }
            Protocol::Tcp(port) if port != 0 => TcpListener::bind((ip?, port)).map(drop),
            Protocol::Udp(port) if port != 0 => UdpSocket::bind((ip?, port)).map(drop),
            // Names, circuits, memory: nothing that another program can hold.
            _ => return None,
        };
        return match bound {
            Err(source) if source.kind() == std::io::ErrorKind::AddrInUse => {
                Some(AppError::PortTaken { address: address.to_string(), source })
            }
            Ok(()) | Err(_) => None,
        };
    }
    None
}

pub(super) fn parse_all(addresses: &[String]) -> Result<Vec<Multiaddr>, AppError> {
    let parse = |address: &String| address.parse().map_err(|_| AppError::Address(address.clone()));
    addresses.iter().map(parse).collect()
}
