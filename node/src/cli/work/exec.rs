//! `weft exec`: one program, on this machine, in the same sandbox and with the same result as on the mesh.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use portal_api::{ErrorCode, views::Kind};
use protocol::{
    ids::{AccountId, Hash},
    outcome::Outcome,
    units::Fuel,
};
use sandbox::{
    pool::{self, Pool, Priority},
    task::{ModuleSource, TaskDone, TaskRun},
};
use serde::Serialize;

use super::{
    explained::Explanation,
    inputs::{input_file_name, read_file, read_pipe},
    module::Module,
    out_dir::OutDir,
    report::Content,
};
use crate::cli::{
    args::ExecArgs,
    context::Context,
    error::CliError,
    exit::Exit,
    human,
    interrupt::unless_interrupted,
    screen::{write_stderr, write_stderr_bytes},
};

/// What came of a program, for programs.
#[derive(Debug, Serialize)]
struct Execution {
    #[serde(with = "portal_api::text")]
    module: Hash,
    outcome: String,
    reason: &'static str,
    exit_code: u32,
    fuel: Fuel,
    memory_peak_bytes: u64,
    duration_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout_base64: Option<String>,
    files: Vec<String>,
    /// With `--explain`.
    #[serde(flatten)]
    explanation: Option<Explanation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Kind for Execution {
    const KIND: &'static str = "Execution";
}

/// Runs it.
///
/// # Errors
///
/// If it cannot be started, or was interrupted. A program that fails is not an error but its own exit code.
pub async fn exec(context: &Context, args: ExecArgs) -> Result<Exit, CliError> {
    let module = Module::load(args.module.as_deref(), args.example.as_deref())?;
    let out = args.out.as_deref().map(OutDir::prepare).transpose()?;
    let explain = args.explain;
    let task = task(&module, args)?;
    if context.dry_run() {
        return context.would(format!("run {} on this machine", module.name));
    }
    let (done, explanation) = if explain {
        let pool = pool()?;
        let (done, spent) = until_stopped(context, Box::pin(pool.explain(task))).await?;
        let explanation = Explanation::new(&module.bytes, &spent, done.fuel);
        (done, Some(explanation))
    } else {
        (run_alone(context, task).await?, None)
    };
    tell(context, &module, done, explanation, out.as_ref())
}

/// Runs a task in the sandbox of this machine, until it ends or the user stops it.
///
/// # Errors
///
/// If nothing can be run here, `--timeout` was reached, or the user stopped it.
pub async fn run_alone(context: &Context, task: TaskRun) -> Result<TaskDone, CliError> {
    let pool = pool()?;
    until_stopped(context, Box::pin(pool.run(task))).await
}

/// Waits for a run, unless `--timeout` is reached or the user stops it.
async fn until_stopped<T>(context: &Context, run: impl Future<Output = T>) -> Result<T, CliError> {
    let run = async {
        match context.timeout() {
            None => Ok(run.await),
            Some(timeout) => tokio::time::timeout(timeout, run).await.map_err(|_| {
                CliError::new(
                    ErrorCode::Timeout,
                    "the program was stopped: it has not ended in time",
                )
            }),
        }
    };
    let stopped = || Err(CliError::new(ErrorCode::Interrupted, "the program was stopped"));
    unless_interrupted(run).await.unwrap_or_else(stopped)
}

/// The task. Its seed is always the same, so that running it again gives the same result.
fn task(module: &Module, args: ExecArgs) -> Result<TaskRun, CliError> {
    let stdin = match args.stdin.as_deref() {
        None => Vec::new(),
        Some(path) if path == Path::new("-") => read_pipe()?,
        Some(path) => read_file(path)?,
    };
    let mut files: Vec<(String, Arc<[u8]>)> = Vec::new();
    for path in &args.inputs {
        let name = input_file_name(path)?;
        if files.iter().any(|(other, _)| *other == name) {
            let detail = format!("{}: another input is called `{name}` too", path.display());
            return Err(CliError::new(ErrorCode::OutputCollision, detail));
        }
        files.push((name, read_file(path)?.into()));
    }
    Ok(TaskRun {
        module: module.hash,
        source: ModuleSource::Bytes(module.bytes.to_vec().into()),
        owner: AccountId([0; 32]),
        args: args.args,
        limits: args.task.limits(),
        env: args.task.env,
        stdin: stdin.into(),
        files,
        seed: Hash::of(b"weft exec").0,
    })
}

/// A pool of one slot, which competes like any other program: somebody waits for it.
fn pool() -> Result<Pool, CliError> {
    let broken = |error: pool::Error| {
        let text = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        CliError::internal(text)
            .help("`weft-runner` is installed beside `weft`; the two belong together")
    };
    let mut config = pool::Config::new(pool::find_runner().map_err(broken)?, artifacts_dir(), 1);
    config.priority = Priority::Normal;
    Pool::new(config).map_err(broken)
}

/// Where compiled modules are kept: in the user's cache; where there is none, in a directory of the user's own for
/// temporary files. Not in a node's data directory: that is the node's.
fn artifacts_dir() -> PathBuf {
    let variable =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache =
        variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    match cache {
        Some(cache) => cache.join("weft").join("artifacts"),
        None => std::env::temp_dir()
            .join(format!("weft-artifacts-{}", rustix::process::getuid().as_raw())),
    }
}

fn tell(
    context: &Context,
    module: &Module,
    done: TaskDone,
    explanation: Option<Explanation>,
    out: Option<&OutDir>,
) -> Result<Exit, CliError> {
    if context.screen.is_for_people() {
        context.screen.bytes(&done.stdout)?;
    }
    write_stderr_bytes(&done.stderr);
    match out {
        Some(out) => {
            for (path, content) in &done.files {
                out.write(path, content)?;
            }
        }
        None if !done.files.is_empty() => {
            let files =
                human::plural(u64::try_from(done.files.len()).unwrap_or(u64::MAX), "file", "files");
            context.screen.warn(&format!("the program left {files} in /out; --out DIR keeps them"));
        }
        None => {}
    }
    if !matches!(done.outcome, Outcome::Exit(_)) {
        let detail =
            done.detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default();
        let reason = done.outcome.reason();
        write_stderr(&format!("  × {}{detail}\n  more: weft explain {reason}\n", done.outcome));
    }
    context.screen.detail(&format!(
        "  {} · peak {} · prepared in {}, ran {}",
        human::fuel(done.fuel),
        human::bytes(done.peak.bytes()),
        human::duration(done.timings.prepared),
        human::duration(done.timings.ran)
    ));
    if let Some(explanation) = explanation.as_ref().filter(|_| context.screen.is_for_people()) {
        write_stderr(&explanation.table(done.fuel, true));
    }
    let exit = Exit::of_program(done.outcome.exit_code());
    if !context.screen.is_for_people() {
        context.screen.document(
            execution(module, done, explanation),
            |it| it.module.to_string(),
            |_| String::new(),
        )?;
    }
    Ok(exit)
}

fn execution(module: &Module, done: TaskDone, explanation: Option<Explanation>) -> Execution {
    let stdout = Content::of(done.stdout);
    Execution {
        module: module.hash,
        outcome: done.outcome.to_string(),
        reason: done.outcome.reason(),
        exit_code: done.outcome.exit_code(),
        fuel: done.fuel,
        memory_peak_bytes: done.peak.bytes(),
        duration_seconds: done.timings.ran.as_secs_f64(),
        stdout: stdout.text,
        stdout_base64: stdout.base64,
        files: done.files.into_iter().map(|(path, _)| path).collect(),
        explanation,
        detail: done.detail,
    }
}
