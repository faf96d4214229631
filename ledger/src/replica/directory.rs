//! The directory that a replica keeps: one process at a time, one format.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::Fatal;

/// What the file `format` says before the number.
const FORMAT_NAME: &str = "weft ledger store ";
/// The format that this version writes.
const FORMAT: u32 = 1;

/// Why a replica could not be opened. Each message says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    #[error("the ledger in {} is in use by another process: stop that one, or choose another data directory", .dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory or a file in it cannot be made, read or written.
    #[error("{} cannot be used: check that it exists, that it may be written and that the disk has room", .path.display())]
    NotUsable {
        /// The directory or file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A newer version wrote it.
    #[error("the ledger in {} has format {found}, and this version knows up to {known}: use the newer weft", .dir.display())]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// What the directory says.
        found: u32,
        /// What we know.
        known: u32,
    },
    /// There is something else in it.
    #[error("{} does not hold a weft ledger: choose another directory", .dir.display())]
    NotALedger {
        /// The directory.
        dir: PathBuf,
    },
    /// It holds no log that could be taken up.
    #[error("{} holds no log yet", .dir.display())]
    Empty {
        /// The directory.
        dir: PathBuf,
    },
    /// It belongs to another mesh.
    #[error("the ledger in {} belongs to another mesh: choose the directory of this one", .dir.display())]
    OtherMesh {
        /// The directory.
        dir: PathBuf,
    },
    /// It belongs to another node: two nodes must never share one vote.
    #[error("the ledger in {} belongs to another node: a copied ledger must not be started, remove it and join again", .dir.display())]
    OtherNode {
        /// The directory.
        dir: PathBuf,
    },
    /// It knows less than it promised to the other members: it was rolled back, or a part of it was lost.
    #[error("the ledger in {} is older than what it promised to the other coordinators ({what}): it must not vote again. Keep the directory, and join the mesh again with a new one", .dir.display())]
    RolledBack {
        /// The directory.
        dir: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// The database does not open.
    #[error("the ledger in {} does not open: keep the directory, and restore a backup or join the mesh again", .dir.display())]
    Database {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It opened, but the log could not be taken up.
    #[error("the ledger in {} cannot go on: keep the directory, and restore a backup or join the mesh again", .dir.display())]
    Start {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        #[source]
        source: Fatal,
    },
    /// The system gave no thread.
    #[error("no thread could be started for the ledger")]
    Thread(#[source] io::Error),
}

/// A directory that this process holds until the value is dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    dir: PathBuf,
    /// Locked while it is open.
    _lock: File,
}

impl Directory {
    /// Takes the directory, and makes it if there is none.
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenError> {
        let this = Self { dir: dir.to_owned(), _lock: lock(dir)? };
        match fs::read_to_string(this.format()) {
            Ok(text) => this.check_format(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => this.write_format()?,
            Err(source) if source.kind() == io::ErrorKind::InvalidData => {
                tracing::debug!(%source, "the format file is not text");
                return Err(OpenError::NotALedger { dir: this.dir });
            }
            Err(source) => return Err(OpenError::NotUsable { path: this.format(), source }),
        }
        make_dir(&this.snapshots())?;
        Ok(this)
    }

    /// Where RocksDB has its files.
    pub(crate) fn database(&self) -> PathBuf {
        self.dir.join("rocksdb")
    }

    /// Where snapshots lie.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.dir.join("snapshots")
    }

    /// Where promises to the other members are written.
    pub(crate) fn promise(&self) -> PathBuf {
        self.dir.join("promise")
    }

    fn format(&self) -> PathBuf {
        self.dir.join("format")
    }

    fn check_format(&self, text: &str) -> Result<(), OpenError> {
        let found =
            text.trim_end().strip_prefix(FORMAT_NAME).and_then(|number| number.parse().ok());
        match found {
            Some(FORMAT) => Ok(()),
            Some(found) if found > FORMAT => {
                Err(OpenError::NewerFormat { dir: self.dir.clone(), found, known: FORMAT })
            }
            Some(_) | None => Err(OpenError::NotALedger { dir: self.dir.clone() }),
        }
    }

    fn write_format(&self) -> Result<(), OpenError> {
        // The format is written before the database is made, so a database without one is not ours.
        if self.database().exists() {
            return Err(OpenError::NotALedger { dir: self.dir.clone() });
        }
        let path = self.format();
        let new = path.with_extension("new");
        let written = File::create(&new)
            .and_then(|mut file| {
                writeln!(file, "{FORMAT_NAME}{FORMAT}")?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&new, &path))
            .and_then(|()| sync_dir(&self.dir));
        written.map_err(|source| OpenError::NotUsable { path, source })
    }
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    make_dir(dir)?;
    let path = dir.join("lock");
    let file = match File::options().create(true).truncate(false).write(true).open(&path) {
        Ok(file) => file,
        Err(source) => return Err(OpenError::NotUsable { path, source }),
    };
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::NotUsable { path, source }),
    }
}

fn make_dir(dir: &Path) -> Result<(), OpenError> {
    fs::create_dir_all(dir).map_err(|source| OpenError::NotUsable { path: dir.to_owned(), source })
}

/// Makes renames in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_used_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Directory::open(dir.path()).unwrap();
        assert!(matches!(Directory::open(dir.path()), Err(OpenError::InUse { .. })));
        drop(first);
        Directory::open(dir.path()).unwrap();
    }

    #[test]
    fn a_newer_format_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("format"), "weft ledger store 2\n").unwrap();
        let error = Directory::open(dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::NewerFormat { found: 2, known: 1, .. }));
        assert!(error.to_string().ends_with("use the newer weft"), "{error}");
    }

    #[test]
    fn something_else_is_not_a_ledger() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("format"), [0xff, 0xfe]).unwrap();
        assert!(matches!(Directory::open(dir.path()), Err(OpenError::NotALedger { .. })));
        fs::remove_file(dir.path().join("format")).unwrap();
        fs::create_dir(dir.path().join("rocksdb")).unwrap();
        assert!(matches!(Directory::open(dir.path()), Err(OpenError::NotALedger { .. })));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(Directory::open(&file.join("below")), Err(OpenError::NotUsable { .. })));
    }
}
