//! The file of bans (`bans` in the data directory): a restart forgives nobody.
//!
//! JSON, readable and writable only by its owner, replaced as a whole. Deleting it while the node is stopped lifts every
//! ban.

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use protocol::time::{Timestamp, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::core::reputation::Ban;

/// The size of the file, at most, in bytes.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// The version of its format.
const VERSION: u16 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u16,
    bans: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    node: String,
    address: Option<IpAddr>,
    /// In milliseconds since 1970.
    until: u64,
}

/// The file of bans could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BansError {
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
    /// It is not such a file.
    #[error("{} is not a file of bans; delete it, it will be written anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// Two clocks at the same moment: bans end on the one that never goes back, and are kept on the other.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Since the node started.
    pub here: Timestamp,
    /// On the wall.
    pub wall: UnixMillis,
}

/// Reads the bans that are not over; none if there is no file.
///
/// # Errors
///
/// See [`BansError`].
pub fn load(path: &Path, now: Now) -> Result<Vec<Ban>, BansError> {
    let damaged = || BansError::Damaged { path: path.to_owned() };
    let read = |source| BansError::Read { path: path.to_owned(), source };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(read(error)),
        Ok(metadata) if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX => {
            return Err(damaged());
        }
        Ok(_) => {}
    }
    let file: File =
        serde_json::from_slice(&fs::read(path).map_err(read)?).map_err(|_| damaged())?;
    if file.version != VERSION {
        return Err(damaged());
    }
    let bans = file.bans.into_iter().map(|entry| entry.ban(now).ok_or_else(damaged));
    let bans: Vec<_> = bans.collect::<Result<_, _>>()?;
    Ok(bans.into_iter().filter(|ban| ban.until > now.here).collect())
}

/// Replaces the file by these bans.
///
/// # Errors
///
/// See [`BansError`]. The old file is then still there.
pub fn save(path: &Path, bans: &[Ban], now: Now) -> Result<(), BansError> {
    let write = |source| BansError::Write { path: path.to_owned(), source };
    let bans = bans.iter().map(|ban| Entry::of(ban, now)).collect();
    let text = serde_json::to_vec_pretty(&File { version: VERSION, bans })
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
    fn of(ban: &Ban, now: Now) -> Self {
        let left = ban.until.saturating_since(now.here);
        let until = now.wall.saturating_add(left).0;
        Self { node: ban.node.to_string(), address: ban.address, until }
    }

    fn ban(self, now: Now) -> Option<Ban> {
        let left = Duration::from_millis(self.until.saturating_sub(now.wall.0));
        let until = now.here.saturating_add(left);
        Some(Ban { node: self.node.parse().ok()?, address: self.address, until })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use protocol::ids::NodeId;

    use super::*;

    fn now(here: u64, wall: u64) -> Now {
        Now {
            here: Timestamp::after_origin(Duration::from_secs(here)),
            wall: UnixMillis(wall.saturating_mul(1_000)),
        }
    }

    #[test]
    fn a_ban_survives_a_restart_and_ends_when_it_would_have() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bans");
        assert_eq!(load(&path, now(0, 0)).unwrap(), []);
        let until = |second| Timestamp::after_origin(Duration::from_secs(second));
        let ban =
            Ban { node: NodeId([7; 32]), address: "192.0.2.1".parse().ok(), until: until(1_100) };
        save(&path, &[ban], now(1_000, 50_000)).unwrap();
        // 30 s later, in a process that has just started.
        assert_eq!(load(&path, now(1, 50_030)).unwrap(), [Ban { until: until(71), ..ban }]);
        assert_eq!(load(&path, now(1, 50_101)).unwrap(), []);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bans");
        for text in [
            "",
            "{}",
            "{\"version\":2,\"bans\":[]}",
            "{\"version\":1,\"bans\":[{\"node\":\"x\",\"address\":null,\"until\":1}]}",
        ] {
            fs::write(&path, text).unwrap();
            assert!(matches!(load(&path, now(0, 0)), Err(BansError::Damaged { .. })), "{text}");
        }
    }
}
