//! Waiting for a job.

use std::time::Duration;

use portal_api::{
    ErrorCode,
    views::{Job, Obstacle},
};
use protocol::{ids::JobId, wire::view::JobState};

use super::{progress::Following, submit::is_transient};
use crate::cli::{
    client::Client, context::Context, error::CliError, interrupt::unless_interrupted,
};

/// How long the node may hold one question: at most 60 s by its API.
const WAIT_SECONDS: u64 = 20;
/// How long a node that went away may take to come back.
const AWAY_SECONDS_MAX: u64 = 60;

/// How watching ended.
#[derive(Debug)]
pub enum Watched {
    /// The job has ended.
    Ended(Box<Job>),
    /// The person had enough: the job goes on.
    Detached,
}

/// Watches a job until it has ended, showing its progress. Ctrl-C ends the watching, not the job. A node that goes
/// away and comes back is waited for.
///
/// # Errors
///
/// `daemon-unreachable` if the node stays away; `timeout` after `--timeout`.
pub async fn follow(context: &Context, client: &mut Client, job: Job) -> Result<Watched, CliError> {
    let id = job.id;
    let mut following = Following::begin(context.screen, &job);
    let ended = within(context.timeout(), id, watch(client, job, &mut following));
    let watched = unless_interrupted(ended).await;
    following.end();
    match watched {
        Some(ended) => ended.map(|job| Watched::Ended(Box::new(job))),
        None => Ok(Watched::Detached),
    }
}

/// Lets something take as long as `--timeout` says.
///
/// # Errors
///
/// `timeout`; otherwise what `work` says.
async fn within(
    timeout: Option<Duration>,
    job: JobId,
    work: impl Future<Output = Result<Job, CliError>>,
) -> Result<Job, CliError> {
    let Some(timeout) = timeout else { return work.await };
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
        Err(CliError::new(ErrorCode::Timeout, "the job has not ended in time; it goes on")
            .help(format!("wait for it:  weft job wait {job}"))
            .help(format!("give it up:   weft job cancel {job}")))
    })
}

async fn watch(
    client: &mut Client,
    mut job: Job,
    following: &mut Following,
) -> Result<Job, CliError> {
    let mut away = 0;
    let mut explained = false;
    loop {
        following.show(&job);
        if job.state.is_terminal() {
            // An answer to a watcher may be short; at the end everything is wanted, the receipts too.
            let whole = client.get(&format!("/api/v1/jobs/{}", job.id)).await;
            return Ok(whole.unwrap_or(job));
        }
        let path = format!("/api/v1/jobs/{}?wait={WAIT_SECONDS}&version={}", job.id, job.version);
        match client.get::<Job>(&path).await {
            Ok(newer) => {
                let stuck = newer.version == job.version && newer.tasks.running == 0 && !explained;
                job = newer;
                away = 0;
                if stuck && !job.state.is_terminal() {
                    explained = explain(client, job.id, following).await;
                }
            }
            Err(error) if error.code() == ErrorCode::DaemonUnreachable || is_transient(&error) => {
                if away == 0 {
                    following
                        .say("  the node or its mesh does not answer; waiting for it to come back");
                }
                away = u64::saturating_add(away, 1);
                if away > AWAY_SECONDS_MAX {
                    return Err(error.help(format!(
                        "the job goes on. When the node is back:  weft job wait {}",
                        job.id
                    )));
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Says why nothing moves, if the mesh knows. Returns whether it did.
async fn explain(client: &mut Client, job: JobId, following: &Following) -> bool {
    let path = format!("/api/v1/jobs/{job}/explain");
    let Ok(explain) = client.get::<portal_api::views::Explain>(&path).await else { return false };
    if explain.nodes_able > 0 || explain.obstacles.is_empty() {
        return false;
    }
    following.say(&format!(
        "  waiting: {} of {} nodes can take a task",
        explain.nodes_able, explain.nodes_total
    ));
    for line in obstacles(&explain.obstacles) {
        following.say(&line);
    }
    true
}

/// The obstacles, one line each.
#[must_use]
pub fn obstacles(obstacles: &[Obstacle]) -> Vec<String> {
    obstacles
        .iter()
        .map(|obstacle| format!("  {:>4}  {}", obstacle.nodes, obstacle.detail))
        .collect()
}

/// Whether the job did what it was meant to do. A job that may end as partially completed did, if it has.
#[must_use]
pub const fn succeeded(state: JobState) -> bool {
    matches!(state, JobState::Completed | JobState::PartiallyCompleted)
}
