//! A job of many tasks whose results are all different and all known.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};

/// What the first task counts up to. Takes a guest some ten milliseconds.
const FIRST: usize = 10_000_000;
/// How much further each task counts than the one before it.
const STEP: usize = 1_000;

/// Writes the inputs of so many tasks, one a line.
pub(crate) fn write_inputs(path: &Path, tasks: usize) -> anyhow::Result<()> {
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
