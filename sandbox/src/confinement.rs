//! How well guests are kept from their host, in letters and in words.

use std::fmt;

use protocol::wire::advert::Isolation;
use serde::{Deserialize, Serialize};

/// What bounds the memory of a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryBound {
    /// The kernel counts the private writable pages of the process and refuses more (`RLIMIT_DATA`); shared ones it
    /// cannot have. Set anew for each task, below a maximum that the process cannot raise.
    Process,
}

impl fmt::Display for MemoryBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process => f.write_str("by the process's own limit (RLIMIT_DATA)"),
        }
    }
}

/// How well a runner is locked up on this machine, measured by one that locked itself up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// All in all.
    pub grade: Isolation,
    /// What keeps it from a better grade, one sentence each, for people. Empty for grade A.
    pub lacks: Vec<String>,
    /// What bounds its memory.
    pub memory: MemoryBound,
    /// The version of the kernel's Landlock; 0 if it has none. 4 and above cover the network, 6 and above signals.
    pub landlock: u32,
}

impl fmt::Display for Confinement {
    /// One line: the grade, and why it is no better.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.grade.name())?;
        if !self.lacks.is_empty() {
            write!(f, " ({})", self.lacks.join("; "))?;
        }
        Ok(())
    }
}
