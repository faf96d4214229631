//! Tasks, and what they put out.

use protocol::{
    ids::{Hash, JobId, NodeId, ReceiptId, TaskIndex},
    units::{Credits, Fuel},
    wire::{
        manifest::{BlobRef, OutputManifest},
        view::{self, JobState, TaskState},
    },
};
use serde::{Deserialize, Serialize};

use super::{Kind, ListKind, Reduce};
use crate::{names, text};

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Which: counted from zero; the reducing task is the last.
    pub task: TaskIndex,
    /// Its state.
    #[serde(with = "names")]
    pub state: TaskState,
    /// How often it was tried.
    pub attempts: u16,
    /// Who has it, or had it.
    #[serde(with = "text::option", default)]
    pub worker: Option<NodeId>,
    /// How it ended, for people.
    pub outcome: Option<String>,
    /// The exit code that it records: 124 for a timeout, 134 for a trap.
    pub exit_code: Option<u32>,
    /// Why it failed or waits, as a code.
    pub reason: Option<String>,
    /// The fuel that it used.
    pub fuel: Fuel,
    /// What it cost.
    pub cost_ucr: Credits,
    /// Its receipt, once it is settled.
    #[serde(with = "text::option", default)]
    pub receipt: Option<ReceiptId>,
    /// What it put out.
    pub output: Option<Output>,
}

impl Kind for Task {
    const KIND: &'static str = "Task";
}

impl ListKind for Task {
    const LIST_KIND: &'static str = "TaskList";
}

impl Task {
    /// A task of `job`.
    #[must_use]
    pub fn new(job: JobId, task: &view::TaskView) -> Self {
        // Only a result that a worker signed has a receipt; a task that was given up has none.
        let settled = matches!(task.state, TaskState::Completed | TaskState::Failed)
            && task.outcome.is_some();
        Self {
            task: task.task,
            state: task.state,
            attempts: task.attempts,
            worker: task.worker,
            outcome: task.outcome.map(|outcome| outcome.to_string()),
            exit_code: task.outcome.map(protocol::outcome::Outcome::exit_code),
            reason: task.reason.clone(),
            fuel: task.fuel,
            cost_ucr: task.cost,
            receipt: settled.then_some(ReceiptId { job, task: task.task }),
            output: task.output.as_ref().map(Output::from),
        }
    }
}

/// Everything that a task put out. The contents are fetched with `GET /api/v1/blobs/{hash}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The standard output.
    pub stdout: Stream,
    /// The standard error.
    pub stderr: Stream,
    /// The files that it left in `/out`, in the order of their paths' bytes.
    pub files: Vec<OutputFile>,
}

/// Some content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Its hash.
    #[serde(with = "text")]
    pub hash: Hash,
    /// Its length.
    pub bytes: u64,
}

/// A file that a task left in `/out`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// The path below `/out`.
    pub path: String,
    /// The hash of the content.
    #[serde(with = "text")]
    pub hash: Hash,
    /// The length of the content.
    pub bytes: u64,
}

impl From<BlobRef> for Stream {
    fn from(blob: BlobRef) -> Self {
        Self { hash: blob.hash, bytes: blob.len }
    }
}

impl From<&OutputManifest> for Output {
    fn from(output: &OutputManifest) -> Self {
        let file = |file: &protocol::wire::manifest::OutputFile| OutputFile {
            path: file.path.clone(),
            hash: file.blob.hash,
            bytes: file.blob.len,
        };
        Self {
            stdout: output.stdout.into(),
            stderr: output.stderr.into(),
            files: output.files.iter().map(file).collect(),
        }
    }
}

/// One page of the results of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResults {
    /// The job.
    #[serde(with = "text")]
    pub job: JobId,
    /// Its state: results of a job that has not ended are those so far.
    #[serde(with = "names")]
    pub state: JobState,
    /// How whoever fetches the results makes them one.
    pub reduce: Option<Reduce>,
    /// The tasks of the page, in their order.
    pub items: Vec<TaskResult>,
    /// Where the next page begins, for `?cursor=`; `null` after the last.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

impl Kind for JobResults {
    const KIND: &'static str = "JobResults";
}

/// The result of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskResult {
    /// The name of its input, under which its outputs are kept. Empty for a task without an input.
    pub name: String,
    /// Whether it is the reducing task.
    pub reducing: bool,
    /// The task.
    #[serde(flatten)]
    pub task: Task,
}
