//! Two machines on one network, with nothing configured.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tests::{
    Node, Stopwatch, Weft, items,
    netns::{Host, Lan},
    text, until,
};

use crate::figures::{Figures, quantile};

/// How often each is measured.
const RUNS: usize = 20;
/// Only so that a measurement that fails ends.
const PATIENCE: Duration = Duration::from_secs(60);
/// Packets of the second machine that nobody hears, where the first are lost.
const LOST: u64 = 2;

/// What else happens on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// Nothing.
    Fair,
    /// Somebody else's libp2p node answers first.
    Foreign,
    /// The first packets are lost, in both directions.
    Lossy,
}

/// Measures how long it takes until the first machine shows that the second asks to join, from the start of `weft up`
/// on the second. Says so where this system has no network namespaces, and adds no figure.
///
/// # Errors
///
/// If a node does not start or is not found.
pub(super) fn measure(figures: &mut Figures, weft: &Weft, dir: &Path) -> anyhow::Result<()> {
    let Some(mut lan) = Lan::new() else { return Ok(()) };
    let hosts = lan.hosts(3)?;
    let [first, second, other] = &hosts[..] else { return Ok(()) };
    for (weather, p50, p95) in [
        (Weather::Fair, "reach-lan-found-p50", "reach-lan-found-p95"),
        (Weather::Lossy, "reach-lan-found-lossy-p50", "reach-lan-found-lossy-p95"),
        (Weather::Foreign, "reach-lan-found-foreign-p50", "reach-lan-found-foreign-p95"),
    ] {
        let _foreign = (weather == Weather::Foreign).then(|| foreign(other)).transpose()?;
        let mut taken = Vec::new();
        for run in 0..RUNS {
            let home = |name: &str| dir.join(format!("{p50}-{name}-{run}"));
            let homes = (home("first"), home("second"));
            taken.push(one(weft, (first, second), (&homes.0, &homes.1), weather)?);
        }
        figures.at_most(p50, quantile(&mut taken, 50), "s", 1.0);
        figures.at_most(p95, quantile(&mut taken, 95), "s", 5.0);
    }
    Ok(())
}

/// Starts a libp2p node that is none of ours.
fn foreign(host: &Host) -> anyhow::Result<Foreign> {
    let program = env::current_exe()?.with_file_name("neighbour");
    let mut command = host.command(program);
    command.arg("foreign").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = command.spawn()?;
    let output = process.stdout.take().context("no output")?;
    let foreign = Foreign(process);
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    ensure!(line == "ready\n", "the foreign node says {line:?}");
    Ok(foreign)
}

/// A process that is killed when it is dropped.
struct Foreign(Child);

impl Drop for Foreign {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what is wanted.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn one(
    weft: &Weft,
    hosts: (&Host, &Host),
    homes: (&Path, &Path),
    weather: Weather,
) -> anyhow::Result<f64> {
    let first = hosts.0.up(weft, homes.0, &[])?;
    let lossy = weather == Weather::Lossy;
    if lossy {
        hosts.0.hears_multicast(false)?;
        hosts.1.hears_multicast(false)?;
    }
    let watch = Stopwatch::start();
    let before = hosts.1.sent()?;
    let second = hosts.1.up(weft, homes.1, &[])?;
    if lossy {
        until("packets that are lost", PATIENCE, || {
            Ok((hosts.1.sent()? >= before.saturating_add(LOST)).then_some(()))
        })?;
        hosts.0.hears_multicast(true)?;
        hosts.1.hears_multicast(true)?;
    }
    until("a node that asks to join", PATIENCE, || asks(&first, second.peer()))?;
    let taken = watch.elapsed().as_secs_f64();
    second.terminate()?;
    first.terminate()?;
    Ok(taken)
}

fn asks(node: &Node, peer: &str) -> anyhow::Result<Option<()>> {
    let pending = node.ask(&["node", "list", "--pending"])?;
    let found = items(&pending).any(|item| text(item, "/peer").is_ok_and(|is| is == peer));
    Ok(found.then_some(()))
}
