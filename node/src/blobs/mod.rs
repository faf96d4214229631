//! The node's content: modules, inputs and outputs, each found by its BLAKE3 hash.
//!
//! Small content lies in one RocksDB instance, large content in files beside it. Content that somebody needs is
//! pinned until a time; the rest is a cache, and the least recently used of it goes when the quota is reached.
//!
//! # Invariants
//!
//! 1. What is returned has the hash that was asked for: what the disk has changed is dropped and counts as
//!    missing.
//! 2. Pinned content is never dropped to make room; when only pinned content is left, nothing more is taken.

mod error;
mod index;
mod store;
mod transfer;
mod writer;

pub use error::BlobError;
pub use store::{BlobStore, Content, Pin};
pub use transfer::{ObtainError, obtain, read};
pub use writer::BlobWriter;
