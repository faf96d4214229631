//! The input of a reducing task: what all other tasks wrote, by the names of their inputs.

use ledger::{records::ReadError, state::query};
use protocol::{
    codec::{DecodeError, decode, try_encode},
    ids::{Hash, JobId, TaskIndex},
    limits::LIST_ITEMS_MAX,
    wire::{
        manifest::{
            BlobRef, InputFile, InputManifest, InputPage, InputSource, OutputManifest, TaskInput,
        },
        view::TaskState,
    },
};

use super::Shared;
use crate::blobs::{self, BlobError, ObtainError, Pin};

/// The input could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrepareError {
    #[error("the replicated state could not be read")]
    Records(#[from] ReadError),
    #[error("the names of the inputs could not be had")]
    Obtain(#[from] ObtainError),
    #[error("the store failed")]
    Store(#[from] BlobError),
    #[error("there are too many outputs for one reducing task")]
    TooLarge(#[source] DecodeError),
    #[error("a manifest is malformed")]
    Manifest(#[source] DecodeError),
    #[error("an output of task {0} is gone")]
    Gone(TaskIndex),
}

/// The reducing task of a job.
pub(super) fn task(shared: &Shared, job: JobId) -> Option<TaskIndex> {
    let terms = query::terms(shared.consensus.records().as_ref(), &job).ok()??;
    terms.spec.reduce_task().map(|(task, _)| task)
}

/// Collects the outputs of all tasks that succeeded, and stores the description.
pub(super) async fn prepare(shared: &Shared, job: JobId) -> Result<BlobRef, PrepareError> {
    let records = shared.consensus.records();
    let Some(terms) = query::terms(records.as_ref(), &job)? else { return Ok(BlobRef::to(&[])) };
    let providers = shared.providers(records.as_ref(), job)?;
    let store = &shared.context.blobs;
    let net = &shared.context.net;
    let manifest = blobs::read(store, net, &providers, terms.spec.manifest).await?;
    let manifest: InputManifest = decode(&manifest).map_err(PrepareError::Manifest)?;
    let mut files = Vec::new();
    let mut page: Option<(BlobRef, InputPage)> = None;
    let mut from = 0;
    while from < terms.spec.tasks {
        let limit = LIST_ITEMS_MAX.min(terms.spec.tasks.saturating_sub(from));
        let rows = query::tasks(records.as_ref(), &job, from, limit)?.unwrap_or_default();
        for row in rows.iter().filter(|row| row.view.state == TaskState::Completed) {
            let task = row.view.task;
            let (wanted, place) = manifest.locate(task.0).ok_or(PrepareError::Gone(task))?;
            if page.as_ref().is_none_or(|(known, _)| *known != wanted) {
                let bytes = blobs::read(store, net, &providers, wanted.hash).await?;
                page = Some((wanted, decode(&bytes).map_err(PrepareError::Manifest)?));
            }
            let input = page.as_ref().and_then(|(_, page)| page.inputs.get(place));
            let name = input.map(|input| input.name.clone()).filter(|name| !name.is_empty());
            let output = row.output.ok_or(PrepareError::Gone(task))?;
            let stdout = stdout(shared, task, output).await?;
            let path = name.unwrap_or_else(|| format!("task-{:06}", task.0));
            files.push(InputFile { path, source: stdout });
        }
        from = from.saturating_add(limit);
    }
    let input = TaskInput {
        name: "reduce".to_owned(),
        stdin: InputSource::Inline(Vec::new()),
        files,
        stdin_as: None,
    };
    let bytes = try_encode(&input).map_err(PrepareError::TooLarge)?;
    let blob = store.put(&bytes)?;
    store.pin([blob.hash], Pin { job, keep: super::OUTPUTS_KEPT })?;
    Ok(blob)
}

async fn stdout(
    shared: &Shared,
    task: TaskIndex,
    output: Hash,
) -> Result<InputSource, PrepareError> {
    let bytes = shared.kept_content(output).await.map_err(|error| match error {
        ObtainError::Missing { .. } => PrepareError::Gone(task),
        other @ ObtainError::Store(_) => PrepareError::Obtain(other),
    })?;
    let manifest: OutputManifest = decode(&bytes).map_err(PrepareError::Manifest)?;
    Ok(InputSource::Blob(manifest.stdout))
}
