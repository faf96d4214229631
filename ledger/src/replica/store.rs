//! The one database: the log, its bookkeeping and the records, with one write-ahead log.
//!
//! ```text
//! <dir>/format      what wrote the directory
//! <dir>/lock        held by the process that uses it
//! <dir>/rocksdb/    the database
//! <dir>/promise     what it must not have forgotten
//! <dir>/snapshots/  the newest snapshot
//! ```
//!
//! # Invariants
//!
//! 1. Writes become durable in the order in which they were made: one write-ahead log, and RocksDB syncs the
//!    closed ones before it flushes a table.
//! 2. After the first error nothing is written any more ([`Fault`]).

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRecoveryMode, IteratorMode, Options, ReadOptions, Snapshot, WriteBatch, WriteOptions,
};
use thiserror::Error;

use super::{
    Fatal, OpenError,
    directory::Directory,
    disk::{self, Corrupt},
    fault::Fault,
    promise::{Promise, PromiseRecord},
};
use crate::records::{Changes, Range, ReadError, Record, Records, Table};

/// The log: index (u64, big-endian) → entry.
pub(crate) const LOG: &str = "raft_log";
/// The log's bookkeeping: see [`meta`].
pub(crate) const META: &str = "raft_meta";

/// Keys of [`META`].
pub(crate) mod meta {
    /// The last vote.
    pub(crate) const VOTE: &[u8] = b"vote";
    /// The last entry that is known to be committed.
    pub(crate) const COMMITTED: &[u8] = b"committed";
    /// The last entry that was removed from the log's beginning.
    pub(crate) const PURGED: &[u8] = b"purged";
    /// The last entry that the records hold.
    pub(crate) const APPLIED: &[u8] = b"applied";
    /// The last membership among the applied entries.
    pub(crate) const MEMBERSHIP: &[u8] = b"membership";
    /// A snapshot that is being installed: the records are incomplete until it is done.
    pub(crate) const INSTALLING: &[u8] = b"installing";
    /// Whose replica this is.
    pub(crate) const IDENTITY: &[u8] = b"identity";
    /// Whom a replica that joins believes until it has a membership of its own.
    pub(crate) const SPONSORS: &[u8] = b"sponsors";
}

/// Memory for what is not yet in a file, over all column families, in bytes.
const WRITE_BUFFERS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Of that, for one column family.
const WRITE_BUFFER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The write-ahead log, in bytes: bounds the time that recovery takes.
const WAL_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Memory for blocks that were read, in bytes.
const BLOCK_CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Files that RocksDB keeps open. An ordinary user has 1,024.
const OPEN_FILES_MAX: i32 = 256;
/// RocksDB's own log, in bytes a file and in files.
const INFO_LOG_BYTES_MAX: usize = 1024 * 1024;
const INFO_LOG_FILES_MAX: usize = 3;
/// Longer than any key, and after all of them.
pub(crate) const AFTER_ALL_KEYS: [u8; 64] = [0xff; 64];

/// The database failed.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    /// RocksDB did.
    #[error("the database could not {action}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: rocksdb::Error,
    },
    /// A column family is missing.
    #[error("the column family `{0}` is missing")]
    Missing(&'static str),
    /// A record is not what was written.
    #[error("`{key}` is corrupt")]
    Corrupt {
        /// Which.
        key: String,
        /// How.
        #[source]
        source: Corrupt,
    },
    /// The log has a hole.
    #[error("entry {index} of the log is missing")]
    Hole {
        /// Where.
        index: u64,
    },
    /// A promise could not be written.
    #[error("what was promised to the other coordinators could not be written")]
    Promise(#[source] std::io::Error),
    /// It failed before.
    #[error("the ledger has stopped")]
    Stopped(#[source] Fatal),
}

/// Whether a write waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It is durable when the call returns.
    Synced,
    /// It is durable when a later synced write or [`Database::sync`] returns.
    Buffered,
}

/// A key and a value as they lie in the database, or why they cannot be read.
pub(crate) type Found = Result<(Box<[u8]>, Box<[u8]>), StoreError>;

/// The database and the directory that it lies in.
#[derive(Debug)]
pub(crate) struct Database {
    db: DB,
    directory: Directory,
    /// Held for writing while a snapshot replaces the records, so that nobody reads half of each.
    replacing: RwLock<()>,
    /// Held while a promise is written.
    promise: RwLock<Promise>,
    written: RwLock<Written>,
    fault: Fault,
}

/// How far the log is written, durable or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// The last entry that was appended since the start.
    pub(crate) last_index: Option<u64>,
    /// How often entries were removed from the end: what was written before that says nothing about now.
    truncations: u64,
}

