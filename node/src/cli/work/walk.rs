//! Patterns with `**`: a walk that follows no links to directories, so that it always ends.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use glob::{MatchOptions, Pattern};

use crate::cli::error::CliError;

/// The files below `directory` that a pattern means, in the order of their paths. Hidden directories are entered only
/// where `hidden` files are asked for. A directory that may not be read is an error, one that vanished is not.
pub(super) fn files(
    pattern: &Pattern,
    directory: &Path,
    options: MatchOptions,
    hidden: bool,
) -> Result<BTreeSet<PathBuf>, CliError> {
    let here = directory.as_os_str().is_empty();
    let mut waiting = vec![if here { PathBuf::from(".") } else { directory.to_owned() }];
    let mut found = BTreeSet::new();
    while let Some(next) = waiting.pop() {
        let entries = match fs::read_dir(&next) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(CliError::unreadable(&next, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| CliError::unreadable(&next, &error))?;
            if !hidden && entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            let path = if here { path.strip_prefix(".").unwrap_or(&path).to_owned() } else { path };
            // Does not follow links.
            let kind = entry.file_type().map_err(|error| CliError::unreadable(&path, &error))?;
            if kind.is_dir() {
                waiting.push(path.clone());
            }
            if pattern.matches_path_with(&path, options) {
                found.insert(path);
            }
        }
    }
    Ok(found)
}
