//! The seam between Raft and a network: how a member's messages reach another member.

use std::fmt::Debug;

use futures::{FutureExt, future::BoxFuture};
use protocol::ids::NodeId;
use thiserror::Error;

/// What a message is about, for a network that gives each kind its own protocol, limits or priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Votes, heartbeats and requests to take over: small, and late ones cause elections.
    Control,
    /// Entries of the log.
    Entries,
    /// Pieces of a snapshot: bulk that must not delay the others.
    Snapshot,
}

/// A message was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerError {
    /// There is no connection to that node: wait before the next try.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The connection was there and failed. Whether the message arrived is not known.
    #[error("the connection failed: {0}")]
    Lost(String),
}

/// Carries messages between the members of a group.
///
/// The bytes are whole messages of at most [`FRAME_BYTES_MAX`](super::FRAME_BYTES_MAX); the other side hands
/// them to [`Replica::receive`](super::Replica::receive) together with the **authenticated** identity of the
/// sender, and its answer comes back. A message may be lost, arrive twice, or arrive after later ones: Raft
/// allows for all of it.
pub trait Peers: Debug + Send + Sync {
    /// Delivers `request` to `to` and returns the answer. The caller limits how long it waits and drops the
    /// future then.
    ///
    /// # Errors
    ///
    /// See [`PeerError`].
    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        request: Vec<u8>,
    ) -> BoxFuture<'_, Result<Vec<u8>, PeerError>>;
}

/// Reaches nobody: for a group of one.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

impl Peers for NoPeers {
    fn call(
        &self,
        _to: NodeId,
        _lane: Lane,
        _request: Vec<u8>,
    ) -> BoxFuture<'_, Result<Vec<u8>, PeerError>> {
        let unreachable = PeerError::Unreachable("this group has one member".to_owned());
        async { Err(unreachable) }.boxed()
    }
}
