//! Many items under one signature.
//!
//! A signature costs as much as a tenth of a small task, so leases, receipts and settlements are signed in
//! batches: the signed header carries the root of an RFC 9162 tree over the items, and each item can be proved
//! alone. A batch of one is the same format.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    codec::{Canonical, encode},
    ids::MeshId,
    keys::SecretKey,
    limits::BATCH_ITEMS_MAX,
    merkle::{self, Digest},
    sign::{Signable, Signed, Verified, VerifyError},
};

/// A header that commits to items.
pub trait BatchHeader: Signable {
    /// The root that it carries.
    fn items_root(&self) -> Digest;
    /// The number of items that it carries.
    fn items(&self) -> u32;
}

/// What a batch's header says about its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// The root of the tree over the encoded items.
    pub root: Digest,
    /// How many there are: 1 to [`BATCH_ITEMS_MAX`].
    pub items: u32,
}

impl Commitment {
    /// The commitment to `items`.
    #[must_use]
    pub fn to<I: Canonical>(items: &[I]) -> Self {
        Self {
            root: merkle::root(&leaves(items)),
            items: u32::try_from(items.len()).unwrap_or(u32::MAX),
        }
    }
}

/// A signed header and its items, as they came from somewhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(serialize = "I: Serialize", deserialize = "I: DeserializeOwned"))]
pub struct Batch<H, I> {
    /// The signed header.
    pub header: Signed<H>,
    /// The items, in the order that the header commits to.
    pub items: Vec<I>,
}

impl<H, I: fmt::Debug> fmt::Debug for Batch<H, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("header", &self.header).field("items", &self.items).finish()
    }
}

/// A batch whose header's signature and whose items were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBatch<H, I> {
    header: Verified<H>,
    items: Vec<I>,
}

/// Why a batch is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The header is not believed.
    #[error("the batch's header is not valid")]
    Header(#[from] VerifyError),
    /// Empty, too many, or not the number that was signed.
    #[error("the batch has {found} items where {signed} were signed")]
    Count {
        /// How many there are.
        found: usize,
        /// How many were signed for.
        signed: u32,
    },
    /// The items are not those that were signed.
    #[error("the batch's items are not those that were signed")]
    Items,
}

impl<H: BatchHeader, I: Canonical> Batch<H, I> {
    /// Signs a header that already commits to `items`.
    #[must_use]
    pub fn sign(header: &H, items: Vec<I>, mesh: MeshId, key: &SecretKey) -> Self {
        Self { header: Signed::sign(header, mesh, key), items }
    }

    /// Checks the signature and that the items are those that were signed.
    ///
    /// # Errors
    ///
    /// See [`BatchError`].
    pub fn verify(self, mesh: &MeshId) -> Result<VerifiedBatch<H, I>, BatchError> {
        let found = self.items.len();
        let header = self.header.verify(mesh)?;
        let signed = header.claim().items();
        let count = u32::try_from(found).ok().filter(|count| *count == signed);
        if found == 0 || found > BATCH_ITEMS_MAX || count.is_none() {
            return Err(BatchError::Count { found, signed });
        }
        if merkle::root(&leaves(&self.items)) != header.claim().items_root() {
            return Err(BatchError::Items);
        }
        Ok(VerifiedBatch { header, items: self.items })
    }
}

impl<H, I> VerifiedBatch<H, I> {
    /// The header.
    pub const fn header(&self) -> &H {
        self.header.claim()
    }

    /// The public key that signed it.
    pub const fn signer(&self) -> &[u8; 32] {
        self.header.signer()
    }

    /// The items.
    pub fn items(&self) -> &[I] {
        &self.items
    }

    /// The batch as it was signed.
    pub fn into_batch(self) -> Batch<H, I> {
        Batch { header: self.header.signed().clone(), items: self.items }
    }
}

/// The leaf hashes of items.
#[must_use]
pub fn leaves<I: Canonical>(items: &[I]) -> Vec<Digest> {
    items.iter().map(|item| merkle::leaf_hash(&encode(item))).collect()
}

/// The path from item `at` to the batch's root; `None` if there is no such item.
#[must_use]
pub fn item_path<I: Canonical>(items: &[I], at: usize) -> Option<Vec<Digest>> {
    let mut nodes = std::collections::BTreeMap::new();
    let mut frontier = merkle::Frontier::default();
    for leaf in leaves(items) {
        for (level, index, hash) in frontier.push(leaf) {
            nodes.insert((level, index), hash);
        }
    }
    let at = u64::try_from(at).ok()?;
    merkle::inclusion_path(at, frontier.size(), &mut |level, index| {
        nodes.get(&(level, index)).copied()
    })
}
