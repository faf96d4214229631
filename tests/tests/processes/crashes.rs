//! kill -9 in the middle of a job: everything is done once and paid once.

use std::time::Duration;

use anyhow::ensure;
use tests::{number, until};

use crate::{Mesh, arg, books, primes};

/// Enough that a job is still at work when somebody has looked at it.
const TASKS: usize = 120;
/// How long a job may take to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// The flags of a node that only coordinates, and of one that only works.
const COORDINATOR: &[&str] = &["--roles", "coordinator"];
const WORKER: &[&str] = &["--roles", "worker", "--slots", "1"];

#[test]
fn the_tasks_of_a_killed_worker_are_done_by_another() -> anyhow::Result<()> {
    let mut mesh = Mesh::form(&[COORDINATOR, WORKER, WORKER])?;
    let map = primes::begin(&mesh, 1, TASKS)?;
    let job = primes::in_the_middle(mesh.node(1)?)?;
    let victim = mesh.node(2)?.peer().to_owned();
    until("a task on the node that will be killed", PATIENCE, || {
        let shown = mesh.node(1)?.ask(&["node", "show", &victim])?;
        Ok((number(&shown, "/tasks")? > 0).then_some(()))
    })?;
    mesh.node_mut(2)?.kill()?;
    ensure!(primes::done(mesh.node(1)?, &job)? < TASKS, "killed too late to prove anything");

    map.end()?.exited(0)?;
    primes::check_results(&mesh.path("out"), TASKS)?;
    books::check(mesh.node(1)?, &job, TASKS)?;
    Ok(())
}

#[test]
fn a_job_survives_its_coordinator() -> anyhow::Result<()> {
    let mut mesh = Mesh::form(&[COORDINATOR, WORKER, WORKER])?;
    let map = primes::begin(&mesh, 2, TASKS)?;
    let job = primes::in_the_middle(mesh.node(2)?)?;
    let listens = mesh.node(1)?.listens()?;
    mesh.node_mut(1)?.kill()?;
    mesh.node_mut(1)?.restart(&listens)?;
    ensure!(primes::done(mesh.node(1)?, &job)? < TASKS, "killed too late to prove anything");

    map.end()?.exited(0)?;
    primes::check_results(&mesh.path("out"), TASKS)?;
    books::check(mesh.node(2)?, &job, TASKS)?;
    Ok(())
}

#[test]
fn a_job_survives_the_crash_of_the_only_node_and_so_does_who_watches_it() -> anyhow::Result<()> {
    let mut mesh = Mesh::form(&[&[]])?;
    let map = primes::begin(&mesh, 1, TASKS)?;
    let job = primes::in_the_middle(mesh.node(1)?)?;
    let listens = mesh.node(1)?.listens()?;
    mesh.node_mut(1)?.kill()?;
    mesh.node_mut(1)?.restart(&listens)?;
    let node = mesh.node(1)?;
    ensure!(primes::done(node, &job)? < TASKS, "killed too late to prove anything");

    map.end()?.exited(0)?;
    primes::check_results(&mesh.path("out"), TASKS)?;
    // The results are kept: they can be fetched again.
    let again = mesh.path("again");
    node.run(&["job", "results", &job, "--out", &arg(&again)])?.exited(0)?;
    primes::check_results(&again, TASKS)?;
    books::check(node, &job, TASKS)?;
    Ok(())
}
