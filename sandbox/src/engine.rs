//! wasmer, and nothing of wasmer outside: compiles instrumented modules, loads what it compiled, runs it.
//!
//! Compiling and running happen in different processes ([`crate::runner`]): the one that runs guests has no
//! compiler. What stops a program is read from the counters that [`crate::metering`] added, so both compilers
//! agree on it.

mod compile;
mod ending;
mod program;

pub use self::{
    compile::{CompileError, compile, identity},
    program::{LoadError, Prepared, Program, Ran, Start},
};
pub use wasmer::Interrupter;

#[cfg(test)]
mod arithmetic_tests;
#[cfg(test)]
mod tests;
