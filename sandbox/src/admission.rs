//! Reads a module before any engine does, and says no where no is due.
//!
//! Pure. A module that is admitted is valid under exactly the features of [`FEATURES`], imports nothing but WASI
//! preview 1 by name and by type, begins at `_start`, has at most one memory and one table, and is within
//! [`Limits`]. Only an [`Admitted`] module can be instrumented and compiled.

mod function;
mod limits;
mod module;
mod refusal;

use protocol::units::Pages;
use serde::{Deserialize, Serialize};
use wasmparser::{Parser, WasmFeatures};

pub use self::{
    function::FunctionFacts,
    limits::{CRANELIFT, CraneliftLimits, Limits},
    refusal::{Refusal, RefusalCode},
};

/// The features that modules may use: those of WebAssembly 1.0, sign extension, saturating conversion, mutable
/// globals, several results, bulk memory, and long table indices in `call_indirect` as today's compilers write
/// them. Threads, SIMD, tail calls, exceptions, references and 64-bit memories are off: they would differ between
/// machines or are not metered yet.
pub const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::CALL_INDIRECT_OVERLONG)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::GC_TYPES);

/// What every name that is ours begins with. A module that exports such a name is refused.
pub const RESERVED_PREFIX: &str = "weft:";

/// The function that a program begins with.
pub const ENTRY: &str = "_start";

/// The name under which a program exports its memory.
pub const MEMORY: &str = "memory";

/// Which compiler a module is for. It makes no difference to any result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compiler {
    /// Fast code, but slow over very large functions.
    Cranelift,
    /// Linear time, slower code.
    Singlepass,
}

/// What was learnt about a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Linear memory at its start.
    pub memory_min: Pages,
    /// The most linear memory that it declares; 65,536 pages if it declares none.
    pub memory_max: Pages,
    /// Functions, globals, entries of its table at its start and of its element segments, all together: what has to
    /// be set up for each run.
    pub items: u32,
    /// Bytes of its data segments.
    pub data_bytes: u32,
    /// The compiler that it is for.
    pub compiler: Compiler,
}

/// A module that may be instrumented and compiled.
#[derive(Debug)]
pub struct Admitted<'a> {
    bytes: &'a [u8],
    facts: Facts,
    functions: Vec<FunctionFacts>,
}

impl<'a> Admitted<'a> {
    /// The module.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What was learnt about it.
    #[must_use]
    pub const fn facts(&self) -> Facts {
        self.facts
    }

    /// What was learnt about its own functions, in their order.
    #[must_use]
    pub fn functions(&self) -> &[FunctionFacts] {
        &self.functions
    }
}

/// Reads a module.
///
/// Takes time linear in its size, and memory of a small multiple of it.
///
/// # Errors
///
/// The first reason not to run it.
pub fn admit<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Admitted<'a>, Refusal> {
    check_header(bytes, limits)?;
    module::Reader::new(limits).read(bytes)
}

/// A parser that reads the encoding of [`FEATURES`] and of nothing else. Left to itself it would read that of all
/// proposals: a load with a memory index, say, which means the same and is not valid to any engine.
pub(crate) fn parser() -> Parser {
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    parser
}

/// Tells people who brought something else what it is.
fn check_header(bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let found = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if found > limits.module_bytes {
        return Err(Refusal::too_large("bytes", limits.module_bytes, found, 0));
    }
    let refuse = |code, text: &str| Err(Refusal::new(code, 0, text.to_owned()));
    match bytes {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => refuse(
            RefusalCode::Component,
            "this is a component (WASI preview 2), not a module: build for wasm32-wasip1 instead",
        ),
        [0, b'a', b's', b'm', ..] => {
            refuse(RefusalCode::NotWasm, "this version of the WebAssembly format is unknown")
        }
        [0x7f, b'E', b'L', b'F', ..] => refuse(
            RefusalCode::NotWasm,
            "this is a native program, not a WebAssembly module: build it for wasm32-wasi (see the README)",
        ),
        [b'(', ..] => refuse(
            RefusalCode::NotWasm,
            "this is WebAssembly text, not a binary module: use wat2wasm first",
        ),
        [] => refuse(RefusalCode::NotWasm, "the file is empty, not a WebAssembly module"),
        _ => refuse(
            RefusalCode::NotWasm,
            "this is not a WebAssembly module: it does not begin with `\\0asm`",
        ),
    }
}

#[cfg(test)]
mod tests;
