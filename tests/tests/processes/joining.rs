//! Joining a mesh by its address, and leaving one.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use tests::{Node, Weft, healthy, items, text, until};

/// Only so that a test ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// The mesh that a node is in, as it says itself.
fn mesh_of(node: &Node) -> anyhow::Result<String> {
    Ok(text(&node.ask(&["status"])?, "/mesh")?.to_owned())
}

/// How many meshes a node has left.
fn left_by(data_dir: &Path) -> usize {
    fs::read_dir(data_dir.join("old")).map_or(0, Iterator::count)
}

/// A founder that admits whoever asks, and a node with a mesh of its own.
fn two(weft: &Weft, dir: &Path, flags: &[&str]) -> anyhow::Result<(Node, Node)> {
    Ok((weft.up(&dir.join("founder"), flags)?, weft.up(&dir.join("other"), &[])?))
}

#[test]
fn a_node_joins_the_mesh_of_the_address_that_it_is_told() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let (founder, other) = two(&weft, dir.path(), &["--auto-approve"])?;
    other.run(&["join", founder.address()])?.exited(0)?;
    assert_eq!(mesh_of(&other)?, mesh_of(&founder)?);
    assert_eq!(left_by(other.data_dir()), 1);
    healthy(&founder, 2)
}

#[test]
fn a_mesh_that_holds_something_is_left_only_if_its_owner_says_so() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let (founder, other) = two(&weft, dir.path(), &["--auto-approve"])?;
    other.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    let refused = other.run(&["join", founder.address()])?.exited(9)?;
    ensure!(refused.stderr.contains("--leave-mine"), "no way out: {refused:#?}");
    assert_eq!(left_by(other.data_dir()), 0);
    // Nobody can be asked here, so nothing is left without --yes.
    other.run(&["join", founder.address(), "--leave-mine"])?.exited(2)?;
    other.run(&["join", founder.address(), "--leave-mine", "--yes"])?.exited(0)?;
    assert_eq!(mesh_of(&other)?, mesh_of(&founder)?);
    assert_eq!(left_by(other.data_dir()), 1);
    Ok(())
}

#[test]
fn whoever_is_refused_is_told_and_stays_where_it_was() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let (founder, other) = two(&weft, dir.path(), &[])?;
    let own = mesh_of(&other)?;
    let joining = other.begin(&["join", founder.address()])?;
    until("somebody who asks", PATIENCE, || {
        let pending = founder.ask(&["node", "list", "--pending"])?;
        Ok(items(&pending).next().is_some().then_some(()))
    })?;
    founder.run(&["node", "reject", other.peer(), "--yes"])?.exited(0)?;
    let told = joining.end()?.exited(6)?;
    ensure!(told.stderr.contains("refused"), "not told why: {told:#?}");
    assert_eq!(mesh_of(&other)?, own);
    Ok(())
}

#[test]
fn an_address_that_leads_nowhere_is_an_error_with_a_way_out() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let node = weft.up(&dir.path().join("node"), &[])?;
    let nobody = format!("/ip4/127.0.0.1/tcp/9/p2p/{}", node.peer());
    let other = nobody.replace(node.peer(), "12D3KooWLcEp4GqSG5rYdrqrNCLr9LuUbCaWke6PztiqRMSfWaCG");
    let said = node.run(&["join", &other])?.exited(1)?;
    ensure!(said.stderr.starts_with("Error: node-unreachable"), "{said:#?}");
    for wrong in ["/ip4/127.0.0.1/tcp/9", "nonsense", ""] {
        let said = node.run(&["join", wrong])?.exited(2)?;
        ensure!(said.stderr.starts_with("Error: validation-failed"), "{said:#?}");
    }
    let alone =
        weft.run(&["join", &other, "--data-dir", &dir.path().join("none").to_string_lossy()])?;
    alone.exited(5)?;
    Ok(())
}

#[test]
fn a_node_that_leaves_stops_and_keeps_what_it_had() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let (founder, mut other) = two(&weft, dir.path(), &["--auto-approve"])?;
    other.run(&["join", founder.address()])?.exited(0)?;
    let joined = mesh_of(&other)?;
    // Whom others depend on does not leave by accident.
    healthy(&founder, 2)?;
    founder.run(&["leave", "--yes"])?.exited(9)?;
    let listens = other.listens()?;
    let left = other.ask(&["leave", "--yes"])?;
    assert_eq!(text(&left, "/mesh")?, joined);
    assert!(Path::new(text(&left, "/kept")?).is_dir());
    other.run(&["status"])?.exited(5)?;
    other.kill()?;
    other.restart(&listens)?;
    assert_ne!(mesh_of(&other)?, joined);
    Ok(())
}

#[test]
fn a_node_that_is_killed_while_it_moves_is_in_one_mesh() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let (founder, mut other) = two(&weft, dir.path(), &["--auto-approve"])?;
    let listens = other.listens()?;
    let joining = other.begin(&["join", founder.address()])?;
    until("a move that has begun", PATIENCE, || {
        Ok((left_by(other.data_dir()) > 0 || other.data_dir().join("moving").exists())
            .then_some(()))
    })?;
    other.kill()?;
    drop(joining);
    other.restart(&listens)?;
    until("being in the new mesh", PATIENCE, || {
        let status = other.ask(&["status"])?;
        Ok((text(&status, "/mesh").ok() == Some(mesh_of(&founder)?.as_str())).then_some(()))
    })
    .context("after the crash")?;
    assert_eq!(left_by(other.data_dir()), 1);
    assert!(!other.data_dir().join("moving").exists());
    Ok(())
}
