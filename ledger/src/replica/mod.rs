//! The shell: RocksDB and openraft.