impl Database {
    /// Opens the database in `dir`, or makes it.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub(crate) fn open(dir: &Path, fault: Fault) -> Result<Self, OpenError> {
        let directory = Directory::open(dir)?;
        let promise = Promise::open(&directory.promise())
            .map_err(|source| OpenError::NotUsable { path: directory.promise(), source })?;
        let path = directory.database();
        let families = [LOG, META].into_iter().chain(Table::ALL.map(Table::name));
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES_MAX);
        let families =
            families.map(|name| ColumnFamilyDescriptor::new(name, family_options(&cache)));
        let db = DB::open_cf_descriptors(&options(), path, families).map_err(|source| {
            OpenError::Database { dir: dir.to_owned(), source: Box::new(source) }
        })?;
        Ok(Self {
            db,
            directory,
            replacing: RwLock::new(()),
            promise: RwLock::new(promise),
            written: RwLock::default(),
            fault,
        })
    }

    /// What was promised to the other members.
    pub(crate) fn promised(&self) -> Option<PromiseRecord> {
        self.promise.read().unwrap_or_else(PoisonError::into_inner).last()
    }

    /// Writes a promise, or changes whose they are. A failure stops the replica.
    pub(crate) fn promise(
        &self,
        act: impl FnOnce(&mut Promise) -> std::io::Result<()>,
    ) -> Result<(), StoreError> {
        // A panic while it was held left a slot that is not whole, which is found out when it is read.
        let mut promise = self.promise.write().unwrap_or_else(PoisonError::into_inner);
        act(&mut promise).map_err(|source| self.stop(StoreError::Promise(source)))
    }

    /// How far the log is written.
    pub(crate) fn written(&self) -> Written {
        *self.written.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries up to this one were appended.
    pub(crate) fn appended(&self, last_index: u64) {
        let mut written = self.written.write().unwrap_or_else(PoisonError::into_inner);
        written.last_index = Some(last_index);
    }

    /// Promises that everything up to `durable` is durable, unless entries were removed since.
    pub(crate) fn promise_durable(&self, durable: Written) -> Result<(), StoreError> {
        self.promise(|promise| {
            let same = self.written().truncations == durable.truncations;
            if same && durable.last_index > promise.last_index() {
                promise.entries(durable.last_index)?;
            }
            Ok(())
        })
    }

    /// Entries behind `last_index` will be removed: takes back what was promised about them.
    pub(crate) fn truncating(&self, last_index: Option<u64>) -> Result<(), StoreError> {
        self.promise(|promise| {
            {
                let mut written = self.written.write().unwrap_or_else(PoisonError::into_inner);
                written.truncations = written.truncations.saturating_add(1);
                written.last_index = last_index;
            }
            if promise.last_index() > last_index { promise.entries(last_index) } else { Ok(()) }
        })
    }

    /// Where snapshots lie.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.directory.snapshots()
    }

    /// What made the replica stop, and where to say so.
    pub(crate) fn fault(&self) -> &Fault {
        &self.fault
    }

    /// A column family.
    pub(crate) fn family(
        &self,
        name: &'static str,
    ) -> Result<Arc<BoundColumnFamily<'_>>, StoreError> {
        self.db.cf_handle(name).ok_or(StoreError::Missing(name))
    }

    /// Writes all of `batch` or nothing.
    pub(crate) fn write(
        &self,
        batch: WriteBatch,
        durability: Durability,
    ) -> Result<(), StoreError> {
        if let Some(fatal) = self.fault.get() {
            return Err(StoreError::Stopped(fatal));
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        let written = self.db.write_opt(batch, &options);
        self.check("write", written)
    }

    /// Makes everything durable that was written before.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        if let Some(fatal) = self.fault.get() {
            return Err(StoreError::Stopped(fatal));
        }
        let synced = self.db.flush_wal(true);
        self.check("sync its log", synced)
    }

    /// A record of the log's bookkeeping.
    pub(crate) fn meta<T: protocol::codec::Canonical>(
        &self,
        key: &[u8],
    ) -> Result<Option<T>, StoreError> {
        self.meta_at(None, key)
    }

    /// A record of the log's bookkeeping as `snapshot` sees it.
    pub(crate) fn meta_at<T: protocol::codec::Canonical>(
        &self,
        snapshot: Option<&Snapshot<'_>>,
        key: &[u8],
    ) -> Result<Option<T>, StoreError> {
        let family = self.family(META)?;
        let found = self.db.get_pinned_cf_opt(&family, key, &read_options(snapshot));
        let Some(bytes) = self.check("read", found)? else { return Ok(None) };
        disk::unseal(&bytes).map(Some).map_err(|source| {
            self.stop(StoreError::Corrupt {
                key: String::from_utf8_lossy(key).into_owned(),
                source,
            })
        })
    }

    /// The entries of the log from `from` on: index and bytes. Sees what was written before the call.
    pub(crate) fn log_from<'a>(
        &'a self,
        family: &Arc<BoundColumnFamily<'a>>,
        from: u64,
        to: u64,
    ) -> impl Iterator<Item = Found> + 'a {
        let mut options = read_options(None);
        options.set_iterate_lower_bound(from.to_be_bytes());
        options.set_iterate_upper_bound(to.to_be_bytes());
        self.db
            .iterator_cf_opt(family, options, IteratorMode::Start)
            .map(|found| self.check("read", found))
    }

    /// The last entry of the log.
    pub(crate) fn log_last(&self) -> Result<Option<Box<[u8]>>, StoreError> {
        let family = self.family(LOG)?;
        let found = self.db.iterator_cf(&family, IteratorMode::End).next().transpose();
        Ok(self.check("read", found)?.map(|(_, bytes)| bytes))
    }

    /// Adds changes of the records to a batch.
    pub(crate) fn add_changes(
        &self,
        batch: &mut WriteBatch,
        changes: &Changes,
    ) -> Result<(), StoreError> {
        for (table, key, value) in changes.iter() {
            let family = self.family(table.name())?;
            match value {
                Some(value) => batch.put_cf(&family, key, value),
                None => batch.delete_cf(&family, key),
            }
        }
        Ok(())
    }

    /// What all column families hold now.
    pub(crate) fn snapshot(&self) -> Snapshot<'_> {
        let _complete = self.while_complete();
        self.db.snapshot()
    }

    /// All records of a table, as `snapshot` sees them.
    pub(crate) fn table_at<'a>(
        &'a self,
        snapshot: &Snapshot<'_>,
        family: &Arc<BoundColumnFamily<'a>>,
    ) -> impl Iterator<Item = Found> + 'a {
        self.db
            .iterator_cf_opt(family, read_options(Some(snapshot)), IteratorMode::Start)
            .map(|found| self.check("read", found))
    }

    /// Keeps readers out until the guard is dropped.
    pub(crate) fn replace_records(&self) -> RwLockWriteGuard<'_, ()> {
        // The lock guards no value, so a panic while it was held leaves nothing broken behind.
        self.replacing.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn while_complete(&self) -> RwLockReadGuard<'_, ()> {
        self.replacing.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a result on; a failure stops the replica.
    fn check<T>(
        &self,
        action: &'static str,
        result: Result<T, rocksdb::Error>,
    ) -> Result<T, StoreError> {
        result.map_err(|source| self.stop(StoreError::Database { action, source }))
    }

    /// Stops the replica because of `error`, and passes it on.
    pub(crate) fn stop(&self, error: StoreError) -> StoreError {
        self.fault.raise(Fatal::from_error(&error));
        error
    }

    fn get_at(
        &self,
        snapshot: Option<&Snapshot<'_>>,
        table: Table,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let family = self.family(table.name())?;
        let found = self.db.get_cf_opt(&family, key, &read_options(snapshot));
        self.check("read", found)
    }

    fn scan_at(
        &self,
        snapshot: Option<&Snapshot<'_>>,
        table: Table,
        range: &Range,
    ) -> Result<Vec<Record>, StoreError> {
        if range.from >= range.to {
            return Ok(Vec::new());
        }
        let family = self.family(table.name())?;
        let mut options = read_options(snapshot);
        options.set_iterate_lower_bound(range.from.as_slice());
        options.set_iterate_upper_bound(range.to.as_slice());
        let mode = if range.reverse { IteratorMode::End } else { IteratorMode::Start };
        let found = self.db.iterator_cf_opt(&family, options, mode).take(range.limit);
        found
            .map(|record| {
                self.check("read", record).map(|(key, value)| (key.into_vec(), value.into_vec()))
            })
            .collect()
    }
}

