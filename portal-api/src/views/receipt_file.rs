//! The file of a receipt: everything that proves it, for whoever checks it without a node.
//!
//! Statements are their canonical bytes in base64, never their fields: what is checked is what was signed.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use protocol::{
    codec::{Canonical, DecodeError, decode, try_encode},
    ids::ReceiptId,
    merkle::Digest,
    wire::view::ReceiptProof,
};
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::text;

/// The longest path from a leaf to a root: a tree of 2⁶⁴ leaves.
const PATH_MAX: usize = 64;

/// A receipt and everything that proves it against Genesis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptFile {
    /// Which receipt.
    #[serde(with = "text")]
    pub receipt: ReceiptId,
    /// The signed founding statement, in base64.
    pub genesis: String,
    /// The submitter's signed authorization, in base64.
    pub authorization: String,
    /// Where a node signed it that acts for the submitter: what allows it to, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegation: Option<String>,
    /// The specification of the job, in base64.
    pub spec: String,
    /// The signed header of the worker's batch, in base64.
    pub header: String,
    /// The receipt itself, in base64.
    pub item: String,
    /// Its place in the batch.
    pub item_index: u32,
    /// The path from it to the root in the header: hashes in hex.
    pub item_path: Vec<String>,
    /// The leaf of the ledger entry that settled it, in base64.
    pub entry: String,
    /// The entry's place in the ledger.
    pub entry_index: u64,
    /// The path from it to the root in the checkpoint: hashes in hex.
    pub entry_path: Vec<String>,
    /// The checkpoint: a signed note (C2SP `tlog-checkpoint`).
    pub checkpoint: String,
    /// The manifest of what it put out, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// What is needed to run the task again, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<ReceiptData>,
}

/// What a task was made of. Each part is named by a hash in the receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptData {
    /// The module, in base64.
    pub module: String,
    /// The description of the input (`TaskInput`), in base64.
    pub input: String,
    /// The content that the description refers to, each once, in the order in which it does; in base64.
    pub blobs: Vec<String>,
}

/// [`ReceiptData`], decoded. Nothing is checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskData {
    /// The module.
    pub module: Vec<u8>,
    /// The encoded description of the input.
    pub input: Vec<u8>,
    /// The content that it refers to.
    pub blobs: Vec<Vec<u8>>,
}

impl From<&TaskData> for ReceiptData {
    fn from(data: &TaskData) -> Self {
        Self {
            module: STANDARD.encode(&data.module),
            input: STANDARD.encode(&data.input),
            blobs: data.blobs.iter().map(|blob| STANDARD.encode(blob)).collect(),
        }
    }
}

impl TryFrom<&ReceiptData> for TaskData {
    type Error = BadReceiptFile;

    fn try_from(data: &ReceiptData) -> Result<Self, BadReceiptFile> {
        Ok(Self {
            module: bytes("data.module", &data.module)?,
            input: bytes("data.input", &data.input)?,
            blobs: data
                .blobs
                .iter()
                .map(|blob| bytes("data.blobs", blob))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Kind for ReceiptFile {
    const KIND: &'static str = "ReceiptFile";
}

/// A receipt file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadReceiptFile {
    /// A field is not base64 or hex.
    #[error("`{field}` is not what `weft receipt export` writes")]
    Text {
        /// Which.
        field: &'static str,
    },
    /// A field is not the statement that it should be.
    #[error("`{field}` does not hold the statement that belongs there")]
    Statement {
        /// Which.
        field: &'static str,
        /// Why not.
        #[source]
        source: DecodeError,
    },
}

impl TryFrom<&ReceiptProof> for ReceiptFile {
    type Error = DecodeError;

    fn try_from(proof: &ReceiptProof) -> Result<Self, DecodeError> {
        Ok(Self {
            receipt: proof.receipt,
            genesis: to_base64(&proof.genesis)?,
            authorization: to_base64(&proof.authorization)?,
            delegation: proof.delegation.as_ref().map(to_base64).transpose()?,
            spec: to_base64(&proof.spec)?,
            header: to_base64(&proof.header)?,
            item: to_base64(&proof.item)?,
            item_index: proof.item_index,
            item_path: proof.item_path.iter().map(hex::encode).collect(),
            entry: STANDARD.encode(&proof.entry),
            entry_index: proof.entry_index,
            entry_path: proof.entry_path.iter().map(hex::encode).collect(),
            checkpoint: proof.checkpoint.clone(),
            output: proof.output.as_ref().map(to_base64).transpose()?,
            data: None,
        })
    }
}

impl TryFrom<&ReceiptFile> for ReceiptProof {
    type Error = BadReceiptFile;

    /// Decodes everything and checks nothing: signatures and paths are the verifier's.
    fn try_from(file: &ReceiptFile) -> Result<Self, BadReceiptFile> {
        Ok(Self {
            receipt: file.receipt,
            genesis: from_base64("genesis", &file.genesis)?,
            authorization: from_base64("authorization", &file.authorization)?,
            delegation: file
                .delegation
                .as_deref()
                .map(|text| from_base64("delegation", text))
                .transpose()?,
            spec: from_base64("spec", &file.spec)?,
            header: from_base64("header", &file.header)?,
            item: from_base64("item", &file.item)?,
            item_index: file.item_index,
            item_path: path("item_path", &file.item_path)?,
            entry: bytes("entry", &file.entry)?,
            entry_index: file.entry_index,
            entry_path: path("entry_path", &file.entry_path)?,
            checkpoint: file.checkpoint.clone(),
            output: file.output.as_deref().map(|text| from_base64("output", text)).transpose()?,
        })
    }
}

fn to_base64<T: Canonical>(value: &T) -> Result<String, DecodeError> {
    Ok(STANDARD.encode(try_encode(value)?))
}

fn bytes(field: &'static str, text: &str) -> Result<Vec<u8>, BadReceiptFile> {
    STANDARD.decode(text).map_err(|_| BadReceiptFile::Text { field })
}

fn from_base64<T: Canonical>(field: &'static str, text: &str) -> Result<T, BadReceiptFile> {
    decode(&bytes(field, text)?).map_err(|source| BadReceiptFile::Statement { field, source })
}

fn path(field: &'static str, texts: &[String]) -> Result<Vec<Digest>, BadReceiptFile> {
    let bad = BadReceiptFile::Text { field };
    if texts.len() > PATH_MAX {
        return Err(bad);
    }
    let digest = |text: &String| {
        let mut digest = Digest::default();
        hex::decode_to_slice(text, &mut digest).map(|()| digest).map_err(|_| bad.clone())
    };
    texts.iter().map(digest).collect()
}
