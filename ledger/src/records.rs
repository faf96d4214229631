//! The records that the state machine reads, and the changes that it asks for.
//!
//! The state machine never writes: it reads through [`Records`], collects [`Changes`], and whoever called it
//! makes them durable in one batch. The same code so runs on RocksDB, in memory and in a simulator.

use std::collections::BTreeMap;

use thiserror::Error;

/// A family of records: one column family of the store. Names are part of the disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Singletons: height, head hash, frontier, cluster time, Genesis, policy.
    Meta,
    /// Account → debits and credits.
    Accounts,
    /// Ledger entries by number (u64, big-endian).
    Entries,
    /// Complete nodes of the Merkle tree: level (u8), index (u64, big-endian) → hash.
    Tree,
    /// Ids that were used: request, job and transfer ids → what came of them.
    Ids,
    /// Job → its record.
    Jobs,
    /// Jobs that have not ended: job → nothing.
    OpenJobs,
    /// Job, task (u32, big-endian) → how it ended and where its receipt is.
    Tasks,
    /// Entry number → the items of its receipt batch.
    Batches,
    /// Account, entry number → what the entry did to it.
    History,
    /// Account, time, job → nothing: the jobs of an account in order.
    AccountJobs,
    /// Node → its record.
    Nodes,
    /// Invite → its record.
    Invites,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Meta,
        Self::Accounts,
        Self::Entries,
        Self::Tree,
        Self::Ids,
        Self::Jobs,
        Self::OpenJobs,
        Self::Tasks,
        Self::Batches,
        Self::History,
        Self::AccountJobs,
        Self::Nodes,
        Self::Invites,
    ];

    /// The name of its column family.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "sm_meta",
            Self::Accounts => "accounts",
            Self::Entries => "entries",
            Self::Tree => "tree",
            Self::Ids => "ids",
            Self::Jobs => "jobs",
            Self::OpenJobs => "open_jobs",
            Self::Tasks => "tasks",
            Self::Batches => "batches",
            Self::History => "history",
            Self::AccountJobs => "account_jobs",
            Self::Nodes => "nodes",
            Self::Invites => "invites",
        }
    }
}

/// A key and a value.
pub type Record = (Vec<u8>, Vec<u8>);

/// The records could not be read. The node must stop: going on could be wrong.
#[derive(Debug, Error)]
#[error("a record of `{table}` could not be read")]
pub struct ReadError {
    /// Where.
    pub table: &'static str,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Which records of a table, in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The first key that may be returned.
    pub from: Vec<u8>,
    /// The first key that may not.
    pub to: Vec<u8>,
    /// From the end.
    pub reverse: bool,
    /// No more than this many.
    pub limit: usize,
}

impl Range {
    /// All keys with this prefix, which is not empty and not all ones.
    #[must_use]
    pub fn prefix(prefix: &[u8], limit: usize) -> Self {
        let mut to = prefix.to_vec();
        while let Some(last) = to.pop() {
            if let Some(next) = last.checked_add(1) {
                to.push(next);
                break;
            }
        }
        Self { from: prefix.to_vec(), to, reverse: false, limit }
    }
}

/// Reads records.
pub trait Records {
    /// The value of a key.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError>;

    /// The records of a range, in the order of their keys' bytes.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn scan(&self, table: Table, range: &Range) -> Result<Vec<Record>, ReadError>;
}

/// What is to be written, in one batch: `None` removes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    changed: BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>,
}

impl Changes {
    /// Writes a record.
    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.changed.insert((table, key), Some(value));
    }

    /// Removes a record.
    pub fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.changed.insert((table, key), None);
    }

    /// What is written, in the order of tables and keys.
    pub fn iter(&self) -> impl Iterator<Item = (Table, &[u8], Option<&[u8]>)> {
        self.changed.iter().map(|((table, key), value)| (*table, key.as_slice(), value.as_deref()))
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    /// Adds later changes: where both change a record, `later` wins.
    pub fn extend(&mut self, later: Self) {
        self.changed.extend(later.changed);
    }
}