/// The records as they are at each read.
impl Records for Database {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let _complete = self.while_complete();
        self.get_at(None, table, key).map_err(|error| read_error(table, error))
    }

    fn scan(&self, table: Table, range: &Range) -> Result<Vec<Record>, ReadError> {
        let _complete = self.while_complete();
        self.scan_at(None, table, range).map_err(|error| read_error(table, error))
    }
}

/// The records as they were at one time.
pub(crate) struct View<'a> {
    database: &'a Database,
    snapshot: Snapshot<'a>,
}

impl<'a> View<'a> {
    /// As they are now.
    pub(crate) fn new(database: &'a Database) -> Self {
        Self { database, snapshot: database.snapshot() }
    }
}

impl Records for View<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.database
            .get_at(Some(&self.snapshot), table, key)
            .map_err(|error| read_error(table, error))
    }

    fn scan(&self, table: Table, range: &Range) -> Result<Vec<Record>, ReadError> {
        self.database
            .scan_at(Some(&self.snapshot), table, range)
            .map_err(|error| read_error(table, error))
    }
}

fn read_error(table: Table, source: StoreError) -> ReadError {
    ReadError { table: table.name(), source: Box::new(source) }
}

fn read_options(snapshot: Option<&Snapshot<'_>>) -> ReadOptions {
    let mut options = ReadOptions::default();
    if let Some(snapshot) = snapshot {
        options.set_snapshot(snapshot);
    }
    options
}

/// Options of the database as a whole.
fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // The default, point-in-time recovery, silently drops what lies behind a damaged record in the middle of the
    // log; absolute consistency does not start after a kill. This mode forgives a torn end only.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_recycle_log_file_num(0);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES_MAX);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_background_jobs(2);
    options.set_max_log_file_size(INFO_LOG_BYTES_MAX);
    options.set_keep_log_file_num(INFO_LOG_FILES_MAX);
    options.set_stats_dump_period_sec(0);
    options
}

/// Options of each column family.
fn family_options(cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    // Most ids that are looked up were never used: a filter answers that without reading.
    blocks.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES_MAX);
    options
}

#[cfg(test)]
mod tests;
