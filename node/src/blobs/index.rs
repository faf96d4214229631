//! What the store knows about its content: one record each, pins, and the order of use.

use std::path::{Path, PathBuf};

use protocol::{codec::Canonical, ids::Hash};
use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, ColumnFamilyDescriptor, DB, DBRecoveryMode, Direction,
    IteratorMode, Options, WriteBatch, WriteOptions,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::BlobError;

/// Column families: records, small content, pins (hash, owner → until), order of use (minute, hash).
const FAMILIES: [&str; 4] = ["blobs", "small", "pins", "used"];

/// What is known about one content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Its length, in bytes.
    pub(super) len: u64,
    /// The minute in which it was last used.
    pub(super) minute: u64,
    /// Whether it is in the database.
    pub(super) small: bool,
}

impl Canonical for Entry {
    const BYTES_MAX: usize = 32;
}

/// The database beside the files.
#[derive(Debug)]
pub(super) struct Index {
    db: DB,
    path: PathBuf,
}

impl Index {
    pub(super) fn open(path: &Path) -> Result<Self, BlobError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_db_write_buffer_size(32 << 20);
        options.set_max_total_wal_size(64 << 20);
        options.set_keep_log_file_num(2);
        options.set_max_open_files(256);
        let mut blocks = BlockBasedOptions::default();
        blocks.set_bloom_filter(10.0, false);
        let mut family = Options::default();
        family.set_block_based_table_factory(&blocks);
        let families =
            FAMILIES.iter().map(|name| ColumnFamilyDescriptor::new(*name, family.clone()));
        let db = DB::open_cf_descriptors(&options, path, families)
            .map_err(|source| BlobError::Database { path: path.to_owned(), source })?;
        Ok(Self { db, path: path.to_owned() })
    }

    fn failed(&self, source: rocksdb::Error) -> BlobError {
        BlobError::Database { path: self.path.clone(), source }
    }

    #[expect(clippy::expect_used, reason = "all families are created when the database is opened")]
    fn family(&self, name: &str) -> Arc<BoundColumnFamily<'_>> {
        self.db.cf_handle(name).expect("an opened column family")
    }

    pub(super) fn entry(&self, hash: &Hash) -> Result<Option<Entry>, BlobError> {
        let found = self
            .db
            .get_pinned_cf(&self.family("blobs"), hash.0)
            .map_err(|error| self.failed(error))?;
        Ok(found.and_then(|bytes| protocol::codec::decode(&bytes).ok()))
    }

    pub(super) fn small(&self, hash: &Hash) -> Result<Option<Vec<u8>>, BlobError> {
        self.db.get_cf(&self.family("small"), hash.0).map_err(|error| self.failed(error))
    }

    /// Writes entries, with the content of small ones, in one batch.
    pub(super) fn insert(
        &self,
        added: &[(Hash, Entry, Option<&[u8]>)],
        sync: bool,
    ) -> Result<(), BlobError> {
        let mut batch = WriteBatch::default();
        for (hash, entry, content) in added {
            batch.put_cf(&self.family("blobs"), hash.0, protocol::codec::encode(entry));
            batch.put_cf(&self.family("used"), used_key(entry.minute, hash), []);
            if let Some(content) = content {
                batch.put_cf(&self.family("small"), hash.0, content);
            }
        }
        self.write(batch, sync)
    }

    pub(super) fn remove(&self, hash: &Hash, entry: &Entry) -> Result<(), BlobError> {
        let mut batch = WriteBatch::default();
        batch.delete_cf(&self.family("blobs"), hash.0);
        batch.delete_cf(&self.family("small"), hash.0);
        batch.delete_cf(&self.family("used"), used_key(entry.minute, hash));
        self.write(batch, false)
    }

    /// Moves content to the end of the order of use.
    pub(super) fn touch(&self, hash: &Hash, entry: &Entry, minute: u64) -> Result<(), BlobError> {
        let mut batch = WriteBatch::default();
        batch.delete_cf(&self.family("used"), used_key(entry.minute, hash));
        batch.put_cf(&self.family("used"), used_key(minute, hash), []);
        batch.put_cf(
            &self.family("blobs"),
            hash.0,
            protocol::codec::encode(&Entry { minute, ..*entry }),
        );
        self.write(batch, false)
    }

    pub(super) fn pin(&self, pins: &[(Hash, [u8; 16])], until_ms: u64) -> Result<(), BlobError> {
        let mut batch = WriteBatch::default();
        for (hash, owner) in pins {
            batch.put_cf(
                &self.family("pins"),
                [hash.0.as_slice(), owner].concat(),
                until_ms.to_be_bytes(),
            );
        }
        self.write(batch, false)
    }

    /// Whether content is pinned. Pins that are over are dropped on the way.
    pub(super) fn is_pinned(&self, hash: &Hash, now_ms: u64) -> Result<bool, BlobError> {
        let pins = self.family("pins");
        for row in self.db.iterator_cf(&pins, IteratorMode::From(&hash.0, Direction::Forward)) {
            let (key, until) = row.map_err(|error| self.failed(error))?;
            if !key.starts_with(&hash.0) {
                break;
            }
            let until = until.as_ref().try_into().map_or(0, u64::from_be_bytes);
            if until > now_ms {
                return Ok(true);
            }
            self.db.delete_cf(&pins, key).map_err(|error| self.failed(error))?;
        }
        Ok(false)
    }

    /// Content in the order of use, the least recently used first.
    pub(super) fn oldest(&self, limit: usize) -> Result<Vec<Hash>, BlobError> {
        let rows = self.db.iterator_cf(&self.family("used"), IteratorMode::Start).take(limit);
        let mut oldest = Vec::new();
        for row in rows {
            let (key, _) = row.map_err(|error| self.failed(error))?;
            oldest.extend(key.get(8..).and_then(|hash| hash.try_into().ok()).map(Hash));
        }
        Ok(oldest)
    }

    /// The length of all content.
    pub(super) fn total(&self) -> Result<u64, BlobError> {
        let mut total = 0_u64;
        for row in self.db.iterator_cf(&self.family("blobs"), IteratorMode::Start) {
            let (_, entry) = row.map_err(|error| self.failed(error))?;
            if let Ok(entry) = protocol::codec::decode::<Entry>(&entry) {
                total = total.saturating_add(entry.len);
            }
        }
        Ok(total)
    }

    fn write(&self, batch: WriteBatch, sync: bool) -> Result<(), BlobError> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.db.write_opt(batch, &options).map_err(|error| self.failed(error))
    }
}

fn used_key(minute: u64, hash: &Hash) -> Vec<u8> {
    [minute.to_be_bytes().as_slice(), &hash.0].concat()
}
