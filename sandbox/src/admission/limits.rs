//! How large the parts of a module may be.
//!
//! Real programs (compiled C, Rust and Go tools, interpreters) must pass, so that most limits are far above what
//! those need; what a compiler cannot digest in time is bounded by the compile budget instead.

use protocol::{limits, units::Pages};

/// What one module may consist of. A mesh may set some of it lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The module, in bytes.
    pub module_bytes: u64,
    /// Linear memory that it may ask for at its start.
    pub memory_min: Pages,
    /// Functions, imported ones included.
    pub functions: u32,
    /// Types.
    pub types: u32,
    /// Imports.
    pub imports: u32,
    /// Exports.
    pub exports: u32,
    /// Globals.
    pub globals: u32,
    /// Entries of its table at its start.
    pub table_entries: u32,
    /// Data and element segments, each.
    pub segments: u32,
    /// Parameters of one function type.
    pub params: u32,
    /// Results of one function type.
    pub results: u32,
    /// Locals of one function, parameters not counted.
    pub locals: u32,
    /// The body of one function, in bytes.
    pub body_bytes: u32,
    /// Blocks within blocks in one function.
    pub nesting: u32,
    /// Branch targets in one function, those of all its `br_table` together.
    pub branch_targets: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            module_bytes: limits::MODULE_BYTES_MAX,
            memory_min: limits::TASK_MEMORY_MAX,
            functions: 100_000,
            types: 20_000,
            imports: 64,
            exports: 1_024,
            globals: 20_000,
            table_entries: 200_000,
            segments: 100_000,
            params: 128,
            results: 16,
            locals: 40_000,
            body_bytes: 4 * 1024 * 1024,
            nesting: 2_000,
            branch_targets: 100_000,
        }
    }
}

/// What one function may consist of before Cranelift takes too long over it: the module is then compiled by
/// Singlepass, whose time is linear.
///
/// Measured with wasmer 7.4.2 on two cores: 1,000 `if`/`else` 0.4 s but 5,000 take 11 s; 250 nested blocks 13 ms
/// but 40,000 take 33 s. Which compiler it was makes no difference to any result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CraneliftLimits {
    /// The body, in bytes.
    pub body_bytes: u32,
    /// Instructions.
    pub operators: u32,
    /// Branches: `if`, `br_if` and all targets of `br_table`.
    pub branches: u32,
    /// Blocks within blocks.
    pub nesting: u32,
    /// Locals.
    pub locals: u32,
}

/// The limits that hold here.
pub const CRANELIFT: CraneliftLimits = CraneliftLimits {
    body_bytes: 256 * 1024,
    operators: 60_000,
    branches: 2_000,
    nesting: 256,
    locals: 512,
};
