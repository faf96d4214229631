//! What this replica has promised to the others, beside the database: a vote, and entries that are durable.
//!
//! A database that was rolled back (a virtual machine's snapshot, a restored backup, a lost end of the write-ahead
//! log) opens well and has forgotten promises: it would vote twice in a term, or confirm a majority that does not
//! hold what it confirmed. So the file says what was promised, and a replica whose database knows less does not
//! start.
//!
//! ```text
//! slot (512 bytes), twice, 4,096 bytes apart
//!   length (u16, little-endian), record (canonical), BLAKE3 of the record, zeros
//! ```
//!
//! The slots are written in turn, and the newer one that is whole counts: a torn write loses the newer promise and
//! not the older.
//!
//! # Invariant
//!
//! What the file says was durable in the database before the file said it. It never says more.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use protocol::{
    codec::{self, Canonical},
    ids::Hash,
};
use serde::{Deserialize, Serialize};

use super::{
    directory::sync_dir,
    disk::{IdentityRecord, VoteRecord},
    raft::Vote,
};

/// Bytes of a slot.
const SLOT_BYTES: usize = 512;
/// Where the slots begin: on different sectors, also of disks that say they have small ones.
const SLOTS: [u64; 2] = [0, 4_096];

/// What was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PromiseRecord {
    /// Counts the promises: the higher one is newer.
    sequence: u64,
    raft_id: u64,
    incarnation: [u8; 16],
    vote: Option<VoteRecord>,
    /// The log is durable up to this entry. Not more than it was when the last truncation began.
    last_index: Option<u64>,
}

impl Canonical for PromiseRecord {
    const BYTES_MAX: usize = 64;
}

impl PromiseRecord {
    /// The log is durable up to this entry.
    pub(crate) fn last_index(&self) -> Option<u64> {
        self.last_index
    }

    /// What of it `vote` and `last_index`, which the database knows, do not keep.
    pub(crate) fn broken_by(
        &self,
        identity: &IdentityRecord,
        vote: Option<Vote>,
        last_index: Option<u64>,
    ) -> Option<&'static str> {
        if (self.raft_id, self.incarnation) != (identity.raft_id, identity.incarnation) {
            return Some("it belongs to another member");
        }
        if self.vote.map(Vote::from) > vote {
            return Some("it has forgotten a vote");
        }
        (self.last_index > last_index).then_some("it has lost entries of the log")
    }
}

/// The file.
#[derive(Debug)]
pub(crate) struct Promise {
    file: File,
    /// Whose promises they are. Before that is known nothing is promised.
    identity: Option<IdentityRecord>,
    /// The last one that was written or read.
    last: Option<PromiseRecord>,
}

impl Promise {
    /// Opens the file and reads the last promise; makes the file if there is none.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let is_new = !path.exists();
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        if is_new && let Some(dir) = path.parent() {
            sync_dir(dir)?;
        }
        let mut last: Option<PromiseRecord> = None;
        for at in SLOTS {
            let found = read_slot(&mut file, at)?;
            if found.map(|record| record.sequence) > last.map(|record| record.sequence) {
                last = found;
            }
        }
        Ok(Self { file, identity: None, last })
    }

    /// From now on promises are written, in this name.
    pub(crate) fn bind(&mut self, identity: IdentityRecord) {
        self.identity = Some(identity);
    }

    /// What was promised last.
    pub(crate) fn last(&self) -> Option<PromiseRecord> {
        self.last
    }

    /// The log is durable up to this entry, as far as it was promised.
    pub(crate) fn last_index(&self) -> Option<u64> {
        self.last.and_then(|record| record.last_index())
    }

    /// Promises a vote, which is durable.
    pub(crate) fn vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.write(Some(VoteRecord::from(vote)), self.last_index())
    }

    /// Promises that the log is durable up to `last_index`, or takes back what is beyond it.
    pub(crate) fn entries(&mut self, last_index: Option<u64>) -> io::Result<()> {
        self.write(self.last.and_then(|record| record.vote), last_index)
    }

    fn write(&mut self, vote: Option<VoteRecord>, last_index: Option<u64>) -> io::Result<()> {
        let Some(identity) = &self.identity else { return Ok(()) };
        let sequence = self.last.map_or(0, |record| record.sequence).saturating_add(1);
        let record = PromiseRecord {
            sequence,
            raft_id: identity.raft_id,
            incarnation: identity.incarnation,
            vote,
            last_index,
        };
        let at = if sequence & 1 == 0 { SLOTS[0] } else { SLOTS[1] };
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(&slot(&record))?;
        self.file.sync_data()?;
        self.last = Some(record);
        Ok(())
    }
}

