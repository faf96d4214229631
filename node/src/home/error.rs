//! Why the data directory or the settings cannot be used.

use std::{io, path::PathBuf};

use thiserror::Error;

/// The data directory cannot be used as it is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HomeError {
    /// Neither a flag nor the environment says where the data directory is.
    #[error("no data directory: neither --data-dir, WEFT_DATA_DIR, XDG_DATA_HOME nor HOME is set")]
    Nowhere,
    /// There is nothing there yet.
    #[error("{} holds no node", .dir.display())]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// Something else is in its place.
    #[error("{} is not a directory", .dir.display())]
    NotADirectory {
        /// The path.
        dir: PathBuf,
    },
    /// Others can write to it: they could replace the keys.
    #[error("{} can be written by other users (mode {mode:04o})", .dir.display())]
    Exposed {
        /// The directory.
        dir: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others can read a secret.
    #[error("{} can be read by other users (mode {mode:04o})", .path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key file does not hold a key.
    #[error("{} is not an Ed25519 private key in PKCS#8 PEM", .path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
    },
    /// There are keys already.
    #[error("{} is there already", .path.display())]
    KeysPresent {
        /// The file.
        path: PathBuf,
    },
    /// Another node runs on it.
    #[error("another node runs on {}", .dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The operating system refused.
    #[error("{action} {} failed", .path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no random bytes for a key")]
    Entropy,
}

impl HomeError {
    /// Adds what was being done, and to what, to an error of the operating system.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// The settings make no sense.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("reading {} failed", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("writing {} failed", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{}, line {line}: {message}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counts from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// There is no such key.
    #[error("{origin}: there is no setting `{key}`{}", .nearest.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default())]
    UnknownKey {
        /// Where it was found.
        origin: String,
        /// What was written.
        key: String,
        /// The one that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A value is of another kind.
    #[error("{origin}: `{key}` must be {expected}")]
    WrongKind {
        /// Where it was found.
        origin: String,
        /// The key.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A value of the right kind makes no sense.
    #[error("{origin}: `{key}` = {value}: {problem}")]
    BadValue {
        /// Where it was found.
        origin: String,
        /// The key.
        key: &'static str,
        /// What it is.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
}
