//! What members of a group say to each other: our own messages, so that the format does not move with openraft.
//!
//! A message is the canonical encoding of a [`Request`]; its answer is that of an [`Answer`]. Both are at most
//! [`FRAME_BYTES_MAX`] long.

use openraft::{
    EntryPayload,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
        VoteRequest, VoteResponse,
    },
};
use protocol::{
    codec::Canonical,
    ids::{Hash, MeshId},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    disk::{Corrupt, LogIdRecord, MembershipRecord, VoteRecord},
    raft::{CommandBytes, Entry, LogId, Membership, Types},
    snapshot::Header,
};

/// The largest message between members, in bytes.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Entries in one message, in bytes of what they carry. What is beyond follows in the next one. With the largest
/// command and all headers a message stays below [`FRAME_BYTES_MAX`].
pub(crate) const ENTRIES_BYTES_MAX: usize = 512 * 1024;
/// A piece of a snapshot, in bytes.
pub(crate) const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// The largest snapshot that is accepted, in bytes.
pub(crate) const SNAPSHOT_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;

/// A message and where it is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The mesh whose log it is about.
    pub(crate) mesh: MeshId,
    /// Grows when a group is founded anew after the loss of its majority.
    pub(crate) epoch: u32,
    /// The sender's number.
    pub(crate) from: u64,
    /// The sender's data directory.
    pub(crate) incarnation: [u8; 16],
    /// The number of the member that is meant: another one may live at the same node by now.
    pub(crate) to: u64,
    /// What is asked.
    pub(crate) body: Body,
}

impl Canonical for Request {
    const BYTES_MAX: usize = FRAME_BYTES_MAX;
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Body {
    /// Whether a vote would be granted. Changes nothing.
    PreVote(Ballot),
    /// A vote.
    Vote(Ballot),
    /// Entries, or none: a heartbeat.
    Append(Append),
    /// To take over the leadership.
    Transfer(Transfer),
    /// How much of a snapshot is there already.
    Offer(Offer),
    /// The next piece of the snapshot that was offered.
    Chunk(Chunk),
}

impl Body {
    /// The vote in whose name it is asked.
    pub(crate) fn vote(&self) -> VoteRecord {
        match self {
            Self::PreVote(ballot) | Self::Vote(ballot) => ballot.vote,
            Self::Append(append) => append.vote,
            Self::Transfer(transfer) => transfer.vote,
            Self::Offer(offer) => offer.vote,
            Self::Chunk(chunk) => chunk.vote,
        }
    }
}

/// A request for a vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ballot {
    pub(crate) vote: VoteRecord,
    pub(crate) last: Option<LogIdRecord>,
    pub(crate) transfer: bool,
}

impl From<&VoteRequest<Types>> for Ballot {
    fn from(request: &VoteRequest<Types>) -> Self {
        Self {
            vote: (&request.vote).into(),
            last: request.last_log_id.as_ref().map(Into::into),
            transfer: request.leadership_transfer,
        }
    }
}

impl From<Ballot> for VoteRequest<Types> {
    fn from(ballot: Ballot) -> Self {
        let mut request = Self::new(ballot.vote.into(), ballot.last.map(LogId::from));
        request.leadership_transfer = ballot.transfer;
        request
    }
}

/// Entries to append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Append {
    pub(crate) vote: VoteRecord,
    pub(crate) previous: Option<LogIdRecord>,
    pub(crate) committed: Option<LogIdRecord>,
    pub(crate) entries: Vec<WireEntry>,
}

impl Append {
    /// As many of the entries as fit into one message; at least one, if there is one.
    pub(crate) fn that_fits(request: AppendEntriesRequest<Types>) -> Self {
        let mut bytes = 0_usize;
        let entries = request.entries.into_iter().map(WireEntry::from).take_while(|entry| {
            let first = bytes == 0;
            bytes = bytes.saturating_add(entry.bytes());
            first || bytes <= ENTRIES_BYTES_MAX
        });
        Self {
            vote: (&request.vote).into(),
            previous: request.prev_log_id.as_ref().map(Into::into),
            committed: request.leader_commit.as_ref().map(Into::into),
            entries: entries.collect(),
        }
    }
}

