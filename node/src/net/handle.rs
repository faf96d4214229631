//! How the rest of the node speaks to the network.

use std::time::Duration;

use libp2p::Multiaddr;
use protocol::{
    ids::{Hash, NodeId},
    limits::GOSSIP_BYTES_MAX,
    wire::{
        client::{ClientRequest, ClientResponse},
        enroll::{EnrollRequest, EnrollResponse, HelloRequest, HelloResponse, NodeAddress},
        heartbeat::{Heartbeat, HeartbeatResponse},
        lease::{LeaseRequest, LeaseResponse},
        receipt::{ResultRequest, ResultResponse},
    },
};
use tokio::sync::{mpsc, oneshot};

use super::{
    BlobSink, BlobStream, FetchError, Fetched, MeshSetup, PeerInfo, Roll, blobs, group::Bulk,
    streams::OpenReply,
};
use crate::core::reputation::Fault;

/// Commands that wait for the task; more callers than this wait themselves.
pub(super) const COMMANDS_MAX: usize = 64;

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RpcError {
    /// The peer could not be reached: no address is known, or none answered.
    #[error("the peer could not be reached")]
    Unreachable,
    /// No answer within the protocol's time.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The connection or the stream was closed before an answer came. It may have been heard nevertheless.
    #[error("the peer closed the stream without an answer")]
    Closed,
    /// The peer does not speak the protocol: it is not in this mesh, or does not take this node for a member.
    #[error("the peer does not speak this protocol with us")]
    Unsupported,
    /// The request or its answer broke a limit or is not canonical.
    #[error("a message was malformed or too long")]
    Malformed,
    /// This node has not joined a mesh.
    #[error("this node is not in a mesh yet")]
    NoMesh,
    /// The peer is not in the member list.
    #[error("the peer is not a member of the mesh")]
    NotMember,
    /// Too many requests of this kind wait for their answers.
    #[error("too many requests are waiting for answers")]
    Busy,
    /// The network task has ended.
    #[error("the network has stopped")]
    Stopped,
}

/// Why a connection could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The peer at the address is not the one that its `/p2p/` part names.
    #[error("another node answers there: {found}")]
    WrongPeer {
        /// Who answered.
        found: String,
    },
    /// The peer's key is not an Ed25519 key, so it is no node of this protocol.
    #[error("the peer is not a weft node")]
    NotANode,
    /// Nobody answered, or the handshake failed.
    #[error("could not connect: {detail}")]
    Failed {
        /// What the transports said.
        detail: String,
    },
    /// Too many connections are being made.
    #[error("too many connections are being made")]
    Busy,
    /// The network task has ended.
    #[error("the network has stopped")]
    Stopped,
}

/// Why an advert was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Longer than [`GOSSIP_BYTES_MAX`].
    #[error("{found} bytes, but a gossip message has at most {GOSSIP_BYTES_MAX}")]
    TooLong {
        /// How long it is, in bytes.
        found: usize,
    },
    /// Nobody is there who listens. Normal for the first node of a mesh.
    #[error("nobody listens")]
    NobodyListens,
    /// The same message was published before.
    #[error("the same message was published before")]
    Duplicate,
    /// The queues to all listeners are full.
    #[error("all listeners are slow")]
    Busy,
    /// This node has not joined a mesh.
    #[error("this node is not in a mesh yet")]
    NoMesh,
    /// The network task has ended.
    #[error("the network has stopped")]
    Stopped,
}

/// One request to one peer, and where its answer goes.
#[derive(Debug)]
pub(super) struct Call<Q, A> {
    pub(super) to: NodeId,
    pub(super) request: Q,
    pub(super) reply: oneshot::Sender<Result<A, RpcError>>,
}

/// What the handle asks of the task.
#[derive(Debug)]
pub(super) enum Command {
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    ListenAddresses(oneshot::Sender<Vec<Multiaddr>>),
    Connect(Multiaddr, oneshot::Sender<Result<NodeId, ConnectError>>),
    JoinMesh(Box<MeshSetup>, oneshot::Sender<()>),
    SetRoll(Box<Roll>, oneshot::Sender<()>),
    Report(NodeId, Fault),
    SetTargets(Vec<NodeAddress>),
    SetSeeking(bool),
    Publish(Vec<u8>, oneshot::Sender<Result<(), PublishError>>),
    /// When may this coordinator be asked next?
    Pace(NodeId, oneshot::Sender<Option<Duration>>),
    OpenBlobs(NodeId, OpenReply),
    OpenGroup(NodeId, Bulk, OpenReply),
    Hello(Call<HelloRequest, HelloResponse>),
    Enroll(Box<Call<EnrollRequest, EnrollResponse>>),
    Heartbeat(Call<Heartbeat, HeartbeatResponse>),
    Lease(Box<Call<LeaseRequest, LeaseResponse>>),
    Result(Box<Call<ResultRequest, ResultResponse>>),
    Client(Box<Call<ClientRequest, ClientResponse>>),
}

