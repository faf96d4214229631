//! Nodes on a local network: machines of their own on one bridge, with nothing configured. Each test says "skipped"
//! and passes where the system lets nobody make network namespaces.

mod admitting;
mod finding;
mod names;
mod separate;
mod worse;

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use tests::{
    Node, Weft, healthy, items,
    netns::{Host, Lan},
    text, until,
};

/// How long a node may take to be found by another. Only so that a test ends; `make bench` measures it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Machines on one network, and what runs on them.
struct Place {
    /// Before the machines, so that they end first.
    neighbours: Vec<Neighbour>,
    hosts: Vec<Host>,
    lan: Lan,
    weft: Weft,
    dir: TempDir,
}

impl Place {
    /// Machines on a network; nothing where there can be none.
    fn of(machines: usize) -> anyhow::Result<Option<Self>> {
        let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
        let Some(mut lan) = Lan::new() else { return Ok(None) };
        let hosts = lan.hosts(machines)?;
        Ok(Some(Self { neighbours: Vec::new(), hosts, lan, weft, dir }))
    }

    fn host(&self, number: usize) -> anyhow::Result<&Host> {
        self.hosts.get(number).context("no such machine")
    }

    fn home(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("machine-{number}"))
    }

    /// Starts a node on a machine with nothing but these flags.
    fn up(&self, number: usize, flags: &[&str]) -> anyhow::Result<Node> {
        self.host(number)?.up(&self.weft, &self.home(number), flags)
    }

    /// Starts somebody else on a machine.
    fn neighbour(&mut self, number: usize, args: &[&str]) -> anyhow::Result<()> {
        let mut command = self.host(number)?.command(env!("CARGO_BIN_EXE_neighbour"));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let output = process.stdout.take().context("no output")?;
        self.neighbours.push(Neighbour(process));
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line == "ready\n", "the neighbour says {line:?}");
        Ok(())
    }
}

/// A process that is killed when it is dropped.
struct Neighbour(Child);

impl Drop for Neighbour {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what is wanted.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Waits until `other` asks to join the mesh that `node` coordinates.
fn asked_by(node: &Node, other: &Node) -> anyhow::Result<()> {
    until("a node that asks to join", PATIENCE, || {
        let said = node.run(&["node", "list", "--pending", "-o", "json"])?;
        if said.code != 0 {
            return Ok(None);
        }
        let listed = said.json()?;
        let found =
            items(&listed).any(|item| text(item, "/peer").is_ok_and(|is| is == other.peer()));
        Ok(found.then_some(()))
    })
}

/// The mesh that a node is in, as it says itself; nothing if it is in none.
fn mesh_of(node: &Node) -> anyhow::Result<Option<String>> {
    let status = node.ask(&["status"])?;
    Ok(text(&status, "/mesh").ok().map(str::to_owned))
}

/// Waits until a node is in that mesh.
fn moved(node: &Node, mesh: &str) -> anyhow::Result<()> {
    until("being in the other mesh", PATIENCE, || {
        Ok((mesh_of(node)?.as_deref() == Some(mesh)).then_some(()))
    })
}

/// Lets `node` admit `other`, and waits until both know.
fn admit(node: &Node, other: &Node, members: usize) -> anyhow::Result<()> {
    asked_by(node, other)?;
    node.run(&["node", "approve", other.peer(), "--yes"])?.exited(0)?;
    moved(other, &mesh_of(node)?.context("no mesh")?)?;
    healthy(node, members)
}

#[test]
fn machines_on_one_network_reach_each_other() -> anyhow::Result<()> {
    let Some(place) = Place::of(2)? else { return Ok(()) };
    let founder = place.up(0, &["--no-mdns", "--auto-approve"])?;
    let address = format!("/ip4/{}/tcp/4301/p2p/{}", place.host(0)?.ip(), founder.peer());
    let joiner = place.up(1, &["--no-mdns", "--bootstrap", &address])?;
    joiner.joined().context("the second machine")?;
    healthy(&founder, 2)
}
