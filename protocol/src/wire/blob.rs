//! Fetching content by its hash, on a stream (`docs/protocol.md`, "Blobs").
//!
//! The requester sends one [`BlobRequest`], framed by its length (u32, little-endian), and closes its side.
//! For each hash, in order, the provider answers with a length (u64, little-endian; all ones if it does not have
//! it) and then that many bytes of the content from the range's start. The requester hashes whole contents.

use serde::{Deserialize, Serialize};

use crate::{ids::Hash, wire::canonical};

/// A length that means "I do not have it".
pub const MISSING: u64 = u64::MAX;
/// Contents in one request.
pub const BLOBS_PER_REQUEST_MAX: usize = 1_024;

/// One content, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobWanted {
    /// The hash of the whole content.
    pub hash: Hash,
    /// The first byte.
    pub from: u64,
    /// How many bytes at most; `u64::MAX` for all that follow.
    pub len: u64,
}

impl BlobWanted {
    /// All of it.
    #[must_use]
    pub const fn whole(hash: Hash) -> Self {
        Self { hash, from: 0, len: u64::MAX }
    }
}

/// Asks for contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRequest {
    /// At most [`BLOBS_PER_REQUEST_MAX`].
    pub wanted: Vec<BlobWanted>,
}

canonical! {
    BlobRequest: 64 * 1024;
}
