//! A job of many tasks whose results are all different and all known.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use tests::{Node, Running, items, number, text, until};

use crate::{Mesh, arg, guest};

/// What the first task counts up to. Takes a guest some ten milliseconds.
const FIRST: usize = 10_000_000;
/// How much further each task counts than the one before it.
const STEP: usize = 1_000;

/// How long a job may take to begin.
const PATIENCE: Duration = Duration::from_secs(90);

/// Starts a job of so many tasks on a node. Its results go to `out` in the mesh's directory.
pub(crate) fn begin(mesh: &Mesh, node: usize, tasks: usize) -> anyhow::Result<Running> {
    let lines = mesh.path("lines");
    write_inputs(&lines, tasks)?;
    let (module, lines, out) = (guest("primes"), arg(&lines), arg(&mesh.path("out")));
    mesh.node(node)?.begin(&["map", &module, "--in", &lines, "--by-line", "--out", &out])
}

/// Waits until some of the tasks of the only job are done. Returns its id.
pub(crate) fn in_the_middle(node: &Node) -> anyhow::Result<String> {
    until("the first results", PATIENCE, || {
        let listed = node.ask(&["job", "list"])?;
        let Some(job) = items(&listed).next() else { return Ok(None) };
        let begun = number(job, "/tasks/done")? > 0;
        Ok(if begun { Some(text(job, "/id")?.to_owned()) } else { None })
    })
}

/// How many tasks of a job are done.
pub(crate) fn done(node: &Node, job: &str) -> anyhow::Result<usize> {
    let shown = node.ask(&["job", "show", job])?;
    usize::try_from(number(&shown, "/tasks/done")?).context("more tasks than memory")
}

/// Writes the inputs of so many tasks, one a line.
fn write_inputs(path: &Path, tasks: usize) -> anyhow::Result<()> {
    let lines: String = (0..tasks).map(|task| format!("{}\n", limit(task))).collect();
    Ok(fs::write(path, lines)?)
}

/// Checks that `out` has the result of each of so many tasks, and nothing else.
pub(crate) fn check_results(out: &Path, tasks: usize) -> anyhow::Result<()> {
    let found = fs::read_dir(out)?.count();
    ensure!(found == tasks, "{found} files in {}, not {tasks}", out.display());
    let counts = counts(limit(tasks.saturating_sub(1)));
    for task in 0..tasks {
        let name = format!("line-{:06}.out", task.saturating_add(1));
        let result = fs::read_to_string(out.join(&name)).with_context(|| name.clone())?;
        let expected = counts.get(limit(task)).context("counted too few")?;
        ensure!(result.trim() == expected.to_string(), "{name}: {result}, not {expected}");
    }
    Ok(())
}

fn limit(task: usize) -> usize {
    FIRST.saturating_add(task.saturating_mul(STEP))
}

/// How many primes are at most n, for each n up to `limit`.
fn counts(limit: usize) -> Vec<u32> {
    let mut prime = vec![true; limit.saturating_add(1)];
    for (number, is) in prime.iter_mut().enumerate() {
        *is = number >= 2;
    }
    for factor in 2..=limit.isqrt() {
        if prime.get(factor) == Some(&true) {
            let multiples = prime.iter_mut().skip(factor.saturating_mul(factor)).step_by(factor);
            multiples.for_each(|is| *is = false);
        }
    }
    let mut count = 0_u32;
    let count_up = |is: &bool| {
        count = count.saturating_add(u32::from(*is));
        count
    };
    prime.iter().map(count_up).collect()
}
