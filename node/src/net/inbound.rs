//! What others want from this node.

use libp2p::Multiaddr;
use protocol::{
    ids::NodeId,
    wire::{
        client::{ClientRequest, ClientResponse},
        enroll::{EnrollRequest, EnrollResponse, HelloRequest, HelloResponse, MeshHello},
        heartbeat::{Heartbeat, HeartbeatResponse},
        lease::{LeaseRequest, LeaseResponse},
        receipt::{ResultRequest, ResultResponse},
    },
};
use tokio::sync::oneshot;

use super::{BlobStream, group::Bulk};

/// Something that came from the network.
///
/// The sender of each was proven by the transport's handshake. Signatures inside are not checked yet.
#[derive(Debug)]
pub enum Inbound {
    /// A stranger or a member asks which mesh this is.
    Hello {
        /// Who.
        from: NodeId,
        /// What.
        request: HelloRequest,
        /// Where the answer goes.
        respond: Responder<HelloResponse>,
    },
    /// A stranger asks to join.
    Enroll {
        /// Who.
        from: NodeId,
        /// What.
        request: EnrollRequest,
        /// Where the answer goes.
        respond: Responder<EnrollResponse>,
    },
    /// A worker is alive.
    Heartbeat {
        /// Who.
        from: NodeId,
        /// What.
        request: Heartbeat,
        /// Where the answer goes.
        respond: Responder<HeartbeatResponse>,
    },
    /// A leader hands out or withdraws work.
    Lease {
        /// Who.
        from: NodeId,
        /// What.
        request: LeaseRequest,
        /// Where the answer goes.
        respond: Responder<LeaseResponse>,
    },
    /// A worker delivers results.
    Result {
        /// Who.
        from: NodeId,
        /// What.
        request: ResultRequest,
        /// Where the answer goes.
        respond: Responder<ResultResponse>,
    },
    /// A member asks something of a coordinator.
    Client {
        /// Who.
        from: NodeId,
        /// What.
        request: ClientRequest,
        /// Where the answer goes.
        respond: Responder<ClientResponse>,
    },
    /// A capacity advert was heard. It is forwarded to others only when it was judged
    /// [`Accept`](AdvertVerdict::Accept).
    Advert {
        /// The node that published it: proven by gossipsub's own signature.
        from: NodeId,
        /// The encoded `Signed<Advert>`; at most [`protocol::limits::GOSSIP_BYTES_MAX`] bytes.
        bytes: Vec<u8>,
        /// Where the verdict goes.
        judge: Judge,
    },
    /// A node that is no member said which mesh it is in.
    Met {
        /// Which node.
        node: NodeId,
        /// Where it is, without `/p2p/`.
        address: Multiaddr,
        /// Its mesh.
        hello: MeshHello,
    },
    /// The first connection to a peer is there.
    PeerConnected(NodeId),
    /// The last connection to a peer is gone.
    PeerDisconnected(NodeId),
    /// A member wants blobs: hand the stream to [`serve`](super::serve).
    BlobStream {
        /// Who.
        from: NodeId,
        /// The stream.
        stream: BlobStream,
    },
    /// A member wants to speak of the log: hand the stream to [`serve_group`](super::serve_group).
    GroupStream {
        /// Who.
        from: NodeId,
        /// What for.
        bulk: Bulk,
        /// The stream.
        stream: libp2p::Stream,
    },
}

/// The right to answer one request. Dropping it closes the stream: the asker gets [`RpcError::Closed`].
///
/// [`RpcError::Closed`]: super::RpcError::Closed
#[derive(Debug)]
pub struct Responder<A>(oneshot::Sender<A>);

impl<A> Responder<A> {
    /// A responder and the place where its answer arrives: also for tests of whoever answers.
    #[must_use]
    pub fn new() -> (Self, oneshot::Receiver<A>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Answers. An asker who has gone away is nobody's concern.
    pub fn respond(self, answer: A) {
        drop(self.0.send(answer));
    }

    /// Whether the asker has gone away or the time for an answer is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// What is thought of an advert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdvertVerdict {
    /// Good: forward it.
    Accept,
    /// Stale or known: neither forward it nor blame anyone.
    Ignore,
    /// Its author publishes too often: not forwarded, and the author is blamed if this node has it from the author.
    TooOften,
    /// Whoever forwarded it misbehaved: undecodable, or a bad signature.
    Reject,
}

/// The right to judge one advert. Dropping it means [`AdvertVerdict::Ignore`].
#[derive(Debug)]
pub struct Judge(pub(super) oneshot::Sender<AdvertVerdict>);

impl Judge {
    /// A judge and the place where its verdict arrives.
    #[must_use]
    pub fn new() -> (Self, oneshot::Receiver<AdvertVerdict>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Says what is thought of it.
    pub fn say(self, verdict: AdvertVerdict) {
        let _gone = self.0.send(verdict);
    }
}
