//! How a job that was run or mapped is told at its end.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portal_api::views::{Job, Kind};
use protocol::wire::view::JobState;
use serde::Serialize;

use super::results::{Collected, Failure};
use crate::cli::{context::Context, human};

/// What a program wrote, for programs: as text, or in base64 if it is none.
#[derive(Debug, Serialize)]
pub struct Content {
    /// The text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

impl Content {
    /// What was written.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self { text: Some(text), base64: None },
            Err(error) => Self { text: None, base64: Some(STANDARD.encode(error.as_bytes())) },
        }
    }
}

/// The document of a job that was followed to its end: the job, and what came of it here.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The job.
    #[serde(flatten)]
    pub job: Job,
    /// For `run`: the exit code of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u32>,
    /// For `run`: its standard output, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// For `run`: its standard output, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout_base64: Option<String>,
    /// Where files were written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
    /// For `map`: the reduced result, a file below `out`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

impl Kind for Report {
    const KIND: &'static str = Job::KIND;
}

impl Report {
    /// A job without anything else.
    #[must_use]
    pub const fn of(job: Job) -> Self {
        Self { job, exit_code: None, stdout: None, stdout_base64: None, out: None, result: None }
    }

    /// Adds what the program wrote.
    pub fn set_stdout(&mut self, stdout: Vec<u8>) {
        let content = Content::of(stdout);
        (self.stdout, self.stdout_base64) = (content.text, content.base64);
    }
}

/// Tells people what a job cost and where its receipts are.
pub fn tell_cost(context: &Context, job: &Job) {
    let receipts = match job.receipts.as_slice() {
        [] => String::new(),
        [one] => format!(" · receipt {one}"),
        many => {
            let count = u64::try_from(many.len()).unwrap_or(u64::MAX);
            let more = if job.receipts_more { "more than " } else { "" };
            format!(" · {more}{}", human::plural(count, "receipt", "receipts"))
        }
    };
    context.screen.news(&format!(
        "    cost {} · {}{receipts}",
        job.cost_ucr,
        human::fuel(job.fuel)
    ));
}

/// How long a job took.
#[must_use]
pub fn elapsed(job: &Job) -> String {
    let ended = job.ended_at.unwrap_or(job.submitted_at);
    human::duration(Duration::from_millis(ended.0.saturating_sub(job.submitted_at.0)))
}

/// Tells people how a mapped job ended.
pub fn tell_map(context: &Context, job: &Job, collected: &Collected, out: &str) {
    let screen = context.screen;
    let results = human::plural(collected.results, "result", "results");
    match job.state {
        JobState::Completed => {
            screen.success(&format!("Done in {} · {results} in {out}", elapsed(job)));
        }
        JobState::PartiallyCompleted => screen.warn(&format!(
            "Done in {} · {results} in {out} · {} failed",
            elapsed(job),
            human::plural(collected.failed, "input", "inputs")
        )),
        state @ (JobState::Queued
        | JobState::Running
        | JobState::Failed
        | JobState::Cancelled
        | JobState::Expired) => {
            screen.warn(&format!("{} after {} · {results} in {out}", state.name(), elapsed(job)))
        }
    }
    tell_failures(context, &collected.failures);
    if let Some(reduced) = &collected.reduced {
        screen.news(&format!("    reduced to {out}/{reduced}"));
    }
    tell_cost(context, job);
    let failed = if collected.failed > 0 {
        format!("      failed: weft job results {} --failed", job.id)
    } else {
        String::new()
    };
    screen.news(&format!("    details: weft job show {}{failed}", job.id));
}

/// Tells people which tasks failed, and the last that they said. Why a task failed is an error: `-q` does not hide it.
pub fn tell_failures(context: &Context, failures: &[Failure]) {
    for failure in failures {
        context.screen.complaint(&format!("    {}: {}", failure.name, failure.reason));
        for line in failure.stderr.lines().rev().take(3).collect::<Vec<_>>().iter().rev() {
            context.screen.complaint(&format!("      | {line}"));
        }
    }
}
