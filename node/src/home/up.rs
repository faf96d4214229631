//! What `weft up` was asked to do.

use std::path::Path;

use protocol::{ids::NodeId, invite::Invite};

use super::{Config, ConfigError, Home, HomeLock, Keys, Settings, petname};

/// Everything that a node needs to start: it is the only one on its data directory, has its keys, and its
/// settings make sense.
#[derive(Debug)]
pub struct UpOptions {
    /// The data directory.
    pub home: Home,
    /// The right to run on it. Hold it until the node has stopped.
    pub lock: HomeLock,
    /// The keys.
    pub keys: Keys,
    /// Whether the node's key was made just now.
    pub keys_are_new: bool,
    /// Whether to end, instead of asking on, once a mesh that was waited for has refused this node.
    pub ends_if_refused: bool,
    /// Whether a person reads the standard error.
    pub watched: bool,
    /// The settings: flag, then environment, then file, then default.
    pub config: Config,
    /// The invite to join with.
    pub invite: Option<Invite>,
}

impl UpOptions {
    /// What the node is called.
    #[must_use]
    pub fn name(&self) -> String {
        self.config.name.clone().unwrap_or_else(|| petname(&self.keys.node.node()))
    }

    /// The node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.keys.node.node()
    }
}

/// The settings of a whole system, below those in the data directory.
const SYSTEM_CONFIG: &str = "/etc/weft/config.toml";

impl Home {
    /// The settings that hold for this data directory: defaults, then `/etc/weft/config.toml`, then
    /// `DIR/config.toml`, then the environment. Flags are the caller's to add.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or makes no sense; files that do not exist say nothing.
    pub fn settings(
        &self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Settings, ConfigError> {
        let mut settings = Settings::default();
        for path in [Path::new(SYSTEM_CONFIG), &self.config_file()] {
            match std::fs::read_to_string(path) {
                Ok(text) => settings.add_file(path, &text)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
            }
        }
        settings.add_environment(variables)?;
        Ok(settings)
    }
}
