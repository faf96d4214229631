//! What a person reads of a node in the foreground: pure text, and where it goes.
//!
//! Scripts read the standard output, which has one line; people read the standard error.

use std::time::Duration;

use libp2p::{Multiaddr, multiaddr::Protocol};
use protocol::{code::Code, ids::NodeId, wire::genesis::Joining};

use crate::{
    api::Asking,
    cli::{human, table::printable},
    core::limits::Limits,
    home::petname,
};

/// After how long without a mesh a person is told that there is none.
pub(super) const NOTHING_AFTER: Duration = Duration::from_secs(10);

/// Where people read: the standard error, if somebody is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terminal {
    pub(super) watched: bool,
}

impl Terminal {
    /// Prints text, if somebody is there.
    #[expect(clippy::print_stderr, reason = "what a person sees of a node in the foreground")]
    pub(super) fn say(self, text: &str) {
        if self.watched {
            eprint!("{text}");
        }
    }
}

/// What there is to say about a node that is ready.
#[derive(Debug, Clone)]
pub(super) struct Welcome<'a> {
    pub(super) is_new: bool,
    pub(super) name: &'a str,
    pub(super) node: NodeId,
    pub(super) mesh: Belongs<'a>,
    pub(super) cores: usize,
    pub(super) memory_free_bytes: u64,
    /// What others may have; nothing where no work is taken.
    pub(super) shares: Option<&'a Limits>,
    pub(super) listens: &'a [Multiaddr],
    pub(super) on_lan: bool,
    pub(super) took: Duration,
}

