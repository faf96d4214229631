//! Why a module is not run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is wrong with a module. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RefusalCode {
    /// Not WebAssembly at all.
    NotWasm,
    /// A component (WASI preview 2), not a module.
    Component,
    /// Not valid, or uses a feature that is off.
    Invalid,
    /// Larger than a limit allows.
    TooLarge,
    /// Imports something that is not on the list.
    UnknownImport,
    /// Imports something on the list with another type.
    ImportType,
    /// Has no `_start`, or one of another type.
    NoEntry,
    /// Has a start section.
    StartSection,
    /// Does not export its memory as `memory`.
    NoMemory,
    /// Uses a name that is reserved.
    ReservedName,
    /// Asks for more memory at its start than the task may have.
    Memory,
}

impl RefusalCode {
    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotWasm => "not-wasm",
            Self::Component => "component",
            Self::Invalid => "invalid",
            Self::TooLarge => "too-large",
            Self::UnknownImport => "unknown-import",
            Self::ImportType => "import-type",
            Self::NoEntry => "no-entry",
            Self::StartSection => "start-section",
            Self::NoMemory => "no-memory",
            Self::ReservedName => "reserved-name",
            Self::Memory => "memory",
        }
    }
}

/// Why a module is not run, and what would have to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong.
    pub code: RefusalCode,
    /// The limit, where it is about one; else 0.
    pub limit: u64,
    /// What was found, where it is about a limit; else 0.
    pub found: u64,
    /// Where in the module, in bytes from its beginning.
    pub offset: u64,
    /// One sentence for people.
    pub text: String,
}

impl Refusal {
    /// A refusal that is not about a number.
    #[must_use]
    pub const fn new(code: RefusalCode, offset: u64, text: String) -> Self {
        Self { code, limit: 0, found: 0, offset, text }
    }

    /// A refusal because there are more than `limit` of something.
    #[must_use]
    pub fn too_large(what: &str, limit: u64, found: u64, offset: u64) -> Self {
        let text =
            format!("the module has {found} {what}, but {limit} is the limit (at byte {offset})");
        Self { code: RefusalCode::TooLarge, limit, found, offset, text }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}
