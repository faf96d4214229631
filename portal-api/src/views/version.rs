//! What is running.

use serde::{Deserialize, Serialize};

use super::Kind;

/// What is running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The software version.
    pub version: String,
    /// The protocol version.
    pub protocol: u16,
    /// The operating system that it was built for.
    pub os: String,
    /// The instruction set that it was built for.
    pub arch: String,
}

impl Version {
    /// That of this build: all crates of the workspace have one version.
    #[must_use]
    pub fn of_this_build() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: protocol::wire::VERSION,
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
        }
    }
}

impl Kind for Version {
    const KIND: &'static str = "Version";
}
