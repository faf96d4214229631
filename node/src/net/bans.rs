//! The file of bans (`bans` in the data directory): a restart forgives nobody.
//!
//! JSON, readable and writable only by its owner, replaced as a whole. Deleting it while the node is stopped lifts every
//! ban.

use std::{net::IpAddr, path::Path, time::Duration};

use protocol::time::{Timestamp, UnixMillis};
use serde::{Deserialize, Serialize};

use super::kept::{Kept, KeptError};
use crate::core::reputation::Ban;

/// The file.
const FILE: Kept = Kept { what: "bans", bytes_max: 2 * 1024 * 1024 };
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
/// See [`KeptError`].
pub fn load(path: &Path, now: Now) -> Result<Vec<Ban>, KeptError> {
    FILE.read(path)?.map_or_else(|| Ok(Vec::new()), |bytes| parse(&bytes, path, now))
}

/// The bans of such a file that are not over; `path` is for the error.
///
/// # Errors
///
/// [`KeptError::Damaged`] if it is none.
pub fn parse(bytes: &[u8], path: &Path, now: Now) -> Result<Vec<Ban>, KeptError> {
    let File { version, bans } = FILE.parse(bytes, path)?;
    if version != VERSION {
        return Err(FILE.damaged(path));
    }
    let bans = bans.into_iter().map(|entry| entry.ban(now).ok_or_else(|| FILE.damaged(path)));
    let bans: Vec<_> = bans.collect::<Result<_, _>>()?;
    Ok(bans.into_iter().filter(|ban| ban.until > now.here).collect())
}

/// Replaces the file by these bans.
///
/// # Errors
///
/// See [`KeptError`]. The old file is then still there.
pub fn save(path: &Path, bans: &[Ban], now: Now) -> Result<(), KeptError> {
    let bans = bans.iter().map(|ban| Entry::of(ban, now)).collect();
    Kept::write(path, &File { version: VERSION, bans })
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
    use std::{fs, os::unix::fs::PermissionsExt as _};

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
            assert!(matches!(load(&path, now(0, 0)), Err(KeptError::Damaged { .. })), "{text}");
        }
    }
}
