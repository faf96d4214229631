//! Content on its way to the mesh: hashed where it lies, never held in memory as a whole.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use protocol::{
    ids::Hash,
    limits::INLINE_INPUT_BYTES_MAX,
    wire::manifest::{BlobRef, InputSource},
};

/// What is read at a time, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// Where some content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In memory.
    Bytes(bytes::Bytes),
    /// In a file, which must not change until it is uploaded.
    File(PathBuf),
}

/// An input as a task sees it, and where its content is, unless it is so small that it lies in the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashed {
    /// What the manifest says.
    pub source: InputSource,
    /// What has to be uploaded.
    pub content: Option<Content>,
    /// Its length, in bytes.
    pub len: u64,
}

/// Hashes bytes.
#[must_use]
pub fn hash_bytes(bytes: bytes::Bytes) -> Hashed {
    let (source, is_blob) = InputSource::of(&bytes);
    let len = source.blob().len;
    Hashed { source, content: is_blob.then_some(Content::Bytes(bytes)), len }
}

/// Hashes a file. `progress` is told of each chunk's length.
///
/// # Errors
///
/// If it cannot be read.
pub fn hash_file(path: &Path, progress: &mut dyn FnMut(u64)) -> io::Result<Hashed> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut head = Vec::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut len = 0_u64;
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let chunk = buffer.get(..read).unwrap_or_default();
        hasher.update(chunk);
        if head.len() <= INLINE_INPUT_BYTES_MAX {
            let room = INLINE_INPUT_BYTES_MAX.saturating_add(1).saturating_sub(head.len());
            head.extend(chunk.iter().take(room));
        }
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        len = len.saturating_add(read);
        progress(read);
    }
    if head.len() <= INLINE_INPUT_BYTES_MAX {
        return Ok(hash_bytes(head.into()));
    }
    let hash = Hash(*hasher.finalize().as_bytes());
    let content = Some(Content::File(path.to_owned()));
    Ok(Hashed { source: InputSource::Blob(BlobRef { hash, len }), content, len })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_hashed_like_its_content() {
        let dir = tempfile::tempdir().unwrap();
        for len in [0, 1, INLINE_INPUT_BYTES_MAX, INLINE_INPUT_BYTES_MAX + 1, CHUNK_BYTES * 2 + 7] {
            let bytes = vec![b'x'; len];
            let path = dir.path().join(len.to_string());
            std::fs::write(&path, &bytes).unwrap();
            let mut seen = 0;
            let hashed = hash_file(&path, &mut |read| seen += read).unwrap();
            assert_eq!(hashed.source, InputSource::of(&bytes).0);
            assert_eq!(hashed.content.is_some(), len > INLINE_INPUT_BYTES_MAX);
            assert_eq!((seen, hashed.len), (len as u64, len as u64));
        }
    }
}
