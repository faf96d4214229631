//! Checkpoints: the size and root of the ledger, signed, in the formats that others' tools read.
//!
//! The text is that of [C2SP tlog-checkpoint](https://c2sp.org/tlog-checkpoint): origin, size, root in base64,
//! one line each. The signature is that of [C2SP signed-note](https://c2sp.org/signed-note), Ed25519.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use protocol::{
    ids::MeshId,
    keys::{self, SecretKey},
    merkle::Digest,
};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The longest note that is read, in bytes.
pub const NOTE_BYTES_MAX: usize = 4 * 1024;
/// The signature type of Ed25519 in key hashes (C2SP signed-note, "Signature types").
const ED25519: u8 = 0x01;
/// What a signature line begins with: an em dash and a space.
const SIGNATURE_MARK: &str = "\u{2014} ";

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Digest,
}

/// Why a note is not a checkpoint that the key signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Larger than [`NOTE_BYTES_MAX`].
    #[error("the checkpoint is longer than {NOTE_BYTES_MAX} bytes")]
    TooLong,
    /// Not in the format of a signed checkpoint.
    #[error("the checkpoint is malformed: {0}")]
    Malformed(&'static str),
    /// No signature of the key is on it.
    #[error("the checkpoint does not carry the signature of the expected key")]
    Unsigned,
    /// There is one, but it does not match.
    #[error("the checkpoint's signature does not match")]
    Signature,
}

/// The origin of a mesh's ledger: `weft.<first 16 hex of the mesh id>/ledger/e<epoch>`.
#[must_use]
pub fn origin(mesh: &MeshId, epoch: u32) -> String {
    format!("weft.{}/ledger/e{epoch}", mesh.id16())
}

/// The text of a checkpoint, unsigned. It ends with a newline.
#[must_use]
pub fn note_text(origin: &str, size: u64, root: &Digest) -> String {
    format!("{origin}\n{size}\n{}\n", STANDARD.encode(root))
}

/// Signs a text, under a name: the origin, for a log's own key. The text ends with a newline.
#[must_use]
pub fn sign(text: &str, key: &SecretKey, name: &str) -> String {
    let mut signature = key_hash(name, &key.public()).to_vec();
    signature.extend(key.sign(text.as_bytes()));
    format!("{text}\n{SIGNATURE_MARK}{name} {}\n", STANDARD.encode(signature))
}

/// Checks that `key` signed the checkpoint under the name of its origin. Signatures of others are passed over.
///
/// # Errors
///
/// See [`NoteError`].
pub fn verify(note: &str, key: &[u8; 32]) -> Result<Checkpoint, NoteError> {
    if note.len() > NOTE_BYTES_MAX {
        return Err(NoteError::TooLong);
    }
    // The text may hold empty lines, the signatures cannot: the last empty line divides them.
    let split = note.rfind("\n\n").ok_or(NoteError::Malformed("no signatures"))?;
    let (text, signatures) = note.split_at(split.saturating_add(1));
    let checkpoint = parse(text)?;
    let lines = signatures.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
    let lines = lines.ok_or(NoteError::Malformed("it does not end with a newline"))?;
    let hash = key_hash(&checkpoint.origin, key);
    let mut mine = None;
    for line in lines.split('\n') {
        let (name, bytes) = line
            .strip_prefix(SIGNATURE_MARK)
            .and_then(|line| line.rsplit_once(' '))
            .ok_or(NoteError::Malformed("a line is not a signature"))?;
        let bytes = STANDARD
            .decode(bytes)
            .map_err(|_| NoteError::Malformed("a signature is not base64"))?;
        if name == checkpoint.origin && bytes.starts_with(&hash) {
            mine = Some(bytes);
        }
    }
    let mine = mine.ok_or(NoteError::Unsigned)?;
    let signature = mine
        .get(hash.len()..)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(NoteError::Signature)?;
    if keys::verify(key, text.as_bytes(), signature) {
        Ok(checkpoint)
    } else {
        Err(NoteError::Signature)
    }
}

fn parse(text: &str) -> Result<Checkpoint, NoteError> {
    let mut lines = text.split('\n');
    let origin =
        lines.next().filter(|line| !line.is_empty()).ok_or(NoteError::Malformed("no origin"))?;
    let size = lines.next().ok_or(NoteError::Malformed("no size"))?;
    let number: u64 = size.parse().map_err(|_| NoteError::Malformed("the size is not a number"))?;
    if number.to_string() != size {
        return Err(NoteError::Malformed("the size has leading zeros or a sign"));
    }
    let root = lines
        .next()
        .and_then(|line| STANDARD.decode(line).ok())
        .and_then(|root| root.try_into().ok());
    let root = root.ok_or(NoteError::Malformed("the root is not a hash in base64"))?;
    Ok(Checkpoint { origin: origin.to_owned(), size: number, root })
}

/// Names a key: `SHA-256(name ‖ "\n" ‖ type ‖ key)[..4]`.
fn key_hash(name: &str, key: &[u8; 32]) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', ED25519])
        .chain_update(key)
        .finalize();
    let digest: [u8; 32] = digest.into();
    let [a, b, c, d, ..] = digest;
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> (String, SecretKey) {
        let key = SecretKey::from_seed(&[1; 32]);
        let origin = origin(&MeshId([0xab; 32]), 0);
        (sign(&note_text(&origin, 7, &[9; 32]), &key, &origin), key)
    }

    #[test]
    fn a_signed_checkpoint_is_read_back() {
        let (note, key) = signed();
        assert!(note.starts_with("weft.abababababababab/ledger/e0\n7\nCQkJ"));
        let checkpoint = verify(&note, &key.public()).unwrap();
        assert_eq!((checkpoint.size, checkpoint.root), (7, [9; 32]));
    }

    #[test]
    fn a_changed_checkpoint_is_refused() {
        let (note, key) = signed();
        assert_eq!(
            verify(&note.replace("\n7\n", "\n8\n"), &key.public()),
            Err(NoteError::Signature)
        );
        assert!(matches!(
            verify(&note.replace("\n7\n", "\n07\n"), &key.public()),
            Err(NoteError::Malformed(_))
        ));
        let other = SecretKey::from_seed(&[2; 32]);
        assert_eq!(verify(&note, &other.public()), Err(NoteError::Unsigned));
        assert_eq!(verify(&"x".repeat(NOTE_BYTES_MAX + 1), &key.public()), Err(NoteError::TooLong));
        for cut in 0..note.len() {
            if let Some(part) = note.get(..cut) {
                assert!(verify(part, &key.public()).is_err());
            }
        }
    }

    #[test]
    fn signatures_of_others_are_passed_over() {
        let (note, key) = signed();
        let cosigned = format!("{note}\u{2014} witness.example/w {}\n", STANDARD.encode([0; 76]));
        assert!(verify(&cosigned, &key.public()).is_ok());
    }
}
