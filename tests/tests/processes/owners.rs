//! Machines that their owners want back: pauses, drains, limits. Nothing of it costs a job an attempt.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::{Node, Running, items, number, text, until};

use crate::{Mesh, guest};

/// How long something may take to be seen.
const PATIENCE: Duration = Duration::from_secs(60);

const COORDINATOR: &[&str] = &["--roles", "coordinator"];
const WORKER: &[&str] = &["--roles", "worker", "--slots", "1"];

#[test]
fn a_paused_machine_hands_its_work_back_and_stays_paused_when_it_is_restarted() -> anyhow::Result<()>
{
    let mut mesh = Mesh::form(&[COORDINATOR, WORKER, WORKER])?;
    let endless = begin_endless(mesh.node(1)?)?;
    let (busy, idle) = who_works(&mesh)?;

    let paused = mesh.node(busy)?.ask(&["pause", "1h", "-m", "gaming"])?;
    ensure!(paused.get("paused") == Some(&Value::Bool(true)), "{paused}");
    works(&mesh, idle)?;
    let shown = show(&mesh, busy)?;
    ensure!(reasons(&shown).any(|code| code == "paused"), "{shown}");
    ensure!(text(&shown, "/sharing/others")? == "CLOSED", "{shown}");
    ensure!(retried(mesh.node(1)?)? == 0, "what is handed back does not count as tried");

    let listens = mesh.node(busy)?.listens()?;
    mesh.node_mut(busy)?.kill()?;
    mesh.node_mut(busy)?.restart(&listens)?;
    until("the restarted node", PATIENCE, || {
        let shown = show(&mesh, busy)?;
        let back =
            text(&shown, "/liveness")? == "HEALTHY" && reasons(&shown).any(|it| it == "paused");
        Ok(back.then_some(()))
    })?;

    mesh.node(idle)?.run(&["pause"])?.exited(0)?;
    let why = until("a job that says what it waits for", PATIENCE, || {
        explained(mesh.node(1)?, "is paused")
    })?;
    ensure!(
        why.contains("(gaming) until") || why.contains("(by its owner) until resumed"),
        "{why}"
    );

    mesh.node(busy)?.run(&["resume"])?.exited(0)?;
    works(&mesh, busy)?;
    end(mesh.node(1)?, endless)
}

#[test]
fn an_owner_uses_a_paused_machine() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&["--slots", "1"]])?;
    let node = mesh.node(1)?;
    node.run(&["pause"])?.exited(0)?;
    node.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    let status = node.ask(&["status"])?;
    ensure!(reasons(&status).any(|code| code == "paused"), "{status}");
    Ok(())
}

#[test]
fn a_drained_node_keeps_its_work_until_the_deadline_and_then_hands_it_back() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[COORDINATOR, WORKER, WORKER])?;
    let endless = begin_endless(mesh.node(1)?)?;
    let (busy, idle) = who_works(&mesh)?;
    let peer = mesh.node(busy)?.peer();

    let forbidden = mesh.node(idle)?.run(&["node", "drain", peer, "--no-wait"])?;
    ensure!(forbidden.code == 6, "only an operator or its owner may: {forbidden:?}");
    let drained =
        mesh.node(1)?.ask(&["node", "drain", peer, "--deadline", "1s", "-m", "kernel"])?;
    ensure!(text(&drained, "/condition")? == "MAINTENANCE", "{drained}");
    ensure!(number(&drained, "/tasks")? == 0, "{drained}");
    works(&mesh, idle)?;
    ensure!(retried(mesh.node(1)?)? == 0, "what is handed back does not count as tried");

    mesh.node(busy)?.run(&["node", "resume", "--self"])?.exited(0)?;
    until("a node that takes work again", PATIENCE, || {
        Ok((text(&show(&mesh, busy)?, "/condition")? == "ONLINE").then_some(()))
    })?;
    end(mesh.node(1)?, endless)
}

