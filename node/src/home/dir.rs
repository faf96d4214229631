//! Where everything is.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use protocol::ids::MeshId;

use super::HomeError;

/// A data directory that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    dir: PathBuf,
}

impl Home {
    /// Says where the data directory is: the flag, else `WEFT_DATA_DIR`, else `$XDG_DATA_HOME/weft`, else
    /// `$HOME/.local/share/weft`. `variable` reads the environment; empty values count as unset.
    ///
    /// # Errors
    ///
    /// [`HomeError::Nowhere`] if nothing says so.
    pub fn resolve(
        flag: Option<&Path>,
        variable: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<PathBuf, HomeError> {
        let variable = |name: &str| variable(name).filter(|value| !value.as_os_str().is_empty());
        flag.map(Path::to_owned)
            .or_else(|| variable("WEFT_DATA_DIR"))
            .or_else(|| {
                variable("XDG_DATA_HOME")
                    .filter(|dir| dir.is_absolute())
                    .map(|dir| dir.join("weft"))
            })
            .or_else(|| variable("HOME").map(|home| home.join(".local/share/weft")))
            .ok_or(HomeError::Nowhere)
    }

    /// Opens a data directory that is there already.
    ///
    /// # Errors
    ///
    /// [`HomeError::Missing`] if it is not; see [`Self::create`] for the others.
    pub fn open(dir: &Path) -> Result<Self, HomeError> {
        let dir = std::path::absolute(dir).map_err(HomeError::io("finding", dir))?;
        match fs::metadata(&dir) {
            Ok(metadata) if metadata.is_dir() => check_mode(&dir, &metadata).map(|()| Self { dir }),
            Ok(_) => Err(HomeError::NotADirectory { dir }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(HomeError::Missing { dir })
            }
            Err(error) => Err(HomeError::io("opening", dir)(error)),
        }
    }

    /// Opens a data directory and makes it, for its owner only, if it is not there.
    ///
    /// # Errors
    ///
    /// If something else is in its place, if it cannot be made, or if other users can write to it.
    pub fn create(dir: &Path) -> Result<Self, HomeError> {
        match Self::open(dir) {
            Err(HomeError::Missing { dir }) => {
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&dir)
                    .map_err(HomeError::io("creating", dir.clone()))?;
                Self::open(&dir)
            }
            opened => opened,
        }
    }

    /// The directory itself: absolute.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The node's secret key.
    #[must_use]
    pub fn identity_key(&self) -> PathBuf {
        self.dir.join("identity.key")
    }

    /// The node's next secret key, while it changes it.
    #[must_use]
    pub fn next_key_file(&self) -> PathBuf {
        self.dir.join("identity.next")
    }

    /// The node's secret key before it changed it.
    #[must_use]
    pub fn old_key_file(&self) -> PathBuf {
        self.dir.join("identity.old")
    }

    /// The owner's secret key.
    #[must_use]
    pub fn owner_key(&self) -> PathBuf {
        self.dir.join("owner.key")
    }

    /// The settings.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    /// What was said about this machine: a pause, a drain.
    #[must_use]
    pub fn holds_file(&self) -> PathBuf {
        self.dir.join("holds.json")
    }

    /// The token of the API over TCP.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.dir.join("api.token")
    }

    /// The file that the running node holds locked.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// The socket of the API. To bind or to connect to it use [`Self::bind_socket`] and
    /// [`Self::connect_socket`], which also work where the path is longer than a socket address can hold.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("weft.sock")
    }

    /// What a detached node has to say.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.dir.join("weft.log")
    }

    /// What belongs to one mesh: `db`, `promise`.
    #[must_use]
    pub fn mesh_dir(&self, mesh: &MeshId) -> PathBuf {
        self.dir.join("mesh").join(mesh.to_string())
    }

    /// The directory of all meshes.
    #[must_use]
    pub fn meshes_dir(&self) -> PathBuf {
        self.dir.join("mesh")
    }

    /// Content by its hash.
    #[must_use]
    pub fn blobs_dir(&self) -> PathBuf {
        self.dir.join("blobs")
    }

    /// Compiled modules.
    #[must_use]
    pub fn artifacts_dir(&self) -> PathBuf {
        self.dir.join("artifacts")
    }

    /// Peers that were seen.
    #[must_use]
    pub fn peers_file(&self) -> PathBuf {
        self.dir.join("peers")
    }

    /// Peers that are banned.
    #[must_use]
    pub fn bans_file(&self) -> PathBuf {
        self.dir.join("bans")
    }

    /// Meshes that were left.
    #[must_use]
    pub fn old_dir(&self) -> PathBuf {
        self.dir.join("old")
    }
}

fn check_mode(dir: &Path, metadata: &fs::Metadata) -> Result<(), HomeError> {
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o022 == 0 { Ok(()) } else { Err(HomeError::Exposed { dir: dir.to_owned(), mode }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(flag: Option<&str>, variables: &[(&str, &str)]) -> Option<PathBuf> {
        let variable = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))
        };
        Home::resolve(flag.map(Path::new), variable).ok()
    }

    #[test]
    fn the_flag_beats_the_environment_which_beats_the_default() {
        let all = [("WEFT_DATA_DIR", "/env"), ("XDG_DATA_HOME", "/xdg"), ("HOME", "/home/me")];
        assert_eq!(resolve(Some("/flag"), &all), Some("/flag".into()));
        assert_eq!(resolve(None, &all), Some("/env".into()));
        assert_eq!(resolve(None, &all[1..]), Some("/xdg/weft".into()));
        assert_eq!(resolve(None, &all[2..]), Some("/home/me/.local/share/weft".into()));
        assert_eq!(
            resolve(None, &[("WEFT_DATA_DIR", ""), ("HOME", "/h")]),
            Some("/h/.local/share/weft".into())
        );
        assert_eq!(resolve(None, &[]), None);
    }

    #[test]
    fn a_file_in_its_place_and_a_directory_for_everybody_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(Home::create(&file), Err(HomeError::NotADirectory { .. })));
        assert!(matches!(Home::create(&file.join("below")), Err(HomeError::Io { .. })));
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Home::create(&open), Err(HomeError::Exposed { mode: 0o777, .. })));
        assert!(matches!(Home::open(&dir.path().join("none")), Err(HomeError::Missing { .. })));
    }
}
