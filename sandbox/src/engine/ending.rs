//! How a run ended: from what the engine says and what the counters show.

use protocol::outcome::{Interruption, Outcome, Trap};
use wasmer::{RuntimeError, sys::vm::TrapCode};

use crate::wasi::Stop;

/// What the counters show at the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counters {
    /// Fuel that is left; below zero when it ran out.
    pub(super) fuel: i64,
    /// Stack that is left; below zero when it ran out.
    pub(super) stack: i32,
    /// Not 0 if the host could not do what it had promised.
    pub(super) fault: i32,
}

/// The outcome of a run. Without an error it came to its end.
pub(super) fn outcome(error: Option<RuntimeError>, counters: Counters) -> Outcome {
    let code = error.clone().and_then(RuntimeError::to_trap);
    // First what says nothing about the program, because nobody else will see the same.
    if code == Some(TrapCode::HostInterrupt) {
        return Outcome::Indeterminate(Interruption::Timeout);
    }
    if counters.fault != 0 {
        return Outcome::Indeterminate(Interruption::HostResources);
    }
    if counters.fuel < 0 {
        return Outcome::OutOfFuel;
    }
    if counters.stack < 0 {
        return Outcome::DepthExceeded;
    }
    let Some(error) = error else { return Outcome::Exit(0) };
    match error.downcast_ref::<Stop>() {
        Some(Stop::Exit(code)) => return Outcome::Exit(*code),
        Some(Stop::OutOfFuel) => return Outcome::OutOfFuel,
        Some(Stop::OutputTooLarge) => return Outcome::OutputTooLarge,
        None => {}
    }
    code.and_then(trap).map_or(Outcome::Indeterminate(Interruption::HostResources), Outcome::Trap)
}

/// What the program did; `None` for what is not its doing.
const fn trap(code: TrapCode) -> Option<Trap> {
    match code {
        TrapCode::UnreachableCodeReached => Some(Trap::Unreachable),
        TrapCode::HeapAccessOutOfBounds => Some(Trap::MemoryOutOfBounds),
        TrapCode::TableAccessOutOfBounds => Some(Trap::TableOutOfBounds),
        TrapCode::IndirectCallToNull | TrapCode::BadSignature => Some(Trap::BadIndirectCall),
        TrapCode::IntegerDivisionByZero => Some(Trap::DivisionByZero),
        TrapCode::IntegerOverflow => Some(Trap::IntegerOverflow),
        TrapCode::BadConversionToInteger => Some(Trap::BadConversion),
        // The native stack differs between compilers, and the features of the others are off.
        TrapCode::StackOverflow
        | TrapCode::HeapMisaligned
        | TrapCode::UnalignedAtomic
        | TrapCode::UncaughtException
        | TrapCode::UninitializedExnRef
        | TrapCode::YieldOutsideAsyncContext
        | TrapCode::HostInterrupt
        | TrapCode::ReadonlyTableModified => None,
    }
}
