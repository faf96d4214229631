//! Nodes that find each other, and the first mesh of people who have only typed `weft up`.

use std::fs;

use anyhow::{Context as _, ensure};
use tests::{Node, Running, healthy, items, text, until};

use crate::{PATIENCE, Place, admit, asked_by, mesh_of, moved};

#[test]
fn a_second_machine_finds_the_first_and_asks_to_join() -> anyhow::Result<()> {
    let Some(place) = Place::of(2)? else { return Ok(()) };
    let first = place.up(0, &[])?;
    let second = place.up(1, &["-v"])?;
    let own = mesh_of(&second)?.context("a mesh of its own at once")?;
    admit(&first, &second, 2)?;

    // It is in one mesh, and what it had before is kept.
    let inside = |dir: &str| -> anyhow::Result<Vec<String>> {
        let entries = fs::read_dir(second.data_dir().join(dir))?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    assert_eq!(inside("mesh")?, [mesh_of(&first)?.context("no mesh")?]);
    assert_eq!(inside("old")?, [own]);
    second.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    // Both listen everywhere on the same port, also on loopback, where each would only meet itself.
    ensure!(!second.log()?.contains("Unexpected peer ID"), "it dialled itself:\n{}", second.log()?);
    Ok(())
}

#[test]
fn the_member_that_does_not_coordinate_tells_the_truth_about_its_mesh() -> anyhow::Result<()> {
    let Some(place) = Place::of(3)? else { return Ok(()) };
    let first = place.up(0, &[])?;
    let second = place.up(1, &[])?;
    admit(&first, &second, 2)?;
    // A job: from now on the mesh holds something.
    first.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    let third = place.up(2, &[])?;
    asked_by(&first, &third)?;
    let joining = until("what the third machine found", PATIENCE, || {
        let status = third.ask(&["status"])?;
        Ok(status.get("joining").filter(|joining| !joining.is_null()).cloned())
    })?;
    assert_eq!(joining.get("members").and_then(serde_json::Value::as_u64), Some(2));
    Ok(())
}

#[test]
fn five_machines_with_nothing_configured_become_one_mesh() -> anyhow::Result<()> {
    let Some(place) = Place::of(5)? else { return Ok(()) };
    let nodes: Vec<Node> =
        (0..5).map(|number| place.up(number, &[])).collect::<anyhow::Result<_>>()?;
    let first = nodes.first().context("no node")?;
    let mesh = mesh_of(first)?.context("no mesh")?;
    // Whoever asks is admitted, until all are there.
    until("five members", PATIENCE, || {
        let listed = first.ask(&["node", "list"])?;
        for item in items(&listed) {
            if text(item, "/admission")? == "PENDING" {
                first.run(&["node", "approve", text(item, "/peer")?, "--yes"])?.exited(0)?;
            }
        }
        let approved = |item: &&serde_json::Value| {
            text(item, "/admission").is_ok_and(|admission| admission == "APPROVED")
        };
        Ok((items(&listed).filter(approved).count() == 5).then_some(()))
    })?;
    for node in &nodes {
        moved(node, &mesh)?;
    }
    healthy(first, 5)?;

    // Members that never met fetch from each other: the third submits, whoever works asks it for the module.
    let third = nodes.get(2).context("no node")?;
    third.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    Ok(())
}

#[test]
fn a_foreign_node_that_answers_first_does_not_keep_them_apart() -> anyhow::Result<()> {
    let Some(mut place) = Place::of(3)? else { return Ok(()) };
    place.neighbour(2, &["foreign"])?;
    let first = place.up(0, &[])?;
    let second = place.up(1, &[])?;
    asked_by(&first, &second)
}

#[test]
fn packets_that_are_lost_at_first_do_not_keep_them_apart() -> anyhow::Result<()> {
    let Some(place) = Place::of(2)? else { return Ok(()) };
    let first = place.up(0, &[])?;
    // Neither hears what the other says to everybody.
    let hosts = [place.host(0)?, place.host(1)?];
    for host in hosts {
        host.hears_multicast(false)?;
    }
    let second = place.up(1, &[])?;
    let lost = hosts[1];
    let before = lost.sent()?;
    until("packets that are lost", PATIENCE, || Ok((lost.sent()? >= before + 4).then_some(())))?;
    let listed = first.ask(&["node", "list", "--pending"])?;
    ensure!(items(&listed).next().is_none(), "they cannot have met: {listed}");
    for host in hosts {
        host.hears_multicast(true)?;
    }
    asked_by(&first, &second)
}

#[test]
fn a_machine_whose_link_was_down_is_found_again() -> anyhow::Result<()> {
    let Some(place) = Place::of(2)? else { return Ok(()) };
    let first = place.up(0, &[])?;
    let second = place.up(1, &[])?;
    admit(&first, &second, 2)?;
    place.host(1)?.link(false)?;
    until("a member that is missed", PATIENCE, || {
        let node = first.ask(&["node", "show", second.peer()])?;
        Ok((text(&node, "/liveness")? != "HEALTHY").then_some(()))
    })?;
    place.host(1)?.link(true)?;
    healthy(&first, 2)
}

#[test]
fn a_machine_that_waits_for_a_name_joins_the_mesh_of_that_name() -> anyhow::Result<()> {
    let Some(place) = Place::of(2)? else { return Ok(()) };
    let waiting = place.up(1, &["--join", "lab", "--no-input"])?;
    assert_eq!(mesh_of(&waiting)?, None);
    let lab = place.weft.run(&[
        "config".as_ref(),
        "set".as_ref(),
        "mesh.name".as_ref(),
        "lab".as_ref(),
        "--data-dir".as_ref(),
        place.home(0).as_os_str(),
    ])?;
    lab.exited(0)?;
    let founder = place.up(0, &["--auto-approve"])?;
    moved(&waiting, &mesh_of(&founder)?.context("no mesh")?)?;
    healthy(&founder, 2)
}

#[test]
fn a_machine_that_waits_without_anybody_to_ask_ends_when_it_is_refused() -> anyhow::Result<()> {
    let Some(place) = Place::of(2)? else { return Ok(()) };
    let founder = place.up(0, &[])?;
    let home = place.home(1);
    let mut command = place.host(1)?.weft(&place.weft).command(&["up", "--join", "home"]);
    command.arg("--no-input").arg("--data-dir").arg(&home);
    let waiting = Running::start(&mut command)?;
    let peer = until("somebody who asks", PATIENCE, || {
        let listed = founder.ask(&["node", "list", "--pending"])?;
        Ok(items(&listed).next().map(|item| text(item, "/peer").map(str::to_owned)))
    })??;
    founder.run(&["node", "reject", &peer, "--yes"])?.exited(0)?;
    waiting.end()?.exited(6)?;
    Ok(())
}
