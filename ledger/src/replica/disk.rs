//! How the log and its bookkeeping are written: our own records, so that the format does not move with openraft.
//!
//! A record is a format tag (u16, little-endian) and the canonical encoding of one of the types below. An entry
//! of the log is its header in that form, then what it carries: nothing, the command's canonical bytes, or a
//! membership.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{EntryPayload, vote::RaftLeaderId};
use protocol::{
    codec::{self, Canonical, DecodeError},
    ids::{MeshId, NodeId},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::raft::{CommandBytes, Entry, LogId, Member, Membership, StoredMembership, Vote, log_id};

/// The only format there is so far.
const FORMAT: u16 = 1;
/// Bytes of a format tag.
const TAG_BYTES: usize = 2;

/// Bytes on disk are not what this version writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Corrupt {
    /// Another version wrote them, or nothing that we know did.
    #[error("format {found} is not known to this version")]
    Format {
        /// The tag.
        found: u16,
    },
    /// They end too early.
    #[error("the record is cut off")]
    CutOff,
    /// They do not decode.
    #[error("the record does not decode")]
    Malformed(#[source] DecodeError),
    /// They decode to something that cannot be.
    #[error("the record makes no sense: {0}")]
    Senseless(&'static str),
}

/// Encodes a record with its format tag.
pub(crate) fn seal<T: Canonical>(value: &T) -> Vec<u8> {
    let mut bytes = FORMAT.to_le_bytes().to_vec();
    bytes.extend(codec::encode(value));
    bytes
}

/// Decodes a record with its format tag.
pub(crate) fn unseal<T: Canonical>(bytes: &[u8]) -> Result<T, Corrupt> {
    codec::decode(body(bytes)?).map_err(Corrupt::Malformed)
}

/// What follows the format tag.
fn body(bytes: &[u8]) -> Result<&[u8], Corrupt> {
    let (tag, body) = bytes.split_first_chunk::<TAG_BYTES>().ok_or(Corrupt::CutOff)?;
    match u16::from_le_bytes(*tag) {
        FORMAT => Ok(body),
        found => Err(Corrupt::Format { found }),
    }
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogIdRecord {
    term: u64,
    leader: u64,
    index: u64,
}

impl Canonical for LogIdRecord {
    const BYTES_MAX: usize = 24;
}

impl From<&LogId> for LogIdRecord {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term(), leader: *id.leader_id.node_id(), index: id.index }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(record: LogIdRecord) -> Self {
        log_id(record.term, record.leader, record.index)
    }
}

/// A vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteRecord {
    term: u64,
    node: u64,
    committed: bool,
}

impl Canonical for VoteRecord {
    const BYTES_MAX: usize = 17;
}

impl VoteRecord {
    /// Whose vote it is.
    pub(crate) fn node(&self) -> u64 {
        self.node
    }
}

impl From<&Vote> for VoteRecord {
    fn from(vote: &Vote) -> Self {
        Self {
            term: vote.leader_id.term(),
            node: *vote.leader_id.node_id(),
            committed: vote.committed,
        }
    }
}

impl From<VoteRecord> for Vote {
    fn from(record: VoteRecord) -> Self {
        if record.committed {
            Self::new_committed(record.term, record.node)
        } else {
            Self::new(record.term, record.node)
        }
    }
}

/// Who is in the group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembershipRecord {
    /// One set of voters, or two while it changes from one to the other.
    voters: Vec<Vec<u64>>,
    /// Voters and learners, by number.
    members: Vec<(u64, Member)>,
}

impl Canonical for MembershipRecord {
    /// Room for 200 members.
    const BYTES_MAX: usize = 16 * 1024;
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> Self {
        Self {
            voters: membership
                .get_joint_config()
                .iter()
                .map(|set| set.iter().copied().collect())
                .collect(),
            members: membership.nodes().map(|(id, member)| (*id, *member)).collect(),
        }
    }
}

impl TryFrom<MembershipRecord> for Membership {
    type Error = Corrupt;

    fn try_from(record: MembershipRecord) -> Result<Self, Corrupt> {
        let voters: Vec<BTreeSet<u64>> =
            record.voters.into_iter().map(|set| set.into_iter().collect()).collect();
        let members: BTreeMap<u64, Member> = record.members.into_iter().collect();
        Self::new(voters, members).map_err(|_| Corrupt::Senseless("a group without voters"))
    }
}

/// A membership and the entry that it came with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredMembershipRecord {
    at: LogIdRecord,
    membership: MembershipRecord,
}

impl Canonical for StoredMembershipRecord {
    const BYTES_MAX: usize = LogIdRecord::BYTES_MAX + MembershipRecord::BYTES_MAX;
}

impl StoredMembershipRecord {
    /// The membership of the entry `at`.
    pub(crate) fn new(at: &LogId, membership: &Membership) -> Self {
        Self { at: at.into(), membership: membership.into() }
    }

    /// `None` for the membership of a replica that has not seen one.
    pub(crate) fn of(stored: &StoredMembership) -> Option<Self> {
        stored.log_id().as_ref().map(|at| Self::new(at, stored.membership()))
    }
}

impl TryFrom<StoredMembershipRecord> for StoredMembership {
    type Error = Corrupt;

