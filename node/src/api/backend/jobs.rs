//! Jobs and tasks.

use std::time::Duration;

use portal_api::{
    backend::{Answer, JobsQuery, Log, TasksQuery},
    problem::{ErrorCode, Problem},
    reference::JobRef,
    views::{Job, JobResults, RECEIPTS_SHOWN_MAX, Reduce, Task, TaskResult},
};
use protocol::{
    ids::{JobId, ReceiptId, TaskIndex},
    limits::LIST_ITEMS_MAX,
    wire::{
        client::Query,
        view::{self, JobView, TaskView},
    },
};

use super::{NodeApi, unexpected};

/// Jobs that are looked at for one by name.
const NAMED_JOBS: u32 = 200;

impl NodeApi {
    pub(super) async fn list_jobs(&self, query: JobsQuery) -> Answer<Vec<Job>> {
        let mut after = query.after;
        let mut found = Vec::new();
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        while found.len() < limit {
            let page = self.job_views(query, after).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.job);
            found.extend(
                page.iter()
                    .filter(|job| query.state.is_none_or(|state| state == job.state))
                    .map(Job::from),
            );
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn job_views(&self, query: JobsQuery, after: Option<JobId>) -> Answer<Vec<JobView>> {
        let view::Answer::Jobs(jobs) =
            self.ask(Query::Jobs { account: query.account, after, limit: query.limit }).await?
        else {
            return Err(unexpected());
        };
        Ok(jobs)
    }

    pub(super) async fn find(&self, job: &JobRef) -> Answer<JobId> {
        let of_prefix = match job {
            JobRef::Id(id) => return Ok(*id),
            JobRef::Prefix(prefix) => self.ids_with(prefix).await?,
            JobRef::Name(_) => Vec::new(),
        };
        let newest = if of_prefix.is_empty() {
            self.list_jobs(JobsQuery { account: None, state: None, after: None, limit: NAMED_JOBS })
                .await?
        } else {
            Vec::new()
        };
        job.choose(&of_prefix, &newest)
    }

    async fn ids_with(&self, prefix: &str) -> Answer<Vec<JobId>> {
        let view::Answer::JobIds(ids) = self.ask(Query::JobPrefix(prefix.to_owned())).await? else {
            return Err(unexpected());
        };
        Ok(ids)
    }

    async fn job_view(&self, job: JobId) -> Answer<JobView> {
        let view::Answer::Job(job) = self.ask(Query::Job(job)).await? else {
            return Err(unexpected());
        };
        Ok(*job)
    }

    pub(super) async fn show_job(&self, job: JobId) -> Answer<Job> {
        let view = self.job_view(job).await?;
        self.with_receipts(&view).await
    }

    async fn with_receipts(&self, view: &JobView) -> Answer<Job> {
        let mut receipts: Vec<ReceiptId> = Vec::new();
        while receipts.len() <= RECEIPTS_SHOWN_MAX {
            let query = Query::Receipts {
                job: Some(view.job),
                account: None,
                after: receipts.last().copied(),
                limit: LIST_ITEMS_MAX,
            };
            let view::Answer::Receipts(page) = self.ask(query).await? else {
                return Err(unexpected());
            };
            if page.is_empty() {
                break;
            }
            receipts.extend(page.iter().map(|receipt| receipt.receipt));
        }
        Ok(Job::from(view).with_receipts(receipts))
    }

    pub(super) async fn watch(&self, job: JobId, version: u64, wait: Duration) -> Answer<Job> {
        let watching = async {
            loop {
                let view::Answer::Job(view) = self.ask(Query::Watch { job, version }).await? else {
                    return Err(unexpected());
                };
                let view = *view;
                if view.version != version || view.state.is_terminal() {
                    return Ok(view);
                }
            }
        };
        let view = match tokio::time::timeout(wait, watching).await {
            Ok(view) => view?,
            Err(_elapsed) => self.job_view(job).await?,
        };
        if view.state.is_terminal() {
            self.with_receipts(&view).await
        } else {
            Ok(Job::from(&view))
        }
    }

    /// The tasks of a page, however many answers it takes.
    pub(super) async fn task_views(&self, job: JobId, page: TasksQuery) -> Answer<Vec<TaskView>> {
        let mut views: Vec<TaskView> = Vec::new();
        let wanted = usize::try_from(page.limit).unwrap_or(usize::MAX);
        while views.len() < wanted {
            let had = u32::try_from(views.len()).unwrap_or(u32::MAX);
            let query = Query::Tasks {
                job,
                from: page.from.0.saturating_add(had),
                limit: page.limit.saturating_sub(had).min(LIST_ITEMS_MAX),
            };
            let view::Answer::Tasks(more) = self.ask(query).await? else {
                return Err(unexpected());
            };
            if more.is_empty() {
                break;
            }
            views.extend(more);
        }
        Ok(views)
    }

    pub(super) async fn list_results(&self, job: JobId, page: TasksQuery) -> Answer<JobResults> {
        let view = self.job_view(job).await?;
        let tasks = self.task_views(job, page).await?;
        let submitter = self.member()?.submitter;
        let names =
            submitter.names(&view.spec, tasks.iter().map(|task| task.task).collect()).await?;
        let items = tasks.iter().map(|task| TaskResult {
            name: names.get(&task.task).cloned().unwrap_or_default(),
            reducing: task.task.0 >= view.spec.tasks,
            task: Task::new(job, task),
        });
        Ok(JobResults {
            job,
            state: view.state,
            reduce: view.spec.reduce.map(Reduce::from),
            items: items.collect(),
            next_cursor: None,
        })
    }

    pub(super) async fn task_log(
        &self,
        job: JobId,
        task: TaskIndex,
        log: Log,
    ) -> Answer<portal_api::backend::Content> {
        let tasks = self.task_views(job, TasksQuery { from: task, limit: 1 }).await?;
        let found = tasks.into_iter().find(|view| view.task == task);
        let output = found.and_then(|view| view.output).ok_or_else(|| {
            Problem::new(
                ErrorCode::NotFound,
                format!("task {task} has written nothing yet, or there is no such task"),
            )
        })?;
        let blob = match log {
            Log::Stdout => output.stdout,
            Log::Stderr => output.stderr,
        };
        self.content(blob.hash).await
    }
}
