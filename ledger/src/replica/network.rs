//! Raft's messages, outbound: each becomes one frame, or a few for a snapshot.

use std::{
    future::Future,
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
    time::Duration,
};

use openraft::{
    OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2, RaftTypeConfig, StorageError,
    errors::{
        ErrorSource as _, NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout,
        Unreachable,
    },
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
    type_config::alias::SnapshotOf,
};
use protocol::{codec, ids::Hash};
use tokio::{task, time};

use super::{
    disk::{IdentityRecord, LogIdRecord},
    peers::{Lane, PeerError, Peers},
    raft::{LogId, Member, Types, Vote},
    snapshot::{Header, SnapshotFile},
    wire::{Answer, Append, Body, CHUNK_BYTES_MAX, Chunk, Offer, Request},
};

/// How long a piece of a snapshot may take.
const CHUNK_WAIT: Duration = Duration::from_secs(5);
/// How long the last piece may take, which is answered when the snapshot is installed. Where that takes longer it is
/// offered again, and openraft has found out meanwhile that it is there.
const INSTALL_WAIT: Duration = Duration::from_secs(30);
/// Between two pieces: 256 KiB each 32 ms are 8 MiB/s, so that a snapshot leaves room for the log.
const CHUNK_PAUSE: Duration = Duration::from_millis(32);
/// Answers in a row without progress after which the sender begins anew.
const STALLED_MAX: u32 = 16;

/// Makes a client for each member.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) identity: IdentityRecord,
    /// The epoch of the group.
    pub(crate) epoch: u32,
    /// How long entries may be on their way. Raft proposes a heartbeat's interval, which a slow disk exceeds.
    pub(crate) append_wait: Duration,
}

/// Speaks to one member.
#[derive(Debug)]
pub(crate) struct Client {
    network: Network,
    target: u64,
    member: Member,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, node: &Member) -> Client {
        Client { network: self.clone(), target, member: *node }
    }
}

impl Client {
    /// Sends a message and waits for the answer.
    async fn call(
        &self,
        action: RPCTypes,
        lane: Lane,
        body: Body,
        wait: Duration,
    ) -> Result<Answer, RPCError<Types>> {
        let Network { peers, identity, epoch, .. } = &self.network;
        let request = Request {
            mesh: identity.mesh,
            epoch: *epoch,
            from: identity.raft_id,
            incarnation: identity.incarnation,
            to: self.target,
            body,
        };
        let frame = codec::try_encode(&request).map_err(|error| lost(&error))?;
        let called = time::timeout(wait, peers.call(self.member.node, lane, frame));
        let answer = match called.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error @ PeerError::Unreachable(_))) => {
                return Err(Unreachable::from_string(error).into());
            }
            Ok(Err(error @ PeerError::Lost(_))) => return Err(lost(&error)),
            Err(_) => {
                let id = identity.raft_id;
                return Err(Timeout { action, id, target: self.target, timeout: wait }.into());
            }
        };
        let answer = codec::decode(&answer).map_err(|error| lost(&error))?;
        if let Answer::Refused(reason) = answer {
            // Asking again at once would be refused again.
            tracing::debug!(target = self.target, %reason, "a member refused a message");
            return Err(Unreachable::from_string(reason).into());
        }
        Ok(answer)
    }

    async fn ballot(
        &self,
        body: Body,
        option: &RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let answer = self.call(RPCTypes::Vote, Lane::Control, body, option.soft_ttl()).await?;
        let Answer::Vote { vote, granted, last } = answer else { return Err(senseless()) };
        Ok(VoteResponse::new(Vote::from(vote), last.map(LogId::from), granted))
    }

    /// Sends a snapshot from where the receiver has it on. At most one piece is in memory.
    async fn send(
        &self,
        vote: Vote,
        snapshot: SnapshotOf<Types, SnapshotFile>,
    ) -> Result<Vote, StreamingError<Types>> {
        let file = &snapshot.snapshot;
        let (length, digest) = file.length_and_digest().map_err(|error| unreadable(&error))?;
        let header = Header::from(&snapshot.meta);
        let offer = Body::Offer(Offer { vote: (&vote).into(), header, length, digest });
        let mut stalled = 0_u32;
        let mut answer = self.piece(offer, CHUNK_WAIT).await?;
        let mut have = 0;
        loop {
            if let Answer::Installed(vote) = answer {
                return Ok(vote.into());
            }
            let Answer::Have(there) = answer else {
                return Err(NetworkError::from_string("the answer makes no sense").into());
            };
            stalled = if there > have { 0 } else { stalled.saturating_add(1) };
            have = there.min(length);
            if stalled > STALLED_MAX {
                return Err(NetworkError::from_string("the receiver makes no progress").into());
            }
            let bytes =
                task::block_in_place(|| file.read_at(have)).map_err(|error| unreadable(&error))?;
            let end = have.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            let wait = if end >= length { INSTALL_WAIT } else { CHUNK_WAIT };
            let hash = Hash::of(&bytes);
            let chunk = Chunk { vote: (&vote).into(), digest, offset: have, hash, bytes };
            answer = self.piece(Body::Chunk(chunk), wait).await?;
            time::sleep(CHUNK_PAUSE).await;
        }
    }

    async fn piece(&self, body: Body, wait: Duration) -> Result<Answer, StreamingError<Types>> {
        let called = self.call(RPCTypes::InstallSnapshot, Lane::Snapshot, body, wait);
        called.await.map_err(|error| match error {
            RPCError::Timeout(error) => error.into(),
            RPCError::Unreachable(error) => error.into(),
            RPCError::Network(error) => error.into(),
        })
    }
}

