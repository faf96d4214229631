//! Coordinators that are elected: none of them is needed more than the others.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::{Node, Running, items, number, text, until};

use crate::{Mesh, arg, books, guest, primes};

/// Enough that the job outlives an election, and the return of whoever led.
const TASKS: usize = 300;
/// How long a group may take to grow, to elect somebody, or to catch up.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn a_job_survives_the_death_of_its_leader_and_nobody_has_to_do_anything() -> anyhow::Result<()> {
    let mut mesh = Mesh::form(&[&[], &[], &[]])?;
    voters(mesh.node(1)?, 3)?;
    ensure!(leader(mesh.node(3)?)? == mesh.node(1)?.peer(), "the founder leads at first");

    let map = begin(&mesh, 2)?;
    let job = in_the_middle(mesh.node(2)?)?;
    let listens = mesh.node(1)?.listens()?;
    mesh.node_mut(1)?.kill()?;
    // Each node's commands find the new leader by themselves.
    for node in [2, 3] {
        mesh.node(node)?.ask(&["job", "show", &job])?;
    }
    let new = leader(mesh.node(2)?)?;
    ensure!(new != mesh.node(1)?.peer(), "the dead do not lead");
    ensure!(leader(mesh.node(3)?)? == new, "both follow the same one");

    map.end()?.exited(0)?;
    primes::check_results(&mesh.path("out"), TASKS)?;
    books::check(mesh.node(2)?, &job, TASKS)?;

    // Whoever led before comes back, follows, and has everything.
    mesh.node_mut(1)?.restart(&listens)?;
    let back = mesh.node(1)?;
    caught_up(mesh.node(2)?, back.peer())?;
    back.joined()?;
    let again = mesh.path("again");
    back.run(&["job", "results", &job, "--out", &arg(&again)])?.exited(0)?;
    primes::check_results(&again, TASKS)
}

#[test]
fn of_two_coordinators_one_votes_and_the_other_follows() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[], &[]])?;
    let group = until("a learner that has caught up", PATIENCE, || {
        let group = mesh.node(1)?.ask(&["coord", "status"])?;
        let is_there = members(&group).any(|member| {
            text(member, "/role").is_ok_and(|role| role == "learner")
                && number(member, "/lag").is_ok_and(|lag| lag == 0)
        });
        Ok(is_there.then_some(group))
    })?;
    let voters = members(&group)
        .filter(|member| text(member, "/role").is_ok_and(|role| role == "voter"))
        .count();
    ensure!(voters == 1, "{group}");
    mesh.node(2)?.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    Ok(())
}

/// Waits until so many vote.
fn voters(node: &Node, voters: usize) -> anyhow::Result<()> {
    until("a group of that many voters", PATIENCE, || {
        let group = node.ask(&["coord", "status"])?;
        let vote = |member: &&Value| text(member, "/role").is_ok_and(|role| role == "voter");
        Ok((members(&group).filter(vote).count() == voters).then_some(()))
    })
}

/// Waits until a node knows who leads.
fn leader(node: &Node) -> anyhow::Result<String> {
    until("a leader", PATIENCE, || {
        let group = node.ask(&["coord", "status"])?;
        Ok(group.get("leader").and_then(Value::as_str).map(str::to_owned))
    })
}

/// Waits until a coordinator has all that the leader has.
fn caught_up(node: &Node, peer: &str) -> anyhow::Result<()> {
    until("a coordinator that has caught up", PATIENCE, || {
        let group = node.ask(&["coord", "status"])?;
        let has_all = members(&group).any(|member| {
            text(member, "/peer").is_ok_and(|known| known == peer)
                && number(member, "/lag").is_ok_and(|lag| lag == 0)
        });
        Ok(has_all.then_some(()))
    })
}

fn members(group: &Value) -> impl Iterator<Item = &Value> {
    group.get("members").and_then(Value::as_array).into_iter().flatten()
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
    let job = until("the first results", PATIENCE, || {
        let listed = node.ask(&["job", "list"])?;
        let Some(job) = items(&listed).next() else { return Ok(None) };
        let begun = number(job, "/tasks/done")? > 0;
        Ok(if begun { Some(text(job, "/id")?.to_owned()) } else { None })
    })?;
    let done = number(&node.ask(&["job", "show", &job])?, "/tasks/done")?;
    let all = u64::try_from(TASKS).context("more tasks than memory")?;
    ensure!(done < all, "the job was too quick");
    Ok(job)
}
