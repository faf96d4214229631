//! What can go wrong with the store.

use std::{io, path::PathBuf};

use protocol::ids::Hash;
use thiserror::Error;

/// Content could not be stored or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The database could not be opened, read or written.
    #[error("the database of small content in `{}` failed", path.display())]
    Database {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: rocksdb::Error,
    },
    /// A file could not be read or written.
    #[error("`{}` could not be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Everything that is stored is needed, and there is no room for more.
    #[error(
        "the store is full: {used} of {quota} bytes are in use and needed; raise `blobs.quota`"
    )]
    Full {
        /// Bytes in use.
        used: u64,
        /// Bytes allowed.
        quota: u64,
    },
    /// The content is not what its hash says.
    #[error("the content is not {expected}, but {found}")]
    WrongHash {
        /// What it was said to be.
        expected: Hash,
        /// What it is.
        found: Hash,
    },
}
