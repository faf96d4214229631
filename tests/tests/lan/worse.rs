//! What happens to machines on a network: they sleep, move, trade places, and share it with programs that talk nonsense.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, ensure};
use tests::{Node, healthy, text, until};

use crate::{PATIENCE, Place, admit, asked_by};

/// The addresses under which a node sees another.
fn seen_at(node: &Node, peer: &str) -> anyhow::Result<Vec<String>> {
    let peers = node.ask(&["peers"])?;
    let of = tests::items(&peers).filter(|item| text(item, "/peer").is_ok_and(|is| is == peer));
    of.map(|item| Ok(text(item, "/address")?.to_owned())).collect()
}

/// TCP alone: its connections do not outlive an address, as those of QUIC may.
const TCP: [&str; 2] = ["--listen", "/ip4/0.0.0.0/tcp/4301"];
/// How long a connection may be dead before it is given up and made anew: two pings, and some patience.
const GIVEN_UP: Duration = Duration::from_secs(120);

/// Waits until one sees the other there.
fn seen_there(node: &Node, other: &Node, ip: Ipv4Addr) -> anyhow::Result<()> {
    let place = format!("/ip4/{ip}/");
    until("the new address", GIVEN_UP, || {
        let seen = seen_at(node, other.peer())?;
        Ok(seen.iter().any(|address| address.starts_with(&place)).then_some(()))
    })
}

/// Work that needs the mesh: the leader takes it, and somebody does it.
fn works(node: &Node) -> anyhow::Result<()> {
    let said = node.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    ensure!(said.stdout == "168\n", "{said:?}");
    Ok(())
}

#[test]
fn a_machine_that_gets_another_address_stays_a_member() -> anyhow::Result<()> {
    let Some(mut place) = Place::of(2)? else { return Ok(()) };
    let (first, second) = (place.up(0, &TCP)?, place.up(1, &TCP)?);
    admit(&first, &second, 2)?;
    let elsewhere = Ipv4Addr::new(10, 77, 0, 150);
    place.hosts.get_mut(1).context("the second machine")?.move_to(elsewhere)?;
    seen_there(&first, &second, elsewhere)?;
    healthy(&first, 2)?;
    works(&second)
}

#[test]
fn machines_that_trade_their_addresses_stay_who_they_are() -> anyhow::Result<()> {
    let Some(mut place) = Place::of(3)? else { return Ok(()) };
    let first = place.up(0, &TCP)?;
    let (second, third) = (place.up(1, &TCP)?, place.up(2, &TCP)?);
    admit(&first, &second, 2)?;
    admit(&first, &third, 3)?;
    let ips = [place.host(1)?.ip(), place.host(2)?.ip()];
    let mut moves = |host: usize, ip| place.hosts.get_mut(host).context("no machine")?.move_to(ip);
    moves(1, Ipv4Addr::new(10, 77, 0, 151))?;
    moves(2, ips[0])?;
    moves(1, ips[1])?;
    for (node, ip) in [(&second, ips[1]), (&third, ips[0])] {
        seen_there(&first, node, ip)?;
        works(node)?;
    }
    healthy(&first, 3)
}

#[test]
fn a_machine_that_sleeps_is_missed_and_back_when_it_wakes() -> anyhow::Result<()> {
    let Some(place) = Place::of(2)? else { return Ok(()) };
    let first = place.up(0, &[])?;
    let second = place.up(1, &[])?;
    admit(&first, &second, 2)?;
    second.suspend(true)?;
    until("a member that is away", PATIENCE, || {
        let node = first.ask(&["node", "show", second.peer()])?;
        Ok((text(&node, "/liveness")? == "OFFLINE").then_some(()))
    })?;
    works(&first)?;
    second.suspend(false)?;
    healthy(&first, 2)?;
    works(&second)
}

#[test]
fn nonsense_on_the_network_does_not_keep_them_apart() -> anyhow::Result<()> {
    let Some(mut place) = Place::of(3)? else { return Ok(()) };
    let targets = [place.host(0)?.ip().to_string(), place.host(1)?.ip().to_string()];
    place.neighbour(2, &["nonsense", &targets[0], &targets[1]])?;
    let first = place.up(0, &[])?;
    let memory = first.memory_bytes()?;
    let second = place.up(1, &[])?;
    asked_by(&first, &second)?;
    admit(&first, &second, 2)?;
    let grown = first.memory_bytes()?.saturating_sub(memory);
    ensure!(grown < 200 * 1024 * 1024, "nonsense costs {grown} bytes");
    ensure!(!first.log()?.contains("panicked"), "{}", first.log()?);
    Ok(())
}

#[test]
fn machines_on_a_network_of_ipv6_alone_find_each_other() -> anyhow::Result<()> {
    let Some(place) = Place::of(2)? else { return Ok(()) };
    for host in &place.hosts {
        host.ipv6_alone()?;
    }
    let flags = ["--listen", "/ip6/::/udp/4301/quic-v1", "--listen", "/ip6/::/tcp/4301"];
    let first = place.up(0, &flags)?;
    let second = place.up(1, &flags)?;
    admit(&first, &second, 2)
}
