//! What happens to machines on a network: they sleep, have no IPv4, and share it with programs that talk nonsense.

use anyhow::ensure;
use tests::{Node, healthy, text, until};

use crate::{PATIENCE, Place, admit, asked_by};

/// Work that needs the mesh: the leader takes it, and somebody does it.
fn works(node: &Node) -> anyhow::Result<()> {
    let said = node.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    ensure!(said.stdout == "168\n", "{said:?}");
    Ok(())
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
