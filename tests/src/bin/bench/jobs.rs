//! The suite `jobs`: tasks that do nothing, from end to end.

use std::{env, fs, path::Path, thread::available_parallelism};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::{Node, Stopwatch, Weft, healthy, items, number, text};

use crate::{
    figures::{Figures, quantile},
    parts,
};

/// Tasks of the job that throughput is measured with, unless `BENCH_TASKS` says otherwise.
const TASKS_DEFAULT: u32 = 5_000;
/// Jobs of one task each that latency is measured with.
const RUNS: usize = 30;

/// What is measured on one mesh, and what the figures are called.
#[derive(Debug)]
struct Names {
    latency: [&'static str; 2],
    latency_cli: Option<[&'static str; 2]>,
    throughput: &'static str,
    throughput_cli: Option<&'static str>,
    task_time: Option<&'static str>,
}

/// One node that does everything.
const SINGLE: Names = Names {
    latency: ["jobs-single-latency-p50", "jobs-single-latency-p99"],
    latency_cli: None,
    throughput: "jobs-single-noop-throughput",
    throughput_cli: None,
    task_time: None,
};
/// A coordinator and a worker.
const PAIR: Names = Names {
    latency: ["jobs-latency-p50", "jobs-latency-p99"],
    latency_cli: Some(["jobs-latency-cli-p50", "jobs-latency-cli-p99"]),
    throughput: "jobs-noop-throughput",
    throughput_cli: Some("jobs-noop-throughput-cli"),
    task_time: Some("jobs-noop-task-time"),
};
/// A coordinator and two workers.
const THREE: Names = Names {
    latency: ["jobs-three-latency-p50", "jobs-three-latency-p99"],
    latency_cli: None,
    throughput: "jobs-three-noop-throughput",
    throughput_cli: None,
    task_time: None,
};

/// What all meshes are measured with.
#[derive(Debug)]
struct Load<'a> {
    dir: &'a Path,
    module: &'a str,
    tasks: u32,
}

/// Runs the suite.
///
/// # Errors
///
/// If a mesh cannot be formed or a job fails.
pub(crate) async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let tasks = match env::var("BENCH_TASKS") {
        Ok(text) => text.parse().context("BENCH_TASKS is not a number of tasks")?,
        Err(_) => TASKS_DEFAULT,
    };
    let dir = tempfile::tempdir()?;
    let module = dir.path().join("nothing.wasm");
    fs::write(&module, parts::NOTHING)?;
    let load = Load { dir: dir.path(), module: path(&module)?, tasks };
    let slots = available_parallelism()?.get().to_string();
    let worker = ["--roles", "worker", "--slots", &slots];
    let coordinator = ["--roles", "coordinator"];

    figures.add("jobs-noop-tasks", f64::from(tasks), "tasks");
    let rtt = load.on(&[&coordinator, &worker], &PAIR, figures)?;
    load.on(&[&["--slots", &slots]], &SINGLE, figures)?;
    load.on(&[&coordinator, &worker, &worker], &THREE, figures)?;
    parts::measure(figures, &dir.path().join("parts")).await?;
    if let Some(rtt) = rtt {
        figures.add("jobs-part-network-rtt", rtt * 1e6, "us");
    }
    Ok(())
}

impl Load<'_> {
    /// Measures a mesh of nodes with these flags. Returns the round trip to another node, in seconds.
    fn on(
        &self,
        flags: &[&[&str]],
        names: &Names,
        figures: &mut Figures,
    ) -> anyhow::Result<Option<f64>> {
        let weft = Weft::built()?;
        let dir = self.dir.join(names.throughput);
        fs::create_dir(&dir)?;
        let mut nodes: Vec<Node> = Vec::new();
        for (number, flags) in flags.iter().enumerate() {
            let join = match nodes.first() {
                None => vec!["--auto-approve"],
                Some(first) => vec!["--bootstrap", first.address()],
            };
            let node = weft.up(&dir.join(format!("node-{number}")), &[flags, &*join].concat())?;
            nodes.push(node);
        }
        let first = nodes.first().context("a mesh has a node")?;
        healthy(first, nodes.len())?;

        self.latency(first, names, figures)?;
        self.throughput(first, &dir, names, figures)?;
        let peers = first.ask(&["peers"])?;
        let rtt = items(&peers).find_map(|peer| peer.get("rtt_seconds")?.as_f64());
        while let Some(node) = nodes.pop() {
            node.terminate()?;
        }
        Ok(rtt)
    }

    fn throughput(
        &self,
        node: &Node,
        dir: &Path,
        names: &Names,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        let lines: String = (1..=self.tasks).map(|line| format!("{line}\n")).collect();
        let (input, out) = (dir.join("lines"), dir.join("out"));
        fs::write(&input, lines)?;
        let (input, out) = (path(&input)?, path(&out)?);
        let watch = Stopwatch::start();
        let job = node.ask(&["map", self.module, "--in", input, "--by-line", "--out", out])?;
        let wall = watch.elapsed().as_secs_f64();
        let tasks = f64::from(self.tasks);
        ensure!(number(&job, "/tasks/done")? == u64::from(self.tasks), "tasks failed: {job}");
        let seconds = seconds_taken(&job).context("the job does not say how long it took")?;
        figures.add(names.throughput, tasks / seconds.max(1e-3), "tasks/s");
        if let Some(name) = names.task_time {
            figures.add(name, seconds * 1e6 / tasks.max(1.0), "us/task");
        }
        if let Some(name) = names.throughput_cli {
            figures.add(name, tasks / wall, "tasks/s");
        }
        Ok(())
    }

    fn latency(&self, node: &Node, names: &Names, figures: &mut Figures) -> anyhow::Result<()> {
        // The first compiles the module and starts runners.
        node.run(&["run", self.module])?.exited(0)?;
        let (mut walls, mut inside) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let watch = Stopwatch::start();
            let job = node.ask(&["run", self.module])?;
            walls.push(watch.elapsed().as_secs_f64() * 1e3);
            let seconds = seconds_taken(&job).context("the job does not say how long it took")?;
            inside.push(seconds * 1e3);
        }
        let mut add = |names: [&'static str; 2], values: &mut [f64]| {
            for (name, percent) in names.into_iter().zip([50, 99]) {
                figures.add(name, quantile(values, percent), "ms");
            }
        };
        add(names.latency, &mut inside);
        if let Some(names) = names.latency_cli {
            add(names, &mut walls);
        }
        Ok(())
    }
}

/// From submission to end, as the ledger has it.
fn seconds_taken(job: &Value) -> Option<f64> {
    let submitted = seconds_of_day(text(job, "/submitted_at").ok()?)?;
    let ended = seconds_of_day(text(job, "/ended_at").ok()?)?;
    Some((ended - submitted).rem_euclid(86_400.0))
}

/// `2026-11-20T15:24:58.123Z` without its date: no bench takes a day.
fn seconds_of_day(time: &str) -> Option<f64> {
    let (_, time) = time.split_once('T')?;
    let mut parts = time.strip_suffix('Z')?.split(':').map(|part| part.parse::<f64>().ok());
    Some(parts.next()?? * 3_600.0 + parts.next()?? * 60.0 + parts.next()??)
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path is not text")
}
