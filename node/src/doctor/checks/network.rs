//! Ports, addresses and names.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    time::Duration,
};

use libp2p::{Multiaddr, multiaddr::Protocol};
use portal_api::views::Peer;

use crate::{
    doctor::{Diagnosis, Finding, Place, Severity},
    home::Config,
};

/// How something is listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// What a multiaddress says about where to listen.
pub(super) fn socket(address: &str) -> Option<(Transport, SocketAddr)> {
    let address: Multiaddr = address.parse().ok()?;
    let mut ip = None;
    for part in &address {
        match (part, ip) {
            (Protocol::Ip4(v4), _) => ip = Some(IpAddr::V4(v4)),
            (Protocol::Ip6(v6), _) => ip = Some(IpAddr::V6(v6)),
            (Protocol::Tcp(port), Some(ip)) => return Some((Transport::Tcp, (ip, port).into())),
            (Protocol::Udp(port), Some(ip)) => return Some((Transport::Udp, (ip, port).into())),
            _ => return None,
        }
    }
    None
}

/// Tries to listen, for a moment. Nothing is sent.
fn listen(transport: Transport, address: SocketAddr) -> io::Result<()> {
    match transport {
        Transport::Tcp => TcpListener::bind(address).map(drop),
        Transport::Udp => UdpSocket::bind(address).map(drop),
    }
}

/// What came of trying to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Port {
    transport: Transport,
    address: SocketAddr,
    chosen: bool,
    free: bool,
}

pub(super) fn ports(place: &Place) -> Vec<Diagnosis> {
    let Ok(config) = place.config() else { return Vec::new() };
    if let Some(status) = &place.answers.status {
        return vec![judge_listening(&status.listen, status.api.as_deref())];
    }
    let mut ports: Vec<_> = config
        .listen
        .iter()
        .filter_map(|address| socket(address))
        .map(|(transport, address)| (transport, address, config.listen_chosen))
        .collect();
    ports.push((Transport::Tcp, config.api, config.api_chosen));
    let ports = ports.into_iter().map(|(transport, address, chosen)| {
        let listening = listen(transport, address);
        let taken = listening.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
        Port { transport, address, chosen, free: !taken }
    });
    judge_ports(&ports.collect::<Vec<_>>())
}

fn judge_listening(listen: &[String], api: Option<&str>) -> Diagnosis {
    if listen.is_empty() {
        let text = "the node listens nowhere: nobody can reach it";
        return Diagnosis::found("ports", Finding::PortTaken, Severity::Problem, text);
    }
    let mut all = Diagnosis::ok("ports", format!("the node listens on {} addresses", listen.len()));
    for address in listen.iter().map(String::as_str).chain(api) {
        all = all.because(address);
    }
    all
}

fn judge_ports(ports: &[Port]) -> Vec<Diagnosis> {
    let taken: Vec<_> = ports.iter().filter(|port| !port.free).collect();
    if taken.is_empty() {
        return vec![Diagnosis::ok("ports", format!("{} ports are free", ports.len()))];
    }
    let diagnosis = |port: &&Port| {
        let severity = if port.chosen { Severity::Problem } else { Severity::Note };
        let text = format!("{}/{} is in use", port.transport.name(), port.address.port());
        let found = Diagnosis::found("ports", Finding::PortTaken, severity, text)
            .because(format!("listening on {} fails", port.address));
        if port.chosen {
            found
        } else {
            found.fix("nothing has to be done: the next free port is used")
        }
    };
    taken.iter().map(diagnosis).collect()
}

pub(super) fn listen_addresses(place: &Place) -> Vec<Diagnosis> {
    let Ok(config) = place.config() else { return Vec::new() };
    let named = config.listen.iter().filter_map(|address| socket(address));
    let named: Vec<_> = named
        .filter(|(_, address)| !address.ip().is_unspecified())
        .map(|(_, address)| (address.ip(), is_here(address.ip())))
        .collect();
    vec![judge_addresses(&named)]
}