impl TryFrom<Append> for AppendEntriesRequest<Types> {
    type Error = Corrupt;

    fn try_from(append: Append) -> Result<Self, Corrupt> {
        Ok(Self {
            vote: append.vote.into(),
            prev_log_id: append.previous.map(LogId::from),
            leader_commit: append.committed.map(LogId::from),
            entries: append.entries.into_iter().map(WireEntry::unpack).collect::<Result<_, _>>()?,
        })
    }
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireEntry {
    id: LogIdRecord,
    carries: Carried,
}

/// What an entry carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Carried {
    Nothing,
    Command(Vec<u8>),
    Membership(MembershipRecord),
}

impl WireEntry {
    /// Its place in the log.
    pub(crate) fn id(&self) -> LogIdRecord {
        self.id
    }

    /// About how long it is; never less than 48 bytes less than that.
    fn bytes(&self) -> usize {
        match &self.carries {
            Carried::Nothing => 48,
            Carried::Command(command) => command.len().saturating_add(48),
            Carried::Membership(_) => MembershipRecord::BYTES_MAX,
        }
    }
}

impl From<Entry> for WireEntry {
    fn from(entry: Entry) -> Self {
        let carries = match entry.payload {
            EntryPayload::Blank => Carried::Nothing,
            EntryPayload::Normal(command) => Carried::Command(command.0),
            EntryPayload::Membership(membership) => Carried::Membership((&membership).into()),
        };
        Self { id: (&entry.log_id).into(), carries }
    }
}

impl WireEntry {
    /// The entry itself.
    fn unpack(self) -> Result<Entry, Corrupt> {
        let payload = match self.carries {
            Carried::Nothing => EntryPayload::Blank,
            Carried::Command(command) => EntryPayload::Normal(CommandBytes(command)),
            Carried::Membership(record) => EntryPayload::Membership(with_voters(record)?),
        };
        Ok(Entry { log_id: self.id.into(), payload })
    }
}

/// A membership that somebody votes in: without voters, whoever took it over could commit alone.
fn with_voters(record: MembershipRecord) -> Result<Membership, Corrupt> {
    let membership = Membership::try_from(record)?;
    if membership.voter_ids().next().is_none() {
        return Err(Corrupt::Senseless("a group without voters"));
    }
    Ok(membership)
}

/// A request to take over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) vote: VoteRecord,
    pub(crate) to: u64,
    pub(crate) last: Option<LogIdRecord>,
}

impl From<&TransferLeaderRequest<Types>> for Transfer {
    fn from(request: &TransferLeaderRequest<Types>) -> Self {
        Self {
            vote: request.from_leader().into(),
            to: *request.to_node_id(),
            last: request.last_log_id().map(Into::into),
        }
    }
}

impl From<Transfer> for TransferLeaderRequest<Types> {
    fn from(transfer: Transfer) -> Self {
        Self::new(transfer.vote.into(), transfer.to, transfer.last.map(LogId::from))
    }
}

/// Which snapshot will be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub(crate) vote: VoteRecord,
    /// Which state it is.
    pub(crate) header: Header,
    /// Its length, in bytes.
    pub(crate) length: u64,
    /// What its file ends with: the hash chain over all of it.
    pub(crate) digest: Hash,
}

/// A piece of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chunk {
    pub(crate) vote: VoteRecord,
    /// Of the snapshot that it belongs to.
    pub(crate) digest: Hash,
    /// Where it begins.
    pub(crate) offset: u64,
    /// BLAKE3 of `bytes`.
    pub(crate) hash: Hash,
    /// At most [`CHUNK_BYTES_MAX`].
    pub(crate) bytes: Vec<u8>,
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Nothing was done.
    Refused(Refusal),
    /// To a ballot.
    Vote { vote: VoteRecord, granted: bool, last: Option<LogIdRecord> },
    /// To entries.
    Append(AppendAnswer),
    /// To a transfer.
    Transfer(TransferAnswer),
    /// To an offer or a piece: the bytes that are there.
    Have(u64),
    /// To the last piece: the snapshot took the place of the records, unless the vote is higher.
    Installed(VoteRecord),
}

