//! kill -9 in the middle of a job: everything is done once and paid once.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tests::{Node, Running, items, number, text, until};

use crate::{Mesh, arg, books, guest, primes};

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
    let map = begin(&mesh, 1)?;
    let job = in_the_middle(mesh.node(1)?)?;
    let victim = mesh.node(2)?.peer().to_owned();
    until("a task on the node that will be killed", PATIENCE, || {
        let shown = mesh.node(1)?.ask(&["node", "show", &victim])?;
        Ok((number(&shown, "/tasks")? > 0).then_some(()))
    })?;
    mesh.node_mut(2)?.kill()?;
    ensure!(done(mesh.node(1)?, &job)? < TASKS, "killed too late to prove anything");

    map.end()?.exited(0)?;
    primes::check_results(&mesh.path("out"), TASKS)?;
    books::check(mesh.node(1)?, &job, TASKS)?;
    Ok(())
}

#[test]
fn a_job_survives_its_coordinator() -> anyhow::Result<()> {
    let mut mesh = Mesh::form(&[COORDINATOR, WORKER, WORKER])?;
    let map = begin(&mesh, 2)?;
    let job = in_the_middle(mesh.node(2)?)?;
    let listens = mesh.node(1)?.listens()?;
    mesh.node_mut(1)?.kill()?;
    mesh.node_mut(1)?.restart(&listens)?;
    ensure!(done(mesh.node(1)?, &job)? < TASKS, "killed too late to prove anything");

    map.end()?.exited(0)?;
    primes::check_results(&mesh.path("out"), TASKS)?;
    books::check(mesh.node(2)?, &job, TASKS)?;
    Ok(())
}

#[test]
fn a_job_survives_the_crash_of_the_only_node_and_so_does_who_watches_it() -> anyhow::Result<()> {
    let mut mesh = Mesh::form(&[&[]])?;
    let map = begin(&mesh, 1)?;
    let job = in_the_middle(mesh.node(1)?)?;
    let listens = mesh.node(1)?.listens()?;
    mesh.node_mut(1)?.kill()?;
    mesh.node_mut(1)?.restart(&listens)?;
    let node = mesh.node(1)?;
    ensure!(done(node, &job)? < TASKS, "killed too late to prove anything");

    map.end()?.exited(0)?;
    primes::check_results(&mesh.path("out"), TASKS)?;
    // The results are kept: they can be fetched again.
    let again = mesh.path("again");
    node.run(&["job", "results", &job, "--out", &arg(&again)])?.exited(0)?;
    primes::check_results(&again, TASKS)?;
    books::check(node, &job, TASKS)?;
    Ok(())
}

/// Starts a job of many tasks on a node.
fn begin(mesh: &Mesh, node: usize) -> anyhow::Result<Running> {
    let lines = mesh.path("lines");
    primes::write_inputs(&lines, TASKS)?;
    let (module, lines, out) = (guest("primes"), arg(&lines), arg(&mesh.path("out")));
    mesh.node(node)?.begin(&["map", &module, "--in", &lines, "--by-line", "--out", &out])
}

/// Waits until some of the tasks of the only job are done. Returns its id.
fn in_the_middle(node: &Node) -> anyhow::Result<String> {
    until("the first results", PATIENCE, || {
        let listed = node.ask(&["job", "list"])?;
        let Some(job) = items(&listed).next() else { return Ok(None) };
        let begun = number(job, "/tasks/done")? > 0;
        Ok(if begun { Some(text(job, "/id")?.to_owned()) } else { None })
    })
}

fn done(node: &Node, job: &str) -> anyhow::Result<usize> {
    let shown = node.ask(&["job", "show", job])?;
    usize::try_from(number(&shown, "/tasks/done")?).context("more tasks than memory")
}
