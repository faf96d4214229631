//! Runs a module in the sandbox: `cargo run -p sandbox --example run_wasm -- MODULE [ARGS…] < INPUT`.
//!
//! MODULE is a file or the name of a built-in example. With `REPEAT=n` it runs n times and says how long that took.

use std::{
    io::{Read, Write},
    path::Path,
    sync::Arc,
};

use protocol::{
    ids::{AccountId, Hash},
    wire::job::TaskLimits,
};
use sandbox::{
    guests,
    pool::{Config, Pool, find_runner},
    task::{ModuleSource, TaskRun},
};

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let module = args.next().ok_or("usage: run_wasm MODULE [ARGS…] < INPUT")?;
    let repeat: u32 = std::env::var("REPEAT").map_or(Ok(1), |times| times.parse())?;
    let wasm: Arc<[u8]> = match guests::example(&module) {
        Some(wasm) => Arc::from(wasm),
        // Binary or text.
        None => Arc::from(wat::parse_bytes(&std::fs::read(Path::new(&module))?)?),
    };
    let mut stdin = Vec::new();
    std::io::stdin().read_to_end(&mut stdin)?;

    let directory = tempfile::tempdir()?;
    let pool = Pool::new(Config::new(find_runner()?, directory.path().join("artifacts"), 1))?;
    let task = TaskRun {
        module: Hash::of(&wasm),
        source: ModuleSource::Bytes(wasm),
        owner: AccountId([0; 32]),
        args: args.collect(),
        env: Vec::new(),
        stdin: Arc::from(stdin),
        files: Vec::new(),
        limits: TaskLimits { fuel: protocol::limits::TASK_FUEL_MAX, ..TaskLimits::default() },
        seed: [0; 32],
    };
    let mut done = pool.run(task.clone()).await;
    let began = tokio::time::Instant::now();
    for _ in 1..repeat {
        done = pool.run(task.clone()).await;
    }
    let took = began.elapsed();

    std::io::stdout().write_all(&done.stdout)?;
    let mut stderr = std::io::stderr();
    stderr.write_all(&done.stderr)?;
    let detail = done.detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
    writeln!(
        stderr,
        "{}{detail}; {} fuel, {} pages; {:?}",
        done.outcome, done.fuel.0, done.peak.0, done.timings
    )?;
    for (path, content) in &done.files {
        writeln!(stderr, "/out/{path}: {} bytes", content.len())?;
    }
    if repeat > 1 {
        writeln!(stderr, "{repeat} times: {took:?}")?;
    }
    Ok(())
}
