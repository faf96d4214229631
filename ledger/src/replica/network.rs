//! No transport: a group of one voter has nobody to talk to.

use std::future::Future;

use openraft::{
    OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
    type_config::alias::SnapshotOf,
};

use super::{
    raft::{Member, Types, Vote},
    snapshot::SnapshotFile,
};

/// Makes clients that reach nobody.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoTransport;

/// A client that says so at each call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unconnected;

fn unreachable() -> Unreachable<Types> {
    Unreachable::from_string("no transport is configured: this group has one voter")
}

impl RaftNetworkFactory<Types> for NoTransport {
    type Network = Unconnected;

    async fn new_client(&mut self, _target: u64, _node: &Member) -> Unconnected {
        Unconnected
    }
}

impl RaftNetworkV2<Types> for Unconnected {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        Err(unreachable().into())
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Err(unreachable().into())
    }

    // openraft's default grants every pre-vote.
    async fn pre_vote(
        &mut self,
        _rpc: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Err(unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: SnapshotOf<Types, SnapshotFile>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        Err(unreachable().into())
    }

    async fn transfer_leader(
        &mut self,
        _req: TransferLeaderRequest<Types>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        Err(unreachable().into())
    }
}
