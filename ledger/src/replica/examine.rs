//! A look at a copy of the ledger on disk, also while its node runs: nothing is locked, and nothing is written.

use std::path::{Path, PathBuf};

use openraft::vote::RaftLeaderId as _;
use protocol::{
    codec::{self, Canonical},
    merkle::Digest,
    time::UnixMillis,
};
use rocksdb::{DB, IteratorMode, Options, ReadOptions};
use thiserror::Error;

use super::{
    disk::{self, IdentityRecord, LogIdRecord},
    raft::LogId,
    store::{AFTER_ALL_KEYS, LOG, META, meta},
};
use crate::{
    records::{Range, ReadError, Record, Records, Table},
    state::{
        entry::{BEFORE_FIRST, Entry},
        query,
        record::Row as _,
    },
};

/// What was seen of a copy that is sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examined {
    /// Entries in it.
    pub height: u64,
    /// The cluster time of the newest.
    pub time: UnixMillis,
    /// Entries that were looked at: the newest ones.
    pub checked: u64,
}

/// Why a copy is not sound.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExamineError {
    /// The database does not open.
    #[error("the database in {} does not open", .dir.display())]
    Open {
        /// Where.
        dir: PathBuf,
        /// Why.
        #[source]
        source: rocksdb::Error,
    },
    /// A record cannot be read.
    #[error("the records cannot be read")]
    Read(#[from] ReadError),
    /// An entry is not what was written.
    #[error("entry {seq} is damaged")]
    Damaged {
        /// Its number.
        seq: u64,
        /// How.
        #[source]
        source: ReadError,
    },
    /// An entry does not follow the one before.
    #[error("entry {seq} does not follow the one before: {how}")]
    Broken {
        /// Its number.
        seq: u64,
        /// What does not fit.
        how: &'static str,
    },
}

/// Looks at the newest `entries_max` entries of the copy in `dir`, the directory that a replica was opened with:
/// whether they are numbered without a gap, whether each names the hash of the one before, whether time goes on, and
/// whether the newest is the one that the state machine was at. `None` if there is no copy, or nothing in it yet.
///
/// Blocks.
///
/// # Errors
///
/// See [`ExamineError`].
pub fn examine(dir: &Path, entries_max: u64) -> Result<Option<Examined>, ExamineError> {
    let path = dir.join("rocksdb");
    if !path.join("CURRENT").exists() {
        return Ok(None);
    }
    let copy = Copy::open(&path)?;
    let Some(facts) = query::mesh(&copy)? else { return Ok(None) };
    let first = facts.height.saturating_sub(entries_max).saturating_add(1);
    let mut before: Option<(Digest, UnixMillis)> = None;
    let mut next = first;
    for found in copy.entries(first) {
        let bytes = found.map_err(|source| copy.read_error(Table::Entries, source))?;
        let entry = Entry::from_bytes(&bytes)
            .map_err(|source| ExamineError::Damaged { seq: next, source })?;
        follows(&entry, next, before)?;
        before = Some((Entry::leaf_hash(&codec::encode(&entry)), entry.cluster_time));
        next = next.saturating_add(1);
    }
    let (head, time) = before.unwrap_or((BEFORE_FIRST, facts.time));
    if next != facts.height.saturating_add(1) {
        return Err(ExamineError::Broken { seq: next, how: "it is missing" });
    }
    if head != facts.head {
        let how = "its hash is not that of the state machine's head";
        return Err(ExamineError::Broken { seq: facts.height, how });
    }
    let checked = next.saturating_sub(first);
    Ok(Some(Examined { height: facts.height, time, checked }))
}

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspected {
    /// The number of the member that keeps it.
    pub raft_id: u64,
    /// Its directory.
    pub incarnation: [u8; 16],
    /// The term of the last entry of its log.
    pub last_term: u64,
    /// The place of that entry.
    pub last_index: u64,
    /// Up to which entry the records are.
    pub applied_index: u64,
    /// Entries in the ledger.
    pub height: u64,
}

