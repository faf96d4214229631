//! `weft job`.

use portal_api::{
    ErrorCode,
    names::Named as _,
    views::{Explain, Job, JobResults, Kind, List, Task},
};
use protocol::{
    ids::TaskIndex,
    wire::view::{JobState, TaskState},
};
use serde::Serialize;

use super::{show, why};
use crate::{
    cli::{
        args::JobCommand,
        client::{Client, encode},
        context::Context,
        error::CliError,
        exit::Exit,
        human,
        pages::all,
        table::Table,
        work::{
            follow::{Watched, follow, succeeded},
            out_dir::OutDir,
            report::{Content, elapsed, tell_cost, tell_failures},
            results,
        },
    },
    home::nearest,
};

/// Tasks that `weft job show` lists.
const TASKS_SHOWN_MAX: u32 = 20;

/// Does what is asked.
///
/// # Errors
///
/// Whatever the node says.
pub async fn job(context: &Context, command: JobCommand) -> Result<Exit, CliError> {
    match command {
        JobCommand::List { limit, state, all } => list(context, limit, state.as_deref(), all).await,
        JobCommand::Show { job } => show(context, &job).await,
        JobCommand::Wait { job } => wait(context, &job).await,
        JobCommand::Logs { job, task, stdout } => {
            logs(context, &job, task, if stdout { "stdout" } else { "stderr" }).await
        }
        JobCommand::Results { job, out, failed } => {
            let mut client = context.client()?;
            let job = find(&mut client, &job).await?;
            match out {
                Some(dir) if !failed => {
                    fetch(context, &mut client, job, &OutDir::prepare(&dir)?).await
                }
                _ => list_results(context, &mut client, job, failed).await,
            }
        }
        JobCommand::Cancel { job } => cancel(context, &job).await,
        JobCommand::Explain { job } => {
            let path = format!("/api/v1/jobs/{}/explain", encode(&job));
            let mut client = context.client()?;
            let explain: Explain = client.get(&path).await?;
            if !context.screen.is_for_people() {
                context.screen.document(explain, |it| it.job.to_string(), |_| String::new())?;
                return Ok(Exit::SUCCESS);
            }
            let job: Job = client.get(&format!("/api/v1/jobs/{}", explain.job)).await?;
            context.screen.text(&why::words(&explain, &job))?;
            Ok(Exit::SUCCESS)
        }
    }
}

/// What a task wrote, for programs.
#[derive(Debug, Serialize)]
struct Log {
    job: String,
    task: Option<TaskIndex>,
    stream: &'static str,
    #[serde(flatten)]
    content: Content,
}

impl Kind for Log {
    const KIND: &'static str = "JobLog";
}

async fn logs(
    context: &Context,
    job: &str,
    task: Option<TaskIndex>,
    stream: &'static str,
) -> Result<Exit, CliError> {
    let mut path = format!("/api/v1/jobs/{}/logs?stream={stream}", encode(job));
    if let Some(task) = task {
        path.push_str(&format!("&task={task}"));
    }
    let bytes = context.client()?.text(&path).await?;
    if context.screen.is_for_people() {
        context.screen.bytes(&bytes)?;
        return Ok(Exit::SUCCESS);
    }
    let log = Log { job: job.to_owned(), task, stream, content: Content::of(bytes.to_vec()) };
    context.screen.document(log, |log| log.job.clone(), |_| String::new())?;
    Ok(Exit::SUCCESS)
}

async fn find(client: &mut Client, job: &str) -> Result<Job, CliError> {
    client.get(&format!("/api/v1/jobs/{}", encode(job))).await
}

async fn list(
    context: &Context,
    limit: u32,
    state: Option<&str>,
    everyone: bool,
) -> Result<Exit, CliError> {
    let mut query = if everyone { String::new() } else { "account=mine".to_owned() };
    if let Some(state) = state {
        query.push_str("&state=");
        query.push_str(parse_state(state)?.name());
    }
    let jobs: List<Job> = all(&mut context.client()?, "/api/v1/jobs", &query, limit).await?;
    context.screen.list(
        jobs,
        |list: &List<Job>| list.items.as_slice(),
        |job| job.id.to_string(),
        |list| show::jobs(context, list),
    )?;
    Ok(Exit::SUCCESS)
}

fn parse_state(text: &str) -> Result<JobState, CliError> {
    let upper = text.to_ascii_uppercase().replace('-', "_");
    JobState::by_name(&upper).ok_or_else(|| {
        let names: Vec<_> = JobState::ALL.iter().map(|state| state.name()).collect();
        let meant =
            nearest(&upper, names.iter().copied()).map(|near| format!("; did you mean {near}?"));
        let detail = format!("there is no state `{text}`{}", meant.unwrap_or_default());
        CliError::new(ErrorCode::Usage, detail).help(format!("states: {}", names.join(", ")))
    })
}

