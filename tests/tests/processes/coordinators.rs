//! Coordinators that are elected: none of them is needed more than the others.

use std::{fs, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::{Node, items, number, text, until};

use crate::{Mesh, arg, books, primes};

/// Enough that the job outlives an election, and the return of whoever led.
const TASKS: usize = 300;
/// How long a group may take to grow, to elect somebody, or to catch up.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn a_job_survives_the_death_of_its_leader_and_nobody_has_to_do_anything() -> anyhow::Result<()> {
    let mut mesh = Mesh::form(&[&[], &[], &[]])?;
    voters(mesh.node(1)?, 3)?;
    ensure!(leader(mesh.node(3)?)? == mesh.node(1)?.peer(), "the founder leads at first");

    let map = primes::begin(&mesh, 2, TASKS)?;
    let job = primes::in_the_middle(mesh.node(2)?)?;
    ensure!(primes::done(mesh.node(2)?, &job)? < TASKS, "the job was too quick");
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

#[test]
fn a_leader_that_is_frozen_is_replaced_and_follows_when_it_thaws() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[], &[], &[]])?;
    voters(mesh.node(1)?, 3)?;
    let old = mesh.node(1)?.peer().to_owned();
    mesh.node(1)?.freeze(true)?;
    let new = another_leader(mesh.node(2)?, &old)?;
    let said = mesh.node(3)?.run(&["run", "--example", "primes", "--", "1000"]);
    mesh.node(1)?.freeze(false)?;
    said?.exited(0)?;
    ensure!(another_leader(mesh.node(1)?, &old)? == new, "the old leader follows the new one");
    mesh.node(1)?.run(&["run", "--example", "primes", "--", "2000"])?.exited(0)?;
    Ok(())
}

#[test]
fn the_leadership_is_handed_over_by_hand_and_by_a_leader_that_stops() -> anyhow::Result<()> {
    let mut mesh = Mesh::form(&[&[], &[], &[]])?;
    voters(mesh.node(1)?, 3)?;
    let second = mesh.node(2)?.peer().to_owned();
    mesh.node(1)?.run(&["coord", "transfer", &second])?.exited(0)?;
    ensure!(leader(mesh.node(3)?)? == second, "the second node leads");
    // Who does not lead cannot give the leadership away.
    mesh.node(1)?.run(&["coord", "transfer"])?.exited(9)?;
    mesh.node(2)?.run(&["coord", "snapshot"])?.exited(0)?;

    let stopped = mesh.nodes.remove(1);
    ensure!(stopped.terminate()?.success(), "SIGTERM is not a failure");
    // The first node is still the first; the third is the second now.
    ensure!(another_leader(mesh.node(2)?, &second)? != second, "somebody else leads");
    mesh.node(2)?.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    let inspected = mesh.weft.run(&[
        "--data-dir",
        &arg(&mesh.path("node-2")),
        "coord",
        "inspect",
        "-o",
        "json",
    ])?;
    let copies = inspected.exited(0)?.json()?;
    let copy = items(&copies).next().context("the copy of the node that stopped")?;
    ensure!(number(copy, "/last_index")? > 0 && number(copy, "/ledger_height")? > 0, "{copy}");
    Ok(())
}

#[test]
fn a_coordinator_that_leaves_works_on_and_can_come_back() -> anyhow::Result<()> {
    let mut mesh = Mesh::form(&[&[], &[]])?;
    mesh.node(2)?.run(&["coord", "join"])?.exited(0)?;
    caught_up(mesh.node(1)?, mesh.node(2)?.peer())?;
    // The only voter stays: nobody else could take its place at once.
    mesh.node(2)?.run(&["coord", "leave"])?.exited(0)?;
    ensure!(members(&mesh.node(2)?.ask(&["coord", "status"])?).count() == 1, "one is left");
    mesh.node(1)?.run(&["coord", "leave"])?.exited(9)?;
    mesh.node(2)?.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;

    // A new place comes with a new ledger, when the node is started again.
    until("the ledger of the node that left is put away", PATIENCE, || {
        Ok((mesh.node(2)?.run(&["coord", "join"])?.code == 9).then_some(()))
    })?;
    let listens = mesh.node(2)?.listens()?;
    mesh.node_mut(2)?.kill()?;
    mesh.node_mut(2)?.restart(&listens)?;
    mesh.node(2)?.run(&["coord", "join"])?.exited(0)?;
    caught_up(mesh.node(1)?, mesh.node(2)?.peer())
}

#[test]
fn a_coordinator_whose_ledger_is_lost_comes_back_as_another_member() -> anyhow::Result<()> {
    let mut mesh = Mesh::form(&[&[], &[], &[]])?;
    voters(mesh.node(1)?, 3)?;
    let listens = mesh.node(1)?.listens()?;
    let founder = mesh.node(1)?.peer().to_owned();
    mesh.node_mut(1)?.kill()?;
    // The disk with the ledger is lost: only the keys and what is known about the mesh are left.
    for entry in fs::read_dir(mesh.node(1)?.data_dir().join("mesh"))? {
        let dir = entry?.path();
        fs::remove_dir_all(dir.join("db"))?;
        fs::remove_file(dir.join("incarnation"))?;
    }
    mesh.node_mut(1)?.restart(&listens)?;
    // It does not found the mesh again, and has all of it once it has caught up.
    let new = another_leader(mesh.node(2)?, &founder)?;
    ensure!(another_leader(mesh.node(1)?, &founder)? == new, "there is one mesh");
    caught_up(mesh.node(2)?, &founder)?;
    voters(mesh.node(3)?, 3)?;
    mesh.node(1)?.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    Ok(())
}

/// Waits until somebody else leads.
fn another_leader(node: &Node, old: &str) -> anyhow::Result<String> {
    until("another leader", PATIENCE, || {
        let group = node.ask(&["coord", "status"])?;
        let leader = group.get("leader").and_then(Value::as_str);
        Ok(leader.filter(|leader| *leader != old).map(str::to_owned))
    })
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