#[test]
fn limits_take_effect_at_once_and_are_kept() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let laptop = dir.path().join("laptop");
    machine(&laptop, "65", "Discharging")?;
    let weft = tests::Weft::built()?.on_machine_of(&laptop);
    let data_dir = dir.path().join("node");
    let node = weft.up(&data_dir, &["--auto-approve"])?;
    let limits = |args: &[&str]| node.ask(&[&["limits"], args].concat());

    let before = until("a look at the battery", PATIENCE, || {
        let limits = limits(&[])?;
        let seen = reasons(&limits).any(|code| code == "on_battery");
        Ok(seen.then_some(limits))
    })?;
    ensure!(text(&before, "/now/others")? == "CLOSED", "{before}");
    let after = limits(&["set", "--on-battery", "yes", "--min-battery", "30%", "--cores", "1"])?;
    ensure!(text(&after, "/now/others")? == "OPEN", "{after}");
    machine(&laptop, "40", "Discharging")?;
    until("small tasks only", PATIENCE, || {
        Ok((text(&limits(&[])?, "/now/others")? == "SMALL").then_some(()))
    })?;
    machine(&laptop, "20", "Discharging")?;
    until("a battery below its limit", PATIENCE, || {
        Ok(reasons(&limits(&[])?).any(|code| code == "battery_below_limit").then_some(()))
    })?;
    machine(&laptop, "20", "Charging")?;
    until("an open machine", PATIENCE, || {
        Ok((text(&limits(&[])?, "/now/others")? == "OPEN").then_some(()))
    })?;

    let settings = fs::read_to_string(data_dir.join("config.toml"))?;
    for line in ["on_battery = true", "min_battery = 30", "slots = 1"] {
        ensure!(settings.contains(line), "{settings}");
    }
    let refused = node.run(&["limits", "set", "--hours", "22-7"])?;
    ensure!(refused.code == 2, "{refused:?}");
    Ok(())
}

/// A machine with a battery, as its kernel would show it.
fn machine(root: &Path, level: &str, status: &str) -> anyhow::Result<()> {
    let battery = root.join("sys/class/power_supply/BAT0");
    fs::create_dir_all(&battery)?;
    fs::create_dir_all(root.join("proc"))?;
    fs::write(root.join("proc/meminfo"), "MemTotal: 16777216 kB\nMemAvailable: 12582912 kB\n")?;
    for (name, text) in [("type", "Battery"), ("capacity", level), ("status", status)] {
        fs::write(battery.join(name), text)?;
    }
    Ok(())
}

/// Starts a task that does not end by itself.
fn begin_endless(node: &Node) -> anyhow::Result<Running> {
    let module = guest("hostile-loop");
    node.begin(&["run", &module, "--fuel", "1000000000000", "--task-timeout", "1h"])
}

/// Gives the only job up, and waits for whoever waits for it.
fn end(node: &Node, endless: Running) -> anyhow::Result<()> {
    node.run(&["job", "cancel", &job(node)?])?.exited(0)?;
    endless.end()?;
    Ok(())
}

/// The id of the only job.
fn job(node: &Node) -> anyhow::Result<String> {
    let listed = node.ask(&["job", "list"])?;
    Ok(text(items(&listed).next().context("no job")?, "/id")?.to_owned())
}

fn retried(node: &Node) -> anyhow::Result<u64> {
    number(&node.ask(&["job", "show", &job(node)?])?, "/tasks/retried")
}

/// What is in the way of the only job, if anything of it says `word`.
fn explained(node: &Node, word: &str) -> anyhow::Result<Option<String>> {
    let explained = node.ask(&["job", "explain", &job(node)?])?;
    let obstacles = explained.get("obstacles").and_then(Value::as_array);
    let details = obstacles.into_iter().flatten().filter_map(|it| it.get("detail")?.as_str());
    Ok(details.map(str::to_owned).find(|detail| detail.contains(word)))
}

fn show(mesh: &Mesh, node: usize) -> anyhow::Result<Value> {
    let peer = mesh.node(node)?.peer().to_owned();
    mesh.node(1)?.ask(&["node", "show", &peer])
}

fn reasons(document: &Value) -> impl Iterator<Item = &str> {
    let reasons = document.get("reasons").and_then(Value::as_array);
    reasons.into_iter().flatten().filter_map(|reason| reason.get("code")?.as_str())
}

/// Which of the nodes 2 and 3 has the task, and which has not.
fn who_works(mesh: &Mesh) -> anyhow::Result<(usize, usize)> {
    until("a task at work", PATIENCE, || {
        for (busy, idle) in [(2, 3), (3, 2)] {
            if number(&show(mesh, busy)?, "/tasks")? > 0 {
                return Ok(Some((busy, idle)));
            }
        }
        Ok(None)
    })
}

/// Waits until the task is on this node.
fn works(mesh: &Mesh, node: usize) -> anyhow::Result<()> {
    until("the task on another node", PATIENCE, || {
        Ok((number(&show(mesh, node)?, "/tasks")? > 0).then_some(()))
    })
}
