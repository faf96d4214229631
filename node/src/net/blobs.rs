//! Content by its hash, on streams (`docs/protocol.md`, "Blobs"; framing in [`protocol::wire::blob`]).
//!
//! The provider's side is [`serve`] over a [`BlobSource`], the requester's is [`fetch`] into a [`BlobSink`].
//! Nothing that a sink finished is unverified: whole contents are hashed while they arrive.

use std::{io, time::Duration};

use async_trait::async_trait;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use protocol::{
    codec::{Canonical as _, DecodeError, decode, encode},
    ids::Hash,
    wire::blob::{BLOBS_PER_REQUEST_MAX, BlobRequest, BlobWanted, MISSING},
};
use tokio::io::AsyncReadExt as _;

use super::RpcError;

/// A stream that is not open by then is given up.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A stream on which nothing moves for this long is given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Content is moved in pieces of this size, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// Where a provider's contents are.
#[async_trait]
pub trait BlobSource: Send + Sync {
    /// Opens a content at an offset; nothing if it is not there or ends before the offset.
    ///
    /// # Errors
    ///
    /// If it is there but cannot be read. The requester is told that it is missing.
    async fn open(&self, hash: &Hash, from: u64) -> io::Result<Option<OpenBlob>>;
}

/// A content, or what follows an offset in it.
pub struct OpenBlob {
    /// How many bytes follow.
    pub len: u64,
    /// The bytes. A reader that ends early breaks the stream off.
    pub content: Box<dyn tokio::io::AsyncRead + Send + Unpin>,
}

impl std::fmt::Debug for OpenBlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenBlob").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Where fetched contents go, one after the other: `begin`, `write` until all is there, then `finish` or
/// `discard`.
#[async_trait]
pub trait BlobSink: Send {
    /// A content of this length arrives next.
    ///
    /// # Errors
    ///
    /// If it is not wanted at this length, or there is no room. The fetch ends.
    async fn begin(&mut self, hash: &Hash, len: u64) -> io::Result<()>;

    /// The next bytes of it.
    ///
    /// # Errors
    ///
    /// If they cannot be kept. The fetch ends.
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// All of it is there and its hash is right.
    ///
    /// # Errors
    ///
    /// If it cannot be kept. The fetch ends.
    async fn finish(&mut self) -> io::Result<()>;

    /// What was written since `begin` is wrong or incomplete: forget it.
    async fn discard(&mut self);
}

/// What came of a fetch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Contents that are there and right.
    pub found: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Contents that the provider does not have.
    pub missing: Vec<Hash>,
}

/// Why a fetch ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No stream to the provider.
    #[error("could not open a blob stream")]
    Open(#[source] RpcError),
    /// More than [`BLOBS_PER_REQUEST_MAX`] at once.
    #[error("{0} blobs in one request, but at most {BLOBS_PER_REQUEST_MAX} are allowed")]
    TooMany(usize),
    /// Nothing moved for 10 s.
    #[error("the provider stalled")]
    Stalled,
    /// The stream broke off.
    #[error("the blob stream broke off")]
    Stream(#[source] io::Error),
    /// The provider sent something else: it lies, or its disk does.
    #[error("the provider sent wrong content for {hash}")]
    Corrupt {
        /// What was asked for.
        hash: Hash,
    },
    /// What arrived could not be kept.
    #[error("could not keep what was fetched")]
    Sink(#[source] io::Error),
}

/// Why a request was not served to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The request is not one.
    #[error("the blob request is malformed")]
    Request(#[source] DecodeError),
    /// The request is longer than any.
    #[error("the blob request is too long")]
    TooLong,
    /// Nothing moved for 10 s.
    #[error("the requester stalled")]
    Stalled,
    /// The stream broke off.
    #[error("the blob stream broke off")]
    Stream(#[source] io::Error),
    /// A content ended before its length.
    #[error("a stored blob could not be read")]
    Source(#[source] io::Error),
}

/// Answers the one request on a stream, then closes it. Returns the bytes of content sent.
///
/// Cancel safe: dropping the future breaks the stream off, and the requester notices.
///
/// # Errors
///
/// See [`ServeError`]. The requester sees the stream break off.
pub async fn serve<S>(mut stream: S, source: &dyn BlobSource) -> Result<u64, ServeError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let request =
        within(ServeError::Stalled, ServeError::Stream, read_request(&mut stream)).await??;
    let mut sent: u64 = 0;
    for wanted in &request.wanted {
        sent = sent.saturating_add(send_one(&mut stream, source, wanted).await?);
    }
    within(ServeError::Stalled, ServeError::Stream, stream.close()).await?;
    Ok(sent)
}

/// Asks for whole contents on a stream and takes them, in order, into `sink`.
///
/// # Errors
///
/// See [`FetchError`]. What was finished before stays finished; what was begun is discarded.
pub async fn fetch<S>(
    mut stream: S,
    wanted: &[Hash],
    sink: &mut dyn BlobSink,
) -> Result<Fetched, FetchError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    if wanted.len() > BLOBS_PER_REQUEST_MAX {
        return Err(FetchError::TooMany(wanted.len()));
    }
    let request = BlobRequest { wanted: wanted.iter().copied().map(BlobWanted::whole).collect() };
    within(FetchError::Stalled, FetchError::Stream, write_request(&mut stream, &request)).await?;
    let mut fetched = Fetched::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    for hash in wanted {
        let mut len = [0; 8];
        within(FetchError::Stalled, FetchError::Stream, stream.read_exact(&mut len)).await?;
        let len = u64::from_le_bytes(len);
        if len == MISSING {
            fetched.missing.push(*hash);
            continue;
        }
        sink.begin(hash, len).await.map_err(FetchError::Sink)?;
        if let Err(error) = take_one(&mut stream, hash, len, &mut chunk, sink).await {
            sink.discard().await;
            return Err(error);
        }
        sink.finish().await.map_err(FetchError::Sink)?;
        fetched.found = fetched.found.saturating_add(1);
        fetched.bytes = fetched.bytes.saturating_add(len);
    }
    Ok(fetched)
}

/// Takes `len` bytes and checks their hash.
async fn take_one<S>(
    stream: &mut S,
    hash: &Hash,
    len: u64,
    chunk: &mut [u8],
    sink: &mut dyn BlobSink,
) -> Result<(), FetchError>
where
    S: AsyncRead + Send + Unpin,
{
    let mut hasher = blake3::Hasher::new();
    let mut left = len;
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        let room = chunk.get_mut(..size).unwrap_or_default();
        let read = within(FetchError::Stalled, FetchError::Stream, stream.read(room)).await?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Err(FetchError::Stream(io::ErrorKind::UnexpectedEof.into()));
        };
        hasher.update(bytes);
        sink.write(bytes).await.map_err(FetchError::Sink)?;
        left = left.saturating_sub(u64::try_from(read).unwrap_or(left));
    }
    if *hasher.finalize().as_bytes() == hash.0 {
        Ok(())
    } else {
        Err(FetchError::Corrupt { hash: *hash })
    }
}

