//! The Raft log on the one database.
//!
//! Appending writes a batch and returns; [`Flusher`] reports it when it is durable. A vote is synced before the
//! call returns. Both go through the one write-ahead log, so they cannot change places.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use openraft::{
    LogState, OptionalSend,
    storage::{IOFlushed, RaftLogReader, RaftLogStorage},
};
use protocol::codec::Canonical;
use rocksdb::WriteBatch;

use super::{
    disk::{self, LogIdRecord, VoteRecord},
    flush::Flusher,
    raft::{Entry, LogId, Types, Vote},
    store::{AFTER_ALL_KEYS, Database, Durability, LOG, META, StoreError, meta},
};

/// Entries that are read at once for another member, in bytes; one entry is read in any case.
const READ_BYTES_MAX: usize = 512 * 1024;

/// Writes the log.
#[derive(Debug)]
pub(crate) struct LogStore {
    reader: LogReader,
    flusher: Flusher,
}

/// Reads the log.
#[derive(Debug, Clone)]
pub(crate) struct LogReader {
    database: Arc<Database>,
}

impl LogStore {
    /// The log in `database`.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub(crate) fn new(database: Arc<Database>) -> io::Result<Self> {
        let flusher = Flusher::start(Arc::clone(&database))?;
        Ok(Self { reader: LogReader::new(database), flusher })
    }

    fn database(&self) -> &Database {
        &self.reader.database
    }

    fn write_meta<T: Canonical>(
        &self,
        key: &[u8],
        value: &T,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(&self.database().family(META)?, key, disk::seal(value));
        self.database().write(batch, durability)
    }

    fn write_entries(&self, entries: impl Iterator<Item = Entry>) -> Result<(), StoreError> {
        let family = self.database().family(LOG)?;
        let mut batch = WriteBatch::default();
        let mut last = None;
        for entry in entries {
            batch.put_cf(&family, entry.log_id.index.to_be_bytes(), disk::encode_entry(&entry));
            last = Some(entry.log_id.index);
        }
        self.database().write(batch, Durability::Buffered)?;
        if let Some(last) = last {
            self.database().appended(last);
        }
        Ok(())
    }

    fn remove_after(&self, last: Option<&LogId>) -> Result<(), StoreError> {
        self.database().truncating(last.map(|last| last.index))?;
        let from = last.map_or(0, |last| last.index.saturating_add(1)).to_be_bytes();
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(
            &self.database().family(LOG)?,
            from.as_slice(),
            AFTER_ALL_KEYS.as_slice(),
        );
        self.database().write(batch, Durability::Buffered)
    }

    fn remove_upto(&self, last: &LogId) -> Result<(), StoreError> {
        // What the removed entries did must be durable before they go.
        self.database().sync()?;
        let mut batch = WriteBatch::default();
        batch.put_cf(
            &self.database().family(META)?,
            meta::PURGED,
            disk::seal(&LogIdRecord::from(last)),
        );
        let to = last.index.saturating_add(1).to_be_bytes();
        batch.delete_range_cf(&self.database().family(LOG)?, [0_u8; 8].as_slice(), to.as_slice());
        self.database().write(batch, Durability::Buffered)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        self.reader.state().map_err(io::Error::other)
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.write_meta(meta::VOTE, &VoteRecord::from(vote), Durability::Synced)
            .and_then(|()| self.database().promise(|promise| promise.vote(vote)))
            .map_err(io::Error::other)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        // Not synced: it precedes the records that it allows to be written, in the one write-ahead log.
        match committed {
            Some(committed) => self
                .write_meta(meta::COMMITTED, &LogIdRecord::from(&committed), Durability::Buffered)
                .map_err(io::Error::other),
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let committed =
            self.database().meta::<LogIdRecord>(meta::COMMITTED).map_err(io::Error::other)?;
        Ok(committed.map(LogId::from))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.write_entries(entries.into_iter()).map_err(io::Error::other)?;
        self.flusher.submit(callback);
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        self.remove_after(last_log_id.as_ref()).map_err(io::Error::other)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.remove_upto(&log_id).map_err(io::Error::other)
    }
}

impl LogReader {
    /// The log in `database`, to be read.
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Where the log begins and ends.
    pub(crate) fn state(&self) -> Result<LogState<Types>, StoreError> {
        let purged = self.database.meta::<LogIdRecord>(meta::PURGED)?.map(LogId::from);
        let last = match self.database.log_last()? {
            Some(bytes) => Some(self.decode(&bytes)?.log_id),
            None => None,
        };
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.max(purged) })
    }

    fn decode(&self, bytes: &[u8]) -> Result<Entry, StoreError> {
        disk::decode_entry(bytes).map_err(|source| {
            self.database.stop(StoreError::Corrupt { key: LOG.to_owned(), source })
        })
    }

    /// The entries of `from..to` that the log has, without a hole between them; no more than about `bytes_max`.
    fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Entry>, StoreError> {
        let mut entries: Vec<Entry> = Vec::new();
        if from >= to {
            return Ok(entries);
        }
        let family = self.database.family(LOG)?;
        let mut read_bytes = 0_usize;
        for found in self.database.log_from(&family, from, to) {
            let (_, bytes) = found?;
            let entry = self.decode(&bytes)?;
            if let Some(last) = entries.last()
                && entry.log_id.index != last.log_id.index.saturating_add(1)
            {
                let index = last.log_id.index.saturating_add(1);
                return Err(self.database.stop(StoreError::Hole { index }));
            }
            entries.push(entry);
            read_bytes = read_bytes.saturating_add(bytes.len());
            if read_bytes >= bytes_max {
                break;
            }
        }
        Ok(entries)
    }
}

impl RaftLogReader<Types> for LogReader {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        self.read(from, to, usize::MAX).map_err(io::Error::other)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        let vote = self.database.meta::<VoteRecord>(meta::VOTE).map_err(io::Error::other)?;
        Ok(vote.map(Vote::from))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, READ_BYTES_MAX).map_err(io::Error::other)
    }
}
