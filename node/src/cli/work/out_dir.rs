//! The directory that results go to. Each file appears whole or not at all.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use portal_api::ErrorCode;

use crate::cli::error::CliError;

/// A directory that results can be written to: tried out before anything is submitted.
#[derive(Debug, Clone)]
pub struct OutDir {
    dir: PathBuf,
}

/// A file that is being written. It gets its name with [`Draft::keep`]; dropped before, it leaves nothing.
#[derive(Debug)]
pub struct Draft {
    file: Option<File>,
    draft: PathBuf,
    path: PathBuf,
}

impl OutDir {
    /// Makes the directory, if it is not there, and tries to write to it.
    ///
    /// # Errors
    ///
    /// `output-unwritable`.
    pub fn prepare(dir: &Path) -> Result<Self, CliError> {
        fs::create_dir_all(dir).map_err(|error| {
            if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) {
                CliError::new(
                    ErrorCode::OutputUnwritable,
                    format!("{} is not a directory", dir.display()),
                )
            } else {
                CliError::unwritable(dir, &error)
            }
        })?;
        let out = Self { dir: dir.to_owned() };
        // Dropped at once: this only proves that files can be made here.
        drop(out.draft("weft-was-here")?);
        Ok(out)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Begins a file. `name` is a relative path that never leaves the directory.
    ///
    /// # Errors
    ///
    /// `output-unwritable`.
    pub fn draft(&self, name: &str) -> Result<Draft, CliError> {
        if !protocol::wire::is_relative_path(name) {
            return Err(CliError::new(
                ErrorCode::OutputUnwritable,
                format!("{name:?} is no name of a file"),
            ));
        }
        let path = self.dir.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| CliError::unwritable(parent, &error))?;
        }
        let mut draft = path.clone().into_os_string();
        draft.push(format!(".part-{}", std::process::id()));
        let draft = PathBuf::from(draft);
        let file = File::create(&draft).map_err(|error| CliError::unwritable(&path, &error))?;
        Ok(Draft { file: Some(file), draft, path })
    }

    /// Writes a file.
    ///
    /// # Errors
    ///
    /// `output-unwritable`.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), CliError> {
        let mut draft = self.draft(name)?;
        io::Write::write_all(draft.file()?, content).map_err(|error| draft.unwritable(&error))?;
        draft.keep()
    }

    /// Removes a file that an earlier run left, so that nobody takes it for a result of this one.
    ///
    /// # Errors
    ///
    /// `output-unwritable`; not if there is none.
    pub fn remove(&self, name: &str) -> Result<(), CliError> {
        let path = self.dir.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(CliError::unwritable(&path, &error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Draft {
    /// What to write to.
    ///
    /// # Errors
    ///
    /// Never before [`Self::keep`].
    pub fn file(&mut self) -> Result<&mut File, CliError> {
        self.file
            .as_mut()
            .ok_or_else(|| CliError::internal("a file was written after it was closed"))
    }

    /// Gives the file its name, in place of one that has it.
    ///
    /// # Errors
    ///
    /// `output-unwritable`.
    pub fn keep(mut self) -> Result<(), CliError> {
        self.file = None;
        fs::rename(&self.draft, &self.path).map_err(|error| self.unwritable(&error))
    }

    /// The error of writing it.
    #[must_use]
    pub fn unwritable(&self, error: &io::Error) -> CliError {
        CliError::unwritable(&self.path, error)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `keep` there is nothing of that name any more.
        let _ = fs::remove_file(&self.draft);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let out = OutDir::prepare(&dir.path().join("new/er")).unwrap();
        assert!(listing(out.path()).is_empty());
        out.write("a/b.out", b"x").unwrap();
        out.write("a/b.out", b"y").unwrap();
        assert_eq!(fs::read(out.path().join("a/b.out")).unwrap(), b"y");
        drop(out.draft("half").unwrap());
        assert_eq!(listing(out.path()), ["a"]);
        out.remove("none").unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_known_before_anything_is_paid() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(OutDir::prepare(&file).unwrap_err().code(), ErrorCode::OutputUnwritable);
        assert_eq!(
            OutDir::prepare(&file.join("below")).unwrap_err().code(),
            ErrorCode::OutputUnwritable
        );
    }

    #[test]
    fn nothing_is_written_outside() {
        let dir = tempfile::tempdir().unwrap();
        let out = OutDir::prepare(dir.path()).unwrap();
        for name in ["../x", "/x", "a/../../x", ""] {
            assert_eq!(
                out.write(name, b"").unwrap_err().code(),
                ErrorCode::OutputUnwritable,
                "{name}"
            );
        }
    }
}