/// Where a node belongs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Belongs<'a> {
    /// To a mesh that it founded.
    Own(&'a str, Joining),
    /// To a mesh that another founded.
    Member(&'a str),
    /// To none: it waits for one of this name.
    Waits(&'a str),
    /// To none: it asks at addresses.
    Asks,
}

/// What is printed once a node is ready.
pub(super) fn welcome(welcome: &Welcome<'_>) -> String {
    let mut text = String::new();
    let identity = if welcome.is_new { "New identity" } else { "Identity" };
    line(&mut text, identity, &format!("{}  ({})", welcome.name, short(&welcome.node)));
    let (mesh, about) = match welcome.mesh {
        Belongs::Own(name, Joining::Approval) => {
            ("Personal mesh", format!("{:<12} new machines need your approval", quoted(name)))
        }
        Belongs::Own(name, Joining::Automatic) => {
            ("Personal mesh", format!("{:<12} admits whoever asks", quoted(name)))
        }
        Belongs::Member(name) => ("Mesh", format!("{:<12} this machine is a member", quoted(name))),
        Belongs::Waits(name) => {
            ("Mesh", format!("{:<12} waits until it is found on this network", quoted(name)))
        }
        Belongs::Asks => ("Mesh", "none yet: asks to join".to_owned()),
    };
    line(&mut text, mesh, &about);
    let cores = human::plural(u64::try_from(welcome.cores).unwrap_or(u64::MAX), "core", "cores");
    let free = human::bytes(welcome.memory_free_bytes);
    line(&mut text, "Machine", &format!("{cores} · {free} free"));
    if let Some(limits) = welcome.shares {
        line(&mut text, "Sharing", &format!("{}   (change: weft limits set)", shared(limits)));
    }
    let lan = if welcome.on_lan { "on" } else { "off" };
    let listening = format!("{}, LAN discovery {lan}", ports(welcome.listens));
    line(&mut text, "Listening", &listening);
    text.push_str(&format!(
        "\n  Ready in {:.1} s, running in the foreground. Ctrl-C stops it.\n",
        welcome.took.as_secs_f64()
    ));
    let another = if welcome.on_lan {
        "run `weft up` there".to_owned()
    } else {
        let address = welcome.listens.first().map(ToString::to_string).unwrap_or_default();
        format!("weft up --bootstrap {address}/p2p/{}", welcome.node)
    };
    text.push_str(&format!("  Add another machine on this network:       {another}\n"));
    text.push_str("  Try it now, in another terminal:           weft run --example primes\n");
    text
}

/// `up to 4 cores, 4.0 GiB, when plugged in and idle`
fn shared(limits: &Limits) -> String {
    let conditions = [(!limits.on_battery, "plugged in"), (!limits.idle.is_zero(), "idle")];
    let conditions: Vec<_> =
        conditions.into_iter().filter(|(holds, _)| *holds).map(|(_, what)| what).collect();
    let when = if conditions.is_empty() { "" } else { ", when " };
    let hours = limits.hours.map(|hours| format!(", {hours}")).unwrap_or_default();
    format!(
        "up to {}, {}{when}{}{hours}",
        human::plural(u64::from(limits.slots), "core", "cores"),
        human::bytes(limits.memory_bytes),
        conditions.join(" and "),
    )
}

/// Another mesh was found, and this node asks to join it.
pub(super) fn found(asking: &Asking, me: &str) -> String {
    let nodes = human::plural(u64::from(asking.members), "node", "nodes");
    let there = petname(&asking.node);
    let what = match asking.code {
        Some(code) => format!("approve code  {code}"),
        None => "approve this machine".to_owned(),
    };
    let (how, place) =
        (if asking.on_lan { "Found on this network" } else { "Reached" }, place(&asking.address));
    format!(
        "  ✓ {how:<21}  {} — {nodes}: {there} ({place})\n    Join it? On {there}, {what}   (waiting)\n    \
         there:  weft node approve {}\n",
        quoted(&asking.mesh_name),
        printable(me),
    )
}

/// This node was refused.
pub(super) fn refused(asking: &Asking, reason: &str) -> String {
    format!("  ✗ {} has refused this machine ({reason})\n", quoted(&asking.mesh_name))
}

/// This node has joined.
pub(super) fn joined(mesh: &str, members: u32, took: Duration) -> String {
    let nodes = human::plural(u64::from(members), "node", "nodes");
    // A person does not care for tenths of a second, but 0 s is none.
    let took = Duration::from_secs(took.as_secs().max(1));
    format!("  ✓ Joined {} in {} s · {nodes}\n", quoted(mesh), took.as_secs())
}

/// Nobody is there.
pub(super) const NOTHING: &str = "  No mesh found on this network yet (still listening). Guest Wi-Fi and some VPNs \
     block discovery.\n  Connect directly:  weft join \
     /ip4/192.168.1.20/udp/4301/quic-v1/p2p/12D3KooW…      (shown by `weft id` there)\n";

/// Somebody asks to join this mesh, and shows this code.
pub(crate) fn asks(name: &str, address: Option<&str>, mesh: &str, code: Option<Code>) -> String {
    let name = printable(name);
    let at = address.map(|address| format!(" at {}", place(address))).unwrap_or_default();
    let code = code.map(|code| format!("  Code {code}")).unwrap_or_default();
    format!(
        "  ◇ {name}{at} asks to join {}.{code}\n    approve:  weft node approve {name}        reject:  weft node reject \
         {name}\n",
        quoted(mesh)
    )
}

fn line(text: &mut String, label: &str, about: &str) {
    text.push_str(&format!("  ✓ {label:<20} {about}\n"));
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", printable(name))
}

/// The first and the last characters of a peer id.
fn short(node: &NodeId) -> String {
    let text = node.to_string();
    format!("{}…{}", text.get(..10).unwrap_or_default(), node.short())
}

/// The machine that a multiaddress begins with.
fn place(address: &str) -> String {
    let mut parts = address.split('/').skip(1);
    match (parts.next(), parts.next()) {
        (Some("ip4" | "ip6" | "dns" | "dns4" | "dns6"), Some(place)) => printable(place),
        _ => printable(address),
    }
}

/// The ports that are listened on.
#[expect(clippy::wildcard_enum_match_arm, reason = "multiaddresses have dozens of kinds of parts")]
fn ports(addresses: &[Multiaddr]) -> String {
    let mut ports = Vec::new();
    for address in addresses {
        let port = address.iter().find_map(|part| match part {
            Protocol::Udp(port) => Some(format!("udp/{port} (QUIC)")),
            Protocol::Tcp(port) => Some(format!("tcp/{port}")),
            _ => None,
        });
        ports.extend(port.filter(|port| !ports.contains(port)));
    }
    ports.sort_by_key(|port| !port.starts_with("udp"));
    if ports.is_empty() { "nowhere".to_owned() } else { ports.join(" and ") }
}

#[cfg(test)]
mod tests {
    use protocol::ids::MeshId;

    use super::*;

    const NODE: NodeId = NodeId([1; 32]);
    const SHARED: Limits = Limits {
        slots: 4,
        memory_bytes: 4_294_967_296,
        on_battery: false,
        min_battery: 50,
        idle: Duration::from_secs(180),
        hours: None,
        max_cpu_others: None,
    };

    fn addresses() -> Vec<Multiaddr> {
        [
            "/ip4/192.168.1.20/tcp/4301",
            "/ip4/127.0.0.1/tcp/4301",
            "/ip4/192.168.1.20/udp/4301/quic-v1",
        ]
        .map(|text| text.parse().unwrap())
        .to_vec()
    }

    fn first(listens: &[Multiaddr]) -> Welcome<'_> {
        Welcome {
            is_new: true,
            name: "brave-otter",
            node: NODE,
            mesh: Belongs::Own("home", Joining::Approval),
            cores: 8,
            memory_free_bytes: 16_535_624_089,
            shares: Some(&SHARED),
            listens,
            on_lan: true,
            took: Duration::from_millis(1_400),
        }
    }

    fn asking() -> Asking {
        Asking {
            mesh: MeshId([2; 32]),
            mesh_name: "home".to_owned(),
            members: 1,
            node: NODE,
            address: "/ip4/192.168.1.20/tcp/4301".to_owned(),
            on_lan: true,
            code: "417208".parse().ok(),
            refused: None,
        }
    }

    /// Compares with a file, which `BLESS=1` writes anew.
    #[track_caller]
    fn assert_golden(name: &str, text: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(format!("{name}.txt"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{name}: BLESS=1");
    }

    #[test]
    fn the_first_hour_reads_as_written_down() {
        let listens = addresses();
        let alone = Welcome {
            is_new: false,
            mesh: Belongs::Member("home"),
            shares: None,
            on_lan: false,
            ..first(&listens)
        };
        let waits = Welcome { mesh: Belongs::Waits("lab"), ..first(&listens) };
        let parts = [
            welcome(&first(&listens)),
            NOTHING.to_owned(),
            asks("calm-finch", Some("/ip4/192.168.1.31/tcp/4301"), "home", "417208".parse().ok()),
            welcome(&waits),
            found(&asking(), "calm-finch"),
            found(&Asking { on_lan: false, ..asking() }, "calm-finch"),
            joined("home", 2, Duration::from_secs(6)),
            refused(&asking(), "blacklisted"),
            welcome(&alone),
        ];
        assert_golden("up", &parts.join("\n"));
    }

    #[test]
    fn what_others_send_cannot_move_the_cursor() {
        let text = asks("x\u{1b}[2J", Some("/ip4/\u{7}/tcp/1"), "a\nb", None);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert_eq!(text.matches('\n').count(), 2);
    }
}