/// Records as they will be once [`Changes`] are written.
#[derive(Debug)]
pub struct Overlay<'a, R: ?Sized> {
    below: &'a R,
    changes: Changes,
}

impl<'a, R: Records + ?Sized> Overlay<'a, R> {
    /// Nothing changed yet.
    pub fn new(below: &'a R) -> Self {
        Self { below, changes: Changes::default() }
    }

    /// Writes a record.
    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.changes.put(table, key, value);
    }

    /// Removes a record.
    pub fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.changes.remove(table, key);
    }

    /// Takes what was changed.
    #[must_use]
    pub fn into_changes(self) -> Changes {
        self.changes
    }
}

impl<R: Records + ?Sized> Records for Overlay<'_, R> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        match self.changes.changed.get(&(table, key.to_vec())) {
            Some(changed) => Ok(changed.clone()),
            None => self.below.get(table, key),
        }
    }

    fn scan(&self, table: Table, range: &Range) -> Result<Vec<Record>, ReadError> {
        // What is changed here may hide what lies below, so ask for that much more.
        let from = (table, range.from.clone());
        let to = (table, range.to.clone());
        if from >= to {
            return Ok(Vec::new());
        }
        let changed: Vec<_> = self.changes.changed.range(from..to).collect();
        let below = Range { limit: range.limit.saturating_add(changed.len()), ..range.clone() };
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> =
            self.below.scan(table, &below)?.into_iter().collect();
        for ((_, key), value) in changed {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        let merged = merged.into_iter();
        Ok(if range.reverse {
            merged.rev().take(range.limit).collect()
        } else {
            merged.take(range.limit).collect()
        })
    }
}

/// Records in memory: for tests, simulations and audits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryRecords {
    records: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

impl MemoryRecords {
    /// Writes changes.
    pub fn write(&mut self, changes: &Changes) {
        for (table, key, value) in changes.iter() {
            match value {
                Some(value) => self.records.insert((table, key.to_vec()), value.to_vec()),
                None => self.records.remove(&(table, key.to_vec())),
            };
        }
    }

    /// All records, in the order of tables and keys.
    pub fn iter(&self) -> impl Iterator<Item = (Table, &[u8], &[u8])> {
        self.records.iter().map(|((table, key), value)| (*table, key.as_slice(), value.as_slice()))
    }
}

impl Records for MemoryRecords {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.records.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, range: &Range) -> Result<Vec<Record>, ReadError> {
        let (from, to) = ((table, range.from.clone()), (table, range.to.clone()));
        if from >= to {
            return Ok(Vec::new());
        }
        let found =
            self.records.range(from..to).map(|((_, key), value)| (key.clone(), value.clone()));
        Ok(if range.reverse {
            found.rev().take(range.limit).collect()
        } else {
            found.take(range.limit).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_reads_what_it_will_be() {
        let mut below = MemoryRecords::default();
        let mut changes = Changes::default();
        for key in 0..5_u8 {
            changes.put(Table::Jobs, vec![key], vec![key]);
        }
        below.write(&changes);
        let mut overlay = Overlay::new(&below);
        overlay.remove(Table::Jobs, vec![1]);
        overlay.put(Table::Jobs, vec![2], vec![22]);
        overlay.put(Table::Jobs, vec![9], vec![9]);
        let all = Range { from: vec![0], to: vec![255], reverse: false, limit: 3 };
        let found = overlay.scan(Table::Jobs, &all).unwrap();
        assert_eq!(found, [(vec![0], vec![0]), (vec![2], vec![22]), (vec![3], vec![3])]);
        let last =
            overlay.scan(Table::Jobs, &Range { reverse: true, limit: 1, ..all.clone() }).unwrap();
        assert_eq!(last, [(vec![9], vec![9])]);
        let mut after = below.clone();
        after.write(&overlay.into_changes());
        assert_eq!(after.scan(Table::Jobs, &all).unwrap(), found);
    }
}
