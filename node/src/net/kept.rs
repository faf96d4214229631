//! Files in which the network remembers something over a restart: JSON, replaced as a whole, bounded.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::home::replace;

/// A file of what the network remembers could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// Reading failed.
    #[error("could not read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Writing failed.
    #[error("could not write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not such a file. It is written anew, so that deleting it loses only what was remembered.
    #[error("{} is not a file of {what}; delete it, it will be written anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
}

/// One kind of such files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    /// What they hold, in the plural.
    pub(super) what: &'static str,
    /// The size of one, at most, in bytes.
    pub(super) bytes_max: u64,
}

impl Kept {
    pub(super) fn damaged(self, path: &Path) -> KeptError {
        KeptError::Damaged { path: path.to_owned(), what: self.what }
    }

    /// Reads one; `None` if there is none.
    pub(super) fn read(self, path: &Path) -> Result<Option<Vec<u8>>, KeptError> {
        let failed = |source| KeptError::Read { path: path.to_owned(), source };
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
            Ok(metadata) if !metadata.is_file() || metadata.len() > self.bytes_max => {
                Err(self.damaged(path))
            }
            Ok(_) => fs::read(path).map(Some).map_err(failed),
        }
    }

    /// What one says.
    pub(super) fn parse<T: DeserializeOwned>(
        self,
        bytes: &[u8],
        path: &Path,
    ) -> Result<T, KeptError> {
        serde_json::from_slice(bytes).map_err(|_| self.damaged(path))
    }

    /// Replaces one.
    pub(super) fn write<T: Serialize>(path: &Path, file: &T) -> Result<(), KeptError> {
        let failed = |source| KeptError::Write { path: path.to_owned(), source };
        let text = serde_json::to_vec_pretty(file).map_err(|error| failed(error.into()))?;
        replace(path, &text).map_err(failed)
    }
}
