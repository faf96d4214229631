//! One node at a time on one data directory.

use std::fs::{File, OpenOptions, TryLockError};

use super::{Home, HomeError};

/// The right to run on a data directory. Released when dropped, also when the process is killed.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

impl Home {
    /// Takes the lock.
    ///
    /// # Errors
    ///
    /// [`HomeError::Locked`] if another process has it.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let file = self.open_lock()?;
        match file.try_lock() {
            Ok(()) => Ok(HomeLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(HomeError::Locked { dir: self.dir().to_owned() }),
            Err(TryLockError::Error(error)) => {
                Err(HomeError::io("locking", self.lock_file())(error))
            }
        }
    }

    /// Waits until no node runs on it any more. Blocks the thread.
    ///
    /// # Errors
    ///
    /// If the lock file cannot be used.
    pub fn wait_unlocked(&self) -> Result<(), HomeError> {
        self.open_lock()?.lock().map_err(HomeError::io("locking", self.lock_file()))
    }

    fn open_lock(&self) -> Result<File, HomeError> {
        let path = self.lock_file();
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(HomeError::io("opening", path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_cannot_run_on_one_directory() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::create(dir.path()).unwrap();
        let first = home.lock().unwrap();
        assert!(matches!(home.lock(), Err(HomeError::Locked { .. })));
        drop(first);
        home.wait_unlocked().unwrap();
        home.lock().unwrap();
    }
}
