//! Content of any length, as it comes.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::PathBuf,
};

use protocol::{ids::Hash, wire::manifest::BlobRef};

use super::{BlobError, BlobStore, store::SMALL_MAX};

/// Takes content piece by piece. Dropped before [`finish`](Self::finish), it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    store: BlobStore,
    path: PathBuf,
    /// Content so far, while it is small enough for the database.
    buffer: Vec<u8>,
    file: Option<File>,
    hasher: Box<blake3::Hasher>,
    len: u64,
}

impl BlobWriter {
    pub(super) fn create(store: BlobStore, path: PathBuf) -> Result<Self, BlobError> {
        Ok(Self { store, path, buffer: Vec::new(), file: None, hasher: Box::default(), len: 0 })
    }

    /// Takes the next piece.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), BlobError> {
        self.hasher.update(piece);
        self.len = self.len.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if let Some(file) = &mut self.file {
            return file
                .write_all(piece)
                .map_err(|source| BlobError::File { path: self.path.clone(), source });
        }
        self.buffer.extend_from_slice(piece);
        if self.buffer.len() > SMALL_MAX { self.spill() } else { Ok(()) }
    }

    /// Bytes taken so far.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was taken yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Stores what was taken; with `sync`, it is durable when this returns.
    ///
    /// # Errors
    ///
    /// If there is no room, or the disk fails.
    pub fn finish(mut self, sync: bool) -> Result<BlobRef, BlobError> {
        let blob = BlobRef { hash: Hash(*self.hasher.finalize().as_bytes()), len: self.len };
        match self.file.take() {
            None => self.store.put_all(&[&self.buffer], sync)?,
            Some(file) => {
                if sync {
                    file.sync_all()
                        .map_err(|source| BlobError::File { path: self.path.clone(), source })?;
                }
                self.store.adopt(&self.path, blob)?;
            }
        }
        Ok(blob)
    }

    /// Stores what was taken if it is what was expected.
    ///
    /// # Errors
    ///
    /// [`BlobError::WrongHash`] if it is not; else as [`finish`](Self::finish).
    pub fn finish_as(self, expected: &Hash, sync: bool) -> Result<BlobRef, BlobError> {
        let found = Hash(*self.hasher.finalize().as_bytes());
        if found == *expected {
            self.finish(sync)
        } else {
            Err(BlobError::WrongHash { expected: *expected, found })
        }
    }

    fn spill(&mut self) -> Result<(), BlobError> {
        let failed = |source| BlobError::File { path: self.path.clone(), source };
        let mut file =
            OpenOptions::new().write(true).create_new(true).open(&self.path).map_err(failed)?;
        file.write_all(&self.buffer).map_err(failed)?;
        self.buffer = Vec::new();
        self.file = Some(file);
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _gone = fs::remove_file(&self.path);
        }
    }
}
