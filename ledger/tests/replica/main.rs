//! The real replica: RocksDB and openraft, in one process and in one that is killed.

#![cfg(feature = "replica")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod kill;
mod recovery;
mod support;
