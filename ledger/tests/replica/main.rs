//! The real replica: RocksDB and openraft, in one process and in one that is killed.

#![cfg(feature = "replica")]

mod kill;
mod recovery;
mod support;
