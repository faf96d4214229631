//! A pool of real runner processes, and tasks for it.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::{path::PathBuf, sync::Arc};

use protocol::{
    ids::{AccountId, Hash},
    wire::job::TaskLimits,
};
use sandbox::{
    guests::example,
    pool::{Config, Pool, Priority},
    task::{ModuleSource, TaskRun},
};

pub(crate) const RUNNER: &str = env!("CARGO_BIN_EXE_weft-runner");

/// A pool, and where its artifacts are.
pub(crate) struct Bench {
    pub(crate) pool: Pool,
    pub(crate) directory: tempfile::TempDir,
}

pub(crate) fn bench(slots: u16) -> Bench {
    with(slots, false)
}

/// The same with a spare process.
pub(crate) fn spared(slots: u16) -> Bench {
    with(slots, true)
}

fn with(slots: u16, spare: bool) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        priority: Priority::Normal,
        spare,
        ..Config::new(PathBuf::from(RUNNER), directory.path().join("artifacts"), slots)
    };
    Bench { pool: Pool::new(config).unwrap(), directory }
}

pub(crate) fn task(wasm: &[u8], args: &[&str], stdin: &[u8]) -> TaskRun {
    TaskRun {
        module: Hash::of(wasm),
        source: ModuleSource::Bytes(Arc::from(wasm)),
        owner: AccountId([1; 32]),
        args: args.iter().map(ToString::to_string).collect(),
        env: Vec::new(),
        stdin: Arc::from(stdin),
        files: Vec::new(),
        limits: TaskLimits::default(),
        seed: [3; 32],
    }
}

pub(crate) fn guest(name: &str, args: &[&str], stdin: &[u8]) -> TaskRun {
    task(example(name).unwrap(), args, stdin)
}

pub(crate) fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}
