//! The file of remembered peers: where this node found others before (`peers` in the data directory).
//!
//! JSON, readable and writable only by its owner, replaced as a whole. It holds hints: a node behind an address
//! proves who it is when it is dialled. A damaged file is therefore not worth stopping for.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use protocol::{
    ids::NodeId,
    limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX},
    wire::enroll::NodeAddress,
};
use serde::{Deserialize, Serialize};

/// Peers in the file, at most.
pub const REMEMBERED_MAX: usize = 256;
/// The size of the file, at most, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The version of its format.
const VERSION: u16 = 1;

/// The file as written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u16,
    peers: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    node: String,
    addresses: Vec<String>,
}

/// The file of remembered peers could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RememberError {
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
    /// It is not such a file. Deleting it loses nothing but time.
    #[error("{} is not a file of remembered peers; delete it, it will be written anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// Reads the remembered peers; none if there is no file.
///
/// # Errors
///
/// See [`RememberError`].
pub fn load(path: &Path) -> Result<Vec<NodeAddress>, RememberError> {
    let damaged = || RememberError::Damaged { path: path.to_owned() };
    let read = |source| RememberError::Read { path: path.to_owned(), source };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(read(error)),
        Ok(metadata) if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX => {
            return Err(damaged());
        }
        Ok(_) => {}
    }
    parse(&fs::read(path).map_err(read)?, path)
}

/// What such a file says; `path` is for the error.
///
/// # Errors
///
/// [`RememberError::Damaged`] if it is none.
pub fn parse(bytes: &[u8], path: &Path) -> Result<Vec<NodeAddress>, RememberError> {
    let damaged = || RememberError::Damaged { path: path.to_owned() };
    let file: File = serde_json::from_slice(bytes).map_err(|_| damaged())?;
    if file.version != VERSION {
        return Err(damaged());
    }
    file.peers
        .into_iter()
        .take(REMEMBERED_MAX)
        .map(|entry| entry.parse().ok_or_else(damaged))
        .collect()
}

/// Replaces the file by these peers; those beyond [`REMEMBERED_MAX`] are left out.
///
/// # Errors
///
/// See [`RememberError`]. The old file is then still there.
pub fn save(path: &Path, peers: &[NodeAddress]) -> Result<(), RememberError> {
    let peers = peers.iter().take(REMEMBERED_MAX).map(Entry::of).collect();
    let write = |source| RememberError::Write { path: path.to_owned(), source };
    let text = serde_json::to_vec_pretty(&File { version: VERSION, peers })
        .map_err(|error| write(error.into()))?;
    let new = path.with_extension("new");
    replace(&new, path, &text).map_err(write)
}

fn replace(new: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    use io::Write as _;
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(new, path)
}

impl Entry {
    fn of(peer: &NodeAddress) -> Self {
        let addresses = peer.addresses.iter().take(ADDRESSES_MAX).cloned().collect();
        Self { node: peer.node.to_string(), addresses }
    }

    fn parse(self) -> Option<NodeAddress> {
        let node: NodeId = self.node.parse().ok()?;
        let sane = |address: &String| address.len() <= ADDRESS_BYTES_MAX;
        (self.addresses.len() <= ADDRESSES_MAX && self.addresses.iter().all(sane))
            .then_some(NodeAddress { node, addresses: self.addresses })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn peer(number: u16) -> NodeAddress {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&number.to_le_bytes());
        NodeAddress { node: NodeId(id), addresses: vec![format!("/ip4/10.0.0.1/tcp/{number}")] }
    }

    #[test]
    fn what_is_saved_is_loaded_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers");
        assert_eq!(load(&path).unwrap(), []);
        save(&path, &[peer(1)]).unwrap();
        save(&path, &[peer(2), peer(3)]).unwrap();
        assert_eq!(load(&path).unwrap(), [peer(2), peer(3)]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_file_stays_small() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers");
        save(&path, &(0..1_000).map(peer).collect::<Vec<_>>()).unwrap();
        assert_eq!(load(&path).unwrap().len(), REMEMBERED_MAX);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers");
        for text in [
            "",
            "{}",
            "{\"version\":9,\"peers\":[]}",
            "{\"version\":1,\"peers\":[{\"node\":\"x\",\"addresses\":[]}]}",
        ] {
            fs::write(&path, text).unwrap();
            assert!(matches!(load(&path), Err(RememberError::Damaged { .. })), "{text}");
        }
        assert!(matches!(load(dir.path()), Err(RememberError::Damaged { .. })), "a directory");
    }
}