impl Canonical for Answer {
    const BYTES_MAX: usize = 256;
}

impl From<VoteResponse<Types>> for Answer {
    fn from(response: VoteResponse<Types>) -> Self {
        Self::Vote {
            vote: (&response.vote).into(),
            granted: response.vote_granted,
            last: response.last_log_id.as_ref().map(Into::into),
        }
    }
}

/// The answer to entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AppendAnswer {
    All,
    UpTo(Option<LogIdRecord>),
    Conflict,
    HigherVote(VoteRecord),
}

impl From<AppendEntriesResponse<Types>> for AppendAnswer {
    fn from(response: AppendEntriesResponse<Types>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::All,
            AppendEntriesResponse::PartialSuccess(last) => {
                Self::UpTo(last.as_ref().map(Into::into))
            }
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote((&vote).into()),
        }
    }
}

impl From<AppendAnswer> for AppendEntriesResponse<Types> {
    fn from(answer: AppendAnswer) -> Self {
        match answer {
            AppendAnswer::All => Self::Success,
            AppendAnswer::UpTo(last) => Self::PartialSuccess(last.map(LogId::from)),
            AppendAnswer::Conflict => Self::Conflict,
            AppendAnswer::HigherVote(vote) => Self::HigherVote(vote.into()),
        }
    }
}

/// The answer to a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TransferAnswer {
    Accepted,
    VoteChanged { expected: VoteRecord, actual: VoteRecord },
    Behind { expected: Option<LogIdRecord>, actual: Option<LogIdRecord> },
}

impl From<Result<(), TransferLeaderError<Types>>> for TransferAnswer {
    fn from(result: Result<(), TransferLeaderError<Types>>) -> Self {
        match result {
            Ok(()) => Self::Accepted,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                Self::VoteChanged { expected: (&expected).into(), actual: (&actual).into() }
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => Self::Behind {
                expected: expected.as_ref().map(Into::into),
                actual: actual.as_ref().map(Into::into),
            },
        }
    }
}

impl From<TransferAnswer> for Result<(), TransferLeaderError<Types>> {
    fn from(answer: TransferAnswer) -> Self {
        match answer {
            TransferAnswer::Accepted => Ok(()),
            TransferAnswer::VoteChanged { expected, actual } => {
                Err(TransferLeaderError::VoteChanged {
                    expected: expected.into(),
                    actual: actual.into(),
                })
            }
            TransferAnswer::Behind { expected, actual } => {
                Err(TransferLeaderError::LogNotFlushed {
                    expected: expected.map(LogId::from),
                    actual: actual.map(LogId::from),
                })
            }
        }
    }
}

/// Why a member does not listen. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum Refusal {
    /// The bytes are not a message.
    #[error("the message does not decode")]
    Malformed,
    /// It is about the log of another mesh.
    #[error("the message is about another mesh")]
    OtherMesh,
    /// It is about an earlier or later group of this mesh.
    #[error("the message is about another epoch of this mesh")]
    OtherEpoch,
    /// It is for another member, which this node may have been.
    #[error("the message is for another member")]
    OtherReceiver,
    /// The group has no member with the sender's number.
    #[error("the sender is no member of the group")]
    NotAMember,
    /// The member with that number is another node.
    #[error("the sender is another node than the member it says it is")]
    OtherNode,
    /// The member's data directory was another one: it was lost, and the sender is not that member any more.
    #[error("the sender's data directory is not that of the member")]
    OtherIncarnation,
    /// It speaks in the name of another member.
    #[error("the message carries the vote of another member")]
    OtherVote,
    /// The piece is not of the snapshot that was offered, or its hash differs.
    #[error("the piece of a snapshot is damaged or was not offered")]
    BadChunk,
    /// The receiver cannot write what it was sent.
    #[error("the receiver cannot store it")]
    NoRoom,
    /// The receiver has stopped.
    #[error("the receiver has stopped")]
    Stopped,
}

#[cfg(test)]
mod tests;
