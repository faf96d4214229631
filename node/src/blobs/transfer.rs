//! Content on its way between nodes.

use std::{io, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use protocol::{
    ids::{Hash, NodeId},
    wire::blob::BLOBS_PER_REQUEST_MAX,
};
use tokio::io::AsyncSeekExt as _;

use super::{BlobError, BlobStore, BlobWriter, Content};
use crate::net::{BlobSink, BlobSource, FetchError, NetHandle, OpenBlob};

#[async_trait]
impl BlobSource for BlobStore {
    async fn open(&self, hash: &Hash, from: u64) -> io::Result<Option<OpenBlob>> {
        let Some(content) = self.open_content(hash).map_err(io::Error::other)? else {
            return Ok(None);
        };
        let Some(len) = content.len().checked_sub(from) else { return Ok(None) };
        let content: Pin<Box<dyn tokio::io::AsyncRead + Send>> = match content {
            Content::Small(bytes) => {
                let mut bytes = io::Cursor::new(bytes);
                bytes.set_position(from);
                Box::pin(bytes)
            }
            Content::Large(file, _) => {
                let mut file = tokio::fs::File::from_std(file);
                file.seek(io::SeekFrom::Start(from)).await?;
                Box::pin(file)
            }
        };
        Ok(Some(OpenBlob { len, content: Box::new(content) }))
    }
}

/// Takes fetched content into the store. The fetch has checked each hash before `finish`.
#[derive(Debug)]
struct Incoming {
    store: BlobStore,
    writer: Option<(Hash, BlobWriter)>,
}

#[async_trait]
impl BlobSink for Incoming {
    async fn begin(&mut self, hash: &Hash, _len: u64) -> io::Result<()> {
        self.writer = Some((*hash, self.store.writer().map_err(io::Error::other)?));
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.writer {
            Some((_, writer)) => writer.write(bytes).map_err(io::Error::other),
            None => Ok(()),
        }
    }

    async fn finish(&mut self) -> io::Result<()> {
        if let Some((hash, writer)) = self.writer.take() {
            writer.finish_as(&hash, false).map_err(io::Error::other)?;
        }
        Ok(())
    }

    async fn discard(&mut self) {
        self.writer = None;
    }
}

/// Why content is still missing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObtainError {
    /// Nobody who was asked has it.
    #[error("{} is nowhere to be had: asked {asked} nodes", hash.short())]
    Missing {
        /// What.
        hash: Hash,
        /// How many were asked.
        asked: usize,
    },
    /// The store failed.
    #[error("the content could not be kept")]
    Store(#[from] BlobError),
}

/// Pauses between rounds in which a provider could not be reached: a node that has just joined is known to other
/// members only once they have heard of it.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// Gets contents: from the store, else from the providers, in their order. Providers that cannot be reached are asked
/// again for some seconds.
///
/// Cancel safe: what was fetched before stays in the store.
///
/// # Errors
///
/// If one of them is nowhere to be had, or the store fails.
pub async fn obtain(
    store: &BlobStore,
    net: &NetHandle,
    providers: &[NodeId],
    wanted: impl IntoIterator<Item = Hash> + Send,
) -> Result<(), ObtainError> {
    let mut missing = Vec::new();
    for hash in wanted {
        if !missing.contains(&hash) && !store.has(&hash)? {
            missing.push(hash);
        }
    }
    let others: Vec<_> =
        providers.iter().copied().filter(|provider| *provider != net.local()).collect();
    for pause in PAUSES.into_iter().map(Some).chain([None]) {
        let all_reached = ask_all(store, net, &others, &mut missing).await?;
        match (missing.first(), pause) {
            (None, _) => return Ok(()),
            (Some(_), Some(pause)) if !all_reached => tokio::time::sleep(pause).await,
            (Some(hash), _) => {
                return Err(ObtainError::Missing { hash: *hash, asked: others.len() });
            }
        }
    }
    Ok(())
}

/// Asks each provider once for what is missing. Says whether all could be reached.
async fn ask_all(
    store: &BlobStore,
    net: &NetHandle,
    providers: &[NodeId],
    missing: &mut Vec<Hash>,
) -> Result<bool, ObtainError> {
    let mut all_reached = true;
    for provider in providers {
        for part in missing.clone().chunks(BLOBS_PER_REQUEST_MAX) {
            let mut sink = Incoming { store: store.clone(), writer: None };
            if let Err(error) = net.fetch_blobs(*provider, part, &mut sink).await {
                tracing::debug!(%provider, %error, "content could not be fetched");
                all_reached &= !matches!(error, FetchError::Open(_) | FetchError::Stream(_));
                break;
            }
        }
        let mut still = Vec::new();
        for hash in missing.drain(..) {
            if !store.has(&hash)? {
                still.push(hash);
            }
        }
        *missing = still;
        if missing.is_empty() {
            break;
        }
    }
    Ok(all_reached)
}

/// Some content, from the store or from the providers.
///
/// # Errors
///
/// As [`obtain`].
pub async fn read(
    store: &BlobStore,
    net: &NetHandle,
    providers: &[NodeId],
    hash: Hash,
) -> Result<Arc<[u8]>, ObtainError> {
    obtain(store, net, providers, [hash]).await?;
    let content = store.get(&hash)?.ok_or(ObtainError::Missing { hash, asked: 0 })?;
    Ok(content.into())
}