/// Looks at what the copy in `dir` holds, to compare it with others. `None` if there is no copy, or nothing in it yet.
///
/// Blocks.
///
/// # Errors
///
/// See [`ExamineError`].
pub fn inspect(dir: &Path) -> Result<Option<Inspected>, ExamineError> {
    let path = dir.join("rocksdb");
    if !path.join("CURRENT").exists() {
        return Ok(None);
    }
    let copy = Copy::open(&path)?;
    let Some(identity) = copy.meta::<IdentityRecord>(meta::IDENTITY)? else { return Ok(None) };
    let place = |record: Option<LogIdRecord>| record.map(LogId::from);
    let purged = place(copy.meta(meta::PURGED)?);
    let last = copy.last_entry()?.max(purged);
    let applied = place(copy.meta(meta::APPLIED)?);
    Ok(Some(Inspected {
        raft_id: identity.raft_id,
        incarnation: identity.incarnation,
        last_term: last.map_or(0, |last| last.leader_id.term()),
        last_index: last.map_or(0, |last| last.index),
        applied_index: applied.map_or(0, |applied| applied.index),
        height: query::mesh(&copy)?.map_or(0, |facts| facts.height),
    }))
}

fn follows(
    entry: &Entry,
    seq: u64,
    before: Option<(Digest, UnixMillis)>,
) -> Result<(), ExamineError> {
    let broken = |how| Err(ExamineError::Broken { seq, how });
    if entry.seq != seq {
        return broken("its number is another");
    }
    match before {
        Some((hash, _)) if entry.prev != hash => broken("it names another one"),
        Some((_, time)) if entry.cluster_time <= time => broken("it is older"),
        None if seq == 1 && entry.prev != BEFORE_FIRST => broken("the first names one before it"),
        Some(_) | None => Ok(()),
    }
}

/// The database of somebody else.
struct Copy {
    db: DB,
}

impl Copy {
    fn open(path: &Path) -> Result<Self, ExamineError> {
        let families = [LOG, META].into_iter().chain(Table::ALL.map(Table::name));
        let db = DB::open_cf_for_read_only(&Options::default(), path, families, false);
        db.map(|db| Self { db })
            .map_err(|source| ExamineError::Open { dir: path.to_owned(), source })
    }

    /// Something of Raft's own.
    fn meta<T: Canonical>(&self, key: &[u8]) -> Result<Option<T>, ReadError> {
        let Some(family) = self.db.cf_handle(META) else { return Ok(None) };
        let found = self.db.get_cf(&family, key);
        let found = found.map_err(|source| ReadError { table: META, source: Box::new(source) })?;
        let value = found.map(|bytes| disk::unseal(&bytes)).transpose();
        value.map_err(|source| ReadError { table: META, source: Box::new(source) })
    }

    /// The place of the last entry of the log.
    fn last_entry(&self) -> Result<Option<LogId>, ReadError> {
        let Some(family) = self.db.cf_handle(LOG) else { return Ok(None) };
        let Some(last) = self.db.iterator_cf(&family, IteratorMode::End).next() else {
            return Ok(None);
        };
        let (_, bytes) =
            last.map_err(|source| ReadError { table: LOG, source: Box::new(source) })?;
        let entry = disk::decode_entry(&bytes);
        let entry = entry.map_err(|source| ReadError { table: LOG, source: Box::new(source) })?;
        Ok(Some(entry.log_id))
    }

    /// The bytes of the entries from that number on.
    fn entries(&self, first: u64) -> impl Iterator<Item = Result<Box<[u8]>, rocksdb::Error>> {
        let from = first.to_be_bytes();
        let family = self.db.cf_handle(Table::Entries.name());
        family.into_iter().flat_map(move |family| {
            let mut options = ReadOptions::default();
            options.set_iterate_lower_bound(from);
            options.set_iterate_upper_bound(AFTER_ALL_KEYS);
            self.db
                .iterator_cf_opt(&family, options, IteratorMode::Start)
                .map(|found| found.map(|(_, bytes)| bytes))
        })
    }

    fn read_error(&self, table: Table, source: rocksdb::Error) -> ReadError {
        ReadError { table: table.name(), source: Box::new(source) }
    }
}

impl Records for Copy {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(family) = self.db.cf_handle(table.name()) else { return Ok(None) };
        self.db.get_cf(&family, key).map_err(|source| self.read_error(table, source))
    }

    fn scan(&self, table: Table, range: &Range) -> Result<Vec<Record>, ReadError> {
        let Some(family) = self.db.cf_handle(table.name()) else { return Ok(Vec::new()) };
        if range.from >= range.to {
            return Ok(Vec::new());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(range.from.as_slice());
        options.set_iterate_upper_bound(range.to.as_slice());
        let mode = if range.reverse { IteratorMode::End } else { IteratorMode::Start };
        let found = self.db.iterator_cf_opt(&family, options, mode).take(range.limit);
        found
            .map(|record| {
                let record = record.map_err(|source| self.read_error(table, source))?;
                Ok((record.0.into_vec(), record.1.into_vec()))
            })
            .collect()
    }
}
