//! `weft job explain`: why a job is where it is, in words.

use std::time::Duration;

use portal_api::views::{Explain, Job};
use protocol::wire::view::JobState;

use crate::cli::{
    codes, human,
    table::printable,
    work::{follow::obstacles, report::elapsed},
};

/// Why a job is where it is.
///
/// ```text
///   waiting 3m 10s: 0 of 6 nodes can take a task
///      3  brave-otter shares 15 GiB of memory, and a task needs 24 GiB
///      1  calm-finch is paused (on battery) until plugged in
///   Would run if you ask for ≤ 15 GiB:  weft run --memory 15GiB …
/// ```
#[must_use]
pub(super) fn words(explain: &Explain, job: &Job) -> String {
    let lines = match job.state {
        JobState::Queued | JobState::Running => open(explain),
        JobState::Completed => vec![format!("completed after {}: {}", elapsed(job), done(job))],
        JobState::PartiallyCompleted => ended("partially completed", job),
        JobState::Failed => ended("failed", job),
        JobState::Cancelled => ended("cancelled", job),
        JobState::Expired => ended("expired", job),
    };
    lines.iter().map(|line| format!("  {}\n", printable(line))).collect()
}

fn done(job: &Job) -> String {
    let tasks = job.tasks;
    let failed =
        if tasks.failed > 0 { format!(", {} failed", tasks.failed) } else { String::new() };
    format!("{} of {} tasks succeeded{failed}", tasks.done, tasks.total)
}

fn ended(how: &str, job: &Job) -> Vec<String> {
    let mut lines = vec![format!("{how} after {}: {}", elapsed(job), done(job))];
    let Some(reason) = job.reason.as_deref() else { return lines };
    match codes::end(reason) {
        Some(explained) => {
            lines.push(format!("why: {reason} · {}", explained.title));
            lines.push(format!("way out: {}", explained.help.replace("JOB", &job.id.to_string())));
        }
        None => lines.push(format!("why: {reason}")),
    }
    lines.push(format!("more: weft explain {reason}"));
    lines
}

/// What has not ended: who works on it, and what keeps the others from it.
fn open(explain: &Explain) -> Vec<String> {
    let mut lines = Vec::new();
    let waiting = Duration::try_from_secs_f64(explain.waiting_seconds).unwrap_or_default();
    let nodes = format!("{} of {} nodes can take a task", explain.nodes_able, explain.nodes_total);
    if explain.running > 0 {
        let running = human::plural(u64::from(explain.running), "task is", "tasks are");
        lines.push(format!("running: {running} with workers, {} waiting", explain.waiting));
    }
    if explain.waiting > 0 {
        lines.push(format!("waiting {}: {nodes}", human::duration(waiting)));
    }
    if explain.running == 0 && explain.waiting == 0 {
        lines.push(
            "all tasks have been reported; the last results are being written down".to_owned(),
        );
    }
    lines.extend(obstacles(&explain.obstacles));
    lines.extend(explain.decisions.iter().map(|decision| format!("  {decision}")));
    if let Some(fits) = explain.memory_fits_bytes {
        let mib = fits >> 20;
        lines.push(format!(
            "Would run if you ask for ≤ {}:  weft run --memory {mib}MiB …",
            human::bytes(fits)
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use portal_api::views::Obstacle;
    use protocol::ids::JobId;

    use super::*;

    fn explain() -> Explain {
        Explain {
            job: JobId([7; 16]),
            state: JobState::Queued,
            waiting: 1,
            running: 0,
            waiting_seconds: 190.0,
            nodes_able: 0,
            nodes_total: 6,
            obstacles: vec![
                Obstacle {
                    code: "memory".to_owned(),
                    nodes: 3,
                    detail: "brave-otter shares 15360 MiB of memory, and a task needs 24576 MiB"
                        .to_owned(),
                    permanent: true,
                },
                Obstacle {
                    code: "draining".to_owned(),
                    nodes: 1,
                    detail: "calm-finch takes no new work".to_owned(),
                    permanent: false,
                },
            ],
            decisions: Vec::new(),
            memory_fits_bytes: Some(15 << 30),
        }
    }

    fn job(state: JobState, reason: Option<&str>) -> Job {
        let golden = include_str!("../../../../portal-api/tests/golden/job.json");
        let mut job: serde_json::Value = serde_json::from_str(golden).unwrap();
        job["state"] = state.name().into();
        job["reason"] = reason.into();
        job["tasks"]["total"] = 129.into();
        job["tasks"]["done"] = 128.into();
        job["tasks"]["failed"] = 1.into();
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn a_job_that_waits_says_who_cannot_take_it_and_what_would_help() {
        assert_eq!(
            words(&explain(), &job(JobState::Queued, None)),
            "  waiting 3m 10s: 0 of 6 nodes can take a task\n\
             \x20      3  brave-otter shares 15360 MiB of memory, and a task needs 24576 MiB\n\
             \x20      1  calm-finch takes no new work\n\
             \x20 Would run if you ask for ≤ 15 GiB:  weft run --memory 15360MiB …\n"
        );
    }

    #[test]
    fn every_state_says_why() {
        for (state, reason, says) in [
            (JobState::Completed, None, "128 of 129 tasks succeeded, 1 failed"),
            (
                JobState::Failed,
                Some("trap"),
                "why: trap · The program did what WebAssembly forbids",
            ),
            (JobState::PartiallyCompleted, Some("timeout"), "more: weft explain timeout"),
            (JobState::Cancelled, Some("cancelled"), "why: cancelled · The job was cancelled"),
            (JobState::Expired, Some("expired"), "expired after"),
            (JobState::Failed, Some("brand-new"), "why: brand-new"),
        ] {
            let text = words(&explain(), &job(state, reason));
            assert!(text.contains(says), "{text}");
        }
        let running = Explain { running: 4, waiting: 0, ..explain() };
        assert!(
            words(&running, &job(JobState::Running, None)).contains("running: 4 tasks are with")
        );
    }
}
