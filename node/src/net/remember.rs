//! The file of remembered peers: where this node found others before (`peers` in the data directory).
//!
//! JSON, readable and writable only by its owner, replaced as a whole. It holds hints: a node behind an address
//! proves who it is when it is dialled. A damaged file is therefore not worth stopping for.

use std::path::Path;

use protocol::{
    ids::NodeId,
    limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX},
    wire::enroll::NodeAddress,
};
use serde::{Deserialize, Serialize};

use super::kept::{Kept, KeptError};

/// Peers in the file, at most.
pub const REMEMBERED_MAX: usize = 256;
/// The file.
const FILE: Kept = Kept { what: "remembered peers", bytes_max: 1024 * 1024 };
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

/// Reads the remembered peers; none if there is no file.
///
/// # Errors
///
/// See [`KeptError`].
pub fn load(path: &Path) -> Result<Vec<NodeAddress>, KeptError> {
    FILE.read(path)?.map_or_else(|| Ok(Vec::new()), |bytes| parse(&bytes, path))
}

/// What such a file says; `path` is for the error.
///
/// # Errors
///
/// [`KeptError::Damaged`] if it is none.
pub fn parse(bytes: &[u8], path: &Path) -> Result<Vec<NodeAddress>, KeptError> {
    let File { version, peers } = FILE.parse(bytes, path)?;
    if version != VERSION {
        return Err(FILE.damaged(path));
    }
    let peers = peers.into_iter().take(REMEMBERED_MAX);
    peers.map(|entry| entry.parse().ok_or_else(|| FILE.damaged(path))).collect()
}

/// Replaces the file by these peers; those beyond [`REMEMBERED_MAX`] are left out.
///
/// # Errors
///
/// See [`KeptError`]. The old file is then still there.
pub fn save(path: &Path, peers: &[NodeAddress]) -> Result<(), KeptError> {
    let peers = peers.iter().take(REMEMBERED_MAX).map(Entry::of).collect();
    Kept::write(path, &File { version: VERSION, peers })
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
    use std::{fs, os::unix::fs::PermissionsExt as _};

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
            assert!(matches!(load(&path), Err(KeptError::Damaged { .. })), "{text}");
        }
        assert!(matches!(load(dir.path()), Err(KeptError::Damaged { .. })), "a directory");
    }
}
