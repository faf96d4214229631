//! Raft's messages, inbound: who may say what, and what is then done.
//!
//! openraft trusts its peers completely: one forged vote of the highest term would stop a group for good. So
//! every message passes [`authenticate`] before openraft sees it.

use std::sync::Arc;

use openraft::{
    async_runtime::watch::WatchReceiver, raft::AppendEntriesRequest, storage::Snapshot,
    type_config::alias::SnapshotOf,
};
use protocol::{codec, ids::NodeId};
use tokio::task;

use super::{
    disk::{IdentityRecord, SponsorsRecord},
    incoming::{Incoming, Progress},
    raft::{Member, Raft, Types, Vote},
    snapshot::SnapshotFile,
    store::{Database, meta},
    wire::{Answer, AppendAnswer, Body, Refusal, Request},
};

/// Checks that `sender`, which the network has authenticated, is the member that the message says it is.
///
/// `members` finds a member by its number in the committed and the effective membership.
pub(crate) fn authenticate(
    request: &Request,
    sender: NodeId,
    own: &IdentityRecord,
    epoch: u32,
    members: impl Fn(u64) -> Vec<Member>,
) -> Result<(), Refusal> {
    if request.mesh != own.mesh {
        return Err(Refusal::OtherMesh);
    }
    if request.epoch != epoch {
        return Err(Refusal::OtherEpoch);
    }
    if request.to != own.raft_id {
        return Err(Refusal::OtherReceiver);
    }
    let known = members(request.from);
    if known.is_empty() {
        return Err(Refusal::NotAMember);
    }
    if known.iter().all(|member| member.node != sender) {
        return Err(Refusal::OtherNode);
    }
    if known.iter().all(|member| member.incarnation != request.incarnation) {
        return Err(Refusal::OtherIncarnation);
    }
    if request.body.vote().node() != request.from {
        return Err(Refusal::OtherVote);
    }
    Ok(())
}

/// What receives messages for a replica.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) identity: IdentityRecord,
    pub(crate) epoch: u32,
    pub(crate) incoming: Arc<Incoming>,
}

impl Receiver {
    /// Answers one message.
    pub(crate) async fn answer(
        &self,
        raft: &Raft,
        database: &Database,
        sender: NodeId,
        frame: &[u8],
    ) -> Vec<u8> {
        let answer = match self.admit(raft, database, sender, frame) {
            Ok(request) => self.perform(raft, request).await,
            Err(refusal) => Err(refusal),
        };
        codec::encode(&answer.unwrap_or_else(|refusal| {
            tracing::debug!(%sender, %refusal, "a message of the group is refused");
            Answer::Refused(refusal)
        }))
    }

    fn admit(
        &self,
        raft: &Raft,
        database: &Database,
        sender: NodeId,
        frame: &[u8],
    ) -> Result<Request, Refusal> {
        let request: Request = codec::decode(frame).map_err(|_| Refusal::Malformed)?;
        let (effective, committed) = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.membership_config.clone(), metrics.committed_membership_config.clone())
        };
        // Who joins knows nobody yet but those it was told of; and while its log is older than its admission, the memberships
        // in it are older too: they need not name who leads now.
        let knows = effective.log_id().is_some_and(|at| at.index > self.identity.raft_id);
        let sponsors = if knows { Vec::new() } else { sponsors(database)? };
        let members = |id: u64| {
            let known = [effective.get_node(&id), committed.get_node(&id)];
            let told = sponsors.iter().filter(|(sponsor, _)| *sponsor == id);
            known.into_iter().flatten().copied().chain(told.map(|(_, member)| *member)).collect()
        };
        authenticate(&request, sender, &self.identity, self.epoch, members)?;
        Ok(request)
    }

    async fn perform(&self, raft: &Raft, request: Request) -> Result<Answer, Refusal> {
        let from = request.from;
        match request.body {
            Body::PreVote(ballot) => {
                let response = raft.pre_vote(ballot.into()).await;
                Ok(response.map_err(|_| Refusal::Stopped)?.into())
            }
            Body::Vote(ballot) => {
                Ok(raft.vote(ballot.into()).await.map_err(|_| Refusal::Stopped)?.into())
            }
            Body::Append(append) => {
                let append =
                    AppendEntriesRequest::try_from(append).map_err(|_| Refusal::Malformed)?;
                let response = raft.append_entries(append).await;
                Ok(Answer::Append(AppendAnswer::from(response.map_err(|_| Refusal::Stopped)?)))
            }
            Body::Transfer(transfer) => {
                let response = raft.handle_transfer_leader(transfer.into()).await;
                Ok(Answer::Transfer(response.map_err(|_| Refusal::Stopped)?.into()))
            }
            Body::Offer(offer) => {
                let incoming = Arc::clone(&self.incoming);
                let offered = task::spawn_blocking(move || incoming.offered(from, offer));
                offered.await.map_err(|_| Refusal::Stopped)?.map(Answer::Have)
            }
            Body::Chunk(chunk) => {
                let vote = chunk.vote.into();
                let incoming = Arc::clone(&self.incoming);
                let written = task::spawn_blocking(move || incoming.piece(from, &chunk));
                match written.await.map_err(|_| Refusal::Stopped)?? {
                    Progress::Have(have) => Ok(Answer::Have(have)),
                    Progress::Complete(meta, snapshot) => {
                        self.install(raft, vote, Snapshot { meta, snapshot }).await
                    }
                }
            }
        }
    }

    async fn install(
        &self,
        raft: &Raft,
        vote: Vote,
        snapshot: SnapshotOf<Types, SnapshotFile>,
    ) -> Result<Answer, Refusal> {
        // openraft would stop on one that cannot be installed.
        let verified = task::spawn_blocking(move || {
            snapshot.snapshot.verify(&snapshot.meta).map(|()| snapshot)
        });
        let snapshot = verified.await.map_err(|_| Refusal::Stopped)?.map_err(|error| {
            tracing::warn!(%error, "a snapshot that was received is damaged");
            Refusal::BadChunk
        })?;
        let installed = raft.install_full_snapshot(vote, snapshot).await;
        Ok(Answer::Installed((&installed.map_err(|_| Refusal::Stopped)?.vote).into()))
    }
}

/// Whom a replica believes that has no membership yet.
fn sponsors(database: &Database) -> Result<Vec<(u64, Member)>, Refusal> {
    let told = database.meta::<SponsorsRecord>(meta::SPONSORS).map_err(|_| Refusal::Stopped)?;
    Ok(told.map_or_else(Vec::new, |told| told.members))
}

#[cfg(test)]
mod tests;
