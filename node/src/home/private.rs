//! Files that hold a secret.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use super::{
    HomeError,
    durable::{sync_dir, write_draft},
};

/// Larger is not one of our secrets.
const SECRET_BYTES_MAX: u64 = 4_096;

/// Writes a secret, whole or not at all, readable by its owner only. Returns `false`, and changes nothing, if the
/// file is there already.
///
/// # Errors
///
/// If it cannot be written, or not be made durable.
pub(super) fn write_new(path: &Path, secret: &[u8]) -> Result<bool, HomeError> {
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let written = write_draft(&draft, secret).and_then(|()| match fs::hard_link(&draft, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    });
    // Whatever came of it, the draft is not needed any more; if it was never made, there is nothing to remove.
    let _ = fs::remove_file(&draft);
    let written = written.map_err(HomeError::io("writing", path))?;
    if let (true, Some(dir)) = (written, path.parent()) {
        sync_dir(dir).map_err(HomeError::io("syncing", dir))?;
    }
    Ok(written)
}

/// Reads a secret; `None` if there is no such file.
///
/// # Errors
///
/// If it cannot be read, or if other users could read it too.
pub(super) fn read(path: &Path) -> Result<Option<String>, HomeError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(HomeError::io("reading", path)(error)),
    };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(HomeError::KeyExposed { path: path.to_owned(), mode });
    }
    if metadata.len() > SECRET_BYTES_MAX {
        return Err(HomeError::BadKey { path: path.to_owned() });
    }
    fs::read_to_string(path).map(Some).map_err(HomeError::io("reading", path))
}
