//! Where to look: a machine, a data directory, and what the node there says.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use portal_api::views::{Health, Node, Peer, Status};
use protocol::time::UnixMillis;

use crate::home::{Config, ConfigError, Settings};

/// The longest file that is read of a machine, in bytes: tables of the kernel, rules, units.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What the node in the data directory says.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// `weft status`; `None`: it does not answer.
    pub status: Option<Status>,
    /// Why it does not answer, or what it says instead.
    pub silence: Option<String>,
    /// What it thinks of itself.
    pub health: Option<Health>,
    /// Whom it is connected to.
    pub peers: Vec<Peer>,
    /// The members of its mesh.
    pub nodes: Vec<Node>,
}

/// Where to look. Everything is read through this, so that a test can build a machine of its own.
#[derive(Debug, Clone)]
pub struct Place {
    /// `/`, but in tests.
    pub root: PathBuf,
    /// The data directory, whether it exists or not.
    pub dir: PathBuf,
    /// The variables of the environment.
    pub variables: BTreeMap<String, String>,
    /// What the node there says.
    pub answers: Answers,
    /// Now.
    pub now: UnixMillis,
}

impl Place {
    /// A path on this machine.
    #[must_use]
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// The text of a file, without spaces around it, if there is one that may be read. At most 1 MiB of it.
    #[must_use]
    pub fn read(&self, absolute: &str) -> Option<String> {
        text(&self.path(absolute)).ok()
    }

    /// The names in a directory, in order; none if there is none.
    #[must_use]
    pub fn names(&self, absolute: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(absolute)).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.take(1_000).filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// A file of the data directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The settings in effect, and what they mean.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let mut settings = Settings::default();
        for path in [self.path("/etc/weft/config.toml"), self.file("config.toml")] {
            match fs::read_to_string(&path) {
                Ok(text) => settings.add_file(&path, &text)?,
                Err(error) if is_absent(&error) => {}
                Err(source) => return Err(ConfigError::Read { path, source }),
            }
        }
        settings.add_environment(self.variables.clone())?;
        Config::try_from(&settings)
    }

    /// What a program of this machine prints, if there is one and it ends well. Only where the machine is this one.
    #[must_use]
    pub fn output(&self, program: &str, args: &[&str]) -> Option<String> {
        if self.root != Path::new("/") {
            return None;
        }
        let paths = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
        let program =
            paths.iter().map(|dir| Path::new(dir).join(program)).find(|it| it.is_file())?;
        let output = Command::new(program)
            .args(args)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The text of a file, without spaces around it.
///
/// # Errors
///
/// As reading a file.
pub(super) fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Whether a file is simply not there.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
