//! What a task needs before it can start: its module, and its input.

use std::sync::Arc;

use protocol::{
    codec::{Canonical, DecodeError, decode},
    ids::{Hash, NodeId, TaskIndex},
    wire::{
        lease::LeaseOffer,
        manifest::{BlobRef, InputManifest, InputPage, InputSource, TaskInput},
    },
};
use sandbox::task::ModuleSource;

use crate::{
    blobs::{self, BlobError, ObtainError},
    roles::Context,
};

/// The input of a task could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error("content of the job could not be had")]
    Obtain(#[from] ObtainError),
    #[error("a manifest of the job is malformed")]
    Malformed(#[source] DecodeError),
    #[error("the job's manifest has no input for task {0}")]
    NoInput(TaskIndex),
    #[error("the store failed")]
    Store(#[from] BlobError),
}

/// Reads the inputs of one lease's tasks.
#[derive(Debug)]
pub(super) struct Inputs {
    context: Context,
    providers: Vec<NodeId>,
    reduce: Option<BlobRef>,
    manifest_hash: Hash,
    manifest: Option<InputManifest>,
    page: Option<(BlobRef, InputPage)>,
}

impl Inputs {
    pub(super) fn new(context: Context, offer: &LeaseOffer) -> Self {
        Self {
            context,
            providers: offer.providers.clone(),
            reduce: offer.reduce_input,
            manifest_hash: offer.spec.manifest,
            manifest: None,
            page: None,
        }
    }

    /// A module.
    pub(super) async fn module(&self, module: Hash) -> Result<ModuleSource, InputError> {
        self.obtain([module]).await?;
        if let Some(path) = self.context.blobs.path_of(&module)? {
            return Ok(ModuleSource::File(path));
        }
        Ok(ModuleSource::Bytes(self.read(module).await?))
    }

    /// The description of a task's input.
    pub(super) async fn describe(&mut self, task: TaskIndex) -> Result<TaskInput, InputError> {
        if let Some(reduce) = self.reduce {
            return self.decoded(reduce.hash).await;
        }
        if self.manifest.is_none() {
            self.manifest = Some(self.decoded(self.manifest_hash).await?);
        }
        let located = self.manifest.as_ref().and_then(|manifest| manifest.locate(task.0));
        let (page, place) = located.ok_or(InputError::NoInput(task))?;
        if self.page.as_ref().is_none_or(|(known, _)| *known != page) {
            self.page = Some((page, self.decoded(page.hash).await?));
        }
        let input = self.page.as_ref().and_then(|(_, page)| page.inputs.get(place));
        input.cloned().ok_or(InputError::NoInput(task))
    }

    /// Fetches everything that these inputs refer to, in one go.
    pub(super) async fn fetch(&self, inputs: &[(TaskIndex, TaskInput)]) -> Result<(), InputError> {
        let blobs: Vec<_> =
            inputs.iter().flat_map(|(_, input)| input.blobs()).map(|blob| blob.hash).collect();
        self.obtain(blobs).await
    }

    /// The content of a source that was fetched.
    pub(super) async fn content(&self, source: &InputSource) -> Result<Arc<[u8]>, InputError> {
        match source {
            InputSource::Inline(content) => Ok(content.as_slice().into()),
            InputSource::Blob(blob) => self.read(blob.hash).await,
        }
    }

    async fn obtain(
        &self,
        wanted: impl IntoIterator<Item = Hash> + Send,
    ) -> Result<(), InputError> {
        let Context { blobs, net, .. } = &self.context;
        Ok(blobs::obtain(blobs, net, &self.providers, wanted).await?)
    }

    async fn read(&self, hash: Hash) -> Result<Arc<[u8]>, InputError> {
        let Context { blobs, net, .. } = &self.context;
        Ok(blobs::read(blobs, net, &self.providers, hash).await?)
    }

    async fn decoded<T: Canonical>(&self, hash: Hash) -> Result<T, InputError> {
        decode(&self.read(hash).await?).map_err(InputError::Malformed)
    }
}
