//! What a stranger's flood costs those who work.

use std::{path::Path, time::Duration};

use anyhow::ensure;
use tests::{
    Node, Stopwatch, Weft,
    attacker::{self, Flood, HalfOpen, Message, Target},
    healthy, number,
};

use crate::figures::{Figures, quantile};

/// Jobs of one task each that are run before the flood, and under it.
const RUNS: usize = 60;
/// Longer than all jobs under the flood take, so that it goes on all the time.
const FLOOD: Duration = Duration::from_secs(30);
/// Connections whose handshake is never finished.
const HALF_OPEN: usize = 1_000;

/// Measures latency of one task in a mesh of two, without and with a flood on the coordinator, and what memory it takes.
///
/// # Errors
///
/// If the mesh cannot be formed, a job fails, or the flood cannot be made.
pub(super) fn measure(figures: &mut Figures, weft: &Weft, dir: &Path) -> anyhow::Result<()> {
    let founder = weft.up(&dir.join("flooded"), &["--roles", "coordinator", "--auto-approve"])?;
    let join = ["--roles", "worker", "--bootstrap", founder.address()];
    let worker = weft.up(&dir.join("honest"), &join)?;
    healthy(&founder, 2)?;
    worker.joined()?;
    latencies(&worker)?;

    let mut calm = latencies(&worker)?;
    let before = founder.memory_bytes()?;
    let target: Target = founder.address().parse()?;
    let flood = |flood: Flood| {
        let target = target.clone();
        attacker::begin(move || async move { flood.run(&target, FLOOD).await })
    };
    let oversized = Flood { message: Message::Oversized, per_second: 100, ..Flood::bogus() };
    let attacks = [flood(Flood::bogus())?, flood(oversized)?, {
        let target = target.clone();
        let half_open = HalfOpen { connections: HALF_OPEN };
        attacker::begin(move || async move { half_open.run(&target, FLOOD).await })?
    }];
    let watch = Stopwatch::start();
    let mut under = latencies(&worker)?;
    ensure!(watch.elapsed() < FLOOD, "the flood was over before the jobs were");
    let after = founder.memory_bytes()?;
    for (attack, name) in attacks.into_iter().zip([
        "reach-flood-messages",
        "reach-flood-oversized",
        "reach-flood-half-open",
    ]) {
        let counts = attack.end()?;
        let sent = counts.sent.saturating_add(counts.connections);
        figures.add(name, u32::try_from(sent).map_or(f64::INFINITY, f64::from), "sent");
    }
    let mib = u32::try_from(after.saturating_sub(before) >> 20).map_or(f64::INFINITY, f64::from);
    let (calm, flooded) = (quantile(&mut calm, 99), quantile(&mut under, 99));
    figures.add("reach-calm-latency-p99", calm, "ms");
    figures.add("reach-flood-latency-p99", flooded, "ms");
    figures.at_most("reach-flood-latency-ratio", flooded / calm, "x", 2.0);
    figures.at_most("reach-flood-memory", mib, "MiB", 200.0);
    worker.terminate()?;
    founder.terminate()?;
    Ok(())
}

/// How long jobs of one task take, one after the other, in ms.
fn latencies(node: &Node) -> anyhow::Result<Vec<f64>> {
    let mut taken = Vec::new();
    for _ in 0..RUNS {
        let watch = Stopwatch::start();
        let job = node.ask(&["run", "--example", "primes", "--", "10"])?;
        taken.push(watch.elapsed().as_secs_f64() * 1e3);
        ensure!(number(&job, "/tasks/done")? == 1, "the task failed: {job}");
    }
    Ok(taken)
}
