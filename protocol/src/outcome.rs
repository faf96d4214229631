//! How the execution of a task ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the execution of a task ended.
///
/// Everything but [`Outcome::Indeterminate`] is a function of module, input, arguments, limits and engine
/// profile: the same on every machine, and therefore final. Numbers are part of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The program ended by itself, with this code. 0 is success.
    Exit(u32),
    /// The program did something that WebAssembly forbids.
    Trap(Trap),
    /// The fuel limit was reached.
    OutOfFuel,
    /// The output limit was reached.
    OutputTooLarge,
    /// The call depth limit was reached.
    DepthExceeded,
    /// The module was not admitted, so nothing ran.
    Refused,
    /// The host ended it, so that nobody can check. Never a verifiable result.
    Indeterminate(Interruption),
}

/// What a program did that WebAssembly forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Trap {
    /// `unreachable` was executed: what compilers emit for panics and aborts.
    Unreachable,
    /// A memory access out of bounds.
    MemoryOutOfBounds,
    /// A table access out of bounds, or an undefined element.
    TableOutOfBounds,
    /// An indirect call of a function with another signature, or of none.
    BadIndirectCall,
    /// Integer division by zero.
    DivisionByZero,
    /// Integer overflow in a division or conversion.
    IntegerOverflow,
    /// A conversion of a float that has no integer value.
    BadConversion,
}

/// Why the host ended a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Interruption {
    /// The wall-clock limit of the task was reached.
    Timeout,
    /// The runner process died.
    RunnerCrashed,
    /// The host's memory or native stack ran out.
    HostResources,
    /// The module or an input could not be fetched, or was not what its hash says.
    InputMissing,
    /// The compile budget was reached.
    CompileBudget,
    /// The job was cancelled or the lease withdrawn.
    Withdrawn,
}

impl Outcome {
    /// One of each that has a reason of its own, but for success.
    pub const FAILURES: [Self; 12] = [
        Self::Exit(1),
        Self::Trap(Trap::Unreachable),
        Self::OutOfFuel,
        Self::OutputTooLarge,
        Self::DepthExceeded,
        Self::Refused,
        Self::Indeterminate(Interruption::Timeout),
        Self::Indeterminate(Interruption::RunnerCrashed),
        Self::Indeterminate(Interruption::HostResources),
        Self::Indeterminate(Interruption::InputMissing),
        Self::Indeterminate(Interruption::CompileBudget),
        Self::Indeterminate(Interruption::Withdrawn),
    ];

    /// Whether the task did what it was meant to do.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Exit(0))
    }

    /// Whether anybody who runs it again gets the same.
    #[must_use]
    pub const fn is_verifiable(self) -> bool {
        !matches!(self, Self::Indeterminate(_))
    }

    /// Whether trying again makes sense: the host ended it, and not because of the task's own limit.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Indeterminate(reason) if !matches!(reason, Interruption::Timeout))
    }

    /// Whether the fuel that was used is charged: it is where the guest caused the end, and a guest that runs
    /// into its own time limit did (see `docs/decisions/0003-charging-timeouts.md`).
    #[must_use]
    pub const fn is_charged(self) -> bool {
        self.is_verifiable() || matches!(self, Self::Indeterminate(Interruption::Timeout))
    }

    /// The exit code that the task records, as a shell would: 124 for a timeout, 134 for a trap.
    #[must_use]
    pub const fn exit_code(self) -> u32 {
        match self {
            Self::Exit(code) => code,
            Self::Indeterminate(Interruption::Timeout) => 124,
            Self::Refused => 126,
            Self::Trap(_) | Self::DepthExceeded => 134,
            Self::OutOfFuel | Self::OutputTooLarge | Self::Indeterminate(_) => 137,
        }
    }

    /// The stable reason, for people and scripts.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Exit(0) => "ok",
            Self::Exit(_) => "exit-nonzero",
            Self::Trap(_) => "trap",
            Self::OutOfFuel => "fuel-limit",
            Self::OutputTooLarge => "output-too-large",
            Self::DepthExceeded => "call-depth-limit",
            Self::Refused => "module-invalid",
            Self::Indeterminate(Interruption::Timeout) => "timeout",
            Self::Indeterminate(Interruption::RunnerCrashed) => "runner-crashed",
            Self::Indeterminate(Interruption::HostResources) => "host-resources",
            Self::Indeterminate(Interruption::InputMissing) => "input-missing",
            Self::Indeterminate(Interruption::CompileBudget) => "compile-budget",
            Self::Indeterminate(Interruption::Withdrawn) => "withdrawn",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit code {code}"),
            Self::Trap(trap) => write!(f, "trap: {trap}"),
            Self::OutOfFuel => f.write_str("fuel limit reached"),
            Self::OutputTooLarge => f.write_str("output limit reached"),
            Self::DepthExceeded => f.write_str("call depth limit reached"),
            Self::Refused => f.write_str("the module was refused"),
            Self::Indeterminate(_) => f.write_str(self.reason()),
        }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "unreachable executed",
            Self::MemoryOutOfBounds => "memory access out of bounds",
            Self::TableOutOfBounds => "table access out of bounds",
            Self::BadIndirectCall => "bad indirect call",
            Self::DivisionByZero => "division by zero",
            Self::IntegerOverflow => "integer overflow",
            Self::BadConversion => "bad conversion to integer",
        })
    }
}
