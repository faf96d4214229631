//! What the tasks of a job put out, fetched and written where the person wants it.

use portal_api::{
    ErrorCode,
    views::{Job, JobResults, Output, Reduce, Stream, TaskResult},
};
use protocol::{ids::JobId, wire::view::TaskState};

use super::{out_dir::OutDir, progress::Transfer};
use crate::{
    cli::{client::Client, context::Context, error::CliError, table::printable},
    core::reduce::{Reducer, is_json},
};

/// Results in one page.
const PAGE: u32 = 200;
/// What is shown of the standard error of a task that failed, in bytes.
const STDERR_SHOWN_MAX: usize = 2_000;

/// What was fetched.
#[derive(Debug, Default)]
pub struct Collected {
    /// Tasks whose output was written, the reducing one not counted.
    pub results: u64,
    /// Tasks that failed, and why. At most [`FAILURES_SHOWN_MAX`].
    pub failures: Vec<Failure>,
    /// Tasks that failed.
    pub failed: u64,
    /// The name of the reduced result in the directory.
    pub reduced: Option<String>,
}

/// Failures that are kept for showing.
pub const FAILURES_SHOWN_MAX: usize = 10;

/// A task that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Its input's name, or its number.
    pub name: String,
    /// Why, for people.
    pub reason: String,
    /// The end of what it wrote on its standard error.
    pub stderr: String,
}

/// One page of results.
///
/// # Errors
///
/// Whatever the node says.
pub async fn page(
    client: &mut Client,
    job: JobId,
    cursor: Option<&str>,
) -> Result<JobResults, CliError> {
    let mut path = format!("/api/v1/jobs/{job}/results?limit={PAGE}");
    if let Some(cursor) = cursor {
        path.push_str("&cursor=");
        path.push_str(&crate::cli::client::encode(cursor));
    }
    client.get(&path).await
}