/// A slot that holds `record`.
fn slot(record: &PromiseRecord) -> Vec<u8> {
    let bytes = codec::encode(record);
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let mut slot = length.to_le_bytes().to_vec();
    slot.extend_from_slice(&bytes);
    slot.extend_from_slice(&Hash::of(&bytes).0);
    slot.resize(SLOT_BYTES, 0);
    slot
}

/// The record at `at`, if it is whole.
fn read_slot(file: &mut File, at: u64) -> io::Result<Option<PromiseRecord>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::with_capacity(SLOT_BYTES);
    let limit = u64::try_from(SLOT_BYTES).unwrap_or(u64::MAX);
    (&*file).take(limit).read_to_end(&mut bytes)?;
    Ok(parse(&bytes))
}

fn parse(slot: &[u8]) -> Option<PromiseRecord> {
    let (length, rest) = slot.split_first_chunk::<2>()?;
    let (record, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let (hash, _) = rest.split_first_chunk::<32>()?;
    if Hash::of(record).0 != *hash {
        return None;
    }
    codec::decode(record).ok()
}

#[cfg(test)]
mod tests {
    use protocol::ids::{MeshId, NodeId};

    use super::*;

    const OWN: IdentityRecord = IdentityRecord {
        mesh: MeshId([1; 32]),
        node: NodeId([2; 32]),
        raft_id: 3,
        incarnation: [4; 16],
    };

    #[test]
    fn what_was_promised_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("promise");
        let mut promise = Promise::open(&path).unwrap();
        promise.vote(&Vote::new(4, 3)).unwrap();
        assert_eq!(promise.last(), None, "nobody promised it");
        promise.bind(OWN);
        promise.vote(&Vote::new(5, 3)).unwrap();
        for index in 0..10 {
            promise.entries(Some(index)).unwrap();
        }
        let read = Promise::open(&path).unwrap().last().unwrap();
        assert_eq!(Some(read), promise.last());
        assert_eq!(read.broken_by(&OWN, Some(Vote::new(5, 3)), Some(9)), None);
        assert_eq!(read.broken_by(&OWN, Some(Vote::new(6, 1)), Some(20)), None);
        assert!(read.broken_by(&OWN, Some(Vote::new(4, 3)), Some(9)).is_some());
        assert!(read.broken_by(&OWN, None, Some(9)).is_some());
        assert!(read.broken_by(&OWN, Some(Vote::new(5, 3)), Some(8)).is_some());
        let other = IdentityRecord { raft_id: 4, ..OWN };
        assert!(read.broken_by(&other, Some(Vote::new(5, 3)), Some(9)).is_some());
    }

    #[test]
    fn a_torn_write_loses_the_newer_promise_and_not_the_older() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("promise");
        let mut promise = Promise::open(&path).unwrap();
        promise.bind(OWN);
        promise.entries(Some(1)).unwrap();
        let older = promise.last();
        promise.entries(Some(2)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let newer = promise.last();
        for (at, expected) in [(SLOTS[0], older), (SLOTS[1], newer)] {
            for byte in 0..60 {
                let mut torn = whole.clone();
                torn[usize::try_from(at).unwrap()..][byte] ^= 0x10;
                std::fs::write(&path, &torn).unwrap();
                assert_eq!(Promise::open(&path).unwrap().last(), expected);
            }
        }
        std::fs::write(&path, &whole[..100]).unwrap();
        assert_eq!(Promise::open(&path).unwrap().last(), newer);
    }

    #[test]
    fn the_bytes_of_a_slot_are_frozen() {
        let record = PromiseRecord {
            sequence: 1,
            raft_id: 3,
            incarnation: [4; 16],
            vote: Some(VoteRecord::from(&Vote::new(5, 3))),
            last_index: Some(9),
        };
        let expected = [
            [59, 0].as_slice(),
            &[1, 0, 0, 0, 0, 0, 0, 0],
            &[3, 0, 0, 0, 0, 0, 0, 0],
            &[4; 16],
            &[1, 5, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0],
            &[1, 9, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(slot(&record)[..expected.len()], expected);
        assert_eq!(parse(&slot(&record)), Some(record));
    }
}
