//! A connection on which the other end opens streams at a measured pace.
//!
//! A stream whose protocol is not spoken costs a negotiation and is seen by no behaviour: nobody would count ten thousand
//! of them in a second. They are counted here. Whoever opens more than anybody needs loses the connection, and the
//! event loop finds [`TooManyStreams`] in the cause of it.

use std::{
    collections::BTreeSet,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use libp2p::{
    PeerId,
    core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox},
};
use protocol::time::{Clock, Timestamp};
use tokio::sync::watch;

use crate::core::quota::Rate;

/// Streams of a stranger: hello and enrolment, identify, a ping now and then.
const STRANGER: Rate = Rate { burst: 64, every: Duration::from_millis(50) };
/// Streams of a member: four times what its quotas of messages allow, and blobs.
const MEMBER: Rate = Rate { burst: 4_000, every: Duration::from_micros(500) };

/// Who the members are, as far as streams are concerned.
pub(super) type Members = watch::Receiver<Arc<BTreeSet<PeerId>>>;

/// A peer opened more streams than anybody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many streams")]
pub(super) struct TooManyStreams;

impl TooManyStreams {
    /// Whether a connection was closed for it.
    pub(super) fn is_behind(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|source| {
            source.is::<Self>() || source.downcast_ref().is_some_and(Self::is_behind)
        })
    }
}

/// The connection.
pub(super) struct Paced {
    inner: StreamMuxerBox,
    peer: PeerId,
    clock: Arc<dyn Clock + Send + Sync>,
    members: Members,
    /// When its bucket would be full again: the generic cell rate algorithm, as in [`crate::core::quota`].
    full_at: Timestamp,
}

impl Paced {
    /// Measures the pace of a connection from now on.
    pub(super) fn new(
        inner: StreamMuxerBox,
        peer: PeerId,
        clock: Arc<dyn Clock + Send + Sync>,
        members: Members,
    ) -> Self {
        Self { inner, peer, clock, members, full_at: Timestamp::ORIGIN }
    }

    fn take(&mut self) -> Result<(), TooManyStreams> {
        let rate = if self.members.borrow().contains(&self.peer) { MEMBER } else { STRANGER };
        let now = self.clock.now();
        let next = self.full_at.max(now).saturating_add(rate.every);
        if next.saturating_since(now) > rate.every.saturating_mul(rate.burst) {
            return Err(TooManyStreams);
        }
        self.full_at = next;
        Ok(())
    }
}

impl StreamMuxer for Paced {
    type Substream = SubstreamBox;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<SubstreamBox>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
        Poll::Ready(self.take().map(|()| stream).map_err(io::Error::other))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<SubstreamBox>> {
        Pin::new(&mut self.inner).poll_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_of_a_closed_connection_is_found_behind_what_wraps_it() {
        let wrapped = io::Error::other(io::Error::other(TooManyStreams));
        assert!(TooManyStreams::is_behind(&wrapped));
        assert!(!TooManyStreams::is_behind(&io::ErrorKind::BrokenPipe.into()));
    }
}
