//! Rewrites the code of a module so that it pays for what it does and stops where it must.
//!
//! Pure, and done once per module, before any compiler sees it. So fuel, call depth and memory do not depend on
//! the compiler, and the engine needs no middleware.
//!
//! # How
//!
//! Four globals are added and exported under reserved names ([`Counter`]). The host sets them before the start and
//! reads them at the end.
//!
//! * *Fuel.* Code is cut into segments that are left only at their end, by a branch, a trap or the end of a block.
//!   A segment's cost is subtracted before it runs. Whether fuel is left is checked where code can be repeated: at
//!   the head of a loop and at the entry of a function; and by the host at every call of it and at the end. A
//!   program whose fuel is below zero at the end ran out of it, whatever else happened, and is charged its limit.
//!   In loops and functions that call nothing the fuel is held in a local, which compilers keep in a register, and
//!   written back at the head of each loop and wherever it is left. What a trap there leaves uncharged is less than
//!   one way through one function, and the same everywhere.
//! * *Bulk operations* (`memory.fill`, `memory.copy`, `memory.init`, `table.copy`, `table.init`) are charged by
//!   length before they run: ten fills of 1 GiB cost 123 units where they are charged as one instruction each.
//! * *Memory.* `memory.grow` succeeds up to the task's limit and fails above it, and never asks the host which.
//!   If the host cannot keep that promise, the run is stopped and proves nothing.
//! * *Depth.* A function that calls others takes its frame from a budget at its entry and gives it back at its
//!   end. So the native stack, which differs between compilers, is never what ends a program.
//! * *Not a number.* Where the bits of a NaN that arithmetic made could be seen, it is the canonical one;
//!   bits that are only moved stay as they are. The compilers are not asked to do anything about NaNs.
//!
//! Custom sections are dropped, and all exports but the entry; the memory is always exported, so that its size is seen.

mod body;
pub mod cost;
mod effects;
mod emit;
mod module;
mod names;
mod nan;
mod shape;
mod values;

use serde::{Deserialize, Serialize};
use wasm_encoder::{ConstExpr, ValType};

pub use self::names::function_names;
use crate::admission::{Admitted, Refusal};

/// A global that is added to each module, by which host and code tell each other what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Fuel that is left, 64 bits; below zero when it ran out.
    Fuel,
    /// Stack that is left, in [slots](cost::frame_slots), 32 bits; below zero when it ran out.
    Stack,
    /// Linear memory that it may have, in pages, 64 bits.
    Pages,
    /// Not 0 if the host could not do what it had promised, 32 bits.
    Fault,
}

impl Counter {
    /// All of them, in the order in which they are added after a module's own globals.
    pub const ALL: [Self; 4] = [Self::Fuel, Self::Stack, Self::Pages, Self::Fault];

    /// The name under which it is exported.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fuel => "weft:fuel",
            Self::Stack => "weft:stack",
            Self::Pages => "weft:pages",
            Self::Fault => "weft:fault",
        }
    }

    const fn place(self) -> u32 {
        match self {
            Self::Fuel => 0,
            Self::Stack => 1,
            Self::Pages => 2,
            Self::Fault => 3,
        }
    }

    const fn value_type(self) -> ValType {
        match self {
            Self::Fuel | Self::Pages => ValType::I64,
            Self::Stack | Self::Fault => ValType::I32,
        }
    }

    fn initial(self) -> ConstExpr {
        match self {
            Self::Fuel | Self::Pages => ConstExpr::i64_const(0),
            Self::Stack | Self::Fault => ConstExpr::i32_const(0),
        }
    }
}

/// The module could not be rewritten. Does not happen to a module that was [admitted](crate::admission::admit).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It could not be read again.
    #[error("the module could not be read")]
    Read(#[from] wasmparser::BinaryReaderError),
    /// It contains an instruction that has no cost.
    #[error("the module contains an instruction without a cost: {0}")]
    NoCost(String),
    /// It is not what admission said it is.
    #[error("the module is not what admission said it is")]
    Inconsistent,
    /// A function is too long with its metering: the only thing here that is about the module and not a bug.
    #[error("a function has {found} bytes with its metering, but {limit} is the limit")]
    TooLarge {
        /// How long it is, in bytes.
        found: usize,
        /// How long it may be.
        limit: usize,
        /// Where it begins in the module.
        at: usize,
    },
}

impl Error {
    /// The refusal that this is, if it is about the module.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        let wide = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        match self {
            Self::TooLarge { found, limit, at } => Some(Refusal::too_large(
                "bytes in one function with its metering",
                wide(*limit),
                wide(*found),
                wide(*at),
            )),
            Self::Read(_) | Self::NoCost(_) | Self::Inconsistent => None,
        }
    }
}

/// What a module is rewritten for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// To be run.
    #[default]
    Run,
    /// To be run and to say what each function spent: slower, and the same in everything else.
    Explain,
}

/// The name under which the global is exported that adds up what a function spends, by its number among the module's
/// own functions.
#[must_use]
pub fn tally_name(function: u32) -> String {
    format!("weft:spent:{function}")
}

/// Rewrites an admitted module. The result is valid again, under the same features.
///
/// # Errors
///
/// [`Error::TooLarge`] if a function is too long then; every other [`Error`] is a bug here or in admission.
pub fn instrument(admitted: &Admitted<'_>, purpose: Purpose) -> Result<Vec<u8>, Error> {
    module::rewrite(admitted, purpose)
}

#[cfg(test)]
mod tests;
