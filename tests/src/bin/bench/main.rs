//! `make bench SUITE=<name>`: measures weft and prints a table of figures.
//!
//! With `BENCH_JSON=FILE` the figures are also written there. `docs/figures.md` says what each of them is.

#![expect(clippy::float_arithmetic, reason = "figures for people")]

mod election;
mod figures;
mod jobs;
mod parts;
mod reach;
mod sandbox;

use std::{env, path::PathBuf};

use anyhow::{Context as _, bail};
use figures::Figures;

/// The suites that this build has.
const SUITES: &[&str] = &["election", "jobs", "reach", "sandbox"];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let suite = env::args().nth(1).unwrap_or_default();
    let mut figures = Figures::default();
    let measured = match suite.as_str() {
        "election" => election::measure(&mut figures).await,
        "jobs" => jobs::measure(&mut figures).await,
        "reach" => reach::measure(&mut figures),
        "sandbox" => sandbox::measure(&mut figures).await,
        unknown => bail!("no suite `{unknown}`: this build has {}", SUITES.join(", ")),
    };
    // What was measured before something failed is worth having.
    figures.print();
    if let Some(path) = env::var_os("BENCH_JSON").map(PathBuf::from) {
        figures.write(&path).with_context(|| format!("{} could not be written", path.display()))?;
    }
    measured
}
