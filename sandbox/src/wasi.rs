//! WASI preview 1, answered from memory only: the same answers on every machine.
//!
//! Pure: no host file, clock, network or entropy is behind it. Everything that a program can see is a function of
//! the task: arguments, environment, standard input, the read-only files below `/in`, the files that it wrote itself, of
//! which those below `/out` are its outputs, a clock that advances with the fuel it used, and randomness from the task's seed.
//!
//! Source: WASI snapshot preview 1, `witx/wasi_snapshot_preview1.witx`.

mod abi;
pub mod calls;
mod files;
mod host;
mod paths;
mod process;
mod rights;
mod tree;

pub use self::{
    abi::{Errno, Stop},
    calls::{Call, ValueType},
    host::{Given, Host, Output},
    tree::BadInput,
};

#[cfg(test)]
mod tests;
