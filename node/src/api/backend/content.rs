//! Content that goes in and comes out.

use futures::StreamExt as _;
use portal_api::{
    backend::{Answer, ByteStream, Content},
    problem::{ErrorCode, Problem},
};
use protocol::ids::Hash;
use tokio_util::io::ReaderStream;

use super::{NodeApi, Standing};
use crate::{net::BlobSource as _, roles::submitter::storage};

impl NodeApi {
    pub(super) async fn keep(&self, mut content: ByteStream) -> Answer<(Hash, u64)> {
        let mut writer = self.blobs.writer().map_err(|error| storage(&error))?;
        while let Some(piece) = content.next().await {
            let piece =
                piece.map_err(|error| Problem::new(ErrorCode::Interrupted, error.to_string()))?;
            writer.write(&piece).map_err(|error| storage(&error))?;
        }
        let blob = writer.finish(true).map_err(|error| storage(&error))?;
        Ok((blob.hash, blob.len))
    }

    /// Fetches content from the mesh if it is not here, and if there is a mesh.
    async fn get(&self, blob: Hash) -> Answer<()> {
        if self.blobs.has(&blob).map_err(|error| storage(&error))? {
            return Ok(());
        }
        let member = match &*self.standing.borrow() {
            Standing::Member(member) => Some(member.submitter.clone()),
            Standing::Starting | Standing::Waiting | Standing::Refused(_) => None,
        };
        match member {
            Some(submitter) => submitter.obtain(blob).await,
            None => Err(Problem::new(ErrorCode::NotFound, format!("{blob} is not here"))),
        }
    }

    pub(super) fn length_of(&self, blob: Hash) -> Answer<u64> {
        let found = self.blobs.open_content(&blob).map_err(|error| storage(&error))?;
        let found = found
            .ok_or_else(|| Problem::new(ErrorCode::NotFound, format!("{blob} is not here")))?;
        Ok(found.len())
    }

    pub(super) async fn content(&self, blob: Hash) -> Answer<Content> {
        self.get(blob).await?;
        let opened = self.blobs.open(&blob, 0).await;
        let opened =
            opened.map_err(|error| Problem::new(ErrorCode::Internal, error.to_string()))?;
        let opened = opened
            .ok_or_else(|| Problem::new(ErrorCode::NotFound, format!("{blob} is not here")))?;
        let stream = ReaderStream::new(opened.content).boxed();
        Ok(Content { hash: blob, bytes: opened.len, stream })
    }
}
