//! The suite `jobs`: tasks that do nothing, from end to end.

use std::{env, fs, path::Path, thread::available_parallelism};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{
    figures::Figures,
    mesh::{Mesh, items},
    parts,
    stopwatch::Stopwatch,
};

/// Tasks of the job that throughput is measured with, unless `BENCH_TASKS` says otherwise.
const TASKS_DEFAULT: u32 = 5_000;
/// Jobs of one task each that latency is measured with.
const RUNS: usize = 30;

/// Runs the suite.
///
/// # Errors
///
/// If the mesh cannot be formed or a job fails.
pub(crate) async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let tasks = match env::var("BENCH_TASKS") {
        Ok(text) => text.parse().context("BENCH_TASKS is not a number of tasks")?,
        Err(_) => TASKS_DEFAULT,
    };
    let dir = tempfile::tempdir()?;
    let module = dir.path().join("nothing.wasm");
    fs::write(&module, parts::NOTHING)?;

    let mut mesh = Mesh::beside_this_program()?;
    let slots = available_parallelism()?.get();
    mesh.start(&dir.path().join("coordinator"), "coordinator", 1).await?;
    mesh.start(&dir.path().join("worker"), "worker", slots).await?;
    mesh.formed(2).await?;

    latency(&mesh, &module, figures).await?;
    throughput(&mesh, dir.path(), &module, tasks, figures).await?;
    let peers = mesh.ask(&["peers"]).await?;
    let rtt = items(&peers).find_map(|peer| peer.get("rtt_seconds")?.as_f64());
    mesh.stop().await?;

    parts::measure(figures, &dir.path().join("parts")).await?;
    if let Some(rtt) = rtt {
        figures.add("jobs-part-network-rtt", rtt * 1e6, "us");
    }
    Ok(())
}

async fn throughput(
    mesh: &Mesh,
    dir: &Path,
    module: &Path,
    tasks: u32,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let lines: String = (1..=tasks).map(|line| format!("{line}\n")).collect();
    let input = dir.join("lines");
    fs::write(&input, lines)?;
    let out = dir.join("out");
    let watch = Stopwatch::start();
    let job = mesh
        .ask(&[
            "map",
            text(module)?,
            "--in",
            text(&input)?,
            "--by-line",
            "--out",
            text(&out)?,
            "--name",
            "nothing",
        ])
        .await?;
    let wall = watch.elapsed().as_secs_f64();
    ensure!(
        job.pointer("/tasks/done").and_then(Value::as_u64) == Some(u64::from(tasks)),
        "not all tasks succeeded: {job}"
    );
    let seconds = seconds_taken(&job).context("the job does not say how long it took")?;
    figures.add("jobs-noop-tasks", f64::from(tasks), "tasks");
    figures.add("jobs-noop-throughput", f64::from(tasks) / seconds.max(1e-3), "tasks/s");
    figures.add("jobs-noop-task-time", seconds * 1e6 / f64::from(tasks.max(1)), "us/task");
    figures.add("jobs-noop-throughput-cli", f64::from(tasks) / wall, "tasks/s");
    Ok(())
}

async fn latency(mesh: &Mesh, module: &Path, figures: &mut Figures) -> anyhow::Result<()> {
    let mut walls = Vec::new();
    for _ in 0..RUNS {
        let watch = Stopwatch::start();
        mesh.run(&["run", text(module)?]).await?;
        walls.push(watch.elapsed().as_secs_f64() * 1e3);
    }
    let listed = mesh.ask(&["job", "list"]).await?;
    let mut inside: Vec<f64> =
        items(&listed).filter_map(seconds_taken).map(|seconds| seconds * 1e3).collect();
    figures.add("jobs-latency-p50", quantile(&mut inside, 50), "ms");
    figures.add("jobs-latency-p99", quantile(&mut inside, 99), "ms");
    figures.add("jobs-latency-cli-p50", quantile(&mut walls, 50), "ms");
    figures.add("jobs-latency-cli-p99", quantile(&mut walls, 99), "ms");
    Ok(())
}

/// From submission to end, as the ledger has it.
fn seconds_taken(job: &Value) -> Option<f64> {
    let (submitted, ended) =
        (seconds_of_day(job.get("submitted_at")?)?, seconds_of_day(job.get("ended_at")?)?);
    Some((ended - submitted).rem_euclid(86_400.0))
}

/// `2026-11-20T15:24:58.123Z` without its date: no bench takes a day.
fn seconds_of_day(time: &Value) -> Option<f64> {
    let (_, time) = time.as_str()?.split_once('T')?;
    let mut parts = time.strip_suffix('Z')?.split(':').map(|part| part.parse::<f64>().ok());
    Some(parts.next()?? * 3_600.0 + parts.next()?? * 60.0 + parts.next()??)
}

/// The value below which that many percent lie; not a number if there are none.
fn quantile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = values.len().saturating_mul(percent).checked_div(100).unwrap_or(0);
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path is not text")
}