/// Fetches all results and writes them to a directory.
///
/// Cancel safe: what was written stays, and no file is half there.
///
/// # Errors
///
/// If something cannot be fetched or written, or the outputs cannot be put together.
pub async fn collect(
    context: &Context,
    client: &mut Client,
    job: &Job,
    out: &OutDir,
) -> Result<Collected, CliError> {
    let mut collected = Collected::default();
    let mut cursor: Option<String> = None;
    let mut reducer: Option<Reducer> = None;
    let total = usize::try_from(job.tasks.total).unwrap_or(usize::MAX);
    let mut transfer = Transfer::begin(context.screen, "Fetching", total);
    loop {
        let results = page(client, job.id, cursor.as_deref()).await?;
        if cursor.is_none() {
            reducer = builtin(results.reduce);
            out.remove("result.json")?;
            out.remove("result.bin")?;
        }
        for item in &results.items {
            one(client, item, out, (&mut collected, &mut reducer)).await?;
            transfer.step();
        }
        cursor = results.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    transfer.end();
    if let Some(reducer) = reducer.filter(|_| collected.failed == 0 || collected.results > 0) {
        collected.reduced = Some(write_reduced(out, &reducer.finish())?);
    }
    Ok(collected)
}

fn builtin(reduce: Option<Reduce>) -> Option<Reducer> {
    match reduce? {
        Reduce::Concat => Some(Reducer::concat()),
        Reduce::JsonSum => Some(Reducer::json_sum()),
        Reduce::Last => Some(Reducer::last()),
        Reduce::Module(_) => None,
    }
}

async fn one(
    client: &mut Client,
    item: &TaskResult,
    out: &OutDir,
    (collected, reducer): (&mut Collected, &mut Option<Reducer>),
) -> Result<(), CliError> {
    if item.task.state == TaskState::Failed {
        collected.failed = collected.failed.saturating_add(1);
        if collected.failures.len() < FAILURES_SHOWN_MAX {
            collected.failures.push(failure(client, item).await);
        }
        return Ok(());
    }
    let (TaskState::Completed, Some(output)) = (item.task.state, &item.task.output) else {
        return Ok(());
    };
    if item.reducing {
        let content = bytes(client, output.stdout).await?;
        collected.reduced = Some(write_reduced(out, &content)?);
        return Ok(());
    }
    let name = name_of(item);
    let stdout = format!("{name}.out");
    if let Some(reducer) = reducer.as_mut() {
        let content = bytes(client, output.stdout).await?;
        reducer.add(&content).map_err(|error| {
            CliError::new(
                ErrorCode::JobFailed,
                format!("the output of {name} cannot be reduced: {error}"),
            )
            .help(format!("the outputs themselves are in {}", out.path().display()))
        })?;
        out.write(&stdout, &content)?;
    } else {
        fetch(client, output.stdout, out, &stdout).await?;
    }
    for file in &output.files {
        let content = Stream { hash: file.hash, bytes: file.bytes };
        fetch(client, content, out, &format!("{name}/{}", file.path)).await?;
    }
    collected.results = collected.results.saturating_add(1);
    Ok(())
}

/// The name of a result: its input's, or its number where it has none.
#[must_use]
pub fn name_of(item: &TaskResult) -> String {
    if item.name.is_empty() { format!("task-{}", item.task.task) } else { item.name.clone() }
}

/// Writes the reduced result and returns its name.
fn write_reduced(out: &OutDir, content: &[u8]) -> Result<String, CliError> {
    let name = if is_json(content) { "result.json" } else { "result.bin" };
    out.write(name, content)?;
    Ok(name.to_owned())
}

/// Writes the files that a task left in `/out`.
///
/// # Errors
///
/// If one cannot be fetched or written.
pub async fn write_files(
    client: &mut Client,
    output: &Output,
    out: &OutDir,
) -> Result<(), CliError> {
    for file in &output.files {
        fetch(client, Stream { hash: file.hash, bytes: file.bytes }, out, &file.path).await?;
    }
    Ok(())
}

/// Fetches some content into memory.
///
/// # Errors
///
/// If it cannot be fetched.
pub async fn bytes(client: &mut Client, stream: Stream) -> Result<Vec<u8>, CliError> {
    let mut content = Vec::new();
    if stream.bytes > 0 {
        let unwritable = |error: &std::io::Error| CliError::internal(error.to_string());
        client.fetch_blob(stream.hash, &mut content, &unwritable).await?;
    }
    Ok(content)
}

async fn fetch(
    client: &mut Client,
    stream: Stream,
    out: &OutDir,
    name: &str,
) -> Result<(), CliError> {
    let mut draft = out.draft(name)?;
    if stream.bytes > 0 {
        let path = out.path().join(name);
        let unwritable = |error: &std::io::Error| CliError::unwritable(&path, error);
        client.fetch_blob(stream.hash, draft.file()?, &unwritable).await?;
    }
    draft.keep()
}

/// Why a task failed, in words. What cannot be fetched is left out: the reason matters more.
pub async fn failure(client: &mut Client, item: &TaskResult) -> Failure {
    let task = &item.task;
    let reason = match (&task.outcome, &task.reason) {
        (Some(outcome), _) => outcome.clone(),
        (None, Some(reason)) => reason.clone(),
        (None, None) => "no reason is known".to_owned(),
    };
    let stderr = match &task.output {
        Some(output) => bytes(client, output.stderr).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let tail = stderr.get(stderr.len().saturating_sub(STDERR_SHOWN_MAX)..).unwrap_or_default();
    let tail = String::from_utf8_lossy(tail);
    let lines = tail.lines().filter(|line| !line.trim().is_empty());
    let stderr = lines.map(|line| printable(line) + "\n").collect();
    Failure {
        name: if item.reducing { "the reducing task".to_owned() } else { name_of(item) },
        reason,
        stderr,
    }
}