impl Command {
    /// The member that it is for, if it is for one.
    pub(super) fn member(&self) -> Option<NodeId> {
        match self {
            Self::OpenBlobs(to, _) | Self::OpenGroup(to, ..) => Some(*to),
            Self::Heartbeat(call) => Some(call.to),
            Self::Lease(call) => Some(call.to),
            Self::Result(call) => Some(call.to),
            Self::Client(call) => Some(call.to),
            Self::Peers(_)
            | Self::ListenAddresses(_)
            | Self::Connect(..)
            | Self::JoinMesh(..)
            | Self::SetRoll(..)
            | Self::Report(..)
            | Self::SetTargets(_)
            | Self::SetSeeking(_)
            | Self::Publish(..)
            | Self::Pace(..)
            | Self::Hello(_)
            | Self::Enroll(_) => None,
        }
    }
}

/// The rest of the node's way to the network. Cheap to clone.
///
/// Every method waits while 64 commands wait for the task already, and fails with `Stopped` when the
/// task has ended. All are cancel safe: dropping the future withdraws the command or ignores its answer.
#[derive(Debug, Clone)]
pub struct NetHandle {
    commands: mpsc::Sender<Command>,
    local: NodeId,
}

impl NetHandle {
    pub(super) const fn new(commands: mpsc::Sender<Command>, local: NodeId) -> Self {
        Self { commands, local }
    }

    /// This node.
    #[must_use]
    pub const fn local(&self) -> NodeId {
        self.local
    }

