//! Whether nodes can find each other by multicast.
//!
//! Of each interface the kernel says whether it is up and can do multicast. Whether the kernel delivers multicast at all
//! is tried on the loopback interface alone: nothing is sent to others.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use rustix::net::sockopt::{set_ip_add_membership_with_ifindex, set_ip_multicast_if_with_ifindex};

use crate::doctor::{Diagnosis, Finding, Place, Severity};

/// A group for local use (RFC 2365).
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 67, 84);
/// How long a datagram may take within this machine.
const WITHIN: Duration = Duration::from_millis(500);

/// Flags of `linux/if.h`.
const UP: u32 = 1;
const LOOPBACK: u32 = 1 << 3;
const POINT_TO_POINT: u32 = 1 << 4;
const MULTICAST: u32 = 1 << 12;

/// What is seen of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Interface {
    name: String,
    flags: u32,
    carrier: bool,
}

pub(super) fn look(place: &Place) -> Vec<Diagnosis> {
    let interfaces = place.names("/sys/class/net").into_iter().filter_map(|name| {
        let field = |field: &str| place.read(&format!("/sys/class/net/{name}/{field}"));
        let flags = field("flags")?;
        let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok()?;
        let carrier = field("carrier").is_none_or(|carrier| carrier == "1");
        Some(Interface { name, flags, carrier })
    });
    let interfaces: Vec<_> = interfaces.collect();
    let loopback = interfaces.iter().find(|it| it.flags & LOOPBACK != 0);
    let index = loopback.and_then(|it| {
        place.read(&format!("/sys/class/net/{}/ifindex", it.name))?.parse::<u32>().ok()
    });
    let delivered = index.map(|index| probe(index).map_err(|error| error.to_string()));
    vec![judge(&interfaces, delivered)]
}

/// Sends a datagram to a group on one interface, and receives it. It never leaves the machine: it lives for no hop.
fn probe(index: u32) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_multicast_ttl_v4(0)?;
    socket.set_multicast_loop_v4(true)?;
    socket.set_read_timeout(Some(WITHIN))?;
    set_ip_add_membership_with_ifindex(&socket, &GROUP, &Ipv4Addr::UNSPECIFIED, index)?;
    set_ip_multicast_if_with_ifindex(&socket, &GROUP, &Ipv4Addr::UNSPECIFIED, index)?;
    let mut word = [0; 8];
    getrandom::fill(&mut word).map_err(|_| io::Error::other("no random numbers"))?;
    socket.send_to(&word, (GROUP, socket.local_addr()?.port()))?;
    let mut received = [0; 16];
    let (bytes, _) = socket.recv_from(&mut received)?;
    if received.get(..bytes) == Some(word.as_slice()) {
        Ok(())
    } else {
        Err(io::Error::other("something else arrived"))
    }
}

fn judge(interfaces: &[Interface], delivered: Option<Result<(), String>>) -> Diagnosis {
    let names = |able: bool| {
        let fit = interfaces.iter().filter(|it| {
            it.flags & UP != 0
                && it.flags & LOOPBACK == 0
                && (it.flags & MULTICAST != 0 && it.carrier && it.flags & POINT_TO_POINT == 0)
                    == able
        });
        fit.map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (able, unable) = (names(true), names(false));
    let found = |severity, text: String| {
        let found = Diagnosis::found("multicast", Finding::Multicast, severity, text);
        interfaces
            .iter()
            .fold(found, |found, it| found.because(format!("{}: flags {:#x}", it.name, it.flags)))
    };
    match delivered {
        Some(Err(why)) => found(Severity::Warn, format!("this machine does not deliver it: {why}")),
        Some(Ok(())) | None if able.is_empty() => found(
            Severity::Note,
            "no interface for it: nodes on a network are not found".to_owned(),
        ),
        Some(Ok(())) | None if unable.is_empty() => {
            Diagnosis::ok("multicast", format!("works on {able}"))
        }
        Some(Ok(())) | None => found(Severity::Note, format!("works on {able}, not on {unable}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::checks::testing::Machine;

    #[test]
    fn interfaces_are_judged_by_their_flags() {
        let machine = Machine::new(&[
            ("/sys/class/net/lo/flags", "0x9"),
            ("/sys/class/net/wlan0/flags", "0x1003"),
            ("/sys/class/net/wlan0/carrier", "1"),
        ]);
        assert_eq!(look(&machine.place)[0].text, "works on wlan0");
        machine.file("/sys/class/net/tun0/flags", "0x1091");
        machine.file("/sys/class/net/off0/flags", "0x1002");
        let found = look(&machine.place).remove(0);
        assert_eq!(found.severity, Severity::Note);
        assert_eq!(found.text, "works on wlan0, not on tun0");
        assert_eq!(judge(&[], None).severity, Severity::Note);
        assert_eq!(judge(&[], Some(Err("no".to_owned()))).severity, Severity::Warn);
    }

    #[test]
    fn a_datagram_to_a_group_comes_back_on_loopback() {
        let index = std::fs::read_to_string("/sys/class/net/lo/ifindex").unwrap();
        probe(index.trim().parse().unwrap()).unwrap();
    }
}