    fn try_from(record: StoredMembershipRecord) -> Result<Self, Corrupt> {
        Ok(Self::new(Some(record.at.into()), record.membership.try_into()?))
    }
}

/// Whose replica this is. Written once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdentityRecord {
    /// The mesh whose log this is.
    pub(crate) mesh: MeshId,
    /// The node that keeps it.
    pub(crate) node: NodeId,
    /// Its number in the group.
    pub(crate) raft_id: u64,
    /// Drawn when the directory was made.
    pub(crate) incarnation: [u8; 16],
}

impl Canonical for IdentityRecord {
    const BYTES_MAX: usize = 88;
}

/// Members that a replica was told of before it had a membership of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SponsorsRecord {
    pub(crate) members: Vec<(u64, Member)>,
}

impl Canonical for SponsorsRecord {
    /// Room for 200 members.
    const BYTES_MAX: usize = 16 * 1024;
}

/// What an entry of the log begins with.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct EntryHeader {
    id: LogIdRecord,
    kind: EntryKind,
}

/// What an entry carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum EntryKind {
    Blank,
    Command,
    Membership,
}

impl Canonical for EntryHeader {
    const BYTES_MAX: usize = Self::BYTES;
}

impl EntryHeader {
    /// Fixed: a log id and the number of a variant (u32).
    const BYTES: usize = LogIdRecord::BYTES_MAX + 4;
}

/// Encodes an entry of the log.
pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    let id = LogIdRecord::from(&entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => seal(&EntryHeader { id, kind: EntryKind::Blank }),
        EntryPayload::Normal(command) => {
            let mut bytes = seal(&EntryHeader { id, kind: EntryKind::Command });
            bytes.extend_from_slice(&command.0);
            bytes
        }
        EntryPayload::Membership(membership) => {
            let mut bytes = seal(&EntryHeader { id, kind: EntryKind::Membership });
            bytes.extend(codec::encode(&MembershipRecord::from(membership)));
            bytes
        }
    }
}

/// Decodes an entry of the log. The command that it carries is checked when it is applied.
pub(crate) fn decode_entry(bytes: &[u8]) -> Result<Entry, Corrupt> {
    let (header, carried) =
        body(bytes)?.split_at_checked(EntryHeader::BYTES).ok_or(Corrupt::CutOff)?;
    let header: EntryHeader = codec::decode(header).map_err(Corrupt::Malformed)?;
    let payload = match header.kind {
        EntryKind::Blank if carried.is_empty() => EntryPayload::Blank,
        EntryKind::Blank => return Err(Corrupt::Senseless("a blank entry that carries something")),
        EntryKind::Command => EntryPayload::Normal(CommandBytes(carried.to_vec())),
        EntryKind::Membership => {
            let record: MembershipRecord = codec::decode(carried).map_err(Corrupt::Malformed)?;
            EntryPayload::Membership(record.try_into()?)
        }
    };
    Ok(Entry { log_id: header.id.into(), payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        let member = |byte| Member { node: NodeId([byte; 32]), incarnation: [byte; 16] };
        let voters = vec![BTreeSet::from([1, 2]), BTreeSet::from([1])];
        Membership::new(voters, BTreeMap::from([(1, member(1)), (2, member(2)), (3, member(3))]))
            .unwrap()
    }

    #[test]
    fn entries_survive_the_disk() {
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(CommandBytes(vec![1, 2, 3])),
            EntryPayload::Membership(membership()),
        ] {
            let entry = Entry { log_id: log_id(3, 1, 17), payload };
            assert_eq!(decode_entry(&encode_entry(&entry)).unwrap(), entry);
        }
    }

    #[test]
    fn the_bytes_of_an_entry_are_frozen() {
        let entry = Entry {
            log_id: log_id(2, 1, 258),
            payload: EntryPayload::Normal(CommandBytes(vec![7, 8])),
        };
        let expected = [
            [1, 0].as_slice(),         // format
            &[2, 0, 0, 0, 0, 0, 0, 0], // term
            &[1, 0, 0, 0, 0, 0, 0, 0], // leader
            &[2, 1, 0, 0, 0, 0, 0, 0], // index
            &[1, 0, 0, 0],             // a command
            &[7, 8],                   // its bytes
        ]
        .concat();
        assert_eq!(encode_entry(&entry), expected);
    }

    #[test]
    fn a_format_that_is_not_known_is_refused() {
        let mut bytes =
            encode_entry(&Entry { log_id: log_id(1, 1, 1), payload: EntryPayload::Blank });
        bytes[0] = 9;
        assert_eq!(decode_entry(&bytes).unwrap_err(), Corrupt::Format { found: 9 });
        assert_eq!(decode_entry(&bytes[..1]).unwrap_err(), Corrupt::CutOff);
    }

    #[test]
    fn votes_and_memberships_survive_the_disk() {
        for vote in [Vote::new(4, 2), Vote::new_committed(5, 1)] {
            let record: VoteRecord = unseal(&seal(&VoteRecord::from(&vote))).unwrap();
            assert_eq!(Vote::from(record), vote);
        }
        let stored = StoredMembership::new(Some(log_id(1, 1, 4)), membership());
        let record: StoredMembershipRecord =
            unseal(&seal(&StoredMembershipRecord::of(&stored).unwrap())).unwrap();
        assert_eq!(StoredMembership::try_from(record).unwrap(), stored);
    }
}
