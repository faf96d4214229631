//! What coordinators say to each other about the log: how their messages travel.
//!
//! A stream carries one message after the other, each with its answer before the next: a length (`u32`, little-endian), then
//! so many bytes. Streams stay open. So a heartbeat costs neither a negotiation nor a turn of the network's task, and it
//! never waits behind content, entries or snapshots: those have streams of their own. What is in a message is no matter of
//! this module: see `docs/coordination.md`.

use std::{collections::BTreeMap, fmt, io, time::Duration};

use futures::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, FutureExt as _, future::BoxFuture,
};
use ledger::replica::{FRAME_BYTES_MAX, Lane, PeerError, Peers};
use libp2p::Stream;
use protocol::ids::NodeId;
use tokio::sync::Mutex;

use super::NetHandle;

/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024;
/// Streams to one member, for one lane, that are kept while nobody uses them.
const IDLE_MAX: usize = 2;
/// How long nothing may come on a stream before it is closed: a leader sends a heartbeat at least each half second.
const QUIET_MAX: Duration = Duration::from_secs(60);
/// How long a message may take from its first byte to its last, and its answer to be taken.
const MESSAGE_MAX: Duration = Duration::from_secs(10);
/// Memory set aside before a message is there, in bytes.
const FIRST_ALLOCATION: usize = 4 * 1024;

/// Which of the two protocols of the group a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bulk {
    /// Votes, heartbeats, entries.
    No,
    /// Pieces of snapshots.
    Snapshot,
}

/// The way to the other members of a group. Bounded by their number: each lane to each has at most `IDLE_MAX` idle
/// streams, and Raft has one message under way in each.
pub struct GroupPeers {
    net: NetHandle,
    idle: Mutex<BTreeMap<(NodeId, u8), Vec<Stream>>>,
}

impl fmt::Debug for GroupPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupPeers").finish_non_exhaustive()
    }
}

impl GroupPeers {
    /// Over this network.
    #[must_use]
    pub fn new(net: NetHandle) -> Self {
        Self { net, idle: Mutex::new(BTreeMap::new()) }
    }

    async fn take(&self, to: NodeId, lane: Lane) -> Option<Stream> {
        let mut idle = self.idle.lock().await;
        idle.get_mut(&(to, number(lane)))?.pop()
    }

    async fn keep(&self, to: NodeId, lane: Lane, stream: Stream) {
        let mut idle = self.idle.lock().await;
        let streams = idle.entry((to, number(lane))).or_default();
        if streams.len() < IDLE_MAX {
            streams.push(stream);
        }
    }

    async fn ask(&self, to: NodeId, lane: Lane, request: &[u8]) -> Result<Vec<u8>, PeerError> {
        // One that was kept may have been closed meanwhile: by the other end, or with its connection.
        while let Some(mut stream) = self.take(to, lane).await {
            if let Ok(answer) = exchange(&mut stream, request).await {
                self.keep(to, lane, stream).await;
                return Ok(answer);
            }
        }
        let opened = self.net.open_group_stream(to, bulk(lane)).await;
        let mut stream = opened.map_err(|error| PeerError::Unreachable(error.to_string()))?;
        // One that is closed at once is of somebody who keeps no log, or not yet: there is no hurry to try again.
        let answer = exchange(&mut stream, request).await;
        let answer = answer.map_err(|error| PeerError::Unreachable(error.to_string()))?;
        self.keep(to, lane, stream).await;
        Ok(answer)
    }
}

impl Peers for GroupPeers {
    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        request: Vec<u8>,
    ) -> BoxFuture<'_, Result<Vec<u8>, PeerError>> {
        async move { self.ask(to, lane, &request).await }.boxed()
    }
}

const fn number(lane: Lane) -> u8 {
    match lane {
        Lane::Control => 0,
        Lane::Entries => 1,
        Lane::Snapshot => 2,
    }
}

const fn bulk(lane: Lane) -> Bulk {
    match lane {
        Lane::Control | Lane::Entries => Bulk::No,
        Lane::Snapshot => Bulk::Snapshot,
    }
}

async fn exchange<T: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut T,
    request: &[u8],
) -> io::Result<Vec<u8>> {
    write_frame(stream, request).await?;
    let length = read_length(stream, ANSWER_BYTES_MAX).await?;
    read_body(stream, length).await
}

/// Answers the messages on a stream until it is closed, is quiet for too long, or breaks a limit.
///
/// # Errors
///
/// Why the stream is of no use any more; nothing if the other end closed it between two messages.
pub async fn serve_group<T, F>(
    mut stream: T,
    mut answer: impl FnMut(Vec<u8>) -> F + Send,
) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
    F: Future<Output = Vec<u8>> + Send,
{
    loop {
        let next = read_length(&mut stream, FRAME_BYTES_MAX);
        let length = match in_time(QUIET_MAX, next).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            length => length?,
        };
        let request = in_time(MESSAGE_MAX, read_body(&mut stream, length)).await?;
        let answer = answer(request).await;
        in_time(MESSAGE_MAX, write_frame(&mut stream, &answer)).await?;
    }
}

async fn in_time<T>(limit: Duration, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn write_frame<T: AsyncWrite + Unpin>(stream: &mut T, bytes: &[u8]) -> io::Result<()> {
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let length = u32::try_from(bytes.len()).map_err(too_long)?;
    stream.write_all(&[&length.to_le_bytes(), bytes].concat()).await?;
    stream.flush().await
}

async fn read_length<T: AsyncRead + Unpin>(stream: &mut T, max: usize) -> io::Result<usize> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > max { Err(io::ErrorKind::InvalidData.into()) } else { Ok(length) }
}

/// Memory grows with what arrives, not with what is announced.
async fn read_body<T: AsyncRead + Unpin>(stream: &mut T, length: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(length.min(FIRST_ALLOCATION));
    stream.take(u64::try_from(length).unwrap_or(u64::MAX)).read_to_end(&mut body).await?;
    if body.len() < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(body) }
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;
    use tokio_util::compat::TokioAsyncReadCompatExt as _;

    use super::*;

    #[tokio::test]
    async fn messages_are_answered_one_after_the_other_until_the_stream_ends() {
        let (near, far) = tokio::io::duplex(64);
        let echo = |request: Vec<u8>| async move { request.into_iter().rev().collect() };
        let asking = async {
            let mut near = near.compat();
            assert_eq!(exchange(&mut near, b"abc").await.unwrap(), b"cba");
            assert_eq!(exchange(&mut near, b"").await.unwrap(), b"");
        };
        let (served, ()) = tokio::join!(serve_group(far.compat(), echo), asking);
        served.unwrap();
    }

    #[tokio::test]
    async fn a_message_over_the_limit_ends_the_stream_before_it_is_read() {
        let length = u32::try_from(FRAME_BYTES_MAX).unwrap().saturating_add(1);
        let stream = Cursor::new(length.to_le_bytes().to_vec());
        let error = serve_group(stream, |_| async { Vec::new() }).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_message_holds_nothing_for_long() {
        let (mut near, far) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut near, &[9, 0, 0, 0, 1, 2]).await.unwrap();
        let served = serve_group(far.compat(), |_| async { Vec::new() }).await;
        assert_eq!(served.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