/// Sends a length and as many bytes, or that it is missing.
async fn send_one<S>(
    stream: &mut S,
    source: &dyn BlobSource,
    wanted: &BlobWanted,
) -> Result<u64, ServeError>
where
    S: AsyncWrite + Send + Unpin,
{
    let opened = match source.open(&wanted.hash, wanted.from).await {
        Ok(opened) => opened,
        Err(error) => {
            tracing::warn!(hash = %wanted.hash, %error, "a stored blob could not be opened");
            None
        }
    };
    let len = opened.as_ref().map_or(MISSING, |blob| blob.len.min(wanted.len));
    within(ServeError::Stalled, ServeError::Stream, stream.write_all(&len.to_le_bytes())).await?;
    let Some(blob) = opened else { return Ok(0) };
    let mut content = blob.content.take(len);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut left = len;
    while left > 0 {
        let read = content.read(&mut chunk).await.map_err(ServeError::Source)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Err(ServeError::Source(io::ErrorKind::UnexpectedEof.into()));
        };
        within(ServeError::Stalled, ServeError::Stream, stream.write_all(bytes)).await?;
        left = left.saturating_sub(u64::try_from(read).unwrap_or(left));
    }
    Ok(len)
}

async fn write_request<S>(stream: &mut S, request: &BlobRequest) -> io::Result<()>
where
    S: AsyncWrite + Send + Unpin,
{
    let body = encode(request);
    let len = u32::try_from(body.len()).map_err(io::Error::other)?;
    stream.write_all(&len.to_le_bytes()).await?;
    stream.write_all(&body).await?;
    stream.close().await
}

async fn read_request<S>(stream: &mut S) -> io::Result<Result<BlobRequest, ServeError>>
where
    S: AsyncRead + Send + Unpin,
{
    let mut len = [0; 4];
    stream.read_exact(&mut len).await?;
    let len = usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX);
    if len > BlobRequest::BYTES_MAX {
        return Ok(Err(ServeError::TooLong));
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await?;
    let request = decode::<BlobRequest>(&body).map_err(ServeError::Request);
    Ok(match request {
        Ok(request) if request.wanted.len() > BLOBS_PER_REQUEST_MAX => Err(ServeError::TooLong),
        other => other,
    })
}

/// One step of a transfer, which must end within [`IDLE_TIMEOUT`].
async fn within<T, E>(
    stalled: E,
    broken: impl FnOnce(io::Error) -> E,
    step: impl Future<Output = io::Result<T>>,
) -> Result<T, E> {
    match tokio::time::timeout(IDLE_TIMEOUT, step).await {
        Ok(done) => done.map_err(broken),
        Err(_elapsed) => Err(stalled),
    }
}

#[cfg(test)]
mod tests;