fn is_here(ip: IpAddr) -> bool {
    let listening = UdpSocket::bind(SocketAddr::from((ip, 0)));
    !listening.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

fn judge_addresses(named: &[(IpAddr, bool)]) -> Diagnosis {
    match named.iter().find(|(_, here)| !here) {
        Some((ip, _)) => Diagnosis::found(
            "listen",
            Finding::ListenAddress,
            Severity::Problem,
            format!("{ip} is no address of this machine"),
        )
        .because("p2p.listen names it"),
        None if named.is_empty() => Diagnosis::ok("listen", "on all addresses of this machine"),
        None => Diagnosis::ok("listen", "on addresses that this machine has"),
    }
}

pub(super) fn ipv6(place: &Place) -> Vec<Diagnosis> {
    let off = place.read("/proc/sys/net/ipv6/conf/all/disable_ipv6").is_none_or(|it| it == "1");
    // The fourth column is the scope: 00 is global (`include/net/addrconf.h`).
    let table = place.read("/proc/net/if_inet6").unwrap_or_default();
    let global = table.lines().any(|line| line.split_whitespace().nth(3) == Some("00"));
    vec![match (off, global) {
        (false, true) => Diagnosis::ok("ipv6", "this machine has an address"),
        (off, _) => Diagnosis::found(
            "ipv6",
            Finding::Ipv6,
            Severity::Note,
            if off { "switched off" } else { "no address beyond this link" },
        ),
    }]
}

/// The addresses to join through that are names.
fn names(config: &Config) -> Vec<&String> {
    let is_name = |address: &&String| {
        ["/dnsaddr/", "/dns/", "/dns4/", "/dns6/"].iter().any(|it| address.starts_with(it))
    };
    config.bootstrap.iter().filter(is_name).collect()
}

pub(super) fn dns(place: &Place) -> Vec<Diagnosis> {
    let Ok(config) = place.config() else { return Vec::new() };
    let servers = place.read("/etc/resolv.conf").unwrap_or_default();
    let servers =
        servers.lines().filter(|line| line.trim_start().starts_with("nameserver")).count();
    vec![judge_dns(names(&config).len(), servers)]
}

fn judge_dns(names: usize, servers: usize) -> Diagnosis {
    match (names, servers) {
        (0, _) => Diagnosis::ok("dns", "no name has to be looked up"),
        (names, 0) => Diagnosis::found(
            "dns",
            Finding::Dns,
            Severity::Problem,
            format!("{names} addresses to join are names, and no name server is known"),
        )
        .because("/etc/resolv.conf names none"),
        (names, servers) => {
            Diagnosis::ok("dns", format!("{servers} name servers for {names} names"))
        }
    }
}

pub(super) fn paths(place: &Place) -> Vec<Diagnosis> {
    if place.answers.status.is_none() {
        return Vec::new();
    }
    vec![judge_paths(&place.answers.peers)]
}

fn judge_paths(peers: &[Peer]) -> Diagnosis {
    let relayed = peers.iter().filter(|peer| peer.path == "relay").count();
    let direct = peers.len().saturating_sub(relayed);
    let text = match (peers.len(), relayed) {
        (0, _) => "connected to nobody".to_owned(),
        (_, 0) => format!("connected to {direct}, all of them directly"),
        (_, _) => format!("connected to {direct} directly, to {relayed} by relays"),
    };
    let line = |peer: &Peer| {
        let name = peer.name.clone().unwrap_or_else(|| peer.peer.to_string());
        let rtt = peer.rtt_seconds.and_then(|rtt| Duration::try_from_secs_f64(rtt).ok());
        let rtt = rtt.map(|rtt| format!(", {}", super::sandbox::short(rtt)));
        format!("{name}: {} by {}{}", peer.path, peer.address, rtt.unwrap_or_default())
    };
    peers.iter().fold(Diagnosis::ok("paths", text), |all, peer| all.because(line(peer)))
}

pub(super) fn bootstrap(place: &Place) -> Vec<Diagnosis> {
    let Ok(config) = place.config() else { return Vec::new() };
    let reached = |address: &String| {
        let peer = address.rsplit("/p2p/").next().unwrap_or_default();
        place.answers.peers.iter().any(|it| it.peer.to_string() == peer)
    };
    let named: Vec<_> = config.bootstrap.iter().map(|it| (it.clone(), reached(it))).collect();
    vec![judge_bootstrap(&named, place.answers.status.is_some())]
}

fn judge_bootstrap(named: &[(String, bool)], running: bool) -> Diagnosis {
    let missed: Vec<_> = named.iter().filter(|(_, reached)| !reached).collect();
    if named.is_empty() {
        Diagnosis::ok("bootstrap", "none is named: this node has a mesh of its own, or finds one")
    } else if !running {
        Diagnosis::ok(
            "bootstrap",
            format!("{} addresses, well-formed; no node runs to try them", named.len()),
        )
    } else if missed.is_empty() {
        Diagnosis::ok("bootstrap", format!("connected to all {}", named.len()))
    } else {
        let severity = if missed.len() == named.len() { Severity::Problem } else { Severity::Warn };
        let text = format!("{} of {} are not connected", missed.len(), named.len());
        let found = Diagnosis::found("bootstrap", Finding::Bootstrap, severity, text);
        missed.iter().fold(found, |found, (address, _)| found.because(address.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::checks::testing::Machine;

    fn with_config(text: &str) -> Machine {
        let machine = Machine::new(&[]);
        std::fs::create_dir_all(&machine.place.dir).unwrap();
        std::fs::write(machine.place.file("config.toml"), text).unwrap();
        machine
    }

    #[test]
    fn a_port_that_is_taken_matters_if_somebody_chose_it() {
        let port = |chosen, free| Port {
            transport: Transport::Udp,
            address: SocketAddr::from(([0, 0, 0, 0], 4_301)),
            chosen,
            free,
        };
        assert_eq!(judge_ports(&[port(true, true)])[0].severity, Severity::Ok);
        assert_eq!(judge_ports(&[port(false, false)])[0].severity, Severity::Note);
        let found = judge_ports(&[port(true, false)]).remove(0);
        assert_eq!(
            (found.severity, found.text.as_str()),
            (Severity::Problem, "udp/4301 is in use")
        );
    }

    #[test]
    fn a_port_in_use_is_seen() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let machine = with_config(&format!(
            "[p2p]\nlisten = [\"/ip4/127.0.0.1/tcp/{port}\"]\n[api]\nlisten = \"127.0.0.1:0\"\n"
        ));
        let found = ports(&machine.place).remove(0);
        assert_eq!(found.text, format!("tcp/{port} is in use"));
        drop(taken);
        assert_eq!(ports(&machine.place)[0].severity, Severity::Ok);
    }

    #[test]
    fn an_address_of_another_machine_is_seen() {
        // TEST-NET-1 (RFC 5737) is nobody's.
        let machine = with_config("[p2p]\nlisten = [\"/ip4/192.0.2.7/tcp/0\"]\n");
        assert_eq!(listen_addresses(&machine.place)[0].severity, Severity::Problem);
        let machine = with_config("[p2p]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n");
        assert_eq!(listen_addresses(&machine.place)[0].severity, Severity::Ok);
    }

    #[test]
    fn addresses_say_where_to_listen() {
        assert_eq!(
            socket("/ip4/0.0.0.0/udp/4301/quic-v1"),
            Some((Transport::Udp, SocketAddr::from(([0, 0, 0, 0], 4_301))))
        );
        assert_eq!(socket("/dns4/example.net/tcp/1"), None);
        assert_eq!(socket("nonsense"), None);
    }

    #[test]
    fn ipv6_is_what_the_kernel_says() {
        let machine = Machine::new(&[("/proc/sys/net/ipv6/conf/all/disable_ipv6", "0")]);
        assert_eq!(ipv6(&machine.place)[0].text, "no address beyond this link");
        machine.file("/proc/net/if_inet6", "20010db8000000000000000000000001 02 40 00 80 eth0");
        assert_eq!(ipv6(&machine.place)[0].severity, Severity::Ok);
        machine.file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
        assert_eq!(ipv6(&machine.place)[0].text, "switched off");
    }

    #[test]
    fn names_need_a_server_and_nodes_to_join_a_connection() {
        assert_eq!(judge_dns(0, 0).severity, Severity::Ok);
        assert_eq!(judge_dns(1, 0).severity, Severity::Problem);
        assert_eq!(judge_dns(1, 2).severity, Severity::Ok);
        let named = |reached: &[bool]| {
            reached.iter().map(|it| ("/ip4/127.0.0.1/tcp/1".to_owned(), *it)).collect::<Vec<_>>()
        };
        assert_eq!(judge_bootstrap(&[], true).severity, Severity::Ok);
        assert_eq!(judge_bootstrap(&named(&[false]), false).severity, Severity::Ok);
        assert_eq!(judge_bootstrap(&named(&[true, false]), true).severity, Severity::Warn);
        assert_eq!(judge_bootstrap(&named(&[false]), true).severity, Severity::Problem);
    }
}
