//! What the database does after a crash and with damaged files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::*;

fn open(dir: &Path) -> Result<Database, OpenError> {
    Database::open(dir, Fault::new())
}

fn put(database: &Database, number: u64, durability: Durability) {
    let mut batch = WriteBatch::default();
    batch.put_cf(&database.family(Table::Jobs.name()).unwrap(), number.to_be_bytes(), [7; 100]);
    database.write(batch, durability).unwrap();
}

fn numbers(database: &Database) -> Vec<u64> {
    let all = Range { from: vec![0; 8], to: vec![0xff; 9], reverse: false, limit: usize::MAX };
    let found = database.scan(Table::Jobs, &all).unwrap();
    found.into_iter().map(|(key, _)| u64::from_be_bytes(key.try_into().unwrap())).collect()
}

/// The write-ahead log that was written last.
fn newest_wal(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir.join("rocksdb")).unwrap().map(|entry| entry.unwrap().path());
    let wals = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    wals.max().unwrap()
}

/// A database with ten writes in its write-ahead log, closed.
fn ten_writes(dir: &Path) {
    let database = open(dir).unwrap();
    for number in 0..10 {
        put(&database, number, Durability::Synced);
    }
}

#[test]
fn a_torn_end_of_the_log_is_forgiven() {
    let dir = tempfile::tempdir().unwrap();
    ten_writes(dir.path());
    let wal = newest_wal(dir.path());
    let bytes = fs::read(&wal).unwrap();
    fs::write(&wal, &bytes[..bytes.len() - 3]).unwrap();
    assert_eq!(numbers(&open(dir.path()).unwrap()), (0..9).collect::<Vec<_>>());
}

#[test]
fn damage_in_the_middle_of_the_log_is_not_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    ten_writes(dir.path());
    let wal = newest_wal(dir.path());
    let mut bytes = fs::read(&wal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&wal, &bytes).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error}");
    assert!(error.to_string().contains("restore a backup"), "{error}");
}

#[test]
fn a_range_is_read_in_both_directions_and_to_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).unwrap();
    for number in 0..10 {
        put(&database, number, Durability::Buffered);
    }
    let keys = |reverse, limit| {
        let range = Range {
            from: 3_u64.to_be_bytes().into(),
            to: 7_u64.to_be_bytes().into(),
            reverse,
            limit,
        };
        let found = database.scan(Table::Jobs, &range).unwrap();
        found.into_iter().map(|(key, _)| key[7]).collect::<Vec<_>>()
    };
    assert_eq!(keys(false, 9), [3, 4, 5, 6]);
    assert_eq!(keys(true, 9), [6, 5, 4, 3]);
    assert_eq!(keys(true, 2), [6, 5]);
    assert_eq!(keys(false, 0), [0; 0]);
}

#[test]
fn a_view_does_not_change() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).unwrap();
    put(&database, 1, Durability::Buffered);
    let view = View::new(&database);
    put(&database, 2, Durability::Buffered);
    assert_eq!(view.get(Table::Jobs, &2_u64.to_be_bytes()).unwrap(), None);
    assert!(view.get(Table::Jobs, &1_u64.to_be_bytes()).unwrap().is_some());
    assert_eq!(numbers(&database), [1, 2]);
}

#[test]
fn records_read_alike_from_memory_and_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).unwrap();
    let mut memory = crate::records::MemoryRecords::default();
    let mut changes = Changes::default();
    for (key, value) in
        [(vec![1], vec![1]), (vec![1, 0], vec![]), (vec![2], vec![3]), (vec![0xff], vec![4])]
    {
        changes.put(Table::Ids, key, value);
    }
    changes.remove(Table::Ids, vec![2]);
    let mut batch = WriteBatch::default();
    database.add_changes(&mut batch, &changes).unwrap();
    database.write(batch, Durability::Buffered).unwrap();
    memory.write(&changes);
    let ranges = [
        Range { from: vec![], to: vec![0xff, 0xff], reverse: false, limit: 10 },
        Range { from: vec![1], to: vec![2], reverse: true, limit: 10 },
        Range { from: vec![2], to: vec![1], reverse: false, limit: 10 },
        Range::prefix(&[1], 10),
    ];
    for range in ranges {
        let found = database.scan(Table::Ids, &range).unwrap();
        assert_eq!(found, memory.scan(Table::Ids, &range).unwrap(), "{range:?}");
    }
}
