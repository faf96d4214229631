//! The suite `reach`: how long a person waits until their machines work together, and what strangers can do about it.

mod flood;
mod lan;

use std::path::Path;

use anyhow::ensure;
use tests::{Stopwatch, Weft, healthy, number};

use crate::figures::{Figures, quantile};

/// Fresh machines of which each is started once.
const STARTS: usize = 10;
/// Machines that are approved.
const APPROVALS: usize = 20;

/// Runs the suite.
///
/// # Errors
///
/// If a node does not start or a job fails.
pub(crate) fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let weft = Weft::built()?;
    let dir = tempfile::tempdir()?;
    starts(figures, &weft, dir.path())?;
    approvals(figures, &weft, dir.path())?;
    lan::measure(figures, &weft, dir.path())?;
    flood::measure(figures, &weft, dir.path())
}

/// From nothing to a node that is ready, and to a first result.
fn starts(figures: &mut Figures, weft: &Weft, dir: &Path) -> anyhow::Result<()> {
    let (mut ready, mut first) = (Vec::new(), Vec::new());
    for start in 0..STARTS {
        let watch = Stopwatch::start();
        let node = weft.up(&dir.join(format!("fresh-{start}")), &[])?;
        ready.push(watch.elapsed().as_secs_f64());
        node.run(&["run", "--example", "primes"])?.exited(0)?;
        first.push(watch.elapsed().as_secs_f64());
        node.terminate()?;
    }
    figures.at_most("reach-up-ready-p50", quantile(&mut ready, 50), "s", 2.0);
    figures.at_most("reach-up-ready-max", quantile(&mut ready, 100), "s", 2.0);
    figures.at_most("reach-first-result-p50", quantile(&mut first, 50), "s", 10.0);
    figures.at_most("reach-first-result-max", quantile(&mut first, 100), "s", 10.0);
    Ok(())
}

/// From the approval of a machine to the end of the first task that it does.
fn approvals(figures: &mut Figures, weft: &Weft, dir: &Path) -> anyhow::Result<()> {
    let mut taken = Vec::new();
    for approval in 0..APPROVALS {
        let path = |name: &str| dir.join(format!("{name}-{approval}"));
        // The founder does not work, so that the new machine must.
        let founder = weft.up(&path("founder"), &["--roles", "coordinator"])?;
        let join = ["--roles", "worker", "--name", "newcomer", "--bootstrap", founder.address()];
        let newcomer = weft.up(&path("newcomer"), &join)?;
        tests::until("a node that asks to join", std::time::Duration::from_secs(60), || {
            let pending = founder.ask(&["node", "list", "--pending"])?;
            Ok((tests::items(&pending).count() == 1).then_some(()))
        })?;
        let watch = Stopwatch::start();
        founder.run(&["node", "approve", "newcomer", "-y"])?.exited(0)?;
        healthy(&founder, 2)?;
        let job = founder.ask(&["run", "--example", "primes"])?;
        taken.push(watch.elapsed().as_secs_f64());
        ensure!(number(&job, "/tasks/done")? == 1, "the task failed: {job}");
        newcomer.terminate()?;
        founder.terminate()?;
    }
    figures.at_most("reach-approved-to-task-p50", quantile(&mut taken, 50), "s", 5.0);
    figures.at_most("reach-approved-to-task-p95", quantile(&mut taken, 95), "s", 5.0);
    Ok(())
}
