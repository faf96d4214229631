//! Jobs: submitting, watching, giving up, and what came of them.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use protocol::{
    ids::{JobId, TaskIndex},
    wire::view::JobState,
};
use serde::Deserialize;

use super::{
    App,
    answer::{Doc, Reply},
    credits::AccountParam,
    cursor::{Paged, limit},
    extract::{JsonBody, Params},
    idempotency,
    load::within,
};
use crate::{
    Backend,
    backend::{JobsQuery, Log, Submitted, TasksQuery},
    names,
    problem::{FieldError, Problem},
    reference::JobRef,
    views::{Explain, Job, JobResults, List, SubmitRequest, Task},
};

/// The longest that a client may wait for news, in seconds.
const WAIT_SECONDS_MAX: u64 = 60;

impl<B: Backend> App<B> {
    /// The job that a path names.
    async fn job(&self, text: &str) -> Result<JobId, Problem> {
        match text.parse()? {
            JobRef::Id(id) => Ok(id),
            part @ (JobRef::Prefix(_) | JobRef::Name(_)) => self.backend.find_job(&part).await,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct JobsParams {
    account: Option<AccountParam>,
    #[serde(with = "names::option", default)]
    state: Option<JobState>,
    cursor: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn list<B: Backend>(
    State(app): State<App<B>>,
    Params(params): Params<JobsParams>,
) -> Reply<List<Job>> {
    let query = JobsQuery {
        account: params.account.map(|account| account.of(&*app.backend)),
        state: params.state,
        after: Paged::Jobs.key(params.cursor.as_deref())?,
        limit: limit(params.limit)?,
    };
    let items = app.backend.jobs(query).await?;
    let next_cursor = Paged::Jobs.next(&items, query.limit, |job| job.id.to_string());
    Ok(Doc(List { items, next_cursor }))
}

pub(super) async fn submit<B: Backend>(
    State(app): State<App<B>>,
    headers: HeaderMap,
    JsonBody(mut request): JsonBody<SubmitRequest>,
) -> Result<Response, Problem> {
    if request.job_id.is_none() {
        request.job_id = idempotency::job_id(&headers, &app.backend.account())?;
    }
    if request.dry_run {
        return Ok(Doc(app.backend.plan(request).await?).into_response());
    }
    let Submitted { job, replayed } = app.backend.submit(request).await?;
    let location = [(header::LOCATION, format!("/api/v1/jobs/{}", job.id))];
    let mut response = (StatusCode::ACCEPTED, location, Doc(job)).into_response();
    if replayed {
        response
            .headers_mut()
            .insert("idempotent-replayed", http::HeaderValue::from_static("true"));
    }
    Ok(response)
}

#[derive(Debug, Deserialize)]
pub(super) struct WatchParams {
    wait: Option<u64>,
    #[serde(default)]
    version: u64,
}

pub(super) async fn show<B: Backend>(
    State(app): State<App<B>>,
    Path(job): Path<String>,
    Params(params): Params<WatchParams>,
) -> Reply<Job> {
    let wait = params.wait.unwrap_or(0);
    if wait > WAIT_SECONDS_MAX {
        let detail = format!("{wait} is more than {WAIT_SECONDS_MAX} seconds");
        return Err(Problem::invalid(vec![FieldError::new("/wait", "too-large", detail)]));
    }
    let wait = Duration::from_secs(wait);
    within(app.config.request_timeout.saturating_add(wait), async {
        let job = app.job(&job).await?;
        match params.wait {
            Some(_) => app.backend.watch_job(job, params.version, wait).await,
            None => app.backend.job(job).await,
        }
    })
    .await
    .map(Doc)
}

pub(super) async fn cancel<B: Backend>(
    State(app): State<App<B>>,
    Path(job): Path<String>,
) -> Result<Response, Problem> {
    let job = app.job(&job).await?;
    let job = app.backend.cancel_job(job).await?;
    Ok((StatusCode::ACCEPTED, Doc(job)).into_response())
}

#[derive(Debug, Deserialize)]
pub(super) struct PageParams {
    cursor: Option<String>,
    limit: Option<u32>,
}

impl PageParams {
    fn tasks(&self) -> Result<TasksQuery, Problem> {
        let from = Paged::Tasks.key(self.cursor.as_deref())?.unwrap_or(0);
        Ok(TasksQuery { from: TaskIndex(from), limit: limit(self.limit)? })
    }
}

/// The key of the page after one that ends with this task.
fn after(task: TaskIndex) -> String {
    task.0.saturating_add(1).to_string()
}

pub(super) async fn tasks<B: Backend>(
    State(app): State<App<B>>,
    Path(job): Path<String>,
    Params(params): Params<PageParams>,
) -> Reply<List<Task>> {
    let page = params.tasks()?;
    let job = app.job(&job).await?;
    let items = app.backend.tasks(job, page).await?;
    let next_cursor = Paged::Tasks.next(&items, page.limit, |task| after(task.task));
    Ok(Doc(List { items, next_cursor }))
}

pub(super) async fn results<B: Backend>(
    State(app): State<App<B>>,
    Path(job): Path<String>,
    Params(params): Params<PageParams>,
) -> Reply<JobResults> {
    let page = params.tasks()?;
    let job = app.job(&job).await?;
    let mut results = app.backend.results(job, page).await?;
    results.next_cursor =
        Paged::Tasks.next(&results.items, page.limit, |result| after(result.task.task));
    Ok(Doc(results))
}

pub(super) async fn explain<B: Backend>(
    State(app): State<App<B>>,
    Path(job): Path<String>,
) -> Reply<Explain> {
    let job = app.job(&job).await?;
    app.backend.explain(job).await.map(Doc)
}

#[derive(Debug, Deserialize)]
pub(super) struct LogParams {
    task: Option<u32>,
    #[serde(default)]
    stream: LogName,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LogName {
    #[default]
    Stderr,
    Stdout,
}

impl From<LogName> for Log {
    fn from(name: LogName) -> Self {
        match name {
            LogName::Stdout => Self::Stdout,
            LogName::Stderr => Self::Stderr,
        }
    }
}

pub(super) async fn logs<B: Backend>(
    State(app): State<App<B>>,
    Path(job): Path<String>,
    Params(params): Params<LogParams>,
) -> Result<Response, Problem> {
    let content = within(app.config.request_timeout, async {
        let job = app.job(&job).await?;
        let task = match params.task {
            Some(task) => TaskIndex(task),
            None => only_task(&app.backend.job(job).await?)?,
        };
        app.backend.log(job, task, params.stream.into()).await
    })
    .await?;
    // What a guest wrote may be anything; shown as text, it is harmless.
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_LENGTH, content.bytes.to_string()),
    ];
    Ok((headers, Body::from_stream(content.stream)).into_response())
}

/// The task of a job that has one.
fn only_task(job: &Job) -> Result<TaskIndex, Problem> {
    match job.tasks.total {
        1 => Ok(TaskIndex(0)),
        total => {
            let detail = format!("the job has {total} tasks: say which");
            Err(Problem::invalid(vec![FieldError::new("/task", "missing", detail)]))
        }
    }
}