fn lost(error: &(impl std::error::Error + 'static)) -> RPCError<Types> {
    NetworkError::from_string(error).into()
}

fn senseless() -> RPCError<Types> {
    NetworkError::from_string("the answer is one to another question").into()
}

fn unreadable(error: &io::Error) -> StreamingError<Types> {
    StorageError::read_snapshot(None, <Types as RaftTypeConfig>::ErrorSource::from_error(error))
        .into()
}

impl SnapshotFile {
    /// How long it is, and what it ends with.
    fn length_and_digest(&self) -> io::Result<(u64, Hash)> {
        let mut file = self.file();
        let length = file.metadata()?.len();
        let mut digest = [0; 32];
        file.seek(SeekFrom::End(-32))?;
        file.read_exact(&mut digest)?;
        Ok((length, Hash(digest)))
    }

    /// The next piece.
    fn read_at(&self, offset: u64) -> io::Result<Vec<u8>> {
        let mut file = self.file();
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::with_capacity(CHUNK_BYTES_MAX);
        file.take(u64::try_from(CHUNK_BYTES_MAX).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let (asked, last) = (rpc.entries.len(), rpc.entries.last().is_some());
        let append = Append::that_fits(rpc);
        let (sent, sent_last) = (append.entries.len(), append.last());
        let (lane, wait) = if last {
            (Lane::Entries, option.soft_ttl().max(self.network.append_wait))
        } else {
            (Lane::Control, option.soft_ttl())
        };
        let answer = self.call(RPCTypes::AppendEntries, lane, Body::Append(append), wait).await?;
        let Answer::Append(answer) = answer else { return Err(senseless()) };
        let response = AppendEntriesResponse::from(answer);
        Ok(if response.is_success() && sent < asked {
            AppendEntriesResponse::PartialSuccess(sent_last.map(LogId::from))
        } else {
            response
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ballot(Body::Vote((&rpc).into()), &option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ballot(Body::PreVote((&rpc).into()), &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            sent = self.send(vote, snapshot) => sent.map(SnapshotResponse::new),
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let body = Body::Transfer((&req).into());
        let wait = option.soft_ttl();
        let answer = self.call(RPCTypes::TransferLeader, Lane::Control, body, wait).await?;
        let Answer::Transfer(answer) = answer else { return Err(senseless()) };
        Ok(answer.into())
    }
}

impl Append {
    /// The last entry in it.
    fn last(&self) -> Option<LogIdRecord> {
        self.entries.last().map(super::wire::WireEntry::id)
    }
}
