//! Content that a node keeps.

use protocol::ids::Hash;
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::text;

/// Some content that the node keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Its BLAKE3 hash.
    #[serde(with = "text")]
    pub hash: Hash,
    /// Its length.
    pub bytes: u64,
}

impl Kind for Blob {
    const KIND: &'static str = "Blob";
}
