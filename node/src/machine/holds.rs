//! What was said about this machine, kept over restarts: `DIR/holds.json`.

use std::{fs, io, path::Path};

use protocol::{time::UnixMillis, wire::availability::NOTE_BYTES_MAX};
use serde::{Deserialize, Serialize};

use crate::{
    core::limits::{Hold, Holds},
    home::replace,
};

/// Larger is not one of ours.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// What was said.
    pub(super) holds: Holds,
    /// When the last order that others gave was given.
    pub(super) ordered: UnixMillis,
}

/// As it stands in the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    pause: Option<Written>,
    drain: Option<Written>,
    ordered_ms: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    until_ms: Option<u64>,
    note: String,
}

impl From<&Hold> for Written {
    fn from(hold: &Hold) -> Self {
        Self { until_ms: hold.until.map(|until| until.0), note: hold.note.clone() }
    }
}

impl From<Written> for Hold {
    fn from(written: Written) -> Self {
        let mut note = written.note;
        while note.len() > NOTE_BYTES_MAX {
            note.pop();
        }
        Self { until: written.until_ms.map(UnixMillis), note }
    }
}

/// Reads what is kept. Nothing, if there is no file.
///
/// # Errors
///
/// If it cannot be read, or is none of ours.
pub(super) fn load(path: &Path) -> io::Result<Kept> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(error) => return Err(error),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
        }
        Ok(_) => {}
    }
    let file: File = serde_json::from_slice(&fs::read(path)?)?;
    let holds = Holds { pause: file.pause.map(Hold::from), drain: file.drain.map(Hold::from) };
    Ok(Kept { holds, ordered: UnixMillis(file.ordered_ms) })
}

/// Writes it, whole or not at all, and makes it durable.
///
/// # Errors
///
/// If that fails.
pub(super) fn save(path: &Path, kept: &Kept) -> io::Result<()> {
    let file = File {
        pause: kept.holds.pause.as_ref().map(Written::from),
        drain: kept.holds.drain.as_ref().map(Written::from),
        ordered_ms: kept.ordered.0,
    };
    replace(path, &serde_json::to_vec(&file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_there_again_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("holds.json");
        assert_eq!(load(&path).unwrap(), Kept::default());
        let pause = Hold { until: Some(UnixMillis(17)), note: "gaming".into() };
        let drain = Hold { until: None, note: String::new() };
        let holds = Holds { pause: Some(pause), drain: Some(drain) };
        let kept = Kept { holds, ordered: UnixMillis(5) };
        save(&path, &kept).unwrap();
        assert_eq!(load(&path).unwrap(), kept);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_a_resume() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("holds.json");
        for text in ["", "{", "{\"pause\": 3}", "{\"nonsense\": 1}"] {
            fs::write(&path, text).unwrap();
            assert!(load(&path).is_err(), "{text}");
        }
    }
}