async fn show(context: &Context, job: &str) -> Result<Exit, CliError> {
    let mut client = context.client()?;
    let job = find(&mut client, job).await?;
    if !context.screen.is_for_people() {
        return show::submitted(context, job);
    }
    let limit = if context.screen.is_wide() { u32::MAX } else { TASKS_SHOWN_MAX };
    let path = format!("/api/v1/jobs/{}/tasks", job.id);
    let tasks: List<Task> = all(&mut client, &path, "", limit.min(job.tasks.total.max(1))).await?;
    let mut text = show::job(&job);
    text.push('\n');
    text.push_str(&show::tasks(context, &tasks.items).render(!context.globals().no_header));
    let shown = u32::try_from(tasks.items.len()).unwrap_or(u32::MAX);
    if shown < job.tasks.total {
        let left = u64::from(job.tasks.total.saturating_sub(shown));
        text.push_str(&format!("… and {} more: -o wide shows all\n", human::count(left)));
    }
    context.screen.text(&text)?;
    Ok(Exit::SUCCESS)
}

async fn wait(context: &Context, job: &str) -> Result<Exit, CliError> {
    let mut client = context.client()?;
    let job = find(&mut client, job).await?;
    let job = match follow(context, &mut client, job.clone()).await? {
        Watched::Ended(job) => *job,
        Watched::Detached => return crate::cli::work::run::detached(context, &job),
    };
    let exit = if succeeded(job.state) { Exit::SUCCESS } else { Exit::JOB_FAILED };
    if context.screen.is_for_people() {
        let line = format!("{} after {}", job.state.name(), elapsed(&job));
        if exit == Exit::SUCCESS {
            context.screen.success(&line)
        } else {
            context.screen.warn(&line)
        }
        tell_cost(context, &job);
    } else {
        show::submitted(context, job)?;
    }
    Ok(exit)
}

/// Fetches the results so far. What came of the job is its own matter: fetching them worked.
async fn fetch(
    context: &Context,
    client: &mut Client,
    job: Job,
    out: &OutDir,
) -> Result<Exit, CliError> {
    let collected = results::collect(context, client, &job, out).await?;
    let results = human::plural(collected.results, "result", "results");
    context.screen.success(&format!("{results} in {}", out.path().display()));
    if let Some(reduced) = &collected.reduced {
        context.screen.news(&format!("    reduced to {}/{reduced}", out.path().display()));
    }
    if !job.state.is_terminal() {
        context.screen.warn(&format!(
            "the job goes on: these are the results so far; weft job wait {}",
            job.id
        ));
    }
    tell_failures(context, &collected.failures);
    if context.screen.is_for_people() { Ok(Exit::SUCCESS) } else { show::submitted(context, job) }
}

async fn list_results(
    context: &Context,
    client: &mut Client,
    job: Job,
    failed: bool,
) -> Result<Exit, CliError> {
    let mut all = results::page(client, job.id, None).await?;
    while let Some(cursor) = all.next_cursor.take() {
        let page = results::page(client, job.id, Some(&cursor)).await?;
        all.items.extend(page.items);
        all.next_cursor = page.next_cursor;
    }
    if failed {
        all.items.retain(|item| item.task.state == TaskState::Failed);
    }
    context.screen.list(
        all,
        |list: &JobResults| list.items.as_slice(),
        results::name_of,
        |list| {
            let mut table = Table::new(&["TASK", "NAME", "STATE", "OUTCOME", "STDOUT", "FILES"]);
            for item in &list.items {
                let output = item.task.output.as_ref();
                table.row([
                    item.task.task.to_string(),
                    if item.reducing { "(reduce)".to_owned() } else { item.name.clone() },
                    item.task.state.name().to_owned(),
                    item.task
                        .outcome
                        .clone()
                        .or_else(|| item.task.reason.clone())
                        .unwrap_or_default(),
                    output.map(|output| human::bytes(output.stdout.bytes)).unwrap_or_default(),
                    output.map(|output| output.files.len().to_string()).unwrap_or_default(),
                ]);
            }
            table
        },
    )?;
    Ok(Exit::SUCCESS)
}

async fn cancel(context: &Context, job: &str) -> Result<Exit, CliError> {
    let mut client = context.client()?;
    if context.dry_run() {
        let job = find(&mut client, job).await?;
        context.screen.news(&format!("  would cancel {} ({})", job.id, job.name));
        return show::submitted(context, job);
    }
    let path = format!("/api/v1/jobs/{}/cancel", encode(job));
    let job: Job = client.post(&path, None::<&()>).await?;
    if context.screen.is_for_people() {
        context.screen.success(&format!("{} is {}", job.id, job.state.name()));
        tell_cost(context, &job);
        return Ok(Exit::SUCCESS);
    }
    show::submitted(context, job)
}