    /// Who is connected. Empty if the network has stopped.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        self.ask(Command::Peers).await.unwrap_or_default()
    }

    /// Where this node listens, without `/p2p/`: answered once every listener has said its first address. Empty
    /// if the network has stopped.
    pub async fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.ask(Command::ListenAddresses).await.unwrap_or_default()
    }

    /// Connects to whoever is at an address. If the address ends in `/p2p/`, it must be that node.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect(&self, address: Multiaddr) -> Result<NodeId, ConnectError> {
        self.ask(|reply| Command::Connect(address, reply))
            .await
            .unwrap_or(Err(ConnectError::Stopped))
    }

    /// Opens the protocols of a mesh. Returns when they are open. Joining another mesh later replaces the first:
    /// its connections are closed.
    pub async fn join_mesh(&self, setup: MeshSetup) {
        let setup = Box::new(setup);
        let _stopped = self.ask(|reply| Command::JoinMesh(setup, reply)).await;
    }

    /// Says who is approved and who is blocked. Connections of those who no longer are members get closed, those of
    /// newcomers are made anew.
    pub async fn set_roll(&self, roll: Roll) {
        let roll = Box::new(roll);
        let _stopped = self.ask(|reply| Command::SetRoll(roll, reply)).await;
    }

    /// Says what a peer did wrong that only the caller could see. Left out while 64 commands wait: whoever does it
    /// again is reported again.
    pub fn report(&self, node: NodeId, fault: Fault) {
        let _full = self.commands.try_send(Command::Report(node, fault));
    }

    /// Says to whom connections are kept up, whatever happens: coordinators and remembered members. At most
    /// [`redial::TARGETS_MAX`](super::redial::TARGETS_MAX); the rest is not kept up. Replaces the earlier list.
    pub async fn set_targets(&self, targets: Vec<NodeAddress>) {
        let _stopped = self.commands.send(Command::SetTargets(targets)).await;
    }

    /// Says whether this node may join another mesh: then it looks for nodes on the local network more often, and is
    /// told at once whom it has met already.
    pub async fn set_seeking(&self, seeking: bool) {
        let _stopped = self.commands.send(Command::SetSeeking(seeking)).await;
    }

    /// Publishes an encoded `Signed<Advert>`.
    ///
    /// # Errors
    ///
    /// See [`PublishError`].
    pub async fn publish_advert(&self, bytes: Vec<u8>) -> Result<(), PublishError> {
        if bytes.len() > GOSSIP_BYTES_MAX {
            return Err(PublishError::TooLong { found: bytes.len() });
        }
        self.ask(|reply| Command::Publish(bytes, reply)).await.unwrap_or(Err(PublishError::Stopped))
    }

    /// Asks which mesh a node is in. Open to strangers. At most 5 s.
    ///
    /// # Errors
    ///
    /// See [`RpcError`].
    pub async fn hello(&self, to: NodeId) -> Result<HelloResponse, RpcError> {
        let request = HelloRequest { version: protocol::wire::VERSION };
        self.call(|reply| Command::Hello(Call { to, request, reply })).await
    }

    /// Asks to join a mesh. Open to strangers. At most 10 s.
    ///
    /// # Errors
    ///
    /// See [`RpcError`].
    pub async fn enroll(
        &self,
        to: NodeId,
        request: EnrollRequest,
    ) -> Result<EnrollResponse, RpcError> {
        self.call(|reply| Command::Enroll(Box::new(Call { to, request, reply }))).await
    }

    /// Tells a leader that this worker is alive. At most 5 s.
    ///
    /// # Errors
    ///
    /// See [`RpcError`].
    pub async fn heartbeat(
        &self,
        to: NodeId,
        request: Heartbeat,
    ) -> Result<HeartbeatResponse, RpcError> {
        self.call(|reply| Command::Heartbeat(Call { to, request, reply })).await
    }

    /// Hands work to a worker. At most 10 s.
    ///
    /// # Errors
    ///
    /// See [`RpcError`].
    pub async fn lease(
        &self,
        to: NodeId,
        request: LeaseRequest,
    ) -> Result<LeaseResponse, RpcError> {
        self.call(|reply| Command::Lease(Box::new(Call { to, request, reply }))).await
    }

    /// Delivers results to a leader. At most 30 s.
    ///
    /// # Errors
    ///
    /// See [`RpcError`].
    pub async fn result(
        &self,
        to: NodeId,
        request: ResultRequest,
    ) -> Result<ResultResponse, RpcError> {
        self.call(|reply| Command::Result(Box::new(Call { to, request, reply }))).await
    }

    /// Asks something of a coordinator, no more often than coordinators answer: up to 10 s may pass until it is asked,
    /// and 30 s until it is answered, as a watching question may take 20.
    ///
    /// # Errors
    ///
    /// See [`RpcError`].
    pub async fn client(
        &self,
        to: NodeId,
        request: ClientRequest,
    ) -> Result<ClientResponse, RpcError> {
        let wait = self.ask(|reply| Command::Pace(to, reply)).await.ok_or(RpcError::Stopped)?;
        tokio::time::sleep(wait.ok_or(RpcError::Busy)?).await;
        self.call(|reply| Command::Client(Box::new(Call { to, request, reply }))).await
    }

    /// Opens a stream on which a member is asked for blobs. At most 10 s.
    ///
    /// # Errors
    ///
    /// See [`RpcError`].
    pub async fn open_blob_stream(&self, to: NodeId) -> Result<BlobStream, RpcError> {
        let opening = self.call(|reply| Command::OpenBlobs(to, reply));
        tokio::time::timeout(blobs::OPEN_TIMEOUT, opening).await.unwrap_or(Err(RpcError::Timeout))
    }

    /// Opens a stream on which another coordinator is sent messages of the group: see [`group`](super::group). Whoever calls
    /// limits how long it waits.
    ///
    /// # Errors
    ///
    /// See [`RpcError`].
    pub(super) async fn open_group_stream(
        &self,
        to: NodeId,
        bulk: Bulk,
    ) -> Result<libp2p::Stream, RpcError> {
        self.call(|reply| Command::OpenGroup(to, bulk, reply)).await
    }

    /// Fetches whole blobs from one member into `sink`, each checked against its hash.
    ///
    /// At most [`BLOBS_PER_REQUEST_MAX`](protocol::wire::blob::BLOBS_PER_REQUEST_MAX) in one call. Ends with an
    /// error when nothing arrives for 10 s. Not cancel safe for the sink: a blob that was begun is not finished.
    ///
    /// # Errors
    ///
    /// See [`FetchError`]. What was finished before stays finished.
    pub async fn fetch_blobs(
        &self,
        from: NodeId,
        wanted: &[Hash],
        sink: &mut dyn BlobSink,
    ) -> Result<Fetched, FetchError> {
        let stream = self.open_blob_stream(from).await.map_err(FetchError::Open)?;
        let fetched = blobs::fetch(stream, wanted, sink).await;
        if let Err(FetchError::Corrupt { .. }) = &fetched {
            self.report(from, Fault::WrongContent);
        }
        fetched
    }

    async fn call<A>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<A, RpcError>>) -> Command,
    ) -> Result<A, RpcError> {
        self.ask(command).await.unwrap_or(Err(RpcError::Stopped))
    }

    async fn ask<A>(&self, command: impl FnOnce(oneshot::Sender<A>) -> Command) -> Option<A> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}
